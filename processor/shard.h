// One shard: the operators and the state of a set of equally numbered partitions. A worker hands it runs of
// records and tells it when time passed; it answers with output records, and once per epoch with what
// changed.
//
// Order:   results do not depend on how records are cut into runs: a record is tested for lateness against
//          the watermark that stood before it, and outputs keep the input's order; windows close after the
//          run that closes them, in order of their end, groups in the order of their first record.
// Closing: where more is due than the CloseBudget allows, it is closing(): what is left is given by go_on(),
//          in epochs of their own, before any other call but those of the epoch.
// Thread:  the worker that owns it. The plan outlives it.
// Memory:  a run of any length is worked off in slices of kSliceRows records; buffers are reused.
// Failure: kRecordFailed where the error policy is `fail`, else the sink's own error. Either leaves the shard
//          between epochs: it is dropped and restored from the last commit.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "processor/close_budget.h"
#include "processor/counters.h"
#include "processor/endpoint.h"
#include "processor/plan.h"
#include "processor/question.h"
#include "processor/state_limit.h"
#include "state/delta.h"
#include "state/row_store.h"

namespace weir::processor {

struct Stage;

inline constexpr size_t kSliceRows = 1024;

// What an epoch record keeps of one partition.
struct PartitionProgress {
    TopicPartition partition;
    int64_t next_offset = -1;       // -1: nothing read yet.
    EventTime watermark = kNoTime;  // For people; `blob` has all that is needed to go on.
    std::string blob;
};

struct PartitionStatus {
    TopicPartition partition;
    int64_t next_offset = -1;
    EventTime newest = kNoTime;  // The largest event time.
    EventTime watermark = kNoTime;
    uint64_t advances = 0;         // Of the watermark, since the process started …
    int64_t advanced_offset = -1;  // … the latest by this record …
    int64_t advanced_wall_ms = 0;  // … at this time.
    int64_t quiet_since_wall_ms = 0;
    bool idle = false;
    bool caught_up = false;
    int32_t held_behind = -1;  // Index of the partition that align holds this one back for; -1: it is read.
    int32_t upstream = -1;  // Of an internal topic: the shard before it that holds its watermark; -1: none.
};

struct StageStatus {
    std::string stream;  // "per_minute.steps[1]", "paid.join"
    size_t stream_index = 0;
    EventTime watermark = kNoTime;
    bool ticking = false;  // All its partitions are idle and event time goes on by the clock.
    int32_t held_by = -1;  // Index into `partitions` of the one that holds the watermark; -1: none.
    EventTime needed = kNoTime;  // That one's watermark from which on it no longer holds `next_due`.
    WindowsEnd windows_end = WindowsEnd::kByWatermark;
    int64_t window_records = 0;  // kByRecords: so many fill one.
    uint64_t open_windows = 0;   // Sessions, and what else records make, one by one.
    uint64_t groups = 0;         // Or records in the buffers of a join.
    uint64_t records = 0;        // In all of them.
    uint64_t state_bytes = 0;
    // The window that the stage's clock does something about next, and when; kEndOfTime: none.
    OpenWindow next;
    EventTime next_due = kEndOfTime;
    int64_t due_at_wall_ms = 0;    // Ticking, or kByClock: the same by the wall clock.
    int64_t shown_at_wall_ms = 0;  // emit: {every: …}: when changes are shown; 0: there are none.
};

struct TableStatus {
    std::string name;
    uint64_t rows = 0;
    uint64_t bytes = 0;
};

struct ShardStatus {
    ShardId shard = 0;
    std::vector<PartitionStatus> partitions;
    std::vector<StageStatus> stages;
    std::vector<TableStatus> tables;  // Its own.
};

// "per_minute.steps[1]", "paid.join"
[[nodiscard]] std::string stage_name(const Plan& plan, const Stage& stage);

// A worker's global tables live in a shard of their own, which is in no epoch and no log.
inline constexpr ShardId kGlobalTables = -1;

class Shard {
public:
    // `partitions`: every input partition with this number that exists, in the order of the plan's inputs;
    // for kGlobalTables all those of the global tables. `partition_counts`: by input, of the whole topic.
    // `globals`: where this shard looks global tables up. `budget`: of the worker, which it outlives; null:
    // there is no limit.
    Shard(const Plan& plan, ShardId id, std::span<const TopicPartition> partitions,
          std::span<const int32_t> partition_counts, const Clock& clock, Counters& counters,
          const Shard* globals = nullptr, CloseBudget* budget = nullptr);
    ~Shard();
    Shard(const Shard&) = delete;
    Shard& operator=(const Shard&) = delete;

