// Several workers over one broker, for a pipeline whose records go through internal topics: one process each,
// which can lose its power. Virtual time; the caller's thread.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/time.h"
#include "config/load.h"
#include "connectors/memory_broker.h"
#include "processor/plan.h"
#include "processor/worker.h"
#include "tests/sim/sim_disk.h"

namespace weir::worker {

class Cluster {
public:
    // Every source's topic has `sources` partitions, but those that `wide` names.
    Cluster(const std::string& yaml, int32_t sources, int32_t internal, int32_t workers,
            const std::map<std::string, int32_t>& wide = {})
        : clock(1'700'000'000'000), broker(clock), slots_(static_cast<size_t>(workers)) {
        auto loaded = config::load_text("rp.yaml", yaml, {});
        INFO(loaded.diagnostics.render("rp.yaml", loaded.source));
        REQUIRE_FALSE(loaded.diagnostics.has_errors());
        plan = processor::compile(loaded.pipeline, loaded.diagnostics);
        INFO(loaded.diagnostics.render("rp.yaml", loaded.source));
        REQUIRE(plan != nullptr);
        pipeline = std::move(loaded.pipeline);
        std::vector<std::string> inputs;
        std::vector<std::string> outputs;
        for (const auto& input : plan->inputs) {
            inputs.push_back(input.name);
            const auto its_own = wide.find(input.name);
            counts_.push_back(input.internal >= 0     ? internal
                              : its_own != wide.end() ? its_own->second
                                                      : sources);
            broker.create_topic(input.name, counts_.back());
        }
        for (const auto& output : plan->outputs) {
            outputs.push_back(output.name);
            if (std::find(inputs.begin(), inputs.end(), output.name) == inputs.end())
                broker.create_topic(output.name, 2);
        }
        connector_ = std::make_unique<connectors::MemoryConnector>(broker, "rp", inputs, outputs);
    }

    void start(size_t slot) {
        Slot& own = slots_[slot];
        own.worker.reset();
        if (!own.directory) own.directory = own.disk.root();
        processor::WorkerSettings settings;
        settings.identity = {"rp", 0, static_cast<int32_t>(slot)};
        const int32_t shards = *std::max_element(counts_.begin(), counts_.end());
        for (auto shard = static_cast<int32_t>(slot); shard < shards;
             shard += static_cast<int32_t>(slots_.size()))
            settings.shards.push_back(shard);
        settings.partition_counts = counts_;
        settings.start_policies.resize(counts_.size());
        settings.commit_interval_ms = pipeline.commit_interval_ms;
        settings.state_limit = state_limit.get();
        state::SlotOptions options;
        options.segment_bytes = 8'192;
        options.snapshot_after_bytes = 8'192;
        own.worker = std::make_unique<processor::Worker>(settings, *plan, *connector_, own.directory.get(),
                                                         options, clock);
    }
    void start() {
        for (size_t slot = 0; slot < slots_.size(); ++slot) start(slot);
    }
    void crash(size_t slot) {
        Slot& own = slots_[slot];
        own.worker.reset();
        own.directory.reset();
        own.disk.cut_power(random);
        start(slot);
    }
    void stop(size_t slot) { slots_[slot].worker.reset(); }

    [[nodiscard]] Result<processor::Worker::Turn> step(size_t slot) { return slots_[slot].worker->step(0); }
    void turn(int64_t milliseconds = 20) {
        for (const Slot& slot : slots_) {
            if (slot.worker == nullptr) continue;
            const auto done = slot.worker->step(0);
            INFO((done.ok() ? std::string() : done.error().message));
            REQUIRE(done.ok());
        }
        clock.advance_ms(milliseconds);
    }

    [[nodiscard]] std::vector<std::string> read(const std::string& topic) {
        std::vector<std::string> lines;
        for (int32_t partition = 0; partition < 2; ++partition)
            for (const auto& record : broker.read(topic, partition))
                lines.push_back(record.key.value_or("null") + " " + record.value.value_or("null"));
        std::sort(lines.begin(), lines.end());
        return lines;
    }
    // Records of an internal topic that are still there.
    [[nodiscard]] size_t kept(const std::string& topic, int32_t partitions) {
        size_t count = 0;
        for (int32_t partition = 0; partition < partitions; ++partition)
            count += broker.read(topic, partition).size();
        return count;
    }
    [[nodiscard]] const processor::Worker& worker(size_t slot) const { return *slots_[slot].worker; }

    ManualClock clock;
    connectors::MemoryBroker broker;
    config::Pipeline pipeline;
    std::unique_ptr<const processor::Plan> plan;
    std::unique_ptr<processor::StateLimit> state_limit;  // Set before start(); 0: all is measured.
    std::mt19937_64 random{1};

private:
    struct Slot {
        sim::SimDisk disk;
        std::unique_ptr<state::Directory> directory;
        std::unique_ptr<processor::Worker> worker;
    };
    std::vector<int32_t> counts_;
    std::unique_ptr<connectors::MemoryConnector> connector_;
    std::vector<Slot> slots_;
};

inline std::string difference(const std::vector<std::string>& expected,
                              const std::vector<std::string>& found) {
    std::vector<std::string> missing;
    std::vector<std::string> extra;
    std::set_difference(expected.begin(), expected.end(), found.begin(), found.end(),
                        std::back_inserter(missing));
    std::set_difference(found.begin(), found.end(), expected.begin(), expected.end(),
                        std::back_inserter(extra));
    std::string text;
    for (const auto& line : missing) text += "\n- " + line;
    for (const auto& line : extra) text += "\n+ " + line;
    return text;
}

// Feeds all inputs, `before` of them before anybody starts, then a few every turn, and goes on until event
// time has ticked past the last window.
template <class Input, class AfterTurn>
void run_to_the_end(Cluster& cluster, const std::vector<Input>& inputs, AfterTurn after_turn,
                    size_t before = 4) {
    size_t fed = 0;
    int64_t turns = 0;
    while (fed < before && fed < inputs.size()) inputs[fed++].append_to(cluster.broker);
    cluster.start();
    for (int64_t quiet_ms = 0; quiet_ms < 150'000; ++turns) {
        for (int i = 0; i < 8 && fed < inputs.size(); ++i) inputs[fed++].append_to(cluster.broker);
        const int64_t step_ms = fed < inputs.size() ? 20 : 300;
        cluster.turn(step_ms);
        if (fed == inputs.size()) quiet_ms += step_ms;
        after_turn(turns);
    }
}

}  // namespace weir::worker
