// Groups that are brought together through an internal topic: several workers over one broker, checked
// against a model that knows nothing of topics, watermarks under way, or commits.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/time.h"
#include "cluster.h"
#include "cmd/waiting.h"

using namespace weir;
using worker::Cluster;
using worker::difference;
using worker::run_to_the_end;

namespace {

constexpr int64_t kBaseMs = 1'690'000'000'000;
constexpr int64_t kWindowMs = 10'000;
constexpr int64_t kDelayMs = 1'000;
constexpr const char* kInternal = "rp-sums-repartition";

constexpr const char* kPipeline = R"(
name: rp
kafka: {bootstrap.servers: none}
on_error: {dead_letter: dlq}
sources:
  orders:
    topic: orders
    keyed_by: k
    timestamp: t
    watermark: {max_delay: 1s, idle_timeout: 5s}
streams:
  sums:
    from: orders
    steps:
      - aggregate:
          by: c
          window: {tumbling: 10s}
          fields: {n: count(*), total: sum(v), largest: max(v)}
    to: sums
  late:
    from: sums.late
    to: late
)";

struct Input {
    int32_t partition;
    std::string customer;
    int64_t time;
    int64_t tenths;

    void append_to(connectors::MemoryBroker& broker) const {
        connectors::MemoryRecord record;
        record.key = "p" + std::to_string(partition);
        record.value = value();
        record.timestamp_ms = time;
        broker.append("orders", partition, record);
    }
    [[nodiscard]] std::string amount() const {
        return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10);
    }
    [[nodiscard]] std::string value() const {
        return "{\"k\":\"p" + std::to_string(partition) + "\",\"c\":\"" + customer +
               "\",\"t\":" + std::to_string(time) + ",\"v\":" + amount() + "}";
    }
};

// What must come out: each partition's watermark says alone which of its records are late.
struct Expected {
    std::vector<std::string> sums;
    std::vector<std::string> late;
};

Expected model(const std::vector<Input>& inputs) {
    struct Group {
        int64_t count = 0;
        int64_t tenths = 0;
        int64_t largest = 0;
    };
    std::map<int32_t, int64_t> newest;
    std::map<std::pair<int64_t, std::string>, Group> groups;
    Expected expected;
    for (const Input& input : inputs) {
        const int64_t start = input.time / kWindowMs * kWindowMs;
        const auto seen = newest.find(input.partition);
        if (seen != newest.end() && seen->second - kDelayMs >= start + kWindowMs) {
            expected.late.push_back("p" + std::to_string(input.partition) + " " + input.value());
            continue;
        }
        int64_t& latest = newest.try_emplace(input.partition, input.time).first->second;
        latest = std::max(latest, input.time);
        Group& group = groups[{start, input.customer}];
        ++group.count;
        group.tenths += input.tenths;
        group.largest = std::max(group.largest, input.tenths);
    }
    const auto decimal = [](int64_t tenths) {
        return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10);
    };
    for (const auto& [key, group] : groups)
        expected.sums.push_back(
            key.second + " {\"c\":\"" + key.second + "\",\"window_start\":" + std::to_string(key.first) +
            ",\"window_end\":" + std::to_string(key.first + kWindowMs) +
            ",\"n\":" + std::to_string(group.count) + ",\"total\":" + decimal(group.tenths) +
            ",\"largest\":" + decimal(group.largest) + "}");
    std::sort(expected.sums.begin(), expected.sums.end());
    std::sort(expected.late.begin(), expected.late.end());
    return expected;
}

// Times that go on with a little disorder in each partition, at its own speed; some records late by far.
std::vector<Input> some_inputs(std::mt19937_64& random, int32_t partitions, int count) {
    std::vector<int64_t> clocks(static_cast<size_t>(partitions), kBaseMs);
    std::vector<Input> inputs;
    for (int i = 0; i < count; ++i) {
        // Each partition has a record before anybody starts: an empty one holds nobody.
        const auto partition =
            i < partitions ? i : static_cast<int32_t>(random() % static_cast<uint64_t>(partitions));
        int64_t& clock = clocks[static_cast<size_t>(partition)];
        clock += static_cast<int64_t>(random() % (200 + 300 * static_cast<uint64_t>(partition)));
        int64_t time = clock - static_cast<int64_t>(random() % kDelayMs);
        if (i >= partitions && random() % 23 == 0) time -= 30'000;
        inputs.push_back(
            {partition, "c" + std::to_string(random() % 7), time, static_cast<int64_t>(random() % 1000)});
    }
    return inputs;
}

}  // namespace