    [[nodiscard]] ShardId id() const;

    // Takes one partition's records; their views must live until the call returns. `wall_ms` is the time of
    // the poll: what max_ahead and now() mean by now. How many it took: fewer than all when it is closing().
    [[nodiscard]] Result<size_t> process(const InputRun& run, const Source& source, int64_t wall_ms,
                                         Sink& sink);

    // Everything before `caught_up.end_offset` was delivered.
    void caught_up(const CaughtUp& caught_up);

    // The worker stood still: what was idle has to be asked for again, before anything is processed.
    void stood_still();

    // Declares quiet partitions idle, lets event time tick, closes what became due. Asks the source for a
    // partition's end only when it is about to become idle. Cheap when nothing is due.
    [[nodiscard]] Result<void> advance_time(Source& source, Sink& sink);

    // What became due was not given whole, because the epoch is full. After a restart only go_on() takes that
    // up, so that tables can be read before.
    [[nodiscard]] bool closing() const;
    [[nodiscard]] Result<void> go_on(Sink& sink);

    // Monotonic microseconds at which advance_time() has something to do, as far as is known now; INT64_MAX:
    // nothing until records come.
    [[nodiscard]] int64_t next_deadline_us() const;

    // Event time reaches `watermark` at every operator with at most `depth` internal topics before it,
    // whatever the partitions say. kEndOfTime: bounded input ended; every window closes and stays closed in
    // later runs over the same state.
    [[nodiscard]] Result<void> advance_watermark(EventTime watermark, size_t depth, Sink& sink);

    // --- The epoch ---

    // Whether anything happened since the last take_delta() that a commit must record.
    [[nodiscard]] bool changed() const;
    [[nodiscard]] std::vector<PartitionProgress> progress() const;
    // What take_delta() will write of tables and of stages on disk, about; the rest of the state has bounds
    // of its own.
    [[nodiscard]] size_t changed_bytes() const;
    // Shows what results are shown once per commit. Before take_delta(), when changed().
    [[nodiscard]] Result<void> finish_epoch(Sink& sink);
    // Writes every change of state since the last call, and starts the next epoch.
    void take_delta(state::DeltaWriter& out);

    // Rows on disk: all changes until now are committed, by `id` at the latest; see StoredRows::apply().
    [[nodiscard]] Result<void> apply_rows(const CommitId& id);
    // Of kGlobalTables, between two turns: what it read goes into its stores.
    [[nodiscard]] Result<void> apply_global_rows();
    void append_row_stores(std::vector<state::RowStore*>& out);

    // --- Recovery, before the first process() ---

    // First of all. Opens the stores of what is on disk; `base`: the commit of the shard's snapshot.
    // `shards`: of this process, which share the caches.
    [[nodiscard]] Result<void> open_stores(state::RowStores* stores, const CommitId& base, size_t shards);
    // The same of kGlobalTables, whose rows on disk begin empty. `slot`: the worker's.
    [[nodiscard]] Result<void> make_scratch_stores(state::RowStores* stores, int32_t slot);
    // Replays what take_delta() wrote, in order. kCorrupt: not something take_delta() writes.
    [[nodiscard]] Result<void> apply(std::string_view delta, const CommitId& epoch = {});
    // One operation of it, as a snapshot holds them.
    [[nodiscard]] Result<void> apply_put(uint32_t table, std::string_view key, std::string_view value);
    // After the last of it. kMismatch: a store cannot be completed.
    [[nodiscard]] Result<void> end_replay();
    // Takes a partition's progress back; an empty blob sets the offset alone.
    [[nodiscard]] Result<void> restore_progress(const PartitionProgress& progress);

    // --- Alignment (align.max_drift) ---

    // Finds anew which partitions are to be held back; true when that changed.
    [[nodiscard]] bool align();
    void append_held(std::vector<TopicPartition>& out) const;

    // The ledger: adds how many records each stream's state holds; `counting`: by a look at every one.
    void add_records(std::span<uint64_t> by_stream, bool counting);

    // Adds what each operator takes: the plan's stages, then its tables.
    void add_use(std::span<OperatorUse> by_operator) const;

    [[nodiscard]] ShardStatus status() const;
    void append_open_windows(const WindowQuestion& question, OpenWindows& out);

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace weir::processor
