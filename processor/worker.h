// One worker: one pinned thread that owns some shards, their state, one Source, one Sink and one WAL slot.
// It turns records into epochs: one epoch = one transaction = one WAL record = one fdatasync, and it has one
// recovery routine for every way an epoch can fail. Protocol and crash points: docs/exactly_once.md.
//
// Thread:  every call but status(), ask() and heartbeat_ms() comes from the worker's own thread; tests call
//          step() one turn at a time under virtual time.
// Failure: step() returns an Error only when the process has to stop; everything that can be repaired by
//          reading the outcome back and starting again from there is repaired inside.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "processor/endpoint.h"
#include "processor/ledger.h"
#include "processor/plan.h"
#include "processor/shard.h"
#include "processor/state_limit.h"
#include "processor/worker_status.h"
#include "state/slot_store.h"

namespace weir::processor {

// Who says that an epoch happened.
enum class Decider : uint8_t {
    kTransaction,  // Kafka's transaction holds outputs and offsets; the WAL record is its redo information.
    kWal,          // Outputs are flushed, then the WAL record decides; Kafka's offsets are advisory.
    kOffsets,      // No state: outputs are flushed, then Kafka's committed offsets decide.
};

struct WorkerSettings {
    WorkerIdentity identity;
    std::string host;  // Goes into the commit metadata, so that a foreign commit names its writer.
    std::vector<ShardId> shards;
    // By input, as the topics have them: shard s reads partition s of inputs that have one; global tables are
    // read whole.
    std::vector<int32_t> partition_counts;
    std::vector<StartPolicy>
        start_policies;  // By input; where a partition without a committed offset begins.
    Decider decider = Decider::kTransaction;
    bool kafka_inputs = true;  // Offsets can be committed to the source system.
    int64_t commit_interval_ms = 100;
    int64_t transaction_timeout_ms = 10'000;
    // Of changes of what is on disk, or of results that became due: then an epoch is committed.
    size_t epoch_bytes = 8 << 20;
    state::RowStores* row_stores = nullptr;  // Where state on disk is; null: the plan has none.
    size_t process_shards = 1;               // Of all workers together: they share the memory of the caches.
    StateLimit* state_limit = nullptr;    // Of all workers together; null: nobody asks.
    int64_t startup_timeout_ms = 60'000;  // For the first recovery; later ones wait for ever.
    bool stop_when_caught_up = false;     // Stop once the log ends seen at the start are reached.
};

class Worker {
public:
    enum class Turn : uint8_t {
        kRunning,
        kFinished,  // Bounded input ended or the log ends seen at the start are reached; all is committed.
    };

    // `slot` is null where the decider needs no WAL. All references outlive the worker.
    Worker(WorkerSettings settings, const Plan& plan, Connector& connector, state::Directory* slot,
           state::SlotOptions slot_options, Clock& clock);
    ~Worker();

    // Recovers if needed, then: poll at most `wait_ms`, process, advance time, commit when due.
    [[nodiscard]] Result<Turn> step(int64_t wait_ms);

    // More is due than one epoch gives: each step gives and commits a part of it, before anything else.
    [[nodiscard]] bool closing() const;

    // Monotonic microseconds at which time alone gives step() something to do; INT64_MAX: nothing until
    // records come.
    [[nodiscard]] int64_t next_deadline_us() const;

    // Event time reaches `watermark` at every operator with at most `depth` internal topics before it,
    // whatever the partitions say, as at the end of bounded input (kEndOfTime); part of the open epoch. For
    // `weir test`, after a step().
    [[nodiscard]] Result<void> advance_watermark(EventTime watermark, size_t depth);

    // Commits now, also when nothing but time has changed: event time that ticks on silence goes to the log
    // when a window waits for it only. For `weir test`, after a step().
    [[nodiscard]] Result<void> commit();

    // Commits the open epoch (SIGTERM). The worker is not used afterwards.
    [[nodiscard]] Result<void> finish();

    [[nodiscard]] WorkerStatus status() const { return published_.get(); }
    // Any thread; answered between two turns.
    [[nodiscard]] std::future<OpenWindows> ask(WindowQuestion question) {
        return mailbox_.ask(std::move(question));
    }
    // Monotonic milliseconds of the latest sign of life, for the watchdog.
    [[nodiscard]] int64_t heartbeat_ms() const { return heartbeat_ms_.load(std::memory_order_relaxed); }

private:
    using Committed = std::vector<std::optional<CommittedOffset>>;  // In the order of partitions_.

