// Aggregates on disk: the same results as in memory, out of little memory, and no failure of the disk that
// nobody hears of.
#include <algorithm>
#include <random>

#include "fixture.h"
#include "memory_and_disk.h"

namespace weir::processor {

// Goal: an aggregate says the same wherever its groups are, and in the same order of windows, whatever calls
// it makes, however it emits, wherever it is committed and crashes. Method: both at once, step by step.
TEST_CASE("windows on disk say what windows in memory say") {
    const char* given = std::getenv("WEIR_SEED");
    const unsigned seed = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device{}();
    MESSAGE("replay: WEIR_SEED=" << seed << " processor_test -tc='windows on disk say*'");
    std::mt19937 random(seed);
    const auto draw = [&](int64_t low, int64_t high) {
        return std::uniform_int_distribution<int64_t>(low, high)(random);
    };
    const std::vector<std::string> windows{
        "{tumbling: 4s, grace: 1s}", "{hopping: {size: 6s, step: 2s}, grace: 1s}",
        "{cumulate: {size: 8s, step: 2s}}", "none", "{tumbling: 3s, time: processing}"};
    const std::vector<std::string> emits{"on_close", "on_watermark", "{every: 700ms}", "on_update",
                                         "changes"};
    const std::vector<std::string> fields{"n: count(*), total: sum(v)", "n: count(distinct v)",
                                          "s: \"string_agg(w, ',')\", lo: min(w), hi: max(w)",
                                          "a: array_agg(v), f: first(w), l: last(w)",
                                          "o: \"jsonb_object_agg(w, v)\", n: avg(v)"};
    for (int round = 0; round < 100; ++round) {
        const std::string& window = windows[static_cast<size_t>(round) % windows.size()];
        std::string emit = emits[static_cast<size_t>(round) / windows.size() % emits.size()];
        if (window == "none" && emit == "on_close") emit = "on_update";
        if (window == "none" && emit == "on_watermark") emit = "changes";
        const std::string& field = fields[static_cast<size_t>(draw(0, 4))];
        CAPTURE(round);
        CAPTURE(window);
        CAPTURE(emit);
        CAPTURE(field);
        World memory(pipeline(aggregate(window, emit, false, field)));
        const auto plan = plan_of(pipeline(aggregate(window, emit, true, field)));
        if (draw(0, 2) > 0) without_cache(*plan);
        World disk(plan);
        live_both(memory, disk, random, by_window, true);
        CHECK(disk.stored_entries() <= memory.stored_entries() + 1);
    }
}

TEST_CASE("groups of a window on disk come in the order of their keys") {
    World world(pipeline(aggregate("{tumbling: 4s}", "on_close", true)));
    REQUIRE(world.in("o", {record(3, 1'000, 1), record(1, 1'500, 1)}).ok());
    world.epoch();
    world.crash();
    REQUIRE(world.in("o", {record(2, 1'800, 1), record(9, 20'000, 1)}).ok());
    CHECK(world.lines() == std::vector<std::string>{
                               R"(out k1 {"k":"k1","window_start":0,"window_end":4000,"n":1})",
                               R"(out k2 {"k":"k2","window_start":0,"window_end":4000,"n":1})",
                               R"(out k3 {"k":"k3","window_start":0,"window_end":4000,"n":1})"});
}

// Goal: memory does not grow with the groups, whether they come, change, are shown or their window closes.
TEST_CASE("windows on disk take little memory, however many groups they have") {
    constexpr size_t kCacheBytes = 256 << 10;
    constexpr int64_t kEpochGroups = 500;
    constexpr int64_t kEpochs = 100;
    for (const auto& [window, emit] :
         {std::pair("{tumbling: 1h}", "on_close"), std::pair("none", "{every: 1h}"),
          std::pair("none", "changes")}) {
        CAPTURE(window);
        CAPTURE(emit);
        const auto plan = plan_of(pipeline(aggregate(window, emit, true)));
        for (Stage& stage : const_cast<Graph&>(*plan->graph).stages) stage.cache_bytes = kCacheBytes;
        World world(plan);
        uint64_t most = 0;
        for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
            std::vector<Record> run;
            for (int64_t i = 0; i < kEpochGroups; ++i)
                run.push_back(record(epoch * kEpochGroups + i, 1'000, 1));
            REQUIRE(world.in("o", run).ok());
            most = std::max(most, world.shard->status().stages[0].state_bytes);
            CHECK(world.shard->changed_bytes() > kEpochGroups * 50);  // So a worker knows when to commit.
            world.epoch();
            CHECK(world.shard->changed_bytes() == 0);
            world.sink.outputs.clear();
        }
        CHECK(world.shard->status().stages[0].groups == kEpochs * kEpochGroups);
        CHECK(world.shard->status().stages[0].records == kEpochs * kEpochGroups);
        CHECK(most < 4 * kCacheBytes);
        world.crash();
        CHECK(world.shard->status().stages[0].groups == kEpochs * kEpochGroups);
        CHECK(world.shard->status().stages[0].state_bytes < kCacheBytes);
        if (emit == std::string("changes")) continue;
        world.advance(3'600'000);
        REQUIRE(world.shard->advance_watermark(kEndOfTime, 0, world.sink).ok());
        CHECK(world.sink.outputs.size() == kEpochs * kEpochGroups);
        CHECK(world.shard->status().stages[0].state_bytes < 4 * kCacheBytes);
        CHECK(world.imbalance() == "");
    }
}

#if WEIR_ROCKSDB

// Goal: what a store in memory plays is what RocksDB does: ranges that are erased, rows in order, restarts.
TEST_CASE("windows in RocksDB say what windows in memory say") {
    CHECK(live_in_rocksdb("{hopping: {size: 6s, step: 2s}, grace: 1s}", 80, by_window) > 10'000);
}

#endif

TEST_CASE("a disk that fails to read ends the run with its error") {
    check_failing_reads("{tumbling: 4s}");
}

}  // namespace weir::processor
