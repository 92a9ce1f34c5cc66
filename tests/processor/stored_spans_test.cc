// Windows that their records make, on disk: the same results as in memory, in the same order, out of little
// memory.
#include <algorithm>
#include <random>

#include "fixture.h"
#include "memory_and_disk.h"

namespace weir::processor {
namespace {

std::string held(const std::string& step, const std::string& rest, bool on_disk) {
    return "{" + step + ": {by: k, " + rest + (on_disk ? ", state: {backend: rocksdb}" : "") + "}}";
}

}  // namespace

// Goal: sessions, sliding and count windows say the same wherever their spans are, line by line, whatever
// calls they make, however they emit, wherever they are committed and crash. Method: both at once, step by
// step, mostly without a cache.
TEST_CASE("spans on disk say what spans in memory say") {
    const char* given = std::getenv("WEIR_SEED");
    const unsigned seed = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device{}();
    MESSAGE("replay: WEIR_SEED=" << seed << " processor_test -tc='spans on disk say*'");
    std::mt19937 random(seed);
    const auto draw = [&](int64_t low, int64_t high) {
        return std::uniform_int_distribution<int64_t>(low, high)(random);
    };
    const std::vector<std::string> windows{
        "{session: 500ms, grace: 1s}",  "{session: 2s}", "{session: 800ms, max: 2s, grace: 500ms}",
        "{sliding: 3s, grace: 1s}",     "{count: 4}",    "{session: 700ms, time: processing}"};
    const std::vector<std::string> emits{"on_close", "on_watermark", "{every: 700ms}", "on_update",
                                         "changes"};
    const std::vector<std::string> fields{"n: count(*), total: sum(v)", "n: count(distinct v)",
                                          "s: \"string_agg(w, ',')\", lo: min(w), hi: max(w)",
                                          "a: array_agg(v), f: first(w), l: last(w)"};
    for (int round = 0; round < 120; ++round) {
        const std::string& window = windows[static_cast<size_t>(round) % windows.size()];
        std::string emit = emits[static_cast<size_t>(round) / windows.size() % emits.size()];
        if (window == "{count: 4}" && emit == "on_watermark") emit = "changes";
        const std::string& field = fields[static_cast<size_t>(draw(0, 3))];
        CAPTURE(round);
        CAPTURE(window);
        CAPTURE(emit);
        CAPTURE(field);
        World memory(pipeline(aggregate(window, emit, false, field)));
        const auto plan = plan_of(pipeline(aggregate(window, emit, true, field)));
        if (draw(0, 2) > 0) without_cache(*plan);
        World disk(plan);
        live_both(memory, disk, random, in_order, false);
    }
}

TEST_CASE("rows held on disk are given as those in memory are") {
    std::mt19937 random(std::random_device{}());
    const std::vector<std::pair<std::string, std::string>> steps{
        {"dedupe", "within: 900ms, keep: last"},
        {"top_n", "n: 2, largest: v, as: rank, window: {session: 400ms, grace: 1s}"}};
    for (int round = 0; round < 40; ++round) {
        const auto& [step, rest] = steps[static_cast<size_t>(round) % steps.size()];
        CAPTURE(rest);
        World memory(pipeline(held(step, rest, false)));
        const auto plan = plan_of(pipeline(held(step, rest, true)));
        if (round % 3 != 0) without_cache(*plan);
        World disk(plan);
        live_both(memory, disk, random, in_order, false);
    }
}

// Goal: memory does not grow with the sessions, whether they come, go on, are shown or end one by one; nor
// does what is stored, once they have ended.
TEST_CASE("sessions on disk take little memory, however many there are") {
    constexpr size_t kCacheBytes = 256 << 10;
    constexpr int64_t kEpochKeys = 500;
    constexpr int64_t kEpochs = 60;
    for (const std::string emit : {"on_close", "{every: 1h}", "changes"}) {
        CAPTURE(emit);
        const auto plan = plan_of(pipeline(aggregate("{session: 1h}", emit, true)));
        for (Stage& stage : const_cast<Graph&>(*plan->graph).stages) stage.cache_bytes = kCacheBytes;
        World world(plan);
        uint64_t most = 0;
        for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
            std::vector<Record> run;
            for (int64_t i = 0; i < kEpochKeys; ++i)
                run.push_back(record(epoch * kEpochKeys + i, 1'000 + epoch, 1));
            REQUIRE(world.in("o", run).ok());
            most = std::max(most, world.shard->status().stages[0].state_bytes);
            CHECK(world.shard->changed_bytes() > kEpochKeys * 50);  // So a worker knows when to commit.
            world.epoch();
            CHECK(world.shard->changed_bytes() == 0);
            world.sink.outputs.clear();
        }
        constexpr uint64_t kKeys = kEpochs * kEpochKeys;
        CHECK(world.shard->status().stages[0].groups == kKeys);
        CHECK(most < 4 * kCacheBytes);
        world.crash();
        CHECK(world.shard->status().stages[0].open_windows == kKeys);
        CHECK(world.shard->status().stages[0].state_bytes < kCacheBytes);
        if (emit == std::string("changes")) continue;
        world.advance(3'600'000);  // Shows what changed, …
        world.epoch();             // … which early results of sessions remember.
        CHECK(world.shard->status().stages[0].state_bytes < kCacheBytes);
        world.sink.outputs.clear();
        // Hour by hour a part of them ends.
        for (int64_t time = 3'600'000; time < 3'600'000 + 70; time += 3) {
            REQUIRE(world.shard->advance_watermark(time, 0, world.sink).ok());
            CHECK(world.shard->status().stages[0].state_bytes < 4 * kCacheBytes);
            world.epoch();
        }
        REQUIRE(world.shard->advance_watermark(kEndOfTime, 0, world.sink).ok());
        world.epoch();
        CHECK(world.sink.outputs.size() == kKeys);
        CHECK(world.imbalance() == "");
        CHECK(world.stored_entries() <= 2);  // The clocks and the totals.
    }
}

// Goal: a session that goes on costs one row per epoch; the row that says when it ends moves once per gap.
TEST_CASE("a session on disk that goes on does not write each time when it ends") {
    const auto plan = plan_of(pipeline(aggregate("{session: 10s}", "on_close", true)));
    without_cache(*plan);
    World world(plan);
    const uint32_t keys = plan->graph->stages[0].table + kPaneTable;
    size_t moves = 0;
    for (int64_t time = 10'000; time < 110'000; time += 1'000) {
        REQUIRE(world.in("o", {record(1, time, 1)}).ok());
        world.epoch();
        moves += world.last_puts(keys, "d");
    }
    CHECK(moves >= 5);
    CHECK(moves <= 15);
    REQUIRE(world.in("o", {record(2, 200'000, 1)}).ok());
    REQUIRE(world.sink.outputs.size() == 1);
    CHECK(world.sink.outputs[0].value.find("\"n\":100") != std::string::npos);
}

// Goal: a record that changes the results at many later event times writes one row all the same.
TEST_CASE("early results of sliding windows write what came, not what was shown") {
    for (const bool on_disk : {false, true}) {
        World world(pipeline(aggregate("{sliding: 10s}", "on_update", on_disk)));
        std::vector<Record> run;
        for (int64_t time = 10'000; time < 15'000; time += 100) run.push_back(record(1, time, 1));
        REQUIRE(world.in("o", run).ok());
        world.epoch();
        const size_t shown = world.sink.outputs.size();
        REQUIRE(world.in("o", {record(1, 13'050, 1)}).ok());
        world.epoch();
        CHECK(world.sink.outputs.size() == shown + 20);
        CHECK(world.last_puts(world.plan->graph->stages[0].table, {}) <= 2);  // With the clocks.
    }
}

#if WEIR_ROCKSDB

// Goal: what a store in memory plays is what RocksDB does.
TEST_CASE("sessions in RocksDB say what sessions in memory say") {
    CHECK(live_in_rocksdb("{session: 2s, grace: 1s}", 60, in_order) > 3'000);
}

#endif

TEST_CASE("a disk that fails to read a session ends the run with its error") {
    check_failing_reads("{session: 4s}");
}

}  // namespace weir::processor
