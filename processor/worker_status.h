// What a worker tells others about itself: a copy, published once per turn of importance (commit, recovery,
// once a second), never read from the worker's own memory.
//
// Thread:  Published<T> is safe between one writer and any reader; the lock is held for one copy.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "processor/shard.h"

namespace weir::processor {

template <class T>
class Published {
public:
    void set(const T& value) {
        const std::lock_guard lock(mutex_);
        value_ = value;
    }
    [[nodiscard]] T get() const {
        const std::lock_guard lock(mutex_);
        return value_;
    }

private:
    mutable std::mutex mutex_;
    T value_{};
};

// kLoading: tables are read to where they ended when the worker started, and no stream is yet.
enum class WorkerPhase : uint8_t { kStarting, kRecovering, kLoading, kRunning, kStopped };

// How far a worker is with a table that it reads before any stream.
struct TableProgress {
    std::string name;
    int64_t read = 0;   // Offsets, so also of records that compaction removed, …
    int64_t total = 0;  // … of so many since the first that it has to read.
};

// Upper bounds of the commit duration histogram, milliseconds; the last bucket is unbounded.
inline constexpr std::array<int64_t, 10> kCommitBucketsMs = {1, 2, 5, 10, 20, 50, 100, 250, 1000, 10'000};

struct WorkerStatus {
    WorkerPhase phase = WorkerPhase::kStarting;
    int32_t slot = 0;
    uint64_t epochs_committed = 0;
    uint64_t recoveries = 0;      // In-process ones, after a commit whose outcome was not a plain success.
    uint64_t sinks_replaced = 0;  // Because EndTxn was sent more than once.
    int64_t last_commit_wall_ms = 0;
    std::array<uint64_t, kCommitBucketsMs.size() + 1> commit_duration_buckets{};
    uint64_t commit_duration_us_total = 0;
    uint64_t wal_sync_us_total = 0;
    uint64_t wal_bytes = 0;
    uint64_t wal_segments = 0;
    uint64_t ledger_imbalances = 0;  // Commits at which the record ledger did not balance: a bug.
    bool disk_full = false;  // Fetching pauses until the log can be extended again.
    Counters counters;
    std::vector<ShardStatus> shards;  // The one of the global tables last.
    std::vector<TableProgress> loading;  // In phase kLoading.
};

}  // namespace weir::processor
