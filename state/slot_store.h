// What one worker keeps on disk: a snapshot per shard, and the log of the epochs since then. CURRENT names
// the snapshots and segments that count, so that recovery and snapshotting switch atomically.
//
//   image = load_slot(dir)         reads, changes nothing
//   upto  = state/recovery.h       says which epochs count
//   replay_slot(dir, image, upto)  hands the state to the operators
//   store = SlotStore::start(...)  drops the other epochs for good and opens a new segment
//   loop:  store.reserve()  …process…  store.append(epoch)  store.sync()  …commit…  store.committed()
//
// An old segment's tail is never appended to nor relied on: start() copies what counts of it into a new
// segment, syncs, and then switches. A failed sync may leave bytes that can be read but are not on the disk.
//
// Thread:  a SlotStore belongs to its worker; snapshot() may run on one other thread (state/snapshotter.h).
// Failure: reserve() reports kNoSpace before an epoch begins; nothing has happened then. After an Error from
//          append() the store is finished: recover. After a failed sync(): abort() the process.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "state/delta.h"
#include "state/epoch_record.h"
#include "state/file.h"
#include "state/row_store.h"
#include "state/wal.h"

namespace weir::state {

class Snapshotter;

struct SegmentRef {
    uint64_t number = 0;
    uint64_t salt = 0;
};

// A segment as load_slot() found it.
struct SegmentImage {
    SegmentRef ref;
    WalLink last;  // The chain after it.
    uint64_t valid_bytes = 0;
    uint64_t file_bytes = 0;
    size_t epochs = 0;
};

// A shard's snapshot as CURRENT names it.
struct SnapshotRef {
    CommitId id;             // State after this commit; empty: before the first.
    ShardProgress progress;  // At that commit; no partitions before the first.
    std::string file;
    uint64_t bytes = 0;
};

// The content of CURRENT.
struct SlotCurrent {
    LogUuid uuid{};                      // Of the run that wrote the newest segments.
    std::vector<SnapshotRef> snapshots;  // Ascending by shard.
    std::string sink_position;           // At the snapshots.
    int64_t snapshot_wall_ms = 0;        // When they were switched to.
    std::vector<SegmentRef> segments;    // In order; later ones of the same run follow by number.
};

// An epoch in the log, without its deltas.
struct LoggedEpoch {
    CommitId id;
    CommitId prev;
    std::string sink_position;
    std::vector<ShardProgress> shards;
    uint64_t segment = 0;
    uint64_t lsn = 0;
};

// What a slot's directory holds.
struct SlotImage {
    bool exists = false;  // False: nothing was ever started here.
    LogUuid uuid{};
    std::vector<SnapshotRef> snapshots;  // Ascending by shard.
    std::string snapshot_sink_position;
    std::vector<LoggedEpoch> epochs;  // In the log after the snapshots, in order.
    WalEnd end = WalEnd::kClean;
    std::string damage;                  // Where and what; empty when clean.
    std::vector<SegmentImage> segments;  // The chain, in order.
    uint64_t next_number = 1;            // Above every segment's number in the directory.
    int64_t snapshot_wall_ms = 0;        // When the snapshots were switched to.