    // processor/recovery.cc. One attempt per call: while the broker is away the worker stays not ready.
    [[nodiscard]] Result<void> recover();
    [[nodiscard]] Result<void> try_recover();
    [[nodiscard]] Result<void> open_sink();
    [[nodiscard]] Result<void> restore_from_log(const Committed& committed);
    [[nodiscard]] Result<void> restore_from_offsets(const Committed& committed);
    [[nodiscard]] Result<void> check_offsets(const Committed& committed) const;
    [[nodiscard]] Result<void> pin_start_offsets();
    [[nodiscard]] Result<void> start_reading();

    // processor/table_loading.cc: tables are read to their ends before any stream is.
    struct TableEnd {
        TopicPartition partition;
        int64_t begin;  // Where reading began,
        int64_t position;
        int64_t end;    // and the log's end at that time.
    };
    [[nodiscard]] Result<void> find_table_ends();
    [[nodiscard]] Result<void> assign_inputs();
    [[nodiscard]] Result<void> note_loaded(const Poll& poll);
    [[nodiscard]] bool has_file_table() const;
    [[nodiscard]] bool is_file_table(TopicPartition partition) const;
    [[nodiscard]] bool loading() const { return !table_ends_.empty(); }
    [[nodiscard]] std::vector<TableProgress> loading_progress() const;
    [[nodiscard]] bool is_global(TopicPartition partition) const {
        return plan_.inputs[static_cast<size_t>(partition.topic)].global;
    }
    [[nodiscard]] size_t changed_bytes() const;

    // How long the open epoch collects.
    [[nodiscard]] int64_t epoch_ms() const;
    [[nodiscard]] Result<Turn> turn(int64_t wait_ms);
    [[nodiscard]] Result<void> poll(int64_t wait_ms);
    // Takes what is left of input_, up to where a shard is closing.
    [[nodiscard]] Result<void> process();
    [[nodiscard]] Result<Turn> failed_epoch(const Error& cause);
    [[nodiscard]] bool changed() const;
    void align();
    void check_ledger();
    // Tells StateLimit what the operators take. kStateLimit: they all take too much; between epochs only.
    [[nodiscard]] Result<void> check_state_limit();
    // The outcome of the latest commit is known: that one.
    void keep_counters_of(const CommitId& decided);

    // What became of the epoch; anything but a commit sends the worker through recover().
    enum class EpochResult : uint8_t { kCommitted, kRecover };
    [[nodiscard]] Result<EpochResult> commit_epoch();
    [[nodiscard]] Result<EpochResult> commit_by_transaction(const CommitId& id);
    [[nodiscard]] Result<EpochResult> commit_by_log(const CommitId& id);
    [[nodiscard]] Result<EpochResult> commit_by_offsets(const CommitId& id);
    [[nodiscard]] Result<EpochResult> abandon(const Error& cause);
    [[nodiscard]] Result<void> replace_sink(const CommitId& expected);
    [[nodiscard]] Result<void> append_epoch(const CommitId& id, std::string sink_position);
    void sync_log();
    void take_deltas();
    // Room for the next epoch, in the log and in the stores that take rows: the last epoch's, and those of
    // global tables since then. False: not yet.
    [[nodiscard]] Result<bool> reserve_log();
    [[nodiscard]] Result<void> apply_rows();
    void wait_for_space(const Error& error);
    void notice_standstill();
    void forget_consumed();

    [[nodiscard]] std::vector<OffsetCommit> offsets(const CommitId& id) const;
    [[nodiscard]] Shard& shard_of(TopicPartition partition);
    void draw_boot_nonce();
    void add_own_boot(const CommitId& id);
    [[nodiscard]] Result<void> check_not_replaced();
    void beat();
    void publish(WorkerPhase phase);
    [[nodiscard]] Result<void> count_recovery(const Error& cause);

    const WorkerSettings settings_;
    const Plan& plan_;
    Connector& connector_;
    state::Directory* const slot_directory_;
    const state::SlotOptions slot_options_;
    Clock& clock_;

