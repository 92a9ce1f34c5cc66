// One running pipeline: checks the world, locks the state folder, deals the shards to slots and runs one
// worker per slot on its own pinned thread. This is the only place that names connectors and engine both.
//
// Thread:  start(), stop(), wait() from the control thread; status() from any.
// Failure: start() returns what is wrong with the world; a worker's error stops all workers and is the
//          result of wait().
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "config/pipeline.h"
#include "processor/endpoint.h"
#include "processor/plan.h"
#include "processor/state_limit.h"
#include "processor/worker.h"
#include "state/snapshotter.h"
#include "state/state_directory.h"

namespace weir::cmd {

struct RunOptions {
    int64_t startup_timeout_ms = 60'000;
    bool exit_when_caught_up = false;
    int64_t process_start_us = 0;  // Monotonic; for the "first poll" log line.
};

struct AppStatus {
    std::string pipeline;
    bool ready = false;
    std::string not_ready_because;
    int64_t now_ms = 0;            // Wall time.
    uint64_t state_bytes = 0;      // Of all operators, as the limit counts them …
    uint64_t max_state_bytes = 0;  // … and what they may take; 0: any.
    std::vector<processor::WorkerStatus> workers;
};

// How far a worker is that reads tables.
[[nodiscard]] std::string loading_text(const processor::WorkerStatus& worker);

class App {
public:
    App(config::Pipeline pipeline, std::unique_ptr<const processor::Plan> plan, RunOptions options,
        Clock& clock);
    ~App();

    [[nodiscard]] Result<void> start();
    void request_stop();  // Finish the open epochs, then end.
    // Waits at most `wait_ms` for the end of all workers; true when they have ended.
    [[nodiscard]] bool wait(int64_t wait_ms);
    [[nodiscard]] std::optional<Error> error() const;

    [[nodiscard]] AppStatus status() const;
    // Asks every worker that owns shards and has neither to start nor ended. Any thread.
    [[nodiscard]] std::vector<std::future<processor::OpenWindows>> ask(
        const processor::WindowQuestion& question);
    [[nodiscard]] const processor::Plan& plan() const { return *plan_; }
    [[nodiscard]] const config::Pipeline& pipeline() const { return pipeline_; }
    [[nodiscard]] const std::string& name() const { return pipeline_.name; }

    // Asks whether the inputs still have the partitions that this process started with. kMismatch: they do
    // not.
    [[nodiscard]] Result<void> check_world();

    // Milliseconds since the least lively running worker gave a sign of life.
    [[nodiscard]] int64_t stalled_ms() const;

private:
    struct Slot;

    [[nodiscard]] Result<void> check_inputs();
    [[nodiscard]] Result<processor::TopicInfo> describe_input(TopicId topic, int64_t timeout_ms);
    void warn_about_retention();
    void warn_about_keys();
    [[nodiscard]] Result<void> make_slots();
    [[nodiscard]] int32_t owned_shards() const;  // Of this instance.
    [[nodiscard]] std::vector<ShardId> shards_of(int32_t slot, int32_t slot_count) const;
    [[nodiscard]] Result<void> open_state_directory();
    [[nodiscard]] Result<void> open_state();
    [[nodiscard]] Result<void> redeal_slots(const state::Manifest& now);
    void run_worker(Slot& slot);

    config::Pipeline pipeline_;
    std::unique_ptr<const processor::Plan> plan_;
    RunOptions options_;
    Clock& clock_;
    processor::StateLimit state_limit_;
    std::unique_ptr<processor::Connector> connector_;
    std::unique_ptr<state::StateDirectory> state_;
    std::unique_ptr<state::RowStores> row_stores_;  // Null: nothing is on disk.
    std::string cluster_id_;
    std::vector<int32_t> topic_partitions_;  // By input.
    std::vector<int32_t> partition_counts_;  // The same, with 0 for global tables: what shards read.
    processor::Decider decider_ = processor::Decider::kTransaction;
    std::unique_ptr<state::Snapshotter> snapshotter_;  // Started before workers are pinned.
    std::vector<std::unique_ptr<Slot>>
        slots_;  // Filled by start(), under mutex_; last: their workers use all above.

    std::atomic<bool> stop_{false};
    std::thread key_sample_;  // Ends by itself after kKeySampleMs.
    std::atomic<bool> first_poll_logged_{false};
    mutable std::mutex mutex_;
    std::condition_variable ended_;
    size_t running_ = 0;          // Guarded by mutex_.
    std::optional<Error> error_;  // Guarded by mutex_: the first worker's error.
};

// The connector for everything that the plan names.
[[nodiscard]] std::unique_ptr<processor::Connector> connect(const config::Pipeline& pipeline,
                                                            const processor::Plan& plan);
[[nodiscard]] processor::StartPolicy start_policy(const config::Start& start, int64_t now_ms);

// The host's name for commit metadata and logs.
[[nodiscard]] std::string host_name();

}  // namespace weir::cmd
