// The parts of a simulated deployment: the clock that lets records arrive, snapshots made where the
// simulation chooses, one process with its disk, and the trace of all that happened.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"
#include "processor/worker.h"
#include "state/crc32c.h"
#include "state/slot_store.h"
#include "state/snapshotter.h"
#include "state/state_directory.h"
#include "tests/sim/scenario.h"
#include "tests/sim/sim_disk.h"

namespace weir::sim {

class SimClock final : public Clock {
public:
    [[nodiscard]] int64_t wall_ms() const override { return wall_ms_; }
    [[nodiscard]] int64_t monotonic_us() const override { return monotonic_ms_ * 1000; }
    [[nodiscard]] int64_t steady_wall_ms() const override { return kStartWallMs + since_start_ms(); }
    void sleep_ms(int64_t milliseconds) override { advance_ms(milliseconds); }
    void advance_ms(int64_t milliseconds) {
        wall_ms_ += milliseconds;
        monotonic_ms_ += milliseconds;
        if (on_advance) on_advance();
    }
    void jump_wall_ms(int64_t milliseconds) { wall_ms_ += milliseconds; }
    [[nodiscard]] int64_t since_start_ms() const { return monotonic_ms_ - kStartMs; }

    std::function<void()> on_advance;

private:
    static constexpr int64_t kStartMs = 1'000;
    static constexpr int64_t kStartWallMs = 1'700'000'000'000;
    int64_t wall_ms_ = kStartWallMs;
    int64_t monotonic_ms_ = kStartMs;
};

class StepSnapshotter final : public state::Snapshotter {
public:
    void add(state::SlotStore* store) override { stores_.push_back(store); }
    void remove(state::SlotStore* store) override { std::erase(stores_, store); }
    void wake() override {}

    // Returns how many were made. A failed one is the store's to count and to try again.
    uint64_t run() {
        if (running_) return 0;  // Called from a crash point inside a snapshot.
        running_ = true;
        uint64_t made = 0;
        for (state::SlotStore* const store : stores_)
            if (store->snapshot_due() && store->snapshot().ok()) ++made;
        running_ = false;
        return made;
    }

private:
    std::vector<state::SlotStore*> stores_;
    bool running_ = false;
};

// A process on a disk. Destroyed in this order: worker, lock.
struct Instance {
    SimDisk* disk = nullptr;
    std::unique_ptr<StepSnapshotter> snapshotter = std::make_unique<StepSnapshotter>();
    std::unique_ptr<state::StateDirectory> state;
    std::unique_ptr<processor::Worker> worker;
    bool ready = false;        // Past the decision of its latest recovery.
    bool must_refuse = false;  // Kafka holds a commit that its disk does not.
    bool was_ready = false;    // Running, in this life.

    void stop() {
        worker.reset();
        state.reset();
        snapshotter = std::make_unique<StepSnapshotter>();
        ready = false;
    }
};

// Segments are so small that a run makes many snapshots.
[[nodiscard]] inline std::pair<processor::WorkerSettings, state::SlotOptions> worker_settings(
    const Scenario& scenario, const Instance& who) {
    processor::WorkerSettings settings;
    settings.identity = {"sim", 0, 0};
    settings.host = "host";
    for (int32_t shard = 0; shard < kPartitions; ++shard) settings.shards.push_back(shard);
    const size_t inputs = scenario.plan->inputs.size();
    settings.partition_counts.assign(inputs, kPartitions);
    using Start = processor::StartPolicy;
    const auto start = scenario.pipeline->orderly ? Start::Kind::kEarliest : Start::Kind::kLatest;
    settings.start_policies.assign(inputs, Start{start, 0});
    settings.decider = scenario.pipeline->decider;
    settings.commit_interval_ms = scenario.commit_interval_ms;
    settings.row_stores = &who.disk->row_stores();
    state::SlotOptions options;
    options.segment_bytes = 1'500;
    options.snapshot_after_bytes = 3'000;
    options.grow_bytes = 1'024;
    options.snapshotter = who.snapshotter.get();
    return {std::move(settings), options};
}

class Trace {
public:
    explicit Trace(std::vector<std::string>* lines) : lines_(lines) {}

    void add(std::string_view what, std::string_view name = {}, uint64_t number = 0,
             std::string_view bytes = {}) {
        const uint32_t crc = state::crc32c(state::crc32c(state::crc32c(0, what), name), bytes);
        hash_ = (hash_ ^ crc ^ number << 20) * 0x9e3779b97f4a7c15u;
        hash_ ^= hash_ >> 29;
        if (lines_ == nullptr) return;
        std::string line = fmt::format("{} {} {}", what, name, number);
        if (!bytes.empty()) line += fmt::format(" +{} crc {:08x}", bytes.size(), state::crc32c(0, bytes));
        lines_->push_back(std::move(line));
    }
    [[nodiscard]] uint64_t hash() const { return hash_; }

private:
    uint64_t hash_ = 0;
    std::vector<std::string>* lines_;
};

}  // namespace weir::sim
