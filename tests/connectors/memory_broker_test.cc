#include "connectors/memory_broker.h"

#include <doctest/doctest.h>

#include "connectors/partitioner.h"

using namespace weir;
using namespace weir::connectors;
using processor::CommitOutcome;

namespace {

constexpr TopicId kTopic{0};

struct World {
    ManualClock clock{1'000'000};
    MemoryBroker broker{clock};
    MemoryConnector connector{broker, "app", {"in"}, {"out"}};

    World() {
        broker.create_topic("in", 2);
        broker.create_topic("out", 1);
    }

    std::unique_ptr<processor::Sink> open_sink(int32_t slot = 0, bool transactional = true) {
        auto sink = connector.make_sink({"app", 0, slot}, transactional).value();
        sink->open(1000).value();
        return sink;
    }
};

processor::OutputRecord record(std::string_view value) {
    processor::OutputRecord result;
    result.topic = kTopic;
    result.value = value;
    return result;
}

std::vector<std::string> values(const std::vector<MemoryRecord>& records) {
    std::vector<std::string> result;
    for (const MemoryRecord& entry : records) result.push_back(entry.value.value_or("<null>"));
    return result;
}

const std::vector<processor::OffsetCommit> kOffsets{{{kTopic, 0}, 7, "v1;c=1"}};
const std::vector<TopicPartition> kPartitions{{kTopic, 0}, {kTopic, 1}};

using Values = std::vector<std::string>;

}  // namespace

TEST_CASE("an open transaction hides its records and what follows until it ends") {
    World world;
    auto sink = world.open_sink();
    sink->begin().value();
    sink->produce(record("a")).value();
    sink->flush(1000).value();
    world.broker.append("out", 0, {{}, "other", -1, {}, 0});
    CHECK(values(world.broker.read("out", 0)) == Values{});
    CHECK(values(world.broker.read("out", 0, Isolation::kReadUncommitted)) == Values{"a", "other"});
    CHECK(world.broker.last_stable_offset("out", 0) == 0);

    sink->send_offsets(kOffsets, 1000).value();
    CHECK_FALSE(world.broker.committed("app", "in", 0).has_value());
    CHECK(sink->commit(1000) == CommitOutcome::kCommitted);
    CHECK(values(world.broker.read("out", 0)) == Values{"a", "other"});
    CHECK(world.broker.end_offset("out", 0) == 3);  // The marker takes an offset.
    CHECK(world.broker.committed("app", "in", 0)->metadata == "v1;c=1");
}

TEST_CASE("a second open() fences the first and aborts what it left open") {
    World world;
    auto old = world.open_sink();
    old->begin().value();
    old->produce(record("lost")).value();
    old->flush(1000).value();
    old->send_offsets(kOffsets, 1000).value();
    auto successor = world.open_sink();
    CHECK(old->commit(1000) == CommitOutcome::kFenced);
    CHECK(values(world.broker.read("out", 0)) == Values{});
    CHECK(values(world.broker.read("out", 0, Isolation::kReadUncommitted)) == Values{"lost"});
    const auto committed = successor->committed(kPartitions, 1000).value();
    CHECK_FALSE(committed[0].has_value());
    CHECK(world.broker.open_transactions() == 0);
}

