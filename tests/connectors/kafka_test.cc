// Against a real Apache Kafka: WEIR_TEST_KAFKA=host:port. Without it every case here fails.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/time.h"
#include "connectors/kafka_connector.h"
#include "connectors/kafka_sink.h"

using namespace weir;
using namespace weir::connectors;
using processor::CommitOutcome;
using processor::StartOffset;

namespace {

constexpr int64_t kTimeoutMs = 20'000;
constexpr TopicId kFirst{0};

config::KafkaConfig kafka_config() {
    const char* const address = std::getenv("WEIR_TEST_KAFKA");
    REQUIRE_MESSAGE(address != nullptr, "set WEIR_TEST_KAFKA=host:port of a real Kafka broker");
    config::KafkaConfig config;
    config.present = true;
    config.common.push_back({"bootstrap.servers", address, false, {}});
    return config;
}

// A topic of its own per test, and a pipeline name of its own per run.
struct World {
    config::KafkaConfig config = kafka_config();
    std::string name;
    std::unique_ptr<KafkaConnector> connector;

    explicit World(const std::string& test, int32_t partitions = 2) {
        static int run = 0;
        name = "weir-test-" + std::to_string(getpid()) + "-" + std::to_string(++run) + "-" + test;
        create_topic(name, partitions);
        connector = std::make_unique<KafkaConnector>(config, name, std::vector{name}, std::vector{name});
    }

    void create_topic(const std::string& topic, int32_t partitions) const {
        KafkaClientSettings settings;
        settings.client_id = "test";
        const KafkaHandle admin = make_kafka_client(config, KafkaRole::kAdmin, settings).value();
        char text[200];
        rd_kafka_NewTopic_t* created =
            rd_kafka_NewTopic_new(topic.c_str(), partitions, 1, text, sizeof(text));
        rd_kafka_NewTopic_set_config(created, "retention.ms", "-1");
        const QueueHandle queue(rd_kafka_queue_new(admin.get()));
        rd_kafka_CreateTopics(admin.get(), &created, 1, nullptr, queue.get());
        rd_kafka_event_t* const event = rd_kafka_queue_poll(queue.get(), static_cast<int>(kTimeoutMs));
        REQUIRE(event != nullptr);
        REQUIRE(rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR);
        rd_kafka_event_destroy(event);
        rd_kafka_NewTopic_destroy(created);
    }

    std::unique_ptr<processor::Sink> sink(bool transactional, int32_t slot = 0) const {
        auto result = connector->make_sink({name, 0, slot}, transactional).value();
        result->open(kTimeoutMs).value();
        return result;
    }

    std::unique_ptr<processor::Source> source(std::vector<StartOffset> starts) const {
        auto result = connector->make_source({name, 0, 0}).value();
        result->assign(starts).value();
        return result;
    }
};

processor::OutputRecord record(std::string_view value, int32_t partition = 0) {
    processor::OutputRecord result;
    result.partition = partition;
    result.value = value;
    return result;
}

struct Copy {
    std::optional<std::string> key;
    std::optional<std::string> value;
    int64_t offset;
    int64_t timestamp_ms;
    std::vector<std::pair<std::string, std::optional<std::string>>> headers;
};

std::optional<std::string> copy(processor::MaybeBytes bytes) {
    if (bytes.data() == nullptr) return std::nullopt;
    return std::string(bytes);
}

// At least `count` records, and up to the end of each of the `partitions` assigned. (The markers of a
// transaction are written after its end was acknowledged: an end told before is not the last word.)
std::map<int32_t, std::vector<Copy>> read_all(processor::Source& source, size_t partitions, size_t count,
                                              std::map<int32_t, int64_t>* ends = nullptr) {
    std::map<int32_t, std::vector<Copy>> result;
    std::map<int32_t, int64_t> caught_up;
    const SystemClock clock;
    const int64_t deadline_ms = clock.monotonic_ms() + kTimeoutMs;
    size_t seen = 0;
    while ((caught_up.size() < partitions || seen < count) && clock.monotonic_ms() < deadline_ms) {
        const auto poll = source.poll(100, 1000).value();
        for (const auto& run : poll.runs) {
            caught_up.erase(run.partition.partition);
            seen += run.records.size();
            for (const auto& input : run.records) {
                std::vector<processor::Header> headers;
                source.read_headers(input, headers);
                Copy entry{copy(input.key), copy(input.value), input.offset, input.timestamp_ms, {}};
                for (const auto& header : headers)
                    entry.headers.emplace_back(header.name, copy(header.value));
                result[run.partition.partition].push_back(std::move(entry));
            }
        }
        for (const auto& end : poll.caught_up) caught_up[end.partition.partition] = end.end_offset;
    }
    CHECK(caught_up.size() == partitions);
    if (ends != nullptr) *ends = caught_up;
    return result;
}

std::vector<std::string> values(const std::vector<Copy>& records) {
    std::vector<std::string> result;
    for (const Copy& entry : records) result.push_back(entry.value.value_or("<null>"));
    return result;
}

using Values = std::vector<std::string>;

}  // namespace

