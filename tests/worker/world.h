// A whole deployment in one thread: the real worker, operators, log and recovery code on an in-memory broker,
// a simulated disk and a manual clock. A crash drops the worker and what the disk had not synced.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/time.h"
#include "config/load.h"
#include "connectors/memory_broker.h"
#include "processor/plan.h"
#include "processor/worker.h"
#include "state/state_directory.h"
#include "tests/sim/sim_disk.h"

namespace weir::sim {

inline constexpr const char* kPipeline = R"(
name: sim
kafka: {bootstrap.servers: none}
guarantee: GUARANTEE
commit_interval: 100ms
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
          by: k
          window: {tumbling: 10s}
          emit: on_close
          fields: {n: count(*), total: sum(v), largest: max(v)}
    to: sums
  late:
    from: sums.late
    to: late
  running:
    from: orders
    steps:
      - aggregate: {by: k, window: none, emit: changes, fields: {n: count(*), total: sum(v)}}
    to: running
  once:
    from: orders
    steps:
      - dedupe: {by: [k, v], within: 8s}
      - throttle: {by: k, max: 2, per: 3s}
    to: once
  lasts:
    from: orders
    steps:
      - dedupe: {by: k, within: 4s, keep: last}
      - top_n: {n: 2, by: k, largest: v, as: place, window: {tumbling: 20s}}
    to: lasts
  big:
    from: orders
    steps: [{filter: v > 50}]
    to: big
  pairs:
    join:
      left: big
      right: {from: orders, as: later}
      kind: left
      match: big.k = later.k AND later.v > big.v
      within: {after: 3s}
    steps: [{map: {k: big.k, t: big.t, v: big.v, later: later.v}}]
    to: pairs
)";

inline constexpr int32_t kPartitions = 3;

inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
    for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
        text.replace(at, from.size(), to);
    return text;
}

// Every record that readers of committed data can ever see, by topic, sorted: order across partitions is
// free.
using Outputs = std::map<std::string, std::vector<std::string>>;

class World {
public:
    explicit World(const std::string& guarantee = "exactly_once") : clock(1'700'000'000'000), broker(clock) {
        config::LoadOptions options;
        auto loaded = config::load_text("sim.yaml", replaced(kPipeline, "GUARANTEE", guarantee), options);
        INFO(loaded.diagnostics.render("sim.yaml", loaded.source));
        REQUIRE_FALSE(loaded.diagnostics.has_errors());
        pipeline = loaded.pipeline;
        plan = processor::compile(pipeline, loaded.diagnostics);
        INFO(loaded.diagnostics.render("sim.yaml", loaded.source));
        REQUIRE(plan != nullptr);
        for (const char* const topic :
             {"orders", "sums", "late", "running", "once", "lasts", "big", "pairs", "dlq"})
            broker.create_topic(topic, kPartitions);
        std::vector<std::string> inputs;
        std::vector<std::string> outputs;
        for (const auto& input : plan->inputs) inputs.push_back(input.name);
        for (const auto& output : plan->outputs) outputs.push_back(output.name);
        connector = std::make_unique<connectors::MemoryConnector>(broker, "sim", inputs, outputs);
    }

    // Lets run_to_the_end() append `count` records per partition, a few every turn: times with a little
    // disorder, some records late, some broken.
    void feed(int64_t count) { to_feed = count * kPartitions; }

    void feed_some() {
        for (int i = 0; i < 4 * kPartitions && fed < to_feed; ++i, ++fed) {
            const auto partition = static_cast<int32_t>(fed % kPartitions);
            int64_t t = base_ms + fed / kPartitions * 400 - fed * 7919 % 900;
            if (fed % 41 == 40) t -= 30'000;
            const std::string key = std::to_string(partition) + "-" + std::to_string(fed / kPartitions % 4);
            std::string value = "{\"k\":\"" + key + "\",\"t\":" + std::to_string(t) +
                                ",\"v\":" + std::to_string(fed * 37 % 100) + "." + std::to_string(fed % 10) +
                                "}";
            if (fed % 53 == 52) value = "{broken";
            connectors::MemoryRecord record;
            record.key = key;
            record.value = value;
            record.timestamp_ms = t;
            broker.append("orders", partition, record);
        }
    }

    [[nodiscard]] processor::WorkerSettings settings(int32_t slot = 0) const {
        processor::WorkerSettings settings;
        settings.identity = {"sim", 0, slot};
        settings.host = "test";
        for (int32_t shard = 0; shard < kPartitions; ++shard) settings.shards.push_back(shard);
        settings.partition_counts = {kPartitions};
        settings.start_policies = {{}};
        settings.decider = pipeline.guarantee == config::Guarantee::kExactlyOnce
                               ? processor::Decider::kTransaction
                               : processor::Decider::kWal;
        settings.commit_interval_ms = pipeline.commit_interval_ms;
        settings.state_limit = state_limit.get();
        return settings;
    }

