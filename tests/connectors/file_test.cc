#include "connectors/file_connector.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "connectors/memory_broker.h"
#include "connectors/routing_connector.h"

using namespace weir;
using namespace weir::connectors;
using processor::StartOffset;

namespace {

constexpr TopicId kFirst{0};
constexpr TopicId kSecond{1};

struct Folder {
    std::string path;
    Folder() {
        char name[] = "/tmp/weir-connectors-XXXXXX";
        REQUIRE(mkdtemp(name) != nullptr);
        path = name;
    }
    ~Folder() { std::filesystem::remove_all(path); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    [[nodiscard]] std::string file(const std::string& name) const { return path + "/" + name; }
};

void write_file(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

std::string read_file(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

struct Line {
    int64_t offset;
    std::string value;
    bool operator==(const Line&) const = default;
};

struct ReadBack {
    std::vector<Line> lines;
    int64_t end = -1;
    size_t ends = 0;
};

ReadBack read_to_end(processor::Source& source, size_t max_records = 1000) {
    ReadBack result;
    for (bool done = false; !done;) {
        const auto poll = source.poll(0, max_records).value();
        for (const auto& run : poll.runs) {
            CHECK(run.records.size() <= max_records);
            for (const auto& record : run.records)
                result.lines.push_back({record.offset, std::string(record.value)});
        }
        for (const auto& end : poll.caught_up) {
            result.end = end.end_offset;
            ++result.ends;
        }
        done = poll.end_of_input;
    }
    return result;
}

std::unique_ptr<processor::Source> source_of(const std::string& path, int64_t offset) {
    FileConnector connector({path}, {});
    auto source = connector.make_source({"app", 0, 0}).value();
    source->assign(std::vector<StartOffset>{{{kFirst, 0}, offset}}).value();
    return source;
}

processor::OutputRecord record(TopicId topic, std::string_view value) {
    processor::OutputRecord result;
    result.topic = topic;
    result.value = value;
    return result;
}

}  // namespace

TEST_CASE("each line is a record at its byte offset, also a last one without a newline") {
    const Folder folder;
    write_file(folder.file("in"), "one\n\ntwo\nthree");
    for (const size_t batch : {1U, 2U, 100U}) {
        const auto source = source_of(folder.file("in"), 0);
        const ReadBack back = read_to_end(*source, batch);
        CHECK(back.lines == std::vector<Line>{{0, "one"}, {5, "two"}, {9, "three"}});
        CHECK(back.end == 14);
        CHECK(back.ends == 1);
    }
    CHECK(read_to_end(*source_of(folder.file("in"), 5)).lines == std::vector<Line>{{5, "two"}, {9, "three"}});
    CHECK(read_to_end(*source_of(folder.file("in"), 14)).lines.empty());
}

TEST_CASE("lines that span read blocks arrive whole") {
    const Folder folder;
    const std::string big(3'000'000, 'a');
    write_file(folder.file("in"), "x\n" + big + "\ny\n");
    const ReadBack back = read_to_end(*source_of(folder.file("in"), 0));
    REQUIRE(back.lines.size() == 3);
    CHECK(back.lines[1].value == big);
    CHECK(back.lines[2] == Line{3'000'003, "y"});
}

TEST_CASE("reading goes on behind the record that was read last") {
    const Folder folder;
    write_file(folder.file("in"), "one\n\ntwo\nthree");
    CHECK(read_to_end(*source_of(folder.file("in"), 1)).lines == std::vector<Line>{{5, "two"}, {9, "three"}});
    CHECK(read_to_end(*source_of(folder.file("in"), 6)).lines == std::vector<Line>{{9, "three"}});
    CHECK(read_to_end(*source_of(folder.file("in"), 10)).lines.empty());
}

TEST_CASE("a file shorter than its offset is refused, an absent file is not found") {
    const Folder folder;
    write_file(folder.file("in"), "one\ntwo\n");
    FileConnector connector({folder.file("in"), folder.file("absent")}, {});
    auto source = connector.make_source({"app", 0, 0}).value();
    for (const int64_t offset : {9, -1}) {
        const auto assigned = source->assign(std::vector<StartOffset>{{{kFirst, 0}, offset}});
        REQUIRE_FALSE(assigned.ok());
        CHECK(assigned.error().code == Code::kMismatch);
    }
    CHECK(source->assign(std::vector<StartOffset>{{{kSecond, 0}, 0}}).error().code == Code::kNotFound);
    CHECK(connector.describe(kSecond, 100).error().code == Code::kNotFound);
    CHECK(connector.describe(kFirst, 100).value().partition_count == 1);
    CHECK(connector.resolve_start({kFirst, 0}, {processor::StartPolicy::Kind::kLatest, 0}, 100).value() == 8);
}

TEST_CASE("a directory in place of a file is a mistake of who named it") {
    const Folder folder;
    FileConnector connector({folder.file("")}, {});
    const auto described = connector.describe(kFirst, 100);
    REQUIRE_FALSE(described.ok());
    CHECK(described.error().code == Code::kNotFound);
    CHECK(described.error().message.find("is a directory") != std::string::npos);
}

TEST_CASE("restore() cuts each file back to its remembered length, and to its first one without any") {
    const Folder folder;
    write_file(folder.file("a"), "old\n");
    FileConnector connector({}, {folder.file("a"), folder.file("b")});
    std::string position;
    {
        auto sink = connector.make_sink({"app", 0, 0}, true).value();
        sink->open(100).value();
        sink->produce(record(kFirst, "a1")).value();
        sink->produce(record(kSecond, "b1")).value();
        sink->produce(record(kSecond, {})).value();
        sink->flush(100).value();
        position = sink->position();
        sink->produce(record(kFirst, "a2")).value();
        sink->flush(100).value();
        CHECK(read_file(folder.file("a")) == "old\na1\na2\n");
    }
    struct stat status {};
    REQUIRE(stat(folder.file("b").c_str(), &status) == 0);
    CHECK((status.st_mode & 0777 & ~0644U) == 0);
    auto sink = connector.make_sink({"app", 0, 0}, true).value();
    sink->open(100).value();
    sink->restore(position).value();
    CHECK(sink->position() == position);
    sink->produce(record(kFirst, "a2'")).value();
    sink->flush(100).value();
    CHECK(read_file(folder.file("a")) == "old\na1\na2'\n");
    CHECK(read_file(folder.file("b")) == "b1\n");

    sink = connector.make_sink({"app", 0, 0}, true).value();
    sink->open(100).value();
    sink->produce(record(kSecond, "b2")).value();
    sink->flush(100).value();
    sink->restore({}).value();
    CHECK(read_file(folder.file("b")) == "b1\n");
}

TEST_CASE("a file shorter than remembered is another file") {
    const Folder folder;
    FileConnector connector({}, {folder.file("a")});
    auto sink = connector.make_sink({"app", 0, 0}, false).value();
    sink->open(100).value();
    sink->produce(record(kFirst, "line")).value();
    sink->flush(100).value();
    const std::string position = sink->position();
    write_file(folder.file("a"), "x");
    CHECK(sink->restore(position).error().code == Code::kMismatch);
    CHECK(sink->restore(position.substr(0, 5)).error().code == Code::kCorrupt);
}

TEST_CASE("a full disk is kNoSpace") {
    FileConnector connector({}, {"/dev/full"});
    auto sink = connector.make_sink({"app", 0, 0}, false).value();
    sink->open(100).value();
    sink->produce(record(kFirst, "line")).value();
    CHECK(sink->flush(100).error().code == Code::kNoSpace);
}

TEST_CASE("one source and one sink route by id; the broker decides, positions are the files'") {
    const Folder folder;
    write_file(folder.file("in"), "from-file\n");
    ManualClock clock;
    MemoryBroker broker(clock);
    broker.create_topic("in", 1);
    broker.create_topic("out", 1);
    broker.append("in", 0, {{}, "from-topic", -1, {{"h", "v"}}, 0});
    const std::vector<Endpoint> inputs{{"in", false}, {folder.file("in"), true}};
    const std::vector<Endpoint> outputs{{folder.file("out"), true}, {"out", false}};
    RoutingConnector connector(
        std::make_unique<MemoryConnector>(broker, "app", std::vector<std::string>{"in", ""},
                                          std::vector<std::string>{"", "out"}),
        std::make_unique<FileConnector>(std::vector<std::string>{"", folder.file("in")},
                                        std::vector<std::string>{folder.file("out"), ""}),
        inputs, outputs);
    auto source = connector.make_source({"app", 0, 0}).value();
    source->assign(std::vector<StartOffset>{{{kFirst, 0}, 0}, {{kSecond, 0}, 0}}).value();
    std::vector<std::string> values;
    size_t headers_seen = 0;
    for (int i = 0; i < 3; ++i) {
        const auto poll = source->poll(0, 10).value();
        CHECK_FALSE(poll.end_of_input);  // A topic never ends.
        for (const auto& run : poll.runs)
            for (const auto& input : run.records) {
                values.emplace_back(input.value);
                std::vector<processor::Header> headers;
                source->read_headers(input, headers);
                headers_seen += headers.size();
            }
    }
    CHECK(values == std::vector<std::string>{"from-file", "from-topic"});
    CHECK(headers_seen == 1);
    CHECK(connector.describe(kSecond, 100).value().partition_count == 1);

    auto sink = connector.make_sink({"app", 0, 0}, true).value();
    sink->open(100).value();
    sink->begin().value();
    sink->produce(record(kFirst, "to-file")).value();
    sink->produce(record(kSecond, "to-topic")).value();
    sink->flush(100).value();
    CHECK_FALSE(sink->position().empty());
    sink->send_offsets(std::vector<processor::OffsetCommit>{{{kFirst, 0}, 1, "m"}, {{kSecond, 0}, 10, "m"}},
                       100)
        .value();
    CHECK(sink->commit(100) == processor::CommitOutcome::kCommitted);
    CHECK(read_file(folder.file("out")) == "to-file\n");
    CHECK(broker.read("out", 0).size() == 1);
    const auto committed =
        sink->committed(std::vector<TopicPartition>{{kSecond, 0}, {kFirst, 0}}, 100).value();
    CHECK_FALSE(committed[0].has_value());  // Files' offsets are the log's business.
    CHECK(committed[1]->offset == 1);
}