TEST_CASE("records come back as they were sent: keys, nulls, empties, headers, timestamps") {
    const World world("roundtrip");
    auto sink = world.sink(false);
    const processor::Header headers[] = {{"a", "1"}, {"null", {}}, {"empty", ""}, {"a", "2"}};
    processor::OutputRecord full = record("value", 1);
    full.key = "key";
    full.timestamp_ms = 1'234'567'890'123;
    full.headers = headers;
    sink->produce(full).value();
    sink->produce(record({}, 1)).value();  // A null value and no key.
    processor::OutputRecord empty = record("", 1);
    empty.key = "";
    sink->produce(empty).value();
    sink->flush(kTimeoutMs).value();

    auto source = world.source({{{kFirst, 0}, 0}, {{kFirst, 1}, 0}});
    auto all = read_all(*source, 2, 3);
    CHECK(all[0].empty());
    REQUIRE(all[1].size() == 3);
    CHECK(all[1][0].key == "key");
    CHECK(all[1][0].value == "value");
    CHECK(all[1][0].timestamp_ms == 1'234'567'890'123);
    REQUIRE(all[1][0].headers.size() == 4);
    CHECK(all[1][0].headers[0] == std::pair<std::string, std::optional<std::string>>{"a", "1"});
    CHECK_FALSE(all[1][0].headers[1].second.has_value());
    CHECK(all[1][0].headers[2].second == "");
    CHECK(all[1][0].headers[3].second == "2");
    CHECK_FALSE(all[1][1].key.has_value());
    CHECK_FALSE(all[1][1].value.has_value());
    CHECK(all[1][1].timestamp_ms > 1'600'000'000'000);
    CHECK(all[1][2].key == "");
    CHECK(all[1][2].value == "");
    CHECK(all[1][2].offset == 2);
}

TEST_CASE("keys go to the partitions where Java's producer puts them") {
    const World world("partitioner", 7);
    auto sink = world.sink(false);
    for (const char* const key : {"21", "foobar", "a-little-bit-long-string", "abc", ""}) {
        processor::OutputRecord keyed = record(key, processor::kPartitionByKey);
        keyed.key = key;
        sink->produce(keyed).value();
    }
    sink->flush(kTimeoutMs).value();
    std::vector<StartOffset> starts;
    for (int32_t p = 0; p < 7; ++p) starts.push_back({{kFirst, p}, 0});
    auto source = world.source(starts);
    std::map<std::string, int32_t> found;
    for (const auto& [partition, records] : read_all(*source, 7, 5))
        for (const Copy& entry : records) found[*entry.key] = partition;
    // Utils.toPositive(Utils.murmur2(key)) % 7 with the hashes of Kafka's UtilsTest.
    CHECK(found.at("21") == static_cast<int32_t>((-973932308 & 0x7fffffff) % 7));
    CHECK(found.at("foobar") == static_cast<int32_t>((-790332482 & 0x7fffffff) % 7));
    CHECK(found.at("a-little-bit-long-string") == static_cast<int32_t>((-985981536 & 0x7fffffff) % 7));
    CHECK(found.at("abc") == 479470107 % 7);
}

