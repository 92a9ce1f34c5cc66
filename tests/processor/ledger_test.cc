// The record ledger: a record that is not where the books say is found, whatever it is that lost it.
#include "processor/ledger.h"

#include "fixture.h"

namespace weir::processor {
namespace {

constexpr const char* kPipeline = R"(
name: ledger
kafka: {bootstrap.servers: "b:9092"}
on_error: {dead_letter: dead}
sources:
  o: {topic: o, keyed_by: k, timestamp: t, watermark: {strategy: punctuated, when: mark, markers: is_mark}}
streams:
  good: {from: o, steps: [{filter: v > 0}, {explode: {field: items, as: item}}]}
  routed:
    from: good
    steps: [{set: {w: 10 / item}}]
    to: [{topic: a, when: item = 1}, {topic: b, when: item = 2}]
  sums: {from: [good, routed], steps: [{aggregate: {by: k, window: WINDOW, fields: {n: count(*)}}}], to: sums}
  late: {from: sums.late, to: late}
)";

std::string pipeline(const std::string& window) {
    std::string text = kPipeline;
    return text.replace(text.find("WINDOW"), 6, window);
}

std::string record(int64_t time, int64_t v, const std::string& items) {
    return R"({"k":"a","t":)" + std::to_string(time) + R"(,"v":)" + std::to_string(v) + R"(,"items":)" +
           items + "}";
}

// Something of everything.
void feed(World& world) {
    REQUIRE(world.in("o", "a", record(1'000, 1, "[1,2,3]")).ok());  // One has no route.
    REQUIRE(world.in("o", "a", record(2'000, 1, "[0,1]")).ok());    // One fails.
    REQUIRE(world.in("o", "a", record(3'000, 0, "[1]")).ok());
    REQUIRE(world.in("o", "a", "{broken").ok());
    REQUIRE(world.in("o", "a", R"({"k":"a"})").ok());
    REQUIRE(world.in("o", "a", R"({"is_mark":true,"mark":20000})").ok());
    REQUIRE(world.in("o", "a", record(4'000, 1, "[1]")).ok());  // Late.
    REQUIRE(world.in("o", "a", record(90'000, 1, "[1]")).ok());
}

TEST_CASE("the ledger balances for every kind of window, with records in every bucket") {
    for (const char* const window :
         {"{tumbling: 10s}", "{hopping: {size: 10s, step: 5s}}", "{session: 10s}", "{sliding: 10s}"}) {
        CAPTURE(window);
        World world(pipeline(window));
        feed(world);
        CHECK(world.imbalance() == "");
        const auto in = [&](const auto& counters) {
            for (const Bucket& bucket : buckets_of(counters)) {
                CAPTURE(bucket.name);
                const std::string_view name = bucket.name;
                const bool never = name == "skipped" || name == "duplicate" || name == "throttled" ||
                                   name == "buffered" || name == "repartitioned";
                CHECK((bucket.count > 0) != never);
            }
        };
        in(world.counters.sources[0]);
        StreamCounters all = world.counters.streams[0];
        for (size_t i = 1; i < world.counters.streams.size(); ++i) {
            const StreamCounters& stream = world.counters.streams[i];
            all.emitted += stream.emitted;
            all.merged += stream.merged;
            all.late += stream.late;
            all.dead_lettered += stream.dead_lettered;
            all.unrouted += stream.unrouted;
        }
        in(all);
        CHECK(world.counters.streams[2].merged > 0);
        CHECK(world.counters.streams[2].released > 0);
        CHECK(world.counters.streams[2].merged ==
              world.counters.streams[2].released + world.records()[2]);
        world.epoch();
        world.crash();
        CHECK(world.imbalance() == "");
        REQUIRE(world.shard->advance_watermark(kEndOfTime, 0, world.sink).ok());
        CHECK(world.imbalance() == "");
        CHECK(world.records()[2] == 0);
    }
}

// A join of a stream with itself, whose late records are joined with themselves, too; records without a key,
// conditions that fail.
constexpr const char* kJoins = R"(
name: ledger
kafka: {bootstrap.servers: "b:9092"}
on_error: {dead_letter: dead}
sources:
  o: {topic: o, keyed_by: k, timestamp: t}
streams:
  good: {from: o, steps: [{filter: v < 9}]}
  twice:
    join:
      left: {from: good, as: a}
      right: {from: good, as: b}
      kind: KIND
      match: a.k = b.k AND 4 / b.v > 0
      RULE
    steps: [{map: {a: a.v, b: b.v}}]
    to: out
  late:
    join: {left: {from: twice.late, as: a}, right: {from: twice.late, as: b}, match: a.k = b.k, within: 5s}
    to: late
)";

TEST_CASE("the ledger balances for joins, through commits and crashes, until all has left the buffers") {
    struct Case {
        const char* kind;
        const char* rule;
    };
    for (const auto& [kind, rule] : {Case{"full", "within: 5s"}, Case{"inner", "within: {after: 5s}"},
                                     Case{"left", "window: {tumbling: 10s}"},
                                     Case{"full", "window: {session: 5s}"}}) {
        CAPTURE(rule);
        std::string text = kJoins;
        text.replace(text.find("KIND"), 4, kind);
        text.replace(text.find("RULE"), 4, rule);
        World world(text);
        const auto in = [&](const char* k, int64_t t, int64_t v) {
            const std::string value = R"({"k":)" + std::string(k) + R"(,"t":)" + std::to_string(t) +
                                      R"(,"v":)" + std::to_string(v) + "}";
            REQUIRE(world.in("o", "x", value).ok());
            CHECK(world.imbalance() == "");
        };
        in("1", 1'000, 1);
        in("1", 2'000, 0);
        in("null", 2'500, 1);
        in("1", 3'000, 9);
        world.epoch();
        in("1", 20'000, 2);
        in("1", 1'000, 1);
        in("1", 40'000, 1);
        CHECK(world.counters.streams[1].dead_lettered > 0);
        const uint64_t held = world.records()[1];
        world.crash();
        CHECK(world.imbalance() == "");
        CHECK(world.records()[1] == held);
        const StreamCounters& joined = world.counters.streams[1];
        CHECK(joined.late == 2);
        CHECK(joined.expired > 0);
        world.epoch();
        world.crash();
        CHECK(world.imbalance() == "");
        in("1", 90'000, 1);
        REQUIRE(world.shard->advance_watermark(kEndOfTime, 0, world.sink).ok());
        CHECK(world.imbalance() == "");
        CHECK(world.records() == std::vector<uint64_t>{0, 0, 0});
        Counters wrong = world.counters;
        --wrong.streams[1].expired;
        CHECK(world.ledger.state_imbalance(wrong, world.records()) != "");
    }
}

TEST_CASE("the ledger finds each record that is not where it should be") {
    World world(pipeline("{tumbling: 10s}"));
    feed(world);
    const Ledger ledger(*world.plan);
    REQUIRE(ledger.imbalance(world.counters) == "");
    const auto wrong = [&](const auto& change) {
        Counters changed = world.counters;
        change(changed);
        return ledger.imbalance(changed);
    };
    // In the buckets …
    CHECK(wrong([](Counters& c) { --c.sources[0].delivered; }) ==
          "source o: 8 records were read, 7 are in its buckets");
    CHECK(wrong([](Counters& c) { --c.sources[0].dead_lettered; }) != "");
    CHECK(wrong([](Counters& c) { --c.sources[0].timestamp_errors; }) ==
          "source o: 2 records were not delivered, 1 of them for a reason");
    CHECK(wrong([](Counters& c) { --c.streams[0].filtered; }) != "");
    CHECK(wrong([](Counters& c) { --c.streams[0].expanded; }) != "");
    CHECK(wrong([](Counters& c) { --c.streams[1].emitted; }) != "");
    CHECK(wrong([](Counters& c) { --c.streams[1].unrouted; }) != "");
    CHECK(wrong([](Counters& c) { --c.streams[2].merged; }) != "");
    CHECK(wrong([](Counters& c) { ++c.streams[2].out[0]; }) != "");
    // … and on the way from one to the next: from a source, a stream, an aggregate's late rows.
    const auto lose = [](StreamCounters& stream, uint64_t& bucket) {
        --stream.in;
        --bucket;
    };
    CHECK(wrong([&](Counters& c) { lose(c.streams[0], c.streams[0].filtered); }) ==
          "stream good: 5 rows were handed to it, 4 arrived");
    CHECK(wrong([&](Counters& c) { lose(c.streams[1], c.streams[1].unrouted); }) != "");
    CHECK(wrong([&](Counters& c) { lose(c.streams[2], c.streams[2].merged); }) != "");
    CHECK(wrong([&](Counters& c) {
              lose(c.streams[3], c.streams[3].emitted);
              --c.streams[3].out[0];
          }) != "");
}

TEST_CASE("the ledger finds records that went out of the state, also over a restart") {
    World world(pipeline("{tumbling: 10s}"));
    feed(world);
    Ledger ledger(*world.plan);
    std::vector<uint64_t> none(4);
    CHECK(ledger.state_imbalance(Counters(*world.plan), none) == "");
    std::vector<uint64_t> held = world.records();
    CHECK(ledger.state_imbalance(world.counters, held) == "");
    --held[2];
    CHECK(ledger.state_imbalance(world.counters, held) ==
          "stream sums: its state should hold 2 records, it holds 1");
    // What was held before this process counted does not matter.
    Ledger later(*world.plan);
    CHECK(later.state_imbalance(Counters(*world.plan), held) == "");
    Counters counters(*world.plan);
    counters.streams[2].merged = 5;
    counters.streams[2].released = 2;
    held[2] += 3;
    CHECK(later.state_imbalance(counters, held) == "");
}

TEST_CASE("a record without a value has no field that its key could contradict") {
    World world(
        "name: p\nkafka: {bootstrap.servers: \"b:9092\"}\nsources: {o: {topic: o, keyed_by: k}}\n"
        "streams: {s: {from: o, steps: [{filter: k IS NULL}], to: out}}\n");
    const auto offset_64 = [&](Record record) {
        std::vector<Record> records(64, Record{"a", R"({"k":"a"})", 0, {}});
        records.front() = std::move(record);
        REQUIRE(world.in("o", std::move(records)).ok());
    };
    offset_64({"a", std::nullopt, 0, {}});
    CHECK(world.counters.sources[0].key_mismatches == 0);
    offset_64({"a", R"({"k":"b"})", 0, {}});
    CHECK(world.counters.sources[0].key_mismatches == 1);
}

}  // namespace
}  // namespace weir::processor
