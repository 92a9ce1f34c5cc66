// The background thread that makes snapshots: one per process, for all slots. It looks at its stores when one
// of them asks, and again every second; a failure (a full disk) is counted by the store and tried again then.
//
// Thread: start it before workers are pinned, so that it does not inherit a worker's core. add, remove and
//         wake come from any thread; remove() waits until the store is not in use.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace weir::state {

class SlotStore;

class Snapshotter {
public:
    Snapshotter();
    ~Snapshotter();  // Every store must have been removed.
    Snapshotter(const Snapshotter&) = delete;
    Snapshotter& operator=(const Snapshotter&) = delete;

    void add(SlotStore* store);
    void remove(SlotStore* store);
    void wake();

private:
    void run(const std::stop_token& stop);

    std::mutex mutex_;
    std::condition_variable_any changed_;
    std::vector<SlotStore*> stores_;
    SlotStore* busy_ = nullptr;
    bool woken_ = false;
    std::jthread thread_;  // Last: it uses everything above.
};

}  // namespace weir::state