// Goal: whatever the numbers of partitions and workers, and whoever crashes when, the groups are those of the
// records as they lie in their partitions: none lost, doubled or wrong, the late ones too.
TEST_CASE("repartition: equals the model, for any numbers of partitions and workers, with crashes") {
    const char* const given = std::getenv("WEIR_SEED");
    const uint64_t first = given != nullptr ? std::strtoull(given, nullptr, 10) : 1;
    const uint64_t last = given != nullptr ? first : 24;
    for (uint64_t seed = first; seed <= last; ++seed) {
        INFO("WEIR_SEED=" << seed << " worker_test -tc='repartition: equals*'");
        std::mt19937_64 random(seed);
        const auto up_to = [&](uint64_t most) { return static_cast<int32_t>(1 + random() % most); };
        const int32_t sources = up_to(4);
        const int32_t internal = up_to(4);
        const int32_t workers = up_to(3);
        const auto inputs = some_inputs(random, sources, 500);
        const Expected expected = model(inputs);
        Cluster cluster(kPipeline, sources, internal, workers);
        const uint64_t crash_every = seed % 3 == 0 ? 0 : seed % 3 == 1 ? 1 : 7;
        run_to_the_end(cluster, inputs, [&](int64_t turn) {
            if (crash_every != 0 && turn < 150 && static_cast<uint64_t>(turn) % crash_every == 0)
                cluster.crash(random() % static_cast<uint64_t>(workers));
        });
        REQUIRE(difference(expected.sums, cluster.read("sums")) == "");
        REQUIRE(difference(expected.late, cluster.read("late")) == "");
        CHECK(cluster.read("sums").size() == expected.sums.size());
        CHECK(cluster.broker.open_transactions() == 0);
        CHECK(expected.late.size() > 3);
        if (crash_every != 0) continue;
        // All that was handed to the internal topic was read from it.
        uint64_t written = 0;
        uint64_t read = 0;
        for (size_t slot = 0; slot < static_cast<size_t>(workers); ++slot) {
            const auto status = cluster.worker(slot).status();
            CHECK(status.ledger_imbalances == 0);
            written += status.counters.streams[0].repartitioned;
            read += status.counters.sources[1].delivered;
        }
        CHECK(written == inputs.size());
        CHECK(read == written);
    }
}

namespace {

connectors::MemoryRecord record_of(const std::string& value, int64_t time) {
    connectors::MemoryRecord record;
    record.key = "key";
    record.value = value;
    record.timestamp_ms = time;
    return record;
}

std::string order(const std::string& customer, int64_t time) {
    return "{\"c\":\"" + customer + "\",\"t\":" + std::to_string(time) + ",\"v\":1}";
}

void turns(Cluster& cluster, int count, int64_t milliseconds = 20) {
    for (int i = 0; i < count; ++i) cluster.turn(milliseconds);
}

// The watermark of the only stage in a shard of a worker.
EventTime stage_time(const Cluster& cluster, size_t slot, size_t shard) {
    return cluster.worker(slot).status().shards.at(shard).stages.at(0).watermark;
}

}  // namespace

