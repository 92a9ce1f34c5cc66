// One shard that two topics meet in, under the real worker: fast/0 and slow/0, one aggregate or join of both.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <random>
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

inline constexpr const char* kTwoTopics = R"(
name: two
kafka: {bootstrap.servers: none}
commit_interval: 100ms
sources:
  fast: {topic: fast, keyed_by: k, timestamp: t, watermark: {max_delay: 1s, idle_timeout: 5s}}
  slow: {topic: slow, keyed_by: k, timestamp: t, watermark: {max_delay: 1s, idle_timeout: 5s}}
streams:
  both:BOTH
    to: both
  plain: {from: both, steps: [{filter: n > 0}], to: plain}
)";

// For TwoTopics' `both`.
inline constexpr const char* kJoined = R"(
    join: {left: fast, right: slow, kind: left, match: fast.k = slow.k, within: 10s}
    steps: [{map: {n: 1, left: fast.t, right: slow.t}}]
)";

inline std::string counted(const std::string& window) {
    return "\n    from: [fast, slow]\n    steps:\n      - aggregate: {by: k, window: " + window +
           ", fields: {n: count(*)}}\n";
}

class TwoTopics {
public:
    // `window`: of the aggregate, with its `emit` if it has one. `both`: what is in place of the aggregate.
    explicit TwoTopics(const std::string& extra = "", const std::string& window = "{tumbling: 10s}",
                       const std::string& both = "")
        : clock(1'700'000'000'000), broker(clock) {
        std::string text = extra + kTwoTopics;
        text.replace(text.find("BOTH"), 4, both.empty() ? counted(window) : both);
        auto loaded = config::load_text("two.yaml", text, {});
        if (!loaded.diagnostics.has_errors()) {
            pipeline = loaded.pipeline;
            plan = processor::compile(pipeline, loaded.diagnostics);
        }
        INFO(loaded.diagnostics.render("two.yaml", loaded.source));
        REQUIRE(plan != nullptr);
        for (const char* const topic : {"fast", "slow", "both", "plain"}) broker.create_topic(topic, 1);
        const std::vector<std::string> inputs{"fast", "slow"};
        const std::vector<std::string> outputs{"both", "plain"};
        connector = std::make_unique<connectors::MemoryConnector>(broker, "two", inputs, outputs);
        start();
    }

    void start() {
        processor::WorkerSettings settings;
        settings.identity = {"two", 0, 0};
        settings.host = "test";
        settings.shards = {0};
        settings.partition_counts = {1, 1};
        settings.start_policies = {{}, {}};
        settings.commit_interval_ms = pipeline.commit_interval_ms;
        if (!slot_) slot_ = disk.root();
        worker = std::make_unique<processor::Worker>(settings, *plan, *connector, slot_.get(),
                                                     state::SlotOptions{}, clock);
    }
    void crash() {
        worker.reset();
        slot_.reset();
        std::mt19937_64 random{1};
        disk.cut_power(random);
        start();
    }

    // Event times are relative to base_ms.
    void append(const std::string& topic, int64_t time, const std::string& key = "k") {
        connectors::MemoryRecord record;
        record.key = key;
        record.value = R"({"k":")" + key + R"(","t":)" + std::to_string(base_ms + time) + "}";
        record.timestamp_ms = base_ms + time;
        broker.append(topic, 0, record);
    }
    void step(int64_t advance_ms = 20) {
        const auto turn = worker->step(0);
        INFO((turn.ok() ? std::string() : turn.error().message));
        REQUIRE(turn.ok());
        clock.advance_ms(advance_ms);
    }
    void run_ms(int64_t duration_ms) {
        for (const int64_t until = clock.monotonic_ms() + duration_ms; clock.monotonic_ms() < until;) step();
    }
    [[nodiscard]] std::vector<std::string> outputs() {
        std::vector<std::string> lines;
        for (const auto& record : broker.read("both", 0)) lines.push_back(record.value.value_or("null"));
        return lines;
    }

    static constexpr int64_t base_ms = 1'699'000'000'000;

    ManualClock clock;
    connectors::MemoryBroker broker;
    SimDisk disk;
    config::Pipeline pipeline;
    std::unique_ptr<const processor::Plan> plan;
    std::unique_ptr<connectors::MemoryConnector> connector;
    std::unique_ptr<processor::Worker> worker;

private:
    std::unique_ptr<state::Directory> slot_;
};

}  // namespace weir::sim