TEST_CASE("a transaction commits outputs, offsets and their metadata together, once") {
    const World world("commit");
    auto sink = world.sink(true);
    const std::vector<TopicPartition> partitions{{kFirst, 1}, {kFirst, 0}};
    CHECK_FALSE(sink->committed(partitions, kTimeoutMs).value()[0].has_value());
    for (int64_t epoch = 1; epoch <= 3; ++epoch) {
        sink->begin().value();
        sink->produce(record("epoch-" + std::to_string(epoch))).value();
        sink->flush(kTimeoutMs).value();
        const std::string metadata = "v1;c=" + std::to_string(epoch) + ";w=17";
        sink->send_offsets(std::vector<processor::OffsetCommit>{{{kFirst, 0}, epoch, metadata},
                                                                {{kFirst, 1}, 10 * epoch, metadata}},
                           kTimeoutMs)
            .value();
        CHECK(sink->commit(kTimeoutMs) == CommitOutcome::kCommitted);
        CHECK(dynamic_cast<KafkaSink&>(*sink).end_requests() == 1);
    }
    const auto committed = world.sink(true, 1)->committed(partitions, kTimeoutMs).value();
    REQUIRE(committed[0].has_value());
    CHECK(committed[0]->offset == 30);
    CHECK(committed[0]->metadata == "v1;c=3;w=17");
    CHECK(committed[1]->offset == 3);

    std::map<int32_t, int64_t> ends;
    auto source = world.source({{{kFirst, 0}, 0}});
    CHECK(values(read_all(*source, 1, 3, &ends)[0]) == Values{"epoch-1", "epoch-2", "epoch-3"});
    CHECK(ends[0] == 6);  // Three records, three markers.
    CHECK(source->end_offset({kFirst, 0}, kTimeoutMs).value() == 6);
}

TEST_CASE("an epoch of offsets alone commits; an empty one commits nothing") {
    const World world("offsets-only");
    auto sink = world.sink(true);
    sink->begin().value();
    CHECK(sink->commit(kTimeoutMs) == CommitOutcome::kCommitted);
    sink->begin().value();
    sink->send_offsets(std::vector<processor::OffsetCommit>{{{kFirst, 0}, 5, "m"}}, kTimeoutMs).value();
    CHECK(sink->commit(kTimeoutMs) == CommitOutcome::kCommitted);
    CHECK(sink->committed(std::vector<TopicPartition>{{kFirst, 0}}, kTimeoutMs).value()[0]->offset == 5);
}

TEST_CASE("a second open() fences the first and its open transaction stays invisible") {
    const World world("fence");
    auto old = world.sink(true);
    old->begin().value();
    old->produce(record("lost")).value();
    old->flush(kTimeoutMs).value();
    auto reader = world.connector->make_source({world.name, 0, 0}).value();
    reader->assign(std::vector<StartOffset>{{{kFirst, 0}, 0}}).value();
    std::map<int32_t, int64_t> ends;
    CHECK(read_all(*reader, 1, 0, &ends)[0].empty());
    CHECK(ends[0] == 0);
    CHECK(reader->end_offset({kFirst, 0}, kTimeoutMs).value() == 1);  // Undecided records count.

    auto successor = world.sink(true);
    const auto sent =
        old->send_offsets(std::vector<processor::OffsetCommit>{{{kFirst, 0}, 1, "zombie"}}, kTimeoutMs);
    if (!sent.ok()) CHECK(sent.error().code == Code::kFenced);
    CHECK(old->commit(kTimeoutMs) == CommitOutcome::kFenced);
    successor->begin().value();
    successor->produce(record("kept")).value();
    CHECK(successor->commit(kTimeoutMs) == CommitOutcome::kCommitted);
    CHECK(values(read_all(*reader, 1, 1)[0]) == Values{"kept"});
    CHECK_FALSE(
        successor->committed(std::vector<TopicPartition>{{kFirst, 0}}, kTimeoutMs).value()[0].has_value());
}

TEST_CASE("offsets outside transactions are committed with their metadata") {
    const World world("advisory");
    auto sink = world.sink(false);
    sink->commit_offsets(std::vector<processor::OffsetCommit>{{{kFirst, 1}, 42, "v1;w=9"}}, true).value();
    const auto committed = sink->committed(std::vector<TopicPartition>{{kFirst, 1}}, kTimeoutMs).value();
    CHECK(committed[0]->offset == 42);
    CHECK(committed[0]->metadata == "v1;w=9");
}

