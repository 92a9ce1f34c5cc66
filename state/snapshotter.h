// Who makes snapshots: one per process, for all slots. A store adds itself, says when it wants to be looked
// at, and leaves. SnapshotThread does it in the background; a simulation does it where it chooses.
//
// SnapshotThread looks at its stores when one of them asks, and again every second; a failure (a full disk)
// is counted by the store and tried again then. Start it before workers are pinned, so that it does not
// inherit a worker's core.
//
// Thread: add, remove and wake come from any thread; remove() waits until the store is not in use.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace weir::state {

class SlotStore;

class Snapshotter {
public:
    virtual ~Snapshotter() = default;
    virtual void add(SlotStore* store) = 0;
    virtual void remove(SlotStore* store) = 0;
    virtual void wake() = 0;
};

class SnapshotThread final : public Snapshotter {
public:
    SnapshotThread();
    ~SnapshotThread() override;  // Every store must have been removed.
    SnapshotThread(const SnapshotThread&) = delete;
    SnapshotThread& operator=(const SnapshotThread&) = delete;

    void add(SlotStore* store) override;
    void remove(SlotStore* store) override;
    void wake() override;

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