    // nullptr: the shard was never committed here.
    [[nodiscard]] const SnapshotRef* snapshot(ShardId shard) const;
    // How many epochs count when `upto` is the last one: its index + 1 in the log, 0 when it is empty or a
    // snapshot's id. kNotFound: neither.
    [[nodiscard]] Result<size_t> epochs_upto(const CommitId& upto) const;
    // The shard's progress after `epochs_kept` epochs; nullptr: never committed.
    [[nodiscard]] const ShardProgress* progress(ShardId shard, size_t epochs_kept) const;
    [[nodiscard]] const std::string& sink_position(size_t epochs_kept) const;
};

// Reads CURRENT, the snapshots' headers and the whole log. kCorrupt: CURRENT, a snapshot or a segment's
// header is damaged or missing; damage in the log is told by `end`. kMismatch: a newer format.
[[nodiscard]] Result<SlotImage> load_slot(Directory& directory);

// Receives a slot's state. Views die when the call returns; an Error ends the replay.
class StateVisitor {
public:
    virtual ~StateVisitor() = default;
    // One entry of a snapshot.
    [[nodiscard]] virtual Result<void> entry(ShardId shard, uint32_t table, std::string_view key,
                                             std::string_view value) = 0;
    // One epoch's changes of a shard (state/delta.h).
    [[nodiscard]] virtual Result<void> delta(ShardId shard, const CommitId& epoch,
                                             std::string_view delta) = 0;
};

// Hands out the state after `upto`: every shard's snapshot in ascending order of (table, key), then the
// deltas in order. kCorrupt when a snapshot does not verify to its last byte: what was visited must be thrown
// away then.
[[nodiscard]] Result<void> replay_slot(Directory& directory, const SlotImage& image, const CommitId& upto,
                                       StateVisitor& visitor);

struct SlotOptions {
    uint64_t segment_bytes = 4u << 20;  // A segment is closed when it has grown to this.
    // Closed segments of so many bytes make a snapshot due; where the snapshots are larger, half their size
    // does, but never more than the maximum.
    uint64_t snapshot_after_bytes = 32u << 20;
    uint64_t snapshot_after_bytes_max = 256u << 20;
    uint64_t grow_bytes = kWalGrowBytes;  // Segments are preallocated in steps of this.
    Snapshotter* snapshotter = nullptr;   // Null: the owner calls snapshot() itself.
    std::vector<StoredTables> stored_tables;  // Snapshots leave them out: their rows are in …
    std::vector<RowStore*> row_stores;       // … these, which outlive the store.
};

struct SlotStats {
    uint64_t log_bytes = 0;  // Segments on disk.
    uint64_t segments = 0;
    uint64_t snapshot_bytes = 0;
    int64_t snapshot_age_ms = 0;  // By the wall clock, since the last switch.
    uint64_t snapshots = 0;       // Made by this store.
    uint64_t snapshot_failures = 0;
    std::string snapshot_error;  // Of the latest attempt; empty when it succeeded.
    uint64_t syncs = 0;
    int64_t sync_us_last = 0;
    int64_t sync_us_max = 0;
    int64_t sync_us_total = 0;
};

class SlotStore {
public:
    // Makes `upto` the end of the log: an id of `image`, or empty when nothing counts. Other epochs are gone
    // afterwards. A crash inside leaves the old content whole. `directory` and `clock` outlive the store.
    [[nodiscard]] static Result<std::unique_ptr<SlotStore>> start(Directory& directory,
                                                                  const SlotImage& image,
                                                                  const CommitId& upto, SlotOptions options,
                                                                  Clock& clock);
    ~SlotStore();  // Interrupts and waits for a snapshot in progress.
    SlotStore(const SlotStore&) = delete;
    SlotStore& operator=(const SlotStore&) = delete;

    // Room for an epoch of `bytes` (0: as large as the largest so far, at least 1 KiB). kNoSpace: nothing has
    // happened, try again later.
    [[nodiscard]] Result<void> reserve(uint64_t bytes = 0);
    [[nodiscard]] Result<void> append(const EpochRecord& epoch);
    [[nodiscard]] Result<void> sync();
    // The appended epoch counts. The next reserve() may then close the segment, so that closed segments hold
    // only committed epochs.
    void committed();
    // With row stores: everything committed has been applied to them. Before the next reserve(). Until the
    // first call no snapshot is made, and so no log is deleted that they may lack.
    void rows_applied() { rows_applied_ = true; }

    // True when closed segments are due to be merged: by their size, or because the disk would have no room
    // for their snapshot later. Looks at the disk. Any thread.
    [[nodiscard]] bool snapshot_due();
    // Merges closed segments into new snapshots, if there are any, flushes the row stores, and deletes what
    // they cover. The worker never waits for it. An Error leaves everything as it was. One thread at a time.
    [[nodiscard]] Result<void> snapshot();

    [[nodiscard]] SlotStats stats() const;  // Any thread.

private:
    SlotStore(Directory& directory, SlotOptions options, Clock& clock, WalWriter writer, SlotCurrent current);
    [[nodiscard]] Result<void> rotate();
    [[nodiscard]] Result<void> merge(const std::vector<SegmentRef>& covered);

    Directory& directory_;
    const SlotOptions options_;
    Clock& clock_;
    WalWriter writer_;
    std::string text_;  // Of the epoch that is appended, without its deltas.
    uint64_t largest_epoch_ = 1u << 10;
    enum class Phase : uint8_t { kIdle, kAppended, kSynced } phase_ = Phase::kIdle;
    CommitId last_;  // Of the log; empty: it holds no epoch yet.
    std::atomic<bool> stopping_{false};
    std::atomic<bool> rows_applied_{false};
    std::atomic<bool> space_short_{false};  // As of the latest snapshot_due().
    bool switch_failed_ = false;  // Belongs to the thread that makes snapshots.

    mutable std::mutex mutex_;             // Guards what follows; never held during I/O.
    SlotCurrent current_;                  // Segments: closed ones, then the open one.
    std::vector<uint64_t> segment_bytes_;  // On disk, by segment.
    SlotStats counters_;
};

}  // namespace weir::state