// Goal: silence does not stall time downstream, a process that is down does, and it goes on when that is
// back.
TEST_CASE("repartition: a quiet shard holds nobody, a process that is down holds all") {
    Cluster cluster(kPipeline, 2, 2, 2);
    cluster.broker.append("orders", 0, record_of(order("a", kBaseMs), kBaseMs));
    cluster.broker.append("orders", 1, record_of(order("b", kBaseMs), kBaseMs));
    cluster.start(0);
    turns(cluster, 50);
    for (int64_t time = kBaseMs; time < kBaseMs + 30'000; time += 1'000) {
        cluster.broker.append("orders", 0, record_of(order("a", time), time));
        turns(cluster, 6);
    }
    // Nobody has heard of shard 1.
    CHECK(cluster.read("sums").empty());
    cluster.start(1);
    turns(cluster, 50);
    // It has, and shard 1 stands at its only record.
    CHECK(cluster.read("sums").empty());
    // Quiet for five seconds: from then on only shard 0 counts, which goes on.
    for (int64_t time = kBaseMs + 30'000; time < kBaseMs + 36'000; time += 100) {
        cluster.broker.append("orders", 0, record_of(order("a", time), time));
        turns(cluster, 1, 100);
    }
    turns(cluster, 20);
    const auto results = cluster.read("sums");
    CHECK(results.size() == 4);  // a in [0, 10), [10, 20), [20, 30); b in [0, 10).
    // All are quiet: time ticks, and the last window closes without a record.
    turns(cluster, 200, 100);
    CHECK(cluster.read("sums").size() == 5);
}

// Goal: records that are followed by silence before the next commit are not stuck behind the topic: no shard
// ever said that it holds, so nothing but where they stand tells the time.
TEST_CASE("repartition: input that is quiet again before the next commit") {
    std::string yaml = "commit_interval: 2s" + std::string(kPipeline);
    yaml.replace(yaml.find("idle_timeout: 5s"), 16, "idle_timeout: 1s");
    Cluster cluster(yaml, 2, 2, 2);
    for (const int32_t partition : {0, 1})
        cluster.broker.append("orders", partition, record_of(order("a", kBaseMs), kBaseMs));
    cluster.start();
    turns(cluster, 300, 100);
    CHECK(cluster.read("sums").size() == 1);
}

