// Aggregates on disk: the same results as in memory, out of little memory, and no failure of the disk that
// nobody hears of.
#include <algorithm>
#include <random>

#include "fixture.h"
#include "processor/question.h"
#include "tests/state/rocksdb_folder.h"
#include "tests/state/troubled_row_stores.h"

namespace weir::processor {
namespace {

std::string pipeline(const std::string& step) {
    return "name: p\nkafka: {bootstrap.servers: \"b:9092\"}\n"
           "sources: {o: {topic: o, keyed_by: k, timestamp: t, "
           "watermark: {max_delay: 2s, idle_timeout: 5s}}}\nstreams:\n  s: {from: o, steps: [" +
           step + "], to: out}\n  l: {from: s.late, to: late}\n";
}

std::string aggregate(const std::string& window, const std::string& emit, bool on_disk,
                      const std::string& fields = "n: count(*)") {
    return "{aggregate: {by: k, window: " + window + ", emit: " + emit +
           (on_disk ? ", state: {backend: rocksdb}" : "") + ", fields: {" + fields + "}}}";
}

Record record(int64_t key, int64_t time, int64_t value) {
    const std::string name = "k" + std::to_string(key);
    return {name,
            R"({"k":")" + name + R"(","t":)" + std::to_string(time) + R"(,"v":)" + std::to_string(value) +
                R"(,"w":"w)" + std::to_string(value % 7) + R"("})",
            0,
            {}};
}

// Its topic and borders.
std::string window_of(const Output& output) {
    const size_t at = output.value.find("\"window_start\"");
    if (at == std::string::npos) return output.topic;
    const size_t end = output.value.find(',', output.value.find(',', at) + 1);
    return output.topic + output.value.substr(at, end - at);
}

// Outputs in their order, but those of one window that follow each other sorted: on disk groups come in the
// order of their keys.
std::vector<std::string> by_window(const World& world) {
    std::vector<std::string> lines;
    size_t first = 0;
    for (size_t i = 0; i < world.sink.outputs.size(); ++i) {
        const Output& output = world.sink.outputs[i];
        if (i > 0 && window_of(output) != window_of(world.sink.outputs[i - 1])) first = i;
        std::string line = output.line() + " " + std::to_string(output.timestamp_ms);
        for (const auto& [name, value] : output.headers) line += " " + name + "=" + value;
        const auto window = lines.begin() + static_cast<ptrdiff_t>(first);
        lines.insert(std::upper_bound(window, lines.end(), line), line);
    }
    return lines;
}

}  // namespace

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
        const auto both = [&](const auto& act) {
            act(memory);
            act(disk);
        };
        const int64_t keys = draw(1, 40);
        int64_t base = 10'000;
        for (int step = 0; step < 60; ++step) {
            const int64_t what = draw(0, 9);
            if (what < 5) {
                std::vector<Record> run;
                for (int64_t i = 0, n = draw(1, 30); i < n; ++i, base += 60)
                    run.push_back(record(draw(0, keys), base + draw(-4'000, 0), draw(-20, 20)));
                both([&](World& world) { REQUIRE(world.in("o", run).ok()); });
            } else if (what == 5) {
                const int64_t wait_ms = draw(0, 900);
                both([&](World& world) { world.advance(wait_ms); });
            } else if (what < 9) {
                both([](World& world) { world.epoch(); });
            } else {
                both([](World& world) { world.crash(); });
            }
            REQUIRE(by_window(disk) == by_window(memory));
            const ShardStatus in_memory = memory.shard->status();
            const ShardStatus on_disk = disk.shard->status();
            CHECK(on_disk.stages[0].groups == in_memory.stages[0].groups);
            CHECK(on_disk.stages[0].records == in_memory.stages[0].records);
            CHECK(on_disk.stages[0].open_windows == in_memory.stages[0].open_windows);
            CHECK(on_disk.stages[0].next_due == in_memory.stages[0].next_due);
            CHECK(on_disk.stages[0].shown_at_wall_ms == in_memory.stages[0].shown_at_wall_ms);
            CHECK(disk.imbalance() == "");
            OpenWindows open_in_memory;
            OpenWindows open_on_disk;
            memory.shard->append_open_windows({0, "k1"}, open_in_memory);
            disk.shard->append_open_windows({0, "k1"}, open_on_disk);
            REQUIRE(open_on_disk.size() == open_in_memory.size());
            for (size_t i = 0; i < open_on_disk.size(); ++i)
                CHECK(open_on_disk[i].window.records == open_in_memory[i].window.records);
        }
        both([](World& world) {
            REQUIRE(world.shard->advance_watermark(kEndOfTime, 0, world.sink).ok());
            world.epoch();
        });
        CHECK(by_window(disk) == by_window(memory));
        CHECK(disk.imbalance() == "");
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
    state::RocksDbFolder folder;
    const auto stores = folder.stores();
    std::mt19937 random(7);
    const auto draw = [&](int64_t below) { return static_cast<int64_t>(random()) % below; };
    const std::string fields = "n: count(*), d: count(distinct v)";
    const std::string hopping = "{hopping: {size: 6s, step: 2s}, grace: 1s}";
    World memory(pipeline(aggregate(hopping, "{every: 700ms}", false, fields)));
    const auto plan = plan_of(pipeline(aggregate(hopping, "{every: 700ms}", true, fields)));
    without_cache(*plan);
    World disk(plan);
    disk.stores = stores.get();
    disk.crash();
    memory.crash();
    int64_t base = 10'000;
    for (int step = 0; step < 80; ++step) {
        std::vector<Record> run;
        for (int i = 0; i < 200; ++i, base += 15)
            run.push_back(record(draw(300), base - draw(4'000), draw(40)));
        for (World* const world : {&memory, &disk}) {
            REQUIRE(world->in("o", run).ok());
            world->epoch();
            world->advance(200);
            if (step % 20 == 19) world->crash();
        }
        REQUIRE(by_window(disk) == by_window(memory));
    }
    CHECK(disk.sink.outputs.size() > 10'000);
}

#endif

TEST_CASE("a disk that fails to read ends the run with its error") {
    for (const bool scanning : {false, true}) {
        const auto plan = plan_of(pipeline(aggregate("{tumbling: 4s}", "on_close", true)));
        without_cache(*plan);
        World world(plan);
        state::TroubledRowStores trouble(world.row_stores);
        world.stores = &trouble;
        REQUIRE(world.in("o", {record(1, 1'000, 1)}).ok());
        world.epoch();
        world.crash();
        world.apply_rows();
        (scanning ? trouble.scanning : trouble.finding) = Code::kIo;
        const auto done = world.in("o", {record(1, scanning ? 50'000 : 1'500, 1)});
        REQUIRE(!done.ok());
        CHECK(done.error().code == Code::kIo);
        CHECK(world.sink.outputs.empty());
        world.shard.reset();
    }
}

}  // namespace weir::processor