TEST_CASE("start policies, ranges and settings are the cluster's") {
    const World world("describe", 3);
    auto sink = world.sink(false);
    for (int i = 0; i < 4; ++i) {
        processor::OutputRecord timed = record("x", 2);
        timed.timestamp_ms = 1'000'000 + 100 * i;
        sink->produce(timed).value();
    }
    sink->flush(kTimeoutMs).value();
    using Kind = processor::StartPolicy::Kind;
    const auto at = [&](Kind kind, int64_t time) {
        return world.connector->resolve_start({kFirst, 2}, {kind, time}, kTimeoutMs).value();
    };
    CHECK(at(Kind::kEarliest, 0) == 0);
    CHECK(at(Kind::kLatest, 0) == 4);
    CHECK(at(Kind::kTimestamp, 1'000'150) == 2);
    CHECK(at(Kind::kTimestamp, 9'000'000) == 4);
    const auto range = world.connector->offset_range({kFirst, 2}, kTimeoutMs).value();
    CHECK(range.end - range.begin == 4);
    const auto info = world.connector->describe(kFirst, kTimeoutMs).value();
    CHECK(info.partition_count == 3);
    CHECK(info.retention_ms == -1);
    CHECK_FALSE(info.compacted);
    CHECK_FALSE(world.connector->cluster_id(kTimeoutMs).value().empty());
    const auto absent = world.connector->describe_topic(world.name + "-absent", kTimeoutMs);
    REQUIRE_FALSE(absent.ok());
    CHECK(absent.error().code == Code::kNotFound);
}

TEST_CASE("what the cluster does not hold is an error: offsets, topics, outputs") {
    const World world("absent");
    auto source = world.source({{{kFirst, 0}, 1000}});
    const SystemClock clock;
    const int64_t deadline_ms = clock.monotonic_ms() + kTimeoutMs;
    std::optional<Error> error;
    while (!error && clock.monotonic_ms() < deadline_ms)
        if (const auto poll = source->poll(100, 100); !poll.ok()) error = poll.error();
    REQUIRE(error.has_value());
    CHECK(error->code == Code::kMismatch);

    KafkaConnector elsewhere(world.config, world.name, {world.name}, {world.name + "-absent"});
    auto sink = elsewhere.make_sink({world.name, 0, 0}, true).value();
    const auto opened = sink->open(kTimeoutMs);
    REQUIRE_FALSE(opened.ok());
    CHECK(opened.error().code == Code::kNotFound);
}

