// The same pipeline in memory and on disk: what both are given, and how what they say is compared.
#pragma once

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "fixture.h"
#include "processor/question.h"
#include "tests/state/rocksdb_folder.h"
#include "tests/state/troubled_row_stores.h"

namespace weir::processor {

inline std::string pipeline(const std::string& step) {
    return "name: p\nkafka: {bootstrap.servers: \"b:9092\"}\n"
           "sources: {o: {topic: o, keyed_by: k, timestamp: t, "
           "watermark: {max_delay: 2s, idle_timeout: 5s}}}\nstreams:\n  s: {from: o, steps: [" +
           step + "], to: out}\n  l: {from: s.late, to: late}\n";
}

inline std::string aggregate(const std::string& window, const std::string& emit, bool on_disk,
                             const std::string& fields = "n: count(*)") {
    return "{aggregate: {by: k, window: " + window + ", emit: " + emit +
           (on_disk ? ", state: {backend: rocksdb}" : "") + ", fields: {" + fields + "}}}";
}

inline Record record(int64_t key, int64_t time, int64_t value) {
    const std::string name = "k" + std::to_string(key);
    return {name,
            R"({"k":")" + name + R"(","t":)" + std::to_string(time) + R"(,"v":)" + std::to_string(value) +
                R"(,"w":"w)" + std::to_string(value % 7) + R"("})",
            0,
            {}};
}

// Its topic and borders.
inline std::string window_of(const Output& output) {
    const size_t at = output.value.find("\"window_start\"");
    if (at == std::string::npos) return output.topic;
    const size_t end = output.value.find(',', output.value.find(',', at) + 1);
    return output.topic + output.value.substr(at, end - at);
}

inline std::string whole_line(const Output& output) {
    std::string line = output.line() + " " + std::to_string(output.timestamp_ms);
    for (const auto& [name, value] : output.headers) line += " " + name + "=" + value;
    return line;
}

inline std::vector<std::string> in_order(const World& world) {
    std::vector<std::string> lines;
    for (const Output& output : world.sink.outputs) lines.push_back(whole_line(output));
    return lines;
}

// Outputs in their order, but those of one window that follow each other sorted: on disk groups come in the
// order of their keys.
inline std::vector<std::string> by_window(const World& world) {
    std::vector<std::string> lines;
    size_t first = 0;
    for (size_t i = 0; i < world.sink.outputs.size(); ++i) {
        const Output& output = world.sink.outputs[i];
        if (i > 0 && window_of(output) != window_of(world.sink.outputs[i - 1])) first = i;
        const std::string line = whole_line(output);
        const auto window = lines.begin() + static_cast<ptrdiff_t>(first);
        lines.insert(std::upper_bound(window, lines.end(), line), line);
    }
    return lines;
}

// The same of a world in memory and one on disk.
inline void check_same(World& memory, World& disk) {
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
    for (size_t i = 0; i < open_on_disk.size(); ++i) {
        CHECK(open_on_disk[i].window.start == open_in_memory[i].window.start);
        CHECK(open_on_disk[i].window.records == open_in_memory[i].window.records);
        CHECK(open_on_disk[i].window.closes_at == open_in_memory[i].window.closes_at);
    }
}

// Both live through the same records, waits, commits and crashes, and to the end of their input; `lines` are
// what is compared of their outputs. `in_slices`: sometimes an epoch gives one group of what is due; only
// where that cuts the input at the same places in both.
template <class Lines>
void live_both(World& memory, World& disk, std::mt19937& random, const Lines& lines, bool in_slices) {
    const auto draw = [&](int64_t low, int64_t high) {
        return std::uniform_int_distribution<int64_t>(low, high)(random);
    };
    const auto both = [&](const auto& act) {
        act(memory);
        act(disk);
    };
    if (in_slices && draw(0, 1) == 0) {
        const bool crashing = draw(0, 1) == 0;
        both([&](World& world) {
            world.close_in_slices(1, crashing);
            world.crash();
        });
    }
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
        REQUIRE(lines(disk) == lines(memory));
        check_same(memory, disk);
    }
    both([](World& world) {
        world.end();
        world.epoch();
    });
    CHECK(lines(disk) == lines(memory));
    CHECK(disk.slices() == memory.slices());
    CHECK(disk.imbalance() == "");
}

#if WEIR_ROCKSDB

// An aggregate on disk, in a real RocksDB, and one in memory: `steps` times 200 records, commits, waits and a
// restart now and then. The number of outputs.
template <class Lines>
size_t live_in_rocksdb(const std::string& window, int steps, const Lines& lines) {
    state::RocksDbFolder folder;
    const auto stores = folder.stores();
    std::mt19937 random(7);
    const auto draw = [&](int64_t below) { return static_cast<int64_t>(random()) % below; };
    const std::string fields = "n: count(*), d: count(distinct v)";
    World memory(pipeline(aggregate(window, "{every: 700ms}", false, fields)));
    const auto plan = plan_of(pipeline(aggregate(window, "{every: 700ms}", true, fields)));
    without_cache(*plan);
    World disk(plan);
    disk.stores = stores.get();
    disk.crash();
    memory.crash();
    int64_t base = 10'000;
    for (int step = 0; step < steps; ++step) {
        std::vector<Record> run;
        for (int i = 0; i < 200; ++i, base += 15)
            run.push_back(record(draw(300), base - draw(4'000), draw(40)));
        for (World* const world : {&memory, &disk}) {
            REQUIRE(world->in("o", run).ok());
            world->epoch();
            world->advance(200);
            if (step % 20 == 19) world->crash();
        }
        REQUIRE(lines(disk) == lines(memory));
    }
    return disk.sink.outputs.size();
}

#endif

// A record needs a row that the disk does not give: the run ends with the disk's error, and nothing is said.
inline void check_failing_reads(const std::string& window) {
    for (const bool scanning : {false, true}) {
        const auto plan = plan_of(pipeline(aggregate(window, "on_close", true)));
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
