// Joins whose buffers are on disk.
#include <array>
#include <memory>
#include <optional>

#include "join_model.h"
#include "processor/graph.h"
#include "tests/state/rocksdb_folder.h"
#include "tests/state/troubled_row_stores.h"

namespace weir::processor {
namespace {

// The plan with the join's buffers on disk, of which `cache_bytes` are in memory.
std::shared_ptr<const Plan> on_disk(const std::shared_ptr<const Plan>& plan, size_t cache_bytes) {
    const_cast<Graph&>(*plan->graph).stages[0].cache_bytes = cache_bytes;
    return plan;
}

// Goal: on disk a join gives the same, in the same order, as in memory, and leaves nothing behind, however
// little of its buffers is in memory. Method: both live through the same commits and crashes; row stores lose
// in a crash what they had not written out.
TEST_CASE("joins on disk against a naive model, and those in memory") {
    Comparison comparison("joins on disk*");
    const std::vector<std::string> kinds{"inner", "left", "right", "full"};
    const std::vector<std::string> ways{"within",   "window",  "within",  "hopping",
                                        "backward", "session", "forward", "nearest"};
    for (size_t round = 0; round < 224; ++round) {
        const std::string& way = ways[round / kinds.size() % ways.size()];
        const Case input = comparison.draw_case(kinds[round % kinds.size()], way);
        CAPTURE(round);
        CAPTURE(input.kind);
        CAPTURE(input.by);
        const int64_t wall_ms = input.events.back().time + 10'000'000;
        // All of it, some, or only what the open epoch has.
        const size_t cache_bytes = std::array<size_t, 4>{1 << 20, 30'000, 8'000, 0}[round % 7 % 4];
        World world(on_disk(plan_of(input.yaml(true)), cache_bytes), wall_ms);
        World twin(plan_of(input.yaml()), wall_ms);
        comparison.run(input, world, &twin);
        world.apply_rows();
        std::vector<state::RowStore*> stores;
        world.shard->append_row_stores(stores);
        REQUIRE(stores.size() == 1);
        CHECK(stores[0]->rows() == (input.by == "session" ? 2 : 1));  // The clock, and how many sessions.
    }
    CHECK(comparison.late > 0);
    CHECK(comparison.unmatched > 0);
}

// Goal: with a real RocksDB, too. Method: as above, with fewer cases.
#if WEIR_ROCKSDB
TEST_CASE("joins in RocksDB against a naive model, and those in memory") {
    Comparison comparison("joins in RocksDB*");
    size_t round = 0;
    for (const std::string kind : {"inner", "left", "full"}) {
        for (const std::string by : {"within", "window", "hopping", "session", "nearest"}) {
            const Case input = comparison.draw_case(kind, by);
            CAPTURE(input.kind);
            CAPTURE(input.by);
            state::RocksDbFolder folder;
            const auto stores = folder.stores();
            const int64_t wall_ms = input.events.back().time + 10'000'000;
            World world(on_disk(plan_of(input.yaml(true)), ++round % 2 * 8'000), wall_ms);
            World twin(plan_of(input.yaml()), wall_ms);
            world.stores = stores.get();
            world.crash();
            comparison.run(input, world, &twin);
            world.shard.reset();
        }
    }
}
#endif

constexpr const char* kJoin = R"(
name: p
kafka: {bootstrap.servers: "b:9092"}
sources:
  l: {topic: l, keyed_by: k, timestamp: t, watermark: 0s}
  r: {topic: r, keyed_by: k, timestamp: t, watermark: 0s}
streams:
  j:
    join: {left: l, right: r, kind: full, match: l.k = r.k, within: 24h, state: {backend: rocksdb}}
    steps: [{map: {l: l.id, r: r.id}}]
    to: out
)";

// Goal: windows that close within a run are told of a record that is on disk, although a later record of that
// run is its partner in the windows after them.
TEST_CASE("a record on disk leaves windows without a partner that close just before it finds one") {
    for (const bool disk : {false, true}) {
        CAPTURE(disk);
        World world(on_disk(plan_of(std::string(R"(
name: p
kafka: {bootstrap.servers: "b:9092"}
sources:
  l: {topic: l, keyed_by: k, timestamp: t, watermark: 0s}
  r: {topic: r, keyed_by: k, timestamp: t, watermark: 0s}
streams:
  j:
    join: {left: l, right: r, kind: right, match: l.k = r.k, window: {hopping: {size: 4s, step: 1s}})") +
                                    (disk ? ", state: {backend: rocksdb}}" : "}") + R"(
    steps: [{map: {s: window_start, l: l.id, r: r.id}}]
    to: out
)"),
                            0),
                    100'000'000);
        REQUIRE(world.in("r", "1", R"({"id":1,"k":1,"t":10000})").ok());
        REQUIRE(world.in("r", "9", R"({"id":9,"k":9,"t":20000})").ok());
        world.epoch();
        world.apply_rows();
        REQUIRE(world.in("l", {Record{"7", R"({"id":2,"k":7,"t":12500})", 0, {}},
                               Record{"1", R"({"id":3,"k":1,"t":9500})", 0, {}}})
                    .ok());
        world.epoch();
        world.crash();
        REQUIRE(world.in("l", "7", R"({"id":4,"k":7,"t":14000})").ok());
        std::string lines;
        for (const std::string& line : world.lines()) lines += line + '\n';
        CHECK(lines == R"(out 1 {"s":9000,"l":3,"r":1}
out 1 {"s":7000,"l":null,"r":1}
out 1 {"s":8000,"l":null,"r":1}
out 1 {"s":10000,"l":null,"r":1}
)");
    }
}

// Goal: what is kept in memory does not grow with what waits.
TEST_CASE("a join on disk holds no more of a hundred times as many records in memory") {
    const auto most_bytes = [](int64_t records) {
        uint64_t most = 0;
        World world(on_disk(plan_of(kJoin), 128 << 10), 100'000'000);
        for (int64_t i = 0; i < records;) {
            std::vector<Record> run;
            for (int64_t end = i + 500; i < end; ++i)
                run.push_back({std::to_string(i), Event{0, i, 1'000'000 + i * 100, i, 0}.json(), 0, {}});
            REQUIRE(world.in("l", std::move(run)).ok());
            most = std::max(most, world.shard->status().stages[0].state_bytes);
            // The worker commits when it is much.
            CHECK(world.shard->changed_bytes() > 500 * 20);
            world.epoch();
            CHECK(world.shard->changed_bytes() == 0);
            world.apply_rows();
        }
        CHECK(world.shard->status().stages[0].groups == static_cast<uint64_t>(records));
        return most;
    };
    const uint64_t few = most_bytes(1'000);
    const uint64_t many = most_bytes(100'000);
    CHECK(few > 10'000);
    CHECK(many < 300'000);
}

TEST_CASE("a join on disk stops when a pair, a record that leaves or a question cannot be read") {
    const auto join = [](const std::string& how) {
        std::string yaml = kJoin;
        return yaml.replace(yaml.find("within: 24h"), 11, how);
    };
    const std::array joins{join("within: 24h"), join("window: {hopping: {size: 4s, step: 1s}}"),
                           join("window: {session: 1h}")};
    for (size_t i = 0; i < 9; ++i) {
        const std::string reading = std::array{"a pair", "what leaves", "a question"}[i / 3];
        CAPTURE(i % 3);
        CAPTURE(reading);
        state::MemoryRowStores rows;
        state::TroubledRowStores stores(rows);
        World world(on_disk(plan_of(joins[i % 3]), 0));
        world.stores = &stores;
        world.crash();
        REQUIRE(world.in("l", "1", Event{0, 1, 1'000'000, 1, 0}.json()).ok());
        world.epoch();
        world.apply_rows();
        stores.finding = stores.scanning = Code::kIo;
        Result<void> done;
        if (reading == "a pair") done = world.in("r", "1", Event{1, 2, 1'000'000, 1, 0}.json());
        if (reading == "a question") {
            OpenWindows windows;
            world.shard->append_open_windows({0, "1"}, windows);
        }
        if (reading != "a pair") done = world.shard->advance_watermark(kEndOfTime, 0, world.sink);
        REQUIRE_FALSE(done.ok());
        CHECK(done.error().code == Code::kIo);
    }
}

}  // namespace
}  // namespace weir::processor