    void start() {
        worker.reset();
        state::SlotOptions options;
        options.segment_bytes = 8'192;  // Several segments and snapshots within one test.
        options.snapshot_after_bytes = 8'192;
        worker = std::make_unique<processor::Worker>(settings(), *plan, *connector, &slot(), options, clock);
    }

    // From the next start() on; 0: all is measured, nothing limited.
    void limit_state(uint64_t max_bytes) {
        worker.reset();
        state_limit = std::make_unique<processor::StateLimit>(*plan, max_bytes);
    }

    state::Directory& slot() {
        if (!slot_) slot_ = disk.root();
        return *slot_;
    }

    // Power is cut: the process and all unsynced writes are gone. Then it starts again.
    void crash() {
        check_ledger();
        worker.reset();
        slot_.reset();
        disk.cut_power(random);
        start();
    }

    // Runs until every partition is read to its end and committed, and event time has ticked past the last
    // window.
    void run_to_the_end(const std::function<void(int64_t turn)>& after_turn = {}) {
        int64_t turns = 0;
        for (const int64_t until = clock.monotonic_ms() + 60'000; clock.monotonic_ms() < until; ++turns) {
            if (fed < to_feed) feed_some();
            const auto turn = worker->step(0);
            INFO((turn.ok() ? std::string() : turn.error().message));
            REQUIRE(turn.ok());
            clock.advance_ms(20);
            if (after_turn) after_turn(turns);
        }
        check_ledger();
    }

    // At no commit was the record ledger out of balance.
    void check_ledger() const {
        const processor::WorkerStatus status = worker->status();
        CHECK(status.ledger_imbalances == 0);
        CHECK(processor::Ledger(*plan).imbalance(status.counters) == "");
    }

    [[nodiscard]] Outputs outputs() {
        Outputs all;
        for (const char* const topic : {"sums", "late", "big", "pairs", "dlq"}) {
            auto& lines = all[topic];
            for (int32_t partition = 0; partition < kPartitions; ++partition)
                for (const auto& record : broker.read(topic, partition))
                    lines.push_back(record.key.value_or("null") + " " + record.value.value_or("null") + " @" +
                                    std::to_string(record.timestamp_ms));
            std::sort(lines.begin(), lines.end());
        }
        all["running"] = replayed_changes();
        return all;
    }

    // What a reader of the changes in `running` ends up with: how they are cut into commits is free.
    [[nodiscard]] std::vector<std::string> replayed_changes() {
        std::multiset<std::string> rows;
        for (int32_t partition = 0; partition < kPartitions; ++partition) {
            for (const auto& record : broker.read("running", partition)) {
                std::string op;
                for (const auto& [name, value] : record.headers)
                    if (name == "weir.op") op = value.value_or("");
                if (op == "insert" || op == "update_after") {
                    rows.insert(record.value.value_or("null"));
                } else {
                    const auto before = rows.find(record.value.value_or("null"));
                    REQUIRE(before != rows.end());
                    rows.erase(before);
                }
            }
        }
        return {rows.begin(), rows.end()};
    }

    static constexpr int64_t base_ms = 1'690'000'000'000;

    ManualClock clock;
    connectors::MemoryBroker broker;
    SimDisk disk;
    config::Pipeline pipeline;
    std::unique_ptr<const processor::Plan> plan;
    std::unique_ptr<connectors::MemoryConnector> connector;
    std::unique_ptr<processor::StateLimit> state_limit;
    std::unique_ptr<processor::Worker> worker;
    int64_t fed = 0;
    int64_t to_feed = 0;
    std::mt19937_64 random{1};

private:
    std::unique_ptr<state::Directory> slot_;
};

// What one has and the other has not, for a failing test's message.
inline std::string difference(const Outputs& expected, const Outputs& actual) {
    std::string text;
    for (const auto& [topic, lines] : expected) {
        const auto& others = actual.at(topic);
        std::vector<std::string> missing;
        std::vector<std::string> extra;
        std::set_difference(lines.begin(), lines.end(), others.begin(), others.end(),
                            std::back_inserter(missing));
        std::set_difference(others.begin(), others.end(), lines.begin(), lines.end(),
                            std::back_inserter(extra));
        for (const auto& line : missing) text += "\n- " + topic + " " + line;
        for (const auto& line : extra) text += "\n+ " + topic + " " + line;
    }
    return text;
}

}  // namespace weir::sim