// Goal: a shard that said that it holds nobody and is gone then holds, so that what came for it meanwhile is
// not late.
TEST_CASE("repartition: a process that goes while its shard is quiet is waited for") {
    Cluster cluster(kPipeline, 2, 2, 2);
    const auto write = [&](int32_t partition, int64_t time) {
        cluster.broker.append("orders", partition, record_of(order(partition == 0 ? "a" : "b", time), time));
    };
    write(0, kBaseMs);
    write(1, kBaseMs);
    cluster.start();
    // Event time and the clock go alike; partition 1 is quiet from the first record on.
    int64_t time = kBaseMs;
    const auto go_on = [&](int64_t milliseconds) {
        for (const int64_t until = time + milliseconds; time < until; time += 100) {
            write(0, time);
            turns(cluster, 1, 100);
        }
    };
    go_on(15'000);
    CHECK(cluster.read("sums").size() == 2);  // Both in [0, 10): nobody waits for partition 1.
    cluster.stop(1);
    write(1, time);
    go_on(60'000);
    CHECK(cluster.read("sums").size() == 2);
    cluster.start(1);
    go_on(15'000);
    CHECK(cluster.read("late").empty());
    const auto sums = cluster.read("sums");
    CHECK(std::count_if(sums.begin(), sums.end(), [](const auto& line) { return line.starts_with("b"); }) ==
          2);
}

TEST_CASE("repartition: weir why names the shard that holds, and what holds that one") {
    Cluster cluster(kPipeline, 2, 2, 2);
    cluster.broker.append("orders", 0, record_of(order("a", kBaseMs), kBaseMs));
    cluster.broker.append("orders", 1, record_of(order("b", kBaseMs), kBaseMs));
    const auto held = [&](size_t slots) {
        cmd::AppStatus app;
        app.now_ms = cluster.clock.wall_ms();
        for (size_t slot = 0; slot < slots; ++slot) app.workers.push_back(cluster.worker(slot).status());
        std::string text;
        for (const auto& waiting : cmd::find_waiting(app, cluster.pipeline, *cluster.plan, 0))
            if (waiting.state == cmd::WaitingState::kHeld)
                text += waiting.reason + "; " + waiting.released_by + "\n";
        return text;
    };
    const auto has = [](const std::string& text, const char* part) {
        CAPTURE(text);
        CAPTURE(part);
        CHECK(text.find(part) != std::string::npos);
    };
    cluster.start(0);
    for (int64_t time = kBaseMs; time < kBaseMs + 5'000; time += 1'000) {
        for (const char* customer : {"a", "b", "c", "d", "e"})
            cluster.broker.append("orders", 0, record_of(order(customer, time), time));
        turns(cluster, 20);
    }
    turns(cluster, 60);
    has(held(1), "rp-sums-repartition/0 holds the watermark: shard 1 before it has said no time yet");
    has(held(1), "shard 1 coming to 2023-07-22T04:26:50.000Z or later");
    has(held(1), "another process has that shard");
    cluster.start(1);
    turns(cluster, 120);
    has(held(2), "/0 holds the watermark: shard 1 before it has come to 2023-07-22T04:26:39.000Z");
    has(held(2), "there orders/1 has come to 2023-07-22T04:26:39.000Z, next is offset 1");
}

TEST_CASE("repartition: time downstream never goes back over crashes") {
    std::mt19937_64 random(7);
    Cluster cluster(kPipeline, 3, 2, 2);
    const auto inputs = some_inputs(random, 3, 400);
    // Of what was committed: a crash may take back what was only in memory.
    std::map<std::pair<size_t, size_t>, EventTime> reached;
    run_to_the_end(cluster, inputs, [&](int64_t turn) {
        for (size_t slot = 0; slot < 2; ++slot) {
            const auto& status = cluster.worker(slot).status();
            for (const auto& shard : status.shards) {
                if (shard.stages.empty()) continue;
                EventTime& before =
                    reached.try_emplace({slot, static_cast<size_t>(shard.shard)}, kNoTime).first->second;
                if (turn % 30 == 29) before = std::max(before, shard.stages[0].watermark);
            }
        }
        if (turn % 30 != 15) return;
        for (size_t slot = 0; slot < 2; ++slot) cluster.crash(slot);
        turns(cluster, 2);
    });
    for (const auto& [where, before] : reached) {
        INFO("slot " << where.first << " shard " << where.second);
        for (size_t i = 0; i < cluster.worker(where.first).status().shards.size(); ++i)
            if (cluster.worker(where.first).status().shards[i].shard == static_cast<ShardId>(where.second))
                CHECK(stage_time(cluster, where.first, i) >= before);
    }
    CHECK(difference(model(inputs).sums, cluster.read("sums")) == "");
}

// Goal: grouping is PostgreSQL's on both sides of the topic, and a value that was computed before it keeps
// its type.
TEST_CASE("repartition: equal numbers, NULLs and types") {
    Cluster cluster(R"yaml(
name: rp
kafka: {bootstrap.servers: none}
sources: {orders: {topic: orders, timestamp: t, watermark: {max_delay: 0s, idle_timeout: 1s}}}
streams:
  sums:
    from: orders
    steps:
      - map: {c: c, at: "to_timestamp(t / 1000)", half: "v::float8 / 2", tags: tags}
      - aggregate:
          by: c
          window: {tumbling: 10s}
          fields: {n: count(*), first: min(at), half: sum(half), tag: "max(tags->>0)"}
    to: sums
)yaml",
                    2, 4, 2);
    const char* const customers[] = {"1", "1.0", "1.00", "null", "null", "2.5", "2.50", "\"1\""};
    for (int i = 0; i < 8; ++i) {
        const std::string value = "{\"c\":" + std::string(customers[i]) +
                                  ",\"t\":" + std::to_string(kBaseMs + i) + ",\"v\":" + std::to_string(i) +
                                  ",\"tags\":[\"x" + std::to_string(i) + "\"]}";
        cluster.broker.append("orders", i % 2, record_of(value, kBaseMs + i));
    }
    cluster.start();
    turns(cluster, 300, 100);
    std::vector<std::string> found;
    for (const std::string& line : cluster.read("sums")) {
        const size_t from = line.find("\"n\":");
        found.push_back(line.substr(0, line.find(',')) + " " + line.substr(from));
    }
    const std::vector<std::string> expected = {
        R"(1 {"c":"1" "n":1,"first":"2023-07-22T04:26:40.007Z","half":3.5,"tag":"x7"})",
        R"(1 {"c":1 "n":3,"first":"2023-07-22T04:26:40Z","half":1.5,"tag":"x2"})",
        R"(2.5 {"c":2.5 "n":2,"first":"2023-07-22T04:26:40.005Z","half":5.5,"tag":"x6"})",
        R"(null {"c":null "n":2,"first":"2023-07-22T04:26:40.003Z","half":3.5,"tag":"x4"})"};
    CHECK(difference(expected, found) == "");
}

// Goal: an internal topic does not grow; what is deleted was consumed, on disk and committed.
TEST_CASE("repartition: consumed records are deleted") {
    std::mt19937_64 random(3);
    const auto inputs = some_inputs(random, 2, 600);
    Cluster cluster(kPipeline, 2, 2, 2);
    run_to_the_end(cluster, inputs, [&](int64_t turn) {
        if (turn % 40 == 39) cluster.crash(static_cast<size_t>(turn / 40 % 2));
    });
    const size_t rows = inputs.size();
    CHECK(cluster.kept(kInternal, 2) < rows / 10);
    for (int32_t partition = 0; partition < 2; ++partition) {
        const auto committed = cluster.broker.committed("rp", kInternal, partition);
        REQUIRE(committed);
        for (const auto& kept : cluster.broker.read(kInternal, partition))
            CHECK(kept.offset < committed->offset);
    }
    CHECK(difference(model(inputs).sums, cluster.read("sums")) == "");
}

// Goal: records go on as they came, under their new key, and a dead letter downstream keeps them.
TEST_CASE("repartition: key_by, then a route, and a record that fails behind it") {
    Cluster cluster(R"(
name: rp
kafka: {bootstrap.servers: none}
on_error: {dead_letter: dlq}
sources: {orders: {topic: orders}}
streams:
  sums:
    from: orders
    steps: [{key_by: [c, d]}, {filter: "10 / v > 1"}]
    to: sums
)",
                    2, 3, 2);
    cluster.broker.append("orders", 0, record_of(R"({"c":"a", "d":1,"v":2})", kBaseMs));
    cluster.broker.append("orders", 1, record_of(R"({"c":"a","d":1.0,"v":0})", kBaseMs));
    cluster.start();
    turns(cluster, 60);
    CHECK(cluster.read("sums") == std::vector<std::string>{R"(["a",1] {"c":"a", "d":1,"v":2})"});
    CHECK(cluster.read("dlq") == std::vector<std::string>{R"(key {"c":"a","d":1.0,"v":0})"});
}

// Goal: two ways into one stream meet in one topic, though one of them alone would not need it; results of
// windows go through a topic in their turn.
TEST_CASE("repartition: several inputs meet, and windows follow windows") {
    Cluster cluster(R"(
name: rp
kafka: {bootstrap.servers: none}
sources:
  orders: {topic: orders, keyed_by: c, timestamp: t, watermark: {max_delay: 0s, idle_timeout: 1s}}
  returns: {topic: returns, timestamp: t, watermark: {max_delay: 0s, idle_timeout: 1s}}
streams:
  per_customer:
    from: [orders, returns]
    steps: [{aggregate: {by: [c, d], window: {tumbling: 1s}, fields: {n: count(*)}}}]
  sums:
    from: per_customer
    steps: [{aggregate: {by: d, window: {tumbling: 10s}, fields: {customers: count(*), n: sum(n)}}}]
    to: sums
)",
                    2, 3, 2);
    for (int i = 0; i < 40; ++i) {
        const std::string value = "{\"c\":\"c" + std::to_string(i % 3) + "\",\"d\":" + std::to_string(i % 2) +
                                  ",\"t\":" + std::to_string(kBaseMs + i * 100) + "}";
        cluster.broker.append(i % 4 < 2 ? "orders" : "returns", i % 2, record_of(value, kBaseMs + i * 100));
    }
    cluster.start();
    turns(cluster, 600, 100);
    // Four windows of a second, three customers of each `d` in every one.
    CHECK(cluster.read("sums") ==
          std::vector<std::string>{
              R"(0 {"d":0,"window_start":1690000000000,"window_end":1690000010000,"customers":12,"n":20})",
              R"(1 {"d":1,"window_start":1690000000000,"window_end":1690000010000,"customers":12,"n":20})"});
}
