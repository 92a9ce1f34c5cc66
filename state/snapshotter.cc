#include "state/snapshotter.h"

#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "state/slot_store.h"

namespace weir::state {

SnapshotThread::SnapshotThread() : thread_([this](const std::stop_token& stop) { run(stop); }) {}

SnapshotThread::~SnapshotThread() {
    WEIR_CHECK(stores_.empty());
    thread_.request_stop();
    thread_.join();
}

void SnapshotThread::add(SlotStore* store) {
    const std::lock_guard lock(mutex_);
    stores_.push_back(store);
}

void SnapshotThread::remove(SlotStore* store) {
    std::unique_lock lock(mutex_);
    std::erase(stores_, store);
    changed_.wait(lock, [&] { return busy_ != store; });
}

void SnapshotThread::wake() {
    const std::lock_guard lock(mutex_);
    woken_ = true;
    changed_.notify_all();
}

void SnapshotThread::run(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
        changed_.wait_for(lock, stop, std::chrono::seconds(1), [&] { return woken_; });
        woken_ = false;
        const std::vector<SlotStore*> round = stores_;
        for (SlotStore* const store : round) {
            if (stop.stop_requested()) return;
            if (std::find(stores_.begin(), stores_.end(), store) == stores_.end()) continue;
            busy_ = store;
            lock.unlock();
            if (store->snapshot_due()) {
                const bool failing = !store->stats().snapshot_error.empty();
                if (const auto made = store->snapshot(); !made.ok() && !failing)
                    log_warn("snapshot failed, the log keeps growing until one succeeds error=\"{}\"",
                             made.error().message);
            }
            lock.lock();
            busy_ = nullptr;
            changed_.notify_all();
        }
    }
}

}  // namespace weir::state