    std::unique_ptr<Source> source_;
    std::unique_ptr<Sink> sink_;
    std::unique_ptr<state::SlotStore> log_;
    Counters counters_;
    Counters committed_counters_;  // As of the latest commit: an abandoned epoch's records are counted again.
    Counters attempted_counters_;  // As of attempted_: it may turn out to have happened.
    Counters global_counters_;     // What the global tables read; no epoch takes it back.
    Ledger ledger_;
    int64_t transaction_timeout_ms_;       // Of the sink …
    int64_t next_transaction_timeout_ms_;  // … and of the next one.
    std::vector<uint64_t> held_records_;  // Reused.
    std::vector<OperatorUse> use_;  // As StateLimit knows it …
    std::vector<OperatorUse> measured_;
    int64_t next_measure_us_ = 0;  // … and when it is told anew.
    CloseBudget close_budget_;
    const std::vector<int32_t> sharded_counts_;
    std::unique_ptr<Shard> globals_;  // The global tables, if any; they outlive recoveries.
    std::vector<std::unique_ptr<Shard>> shards_;  // In the order of settings_.shards.
    std::vector<int32_t> shard_index_;            // By shard id; -1: not ours.
    std::vector<TopicPartition> partitions_;      // All of our shards' partitions.

    bool ready_ = false;  // Recovered and reading.
    Poll input_;          // The latest one, …
    int64_t input_wall_ms_ = 0;
    size_t next_run_ = 0;      // … of which this run is worked off next, …
    size_t next_record_ = 0;   // … from this record on …
    bool input_open_ = false;  // … before there is another one.
    bool recovered_once_ = false;
    bool log_reserved_ = false;
    CommitId previous_;  // The latest committed epoch of this slot.
    CommitId next_;      // boot = this sink's nonce; sequence = the last one used.
    CommitId unapplied_;  // The latest commit whose rows the tables' stores lack; empty: none.
    CommitId attempted_;  // The latest commit that was begun.
    // Of the commits that Kafka may hold without another process: ours, and what a recovery began from.
    std::vector<decltype(CommitId::boot)> own_boots_;
    int64_t epoch_started_us_ = 0;  // Of the first change in the open epoch; 0: none before this turn.
    bool behind_ = true;            // No input has been at its end since the open epoch began: so long …
    int64_t backlog_ms_ = 0;        // … it may then last.
    int64_t turn_began_us_ = 0;     // 0: none since the recovery.
    int64_t last_commit_us_ = 0;
    int64_t disk_retry_us_ = 0;
    int64_t looked_us_ = 0;  // When idle partitions were known to be idle.
    int64_t next_forget_us_ = 0;
    int64_t next_publish_us_ = 0;
    int32_t timeout_fences_ = 0;  // Since the latest commit.
    std::vector<int64_t> recent_recoveries_us_;
    std::vector<std::pair<TopicPartition, int64_t>> end_offsets_;  // stop_when_caught_up: not reached yet.
    bool assigned_anew_ = false;  // Streams were assigned, and not yet polled.
    std::vector<TableEnd> table_ends_;  // Of the tables still loading; empty: streams are read.
    std::vector<std::string> deltas_;                              // Reused encoding buffers, one per shard.
    int64_t first_attempt_ms_ = 0;                                 // When the first recovery began.
    int64_t next_wait_log_us_ = 0;

    std::vector<TopicPartition> held_;  // Reused.

    WorkerStatus status_;
    Published<WorkerStatus> published_;
    Mailbox mailbox_;
    std::atomic<int64_t> heartbeat_ms_{0};
};

// What shards read of inputs with so many partitions (nothing of global tables), and what all workers do.
[[nodiscard]] std::vector<int32_t> sharded_partition_counts(const Plan& plan,
                                                            std::span<const int32_t> partition_counts);
[[nodiscard]] std::vector<TopicPartition> global_partitions(const Plan& plan,
                                                            std::span<const int32_t> partition_counts);
// The partitions of a shard, in the order of the inputs that have one of that number.
[[nodiscard]] std::vector<TopicPartition> partitions_of(ShardId shard,
                                                        std::span<const int32_t> partition_counts);

// The recovery table applied to every shard of one slot. Shared by a worker's recovery and by the re-dealing
// of slots at start.
struct SlotDecision {
    size_t epochs_kept = 0;        // So many epochs of the slot's log count.
    CommitId upto;                 // The last of them, or the snapshots' commit; empty when nothing counts.
    std::vector<ShardId> genesis;  // Shards of which nothing was ever committed.
};
// `committed` follows `partitions`; both cover every partition of `shards`. kMismatch or kCorrupt: refuse to
// start, the message says what to do.
[[nodiscard]] Result<SlotDecision> decide_slot(const state::SlotImage& image, Decider decider, int32_t slot,
                                               std::span<const ShardId> shards,
                                               std::span<const TopicPartition> partitions,
                                               std::span<const std::optional<CommittedOffset>> committed);

}  // namespace weir::processor