TEST_CASE("a waiting poll returns as soon as a record is there, and ends in time without one") {
    const World world("wake");
    auto source = world.source({{{kFirst, 0}, 0}});
    CHECK(read_all(*source, 1, 0)[0].empty());
    const SystemClock clock;
    int64_t began_us = clock.monotonic_us();
    CHECK(source->poll(300, 100).value().runs.empty());
    const int64_t quiet_ms = (clock.monotonic_us() - began_us) / 1000;
    CHECK(quiet_ms >= 295);
    CHECK(quiet_ms < 1000);

    auto sink = world.sink(false);
    int64_t total_us = 0;
    int64_t worst_us = 0;
    constexpr int kRounds = 50;
    for (int i = 0; i < kRounds; ++i) {
        sink->produce(record("ping")).value();
        sink->flush(kTimeoutMs).value();  // The broker holds it from here on.
        began_us = clock.monotonic_us();
        bool seen = false;
        while (!seen && clock.monotonic_us() - began_us < 5'000'000)
            seen = !source->poll(5000, 100).value().runs.empty();
        REQUIRE(seen);
        total_us += clock.monotonic_us() - began_us;
        worst_us = std::max(worst_us, clock.monotonic_us() - began_us);
    }
    std::printf("wake-up after the acknowledgement: mean %lld us, worst %lld us\n",
                static_cast<long long>(total_us / kRounds), static_cast<long long>(worst_us));
    CHECK(total_us / kRounds < 50'000);  // Far below the poll's own 5 s.
}

// Goal: what is held back is not handed out, is bounded by the fetch queue, and comes later without a gap.
TEST_CASE("alignment: a held partition's records wait, from the first one on and in the middle") {
    const World world("hold");
    constexpr int64_t kRecords = 3'000;
    auto sink = world.sink(false);
    for (int64_t i = 0; i < kRecords; ++i)
        for (int32_t partition = 0; partition < 2; ++partition)
            sink->produce(record(std::to_string(i), partition)).value();
    sink->flush(kTimeoutMs).value();

    const TopicPartition first{kFirst, 0};
    const TopicPartition second{kFirst, 1};
    auto source = world.source({{first, 0, true}, {second, 0, true}});
    std::map<TopicPartition, int64_t> next;
    const SystemClock clock;
    const auto read_until = [&](const auto& done) {
        const int64_t deadline_ms = clock.monotonic_ms() + kTimeoutMs;
        while (!done() && clock.monotonic_ms() < deadline_ms) {
            const auto poll = source->poll(100, 64).value();
            for (const auto& run : poll.runs)
                for (const auto& input : run.records) CHECK(input.offset == next[run.partition]++);
        }
        REQUIRE(done());
    };
    source->hold(std::vector{first});
    read_until([&] { return next[second] == kRecords; });
    CHECK(next[first] == 0);
    source->hold({});
    read_until([&] { return next[first] >= 500; });
    source->hold(std::vector{first});
    const int64_t stood_at = next[first];
    for (int i = 0; i < 5; ++i) CHECK(source->poll(50, 64).value().runs.empty());
    source->hold({});
    read_until([&] { return next[first] == kRecords; });
    CHECK(stood_at < kRecords);
}

TEST_CASE("costs, printed only") {
    const World world("costs", 4);
    const SystemClock clock;
    auto sink = world.sink(true);
    for (int epoch = 0; epoch < 20; ++epoch) {
        const int64_t began_us = clock.monotonic_us();
        sink->begin().value();
        for (int i = 0; i < 100; ++i) sink->produce(record("0123456789", i % 4)).value();
        sink->flush(kTimeoutMs).value();
        const int64_t flushed_us = clock.monotonic_us();
        sink->send_offsets(std::vector<processor::OffsetCommit>{{{kFirst, 0}, epoch, "m"}}, kTimeoutMs)
            .value();
        const int64_t sent_us = clock.monotonic_us();
        CHECK(sink->commit(kTimeoutMs) == CommitOutcome::kCommitted);
        if (epoch % 5 == 0)
            std::printf("epoch %d: flush %lld us, send_offsets %lld us, commit %lld us\n", epoch,
                        static_cast<long long>(flushed_us - began_us),
                        static_cast<long long>(sent_us - flushed_us),
                        static_cast<long long>(clock.monotonic_us() - sent_us));
    }
    int64_t began_us = clock.monotonic_us();
    sink.reset();
    std::printf("destroy sink: %lld us\n", static_cast<long long>(clock.monotonic_us() - began_us));

    auto bulk = world.sink(false);
    constexpr int kRecords = 200'000;
    const std::string value(200, 'x');
    began_us = clock.monotonic_us();
    for (int i = 0; i < kRecords; ++i) bulk->produce(record(value, i % 4)).value();
    bulk->flush(kTimeoutMs).value();
    const auto produced_us = static_cast<double>(clock.monotonic_us() - began_us);
    auto source = world.source({{{kFirst, 0}, 0}, {{kFirst, 1}, 0}, {{kFirst, 2}, 0}, {{kFirst, 3}, 0}});
    size_t count = 0;
    began_us = clock.monotonic_us();
    while (count < kRecords && clock.monotonic_us() - began_us < 60'000'000) {
        const auto poll = source->poll(100, 4096).value();
        for (const auto& run : poll.runs) count += run.records.size();
    }
    std::printf("produce %.0f records/s, consume %.0f records/s\n", kRecords * 1e6 / produced_us,
                static_cast<double>(count) * 1e6 / static_cast<double>(clock.monotonic_us() - began_us));
    CHECK(count >= kRecords);
}