TEST_CASE("a transaction open for too long is aborted by the clock and its owner fenced") {
    World world;
    auto sink = world.open_sink();
    sink->begin().value();
    sink->produce(record("late")).value();
    sink->flush(1000).value();
    world.clock.advance_ms(10'001);
    CHECK(sink->commit(1000) == CommitOutcome::kFenced);
    CHECK(values(world.broker.read("out", 0)) == Values{});
}

TEST_CASE("a lost answer to the commit is an unknown outcome that committed() resolves") {
    World world;
    for (const bool arrives : {true, false}) {
        auto sink = world.open_sink();
        sink->begin().value();
        sink->produce(record(arrives ? "yes" : "no")).value();
        sink->send_offsets(std::vector<processor::OffsetCommit>{{{kTopic, 0}, arrives ? 1 : 2, "m"}}, 1000)
            .value();
        Fault fault;
        fault.kind = arrives ? Fault::Kind::kLoseAnswer : Fault::Kind::kFail;
        world.broker.inject(Api::kCommit, 1, fault);
        CHECK(sink->commit(1000) == CommitOutcome::kUnknown);
        CHECK_FALSE(sink->begin().ok());
    }
    auto next = world.open_sink();
    CHECK(next->committed(kPartitions, 1000).value()[0]->offset == 1);
    CHECK(values(world.broker.read("out", 0)) == Values{"yes"});
}

TEST_CASE("the late copy of an end request tears the next transaction of the same producer only") {
    World world;
    const auto torn = [&](bool replace) {
        auto sink = world.open_sink();
        Fault repeat;
        repeat.kind = Fault::Kind::kRepeat;
        world.broker.inject(Api::kCommit, 1, repeat);
        sink->begin().value();
        sink->produce(record("first")).value();
        CHECK(sink->commit(1000) == CommitOutcome::kCommittedReplaceSink);
        if (replace) sink = world.open_sink();
        sink->begin().value();
        sink->produce(record("a")).value();
        sink->produce(record("b")).value();
        sink->flush(1000).value();
        sink = world.open_sink();  // The owner crashed; a successor aborts what was open.
        const Values seen = values(world.broker.read("out", 0));
        return seen.back() == "a";
    };
    CHECK_FALSE(torn(true));
    CHECK(torn(false));
}

TEST_CASE("offsets that arrive a second time hit the next transaction of the same producer only") {
    const auto stale = [&](bool replace) {
        World world;
        auto sink = world.open_sink();
        Fault repeat;
        repeat.kind = Fault::Kind::kRepeat;
        world.broker.inject(Api::kSendOffsets, 1, repeat);
        for (const int64_t offset : {7, 8}) {
            sink->begin().value();
            sink->send_offsets(std::vector<processor::OffsetCommit>{{{kTopic, 0}, offset, "m"}}, 1000)
                .value();
            const CommitOutcome outcome = sink->commit(1000);
            CHECK(outcome ==
                  (offset == 7 ? CommitOutcome::kCommittedReplaceSink : CommitOutcome::kCommitted));
            if (replace) sink = world.open_sink();
        }
        return world.broker.committed("app", "in", 0)->offset == 7;
    };
    CHECK_FALSE(stale(true));
    CHECK(stale(false));
}

TEST_CASE(
    "a request that arrives when its sender has given it up counts unless the producer was replaced before") {
    for (const uint64_t requests : {uint64_t{1}, uint64_t{2}}) {
        World world;
        auto sink = world.open_sink();
        sink->begin().value();
        sink->send_offsets(kOffsets, 1000).value();
        Fault late;
        late.kind = Fault::Kind::kArriveLater;
        late.requests = requests;
        world.broker.inject(Api::kCommit, 1, late);
        CHECK(sink->commit(1000) == CommitOutcome::kUnknown);
        sink = world.open_sink();  // The first request from now; reading the offsets is the second.
        CHECK(sink->committed(kPartitions, 1000).value()[0].has_value() == (requests == 1));
        CHECK(world.broker.ended().by_late_request == (requests == 1 ? 1 : 0));
    }
}

TEST_CASE("a decided transaction becomes visible with its markers; a successor waits for them, bounded") {
    World world;
    auto sink = world.open_sink();
    sink->begin().value();
    sink->produce(record("a")).value();
    Fault slow;
    slow.kind = Fault::Kind::kSlowMarkers;
    slow.delay_ms = 3'000;
    world.broker.inject(Api::kCommit, 1, slow);
    CHECK(sink->commit(1000) == CommitOutcome::kCommitted);
    CHECK(values(world.broker.read("out", 0)) == Values{});
    auto successor = world.connector.make_sink({"app", 0, 0}, true).value();
    CHECK(successor->open(1'000).error().code == Code::kTimedOut);
    CHECK(successor->open(5'000).ok());
    CHECK(values(world.broker.read("out", 0)) == Values{"a"});
}

TEST_CASE("committed() waits for undecided offsets of another producer and says when it cannot") {
    World world;
    auto other = world.open_sink(1);
    other->begin().value();
    other->send_offsets(kOffsets, 1000).value();
    const auto unopened = world.connector.make_sink({"app", 0, 0}, true).value();
    CHECK(unopened->committed(kPartitions, 500).ok());
    auto sink = world.open_sink(0);
    const auto waited = sink->committed(kPartitions, 500);
    REQUIRE_FALSE(waited.ok());
    CHECK(waited.error().code == Code::kTimedOut);
    CHECK(sink->committed(kPartitions, 60'000).ok());  // Until the transaction timeout ends it.
}

TEST_CASE("a source delivers committed records once, keeps order and reports each end") {
    World world;
    for (int i = 0; i < 5; ++i)
        world.broker.append("in", 0, {"k", std::to_string(i), 10 + i, {{"h", "x"}, {"n", {}}}, 0});
    auto source = world.connector.make_source({"app", 0, 0}).value();
    source->assign(std::vector<processor::StartOffset>{{{kTopic, 0}, 1}, {{kTopic, 1}, 0}}).value();
    auto poll = source->poll(0, 3).value();
    REQUIRE(poll.runs.size() == 1);
    CHECK(poll.runs[0].records.size() == 3);
    CHECK(poll.runs[0].records[0].offset == 1);
    CHECK(poll.runs[0].records[0].value == "1");
    std::vector<processor::Header> headers;
    source->read_headers(poll.runs[0].records[0], headers);
    REQUIRE(headers.size() == 2);
    CHECK(headers[0].value == "x");
    CHECK(headers[1].value.data() == nullptr);

    int64_t end = -1;
    size_t count = 3;
    for (int i = 0; i < 3; ++i) {
        poll = source->poll(0, 100).value();
        for (const auto& run : poll.runs) count += run.records.size();
        for (const auto& caught_up : poll.caught_up)
            if (caught_up.partition.partition == 0) end = caught_up.end_offset;
    }
    CHECK(count == 4);
    CHECK(end == 5);
    CHECK(source->end_offset({kTopic, 0}, 100).value() == 5);
}

TEST_CASE("offsets that the log does not hold are an error, never a reset") {
    World world;
    for (int i = 0; i < 5; ++i) world.broker.append("in", 0, {{}, "x", -1, {}, 0});
    world.broker.delete_records_before("in", 0, 3);
    auto source = world.connector.make_source({"app", 0, 0}).value();
    for (const int64_t offset : {2, 6}) {
        source->assign(std::vector<processor::StartOffset>{{{kTopic, 0}, offset}}).value();
        const auto poll = source->poll(0, 10);
        REQUIRE_FALSE(poll.ok());
        CHECK(poll.error().code == Code::kMismatch);
    }
}

TEST_CASE("a dropped delivery fails the flush; an absent broker fails what needs it") {
    World world;
    auto sink = world.open_sink(0, false);
    Fault drop;
    drop.kind = Fault::Kind::kDropRecords;
    world.broker.inject(Api::kProduce, 2, drop);
    sink->produce(record("1")).value();
    sink->produce(record("2")).value();
    CHECK_FALSE(sink->flush(1000).ok());

    world.broker.set_available(false);
    auto source = world.connector.make_source({"app", 0, 0}).value();
    CHECK_FALSE(sink->flush(1000).ok());
    CHECK(source->poll(0, 10).value().runs.empty());
    CHECK(world.connector.describe(kTopic, 100).error().code == Code::kUnavailable);
}

TEST_CASE("start policies resolve to offsets") {
    World world;
    for (int i = 0; i < 4; ++i) world.broker.append("in", 0, {{}, "x", 100 * i, {}, 0});
    using Kind = processor::StartPolicy::Kind;
    const auto at = [&](Kind kind, int64_t time) {
        return world.connector.resolve_start({kTopic, 0}, {kind, time}, 100).value();
    };
    CHECK(at(Kind::kEarliest, 0) == 0);
    CHECK(at(Kind::kLatest, 0) == 4);
    CHECK(at(Kind::kTimestamp, 150) == 2);
    CHECK(at(Kind::kTimestamp, 999) == 4);
    CHECK(world.connector.describe(kTopic, 100).value().partition_count == 2);
}

// Vectors of Apache Kafka's UtilsTest.testMurmur2.
TEST_CASE("keys hash as Java's default partitioner hashes them") {
    const std::pair<const char*, int32_t> vectors[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };
    for (const auto& [text, hash] : vectors) CHECK(static_cast<int32_t>(murmur2(text)) == hash);
    CHECK(partition_for_key("21", 10) == ((-973932308) & 0x7fffffff) % 10);
}
