#include "processor/worker.h"

#include <algorithm>
#include <limits>

#include "base/crash_point.h"
#include "base/log.h"
#include "state/recovery.h"

namespace weir::processor {
namespace {

// A transaction costs about the same however much is in it, so while records wait to be read the next one
// lasts twice as long, up to this.
constexpr int64_t kBacklogIntervalMs = 500;
constexpr int64_t kReadBackTimeoutMs = 30'000;
constexpr int64_t kKeepAliveUs = 3'600'000'000;  // Kafka forgets the offsets of a group that never commits.
constexpr int64_t kDiskRetryUs = 1'000'000;
constexpr int64_t kSlowAnswerUs = 500'000;
constexpr int64_t kPublishUs = 1'000'000;
constexpr size_t kRecoveriesPerMinute = 5;
constexpr int32_t kTimeoutFencesInARow = 3;  // A broker that comes and goes can time out more than one.

}  // namespace

Worker::Worker(WorkerSettings settings, const Plan& plan, Connector& connector, state::Directory* slot,
               state::SlotOptions slot_options, Clock& clock)
    : settings_(std::move(settings)),
      plan_(plan),
      connector_(connector),
      slot_directory_(slot),
      slot_options_(slot_options),
      clock_(clock),
      counters_(plan),
      committed_counters_(counters_),
      attempted_counters_(counters_),
      global_counters_(plan),
      ledger_(plan),
      transaction_timeout_ms_(settings_.transaction_timeout_ms),
      next_transaction_timeout_ms_(settings_.transaction_timeout_ms),
      close_budget_(settings_.epoch_bytes),
      sharded_counts_(sharded_partition_counts(plan, settings_.partition_counts)) {
    for (size_t i = 0; i < settings_.shards.size(); ++i) {
        const ShardId shard = settings_.shards[i];
        if (static_cast<size_t>(shard) >= shard_index_.size())
            shard_index_.resize(static_cast<size_t>(shard) + 1, -1);
        shard_index_[static_cast<size_t>(shard)] = static_cast<int32_t>(i);
        for (const TopicPartition partition : partitions_of(shard, sharded_counts_))
            partitions_.push_back(partition);
    }
    status_.slot = settings_.identity.slot;
    beat();
    publish(WorkerPhase::kStarting);
}

Worker::~Worker() {
    log_.reset();  // Its snapshots use the shards' row stores.
    if (settings_.state_limit != nullptr) settings_.state_limit->change(use_, {});
}

std::vector<int32_t> sharded_partition_counts(const Plan& plan, std::span<const int32_t> partition_counts) {
    std::vector<int32_t> counts(partition_counts.begin(), partition_counts.end());
    for (size_t input = 0; input < counts.size(); ++input)
        if (plan.inputs[input].global) counts[input] = 0;
    return counts;
}

std::vector<TopicPartition> global_partitions(const Plan& plan, std::span<const int32_t> partition_counts) {
    std::vector<TopicPartition> partitions;
    for (size_t input = 0; input < partition_counts.size(); ++input) {
        const int32_t count = plan.inputs[input].global ? partition_counts[input] : 0;
        for (int32_t partition = 0; partition < count; ++partition)
            partitions.push_back({TopicId{static_cast<uint16_t>(input)}, partition});
    }
    return partitions;
}

std::vector<TopicPartition> partitions_of(ShardId shard, std::span<const int32_t> partition_counts) {
    std::vector<TopicPartition> partitions;
    for (size_t input = 0; input < partition_counts.size(); ++input)
        if (shard < partition_counts[input])
            partitions.push_back({TopicId{static_cast<uint16_t>(input)}, shard});
    return partitions;
}

void Worker::beat() { heartbeat_ms_.store(clock_.monotonic_ms(), std::memory_order_relaxed); }

void Worker::publish(WorkerPhase phase) {
    status_.phase = phase == WorkerPhase::kRunning && loading() ? WorkerPhase::kLoading : phase;
    status_.counters = counters_;
    status_.counters.add(global_counters_);
    status_.shards.clear();
    for (const auto& shard : shards_) status_.shards.push_back(shard->status());
    if (globals_) status_.shards.push_back(globals_->status());
    status_.loading = loading_progress();
    if (log_) {
        const state::SlotStats stats = log_->stats();
        status_.wal_bytes = stats.log_bytes;
        status_.wal_segments = stats.segments;
    }
    published_.set(status_);
    next_publish_us_ = clock_.monotonic_us() + kPublishUs;
}

Result<Worker::Turn> Worker::step(int64_t wait_ms) {
    beat();
    if (partitions_.empty()) {  // More workers than shards.
        if (settings_.stop_when_caught_up) return Turn::kFinished;
        clock_.sleep_ms(wait_ms);
        publish(WorkerPhase::kRunning);
        return Turn::kRunning;
    }
    if (!ready_) WEIR_TRY(recover());
    auto result = ready_ ? turn(wait_ms) : Result<Turn>(Turn::kRunning);
    if (ready_)
        mailbox_.answer([this](const WindowQuestion& question) {
            OpenWindows windows;
            for (const auto& shard : shards_) shard->append_open_windows(question, windows);
            return windows;
        });
    if (clock_.monotonic_us() >= next_publish_us_)
        publish(ready_ ? WorkerPhase::kRunning : WorkerPhase::kRecovering);
    return result;
}

Result<Worker::Turn> Worker::turn(int64_t wait_ms) {
    WEIR_ASSIGN(const bool reserved, reserve_log());
    if (!reserved) {
        clock_.sleep_ms(std::min<int64_t>(wait_ms, kDiskRetryUs / 1000));
        return Turn::kRunning;
    }
    const int64_t now_us = clock_.monotonic_us();
    if (!input_open_)
        if (const auto polled = poll(wait_ms); !polled.ok()) return failed_epoch(polled.error());
    notice_standstill();
    turn_began_us_ = looked_us_;
    if (const auto done = process(); !done.ok()) return failed_epoch(done.error());
    bool finished = false;
    if (!closing()) {
        for (const CaughtUp& event : input_.caught_up) {
            if (is_global(event.partition)) continue;
            shard_of(event.partition).caught_up(event);
            std::erase_if(end_offsets_, [&](const auto& end) {
                return end.first == event.partition && event.end_offset >= end.second;
            });
        }
        notice_standstill();
        for (const auto& shard : shards_) {
            // A broker that takes long to say where a partition ends is asked once per turn, or a worker with
            // many silent partitions would seem to hang.
            if (clock_.monotonic_us() - looked_us_ > kSlowAnswerUs) break;
            if (shard->next_deadline_us() > clock_.monotonic_us()) continue;
            if (const auto done = shard->advance_time(*source_, *sink_); !done.ok())
                return failed_epoch(done.error());
        }
        looked_us_ = clock_.monotonic_us();
        const bool input_ended = input_.end_of_input && !loading();  // A table's file has an end, too.
        if (const auto noted = note_loaded(input_); !noted.ok()) return failed_epoch(noted.error());
        input_.runs = {};
        input_.caught_up = {};
        next_run_ = 0;
        align();
        finished = input_ended || (settings_.stop_when_caught_up && end_offsets_.empty());
        for (const auto& shard : shards_)
            if (input_ended && !closing())
                if (const auto done = shard->advance_watermark(kEndOfTime, 0, *sink_); !done.ok())
                    return failed_epoch(done.error());
    }
    input_open_ = closing();
    finished = finished && !closing();

    const bool dirty = changed();
    const int64_t after_us = clock_.monotonic_us();
    if (dirty && epoch_started_us_ == 0) epoch_started_us_ = now_us;
    const bool due = dirty && (after_us - epoch_started_us_ >= epoch_ms() * 1000 ||
                               changed_bytes() > settings_.epoch_bytes || closing());
    const bool keep_alive = settings_.kafka_inputs && after_us - last_commit_us_ >= kKeepAliveUs;
    if (due || keep_alive || (finished && dirty)) {
        const auto committed = commit_epoch();
        if (!committed.ok()) return committed.error();
        if (*committed == EpochResult::kRecover) return Turn::kRunning;
    }
    // Nothing is open, also where records of global tables, which are in no epoch, are all that came.
    if (epoch_started_us_ == 0 && !finished) WEIR_TRY(check_state_limit());
    return finished ? Turn::kFinished : Turn::kRunning;
}

int64_t Worker::epoch_ms() const { return behind_ ? backlog_ms_ : settings_.commit_interval_ms; }

Result<void> Worker::advance_watermark(EventTime watermark, size_t depth) {
    for (const auto& shard : shards_) WEIR_TRY(shard->advance_watermark(watermark, depth, *sink_));
    return {};
}

// An imbalance is a bug of ours; records may have been lost. Debug builds stop; the others say so and go on.
void Worker::check_ledger() {
#ifdef WEIR_CHECK_LEDGER
    constexpr bool kStrict = true;
#else
    constexpr bool kStrict = false;
#endif
    held_records_.assign(plan_.stream_names.size(), 0);
    for (const auto& shard : shards_) shard->add_records(held_records_, kStrict);
    std::string wrong = ledger_.imbalance(counters_);
    if (wrong.empty()) wrong = ledger_.imbalance(global_counters_);
    if (wrong.empty()) wrong = ledger_.state_imbalance(counters_, held_records_);
    if (wrong.empty()) return;
    WEIR_CHECK(!kStrict, "the record ledger does not balance: " + wrong);
    if (++status_.ledger_imbalances == 1)
        log_error("slot={} the record ledger does not balance: {}; please report this",
                  settings_.identity.slot, wrong);
}

// Where a look takes long, as with sketches in millions of groups, it is taken seldom.
Result<void> Worker::check_state_limit() {
    constexpr int64_t kPartOfTheTime = 100;
    if (settings_.state_limit == nullptr || clock_.monotonic_us() < next_measure_us_) return {};
    const int64_t begun_us = clock_.monotonic_us();
    measured_.assign(settings_.state_limit->operators(), {});
    for (const auto& shard : shards_) shard->add_use(measured_);
    if (globals_) globals_->add_use(measured_);
    settings_.state_limit->change(use_, measured_);
    std::swap(use_, measured_);
    const int64_t ended_us = clock_.monotonic_us();
    next_measure_us_ = ended_us + kPartOfTheTime * (ended_us - begun_us);
    return settings_.state_limit->check();
}

void Worker::keep_counters_of(const CommitId& decided) {
    if (decided == CommitId{} || decided != attempted_) return;
    committed_counters_ = attempted_counters_;
    counters_ = committed_counters_;
}

bool Worker::changed() const {
    return std::any_of(shards_.begin(), shards_.end(), [](const auto& shard) { return shard->changed(); });
}

size_t Worker::changed_bytes() const {
    size_t bytes = 0;
    for (const auto& shard : shards_) bytes += shard->changed_bytes();
    if (globals_) bytes += globals_->changed_bytes();
    return bytes;
}

// An epoch that cannot go on. What a new attempt cannot change ends the process: a bad record under the
// policy to stop, offsets that Kafka no longer has, missing rights. Everything else is abandoned and read
// back.
Result<Worker::Turn> Worker::failed_epoch(const Error& cause) {
    switch (cause.code) {
        case Code::kRecordFailed:
        case Code::kMismatch:
        case Code::kNotFound:
        case Code::kUnauthorized:
        case Code::kCorrupt:
        case Code::kInvalid: return cause;
        default: break;
    }
    WEIR_TRY(count_recovery(cause));
    return Turn::kRunning;
}

Result<void> Worker::commit() {
    if (!ready_) return {};
    WEIR_ASSIGN(const bool reserved, reserve_log());
    if (!reserved) return {};
    for (const auto& shard : shards_)
        if (!closing()) WEIR_TRY(shard->advance_time(*source_, *sink_));
    const auto committed = commit_epoch();
    return committed.ok() ? Result<void>() : Result<void>(committed.error());
}

Result<void> Worker::finish() {
    beat();
    bool commits = ready_ && changed();
    if (commits) {
        WEIR_ASSIGN(commits, reserve_log());
    }
    if (commits) {
        const auto committed = commit_epoch();
        if (!committed.ok()) return committed.error();
        // An abandoned epoch is no loss: the next start reads its records again.
        if (*committed == EpochResult::kRecover)
            log_warn("slot={} last epoch abandoned at exit", settings_.identity.slot);
    }
    publish(WorkerPhase::kStopped);
    source_.reset();
    sink_.reset();
    log_.reset();
    ready_ = false;
    return {};
}

Shard& Worker::shard_of(TopicPartition partition) {
    const auto shard = static_cast<size_t>(partition.partition);
    const int32_t index = shard < shard_index_.size() ? shard_index_[shard] : -1;
    WEIR_CHECK(index >= 0, "a record of a partition that is not ours");
    return *shards_[static_cast<size_t>(index)];
}

// --- Epochs ---

std::vector<OffsetCommit> Worker::offsets(const CommitId& id) const {
    std::vector<OffsetCommit> commits;
    commits.reserve(partitions_.size());
    for (const auto& shard : shards_)
        for (const PartitionProgress& progress : shard->progress()) {
            if (progress.next_offset < 0) continue;
            commits.push_back({progress.partition, progress.next_offset,
                               state::encode_commit_metadata({id, progress.watermark, settings_.host})});
        }
    return commits;
}

// Disk space for the next epoch is taken before it begins, so that a full disk pauses reading and loses
// nothing.
Result<bool> Worker::reserve_log() {
    const bool needs_log = log_ && !log_reserved_;
    const bool between_epochs = epoch_started_us_ == 0;  // Reading may pause.
    if (!needs_log && !(globals_ && between_epochs)) return true;
    if (clock_.monotonic_us() < disk_retry_us_) return false;
    auto reserved = between_epochs && globals_ ? globals_->apply_global_rows() : Result<void>();
    if (reserved.ok()) reserved = apply_rows();
    if (reserved.ok() && needs_log) {
        reserved = log_->reserve();
        WEIR_CHECK(reserved.ok() || reserved.error().code == Code::kNoSpace, reserved.error().message);
    }
    log_reserved_ = needs_log ? reserved.ok() : log_reserved_;
    if (!reserved.ok()) {
        if (reserved.error().code != Code::kNoSpace) return reserved.error();
        wait_for_space(reserved.error());
    } else if (status_.disk_full) {
        log_info("slot={} reading goes on: the log has space again", settings_.identity.slot);
        status_.disk_full = false;
        publish(ready_ ? WorkerPhase::kRunning : WorkerPhase::kRecovering);
    }
    return reserved.ok();
}

// Once an epoch is known to count, its rows go into the tables' stores: before the log may close the segment
// that has them.
Result<void> Worker::apply_rows() {
    if (unapplied_.empty()) return {};
    for (const auto& shard : shards_) WEIR_TRY(shard->apply_rows(unapplied_));
    unapplied_ = {};
    log_->rows_applied();
    return {};
}

void Worker::wait_for_space(const Error& error) {
    disk_retry_us_ = clock_.monotonic_us() + kDiskRetryUs;
    if (status_.disk_full) return;
    log_error("slot={} reading pauses: {}", settings_.identity.slot, error.message);
    status_.disk_full = true;
    publish(ready_ ? WorkerPhase::kRunning : WorkerPhase::kRecovering);
}

Result<void> Worker::append_epoch(const CommitId& id, std::string sink_position) {
    state::EpochRecord record;
    record.id = id;
    record.prev = previous_;
    record.sink_position = std::move(sink_position);
    take_deltas();
    for (size_t i = 0; i < shards_.size(); ++i) {
        state::ShardEpoch& part = record.shards.emplace_back();
        part.progress.shard = shards_[i]->id();
        for (PartitionProgress& progress : shards_[i]->progress())
            part.progress.partitions.push_back(
                {progress.partition, progress.next_offset, progress.watermark, std::move(progress.blob)});
        part.delta = deltas_[i];
    }
    return log_->append(record);
}

// A failed fdatasync cannot be repaired in this process: the kernel may have dropped the pages, and a later
// success would prove nothing. Recovery reads what is really there.
void Worker::sync_log() {
    const int64_t before_us = clock_.monotonic_us();
    const auto synced = log_->sync();
    WEIR_CHECK(synced.ok(), synced.error().message);
    status_.wal_sync_us_total += static_cast<uint64_t>(clock_.monotonic_us() - before_us);
}

Result<Worker::EpochResult> Worker::commit_epoch() {
    const int64_t begun_us = clock_.monotonic_us();
    for (const auto& shard : shards_) {
        const auto shown = shard->finish_epoch(*sink_);
        if (shown.ok()) continue;
        const auto failed = failed_epoch(shown.error());
        return failed.ok() ? Result<EpochResult>(EpochResult::kRecover) : failed.error();
    }
    check_ledger();
    const CommitId id{next_.boot, ++next_.sequence};
    attempted_ = id;
    add_own_boot(id);
    attempted_counters_ = counters_;
    auto result = settings_.decider == Decider::kTransaction ? commit_by_transaction(id)
                  : settings_.decider == Decider::kWal       ? commit_by_log(id)
                                                             : commit_by_offsets(id);
    if (!result.ok() || *result != EpochResult::kCommitted) return result;
    crash_point("after_commit");
    previous_ = id;
    if (!plan_.stored_tables.empty()) unapplied_ = id;
    log_reserved_ = false;
    close_budget_.renew();
    epoch_started_us_ = 0;
    const int64_t usual_ms = settings_.commit_interval_ms;
    backlog_ms_ = behind_ ? std::min(2 * backlog_ms_, std::max(usual_ms, kBacklogIntervalMs)) : usual_ms;
    behind_ = true;
    last_commit_us_ = clock_.monotonic_us();
    committed_counters_ = counters_;
    forget_consumed();
    ++status_.epochs_committed;
    status_.last_commit_wall_ms = clock_.wall_ms();
    const int64_t took_us = last_commit_us_ - begun_us;
    status_.commit_duration_us_total += static_cast<uint64_t>(took_us);
    size_t bucket = 0;
    while (bucket < kCommitBucketsMs.size() && took_us > kCommitBucketsMs[bucket] * 1000) ++bucket;
    ++status_.commit_duration_buckets[bucket];
    return result;
}

// Kafka's transaction decides. The only order that matters: the record is on disk before EndTxn is sent.
Result<Worker::EpochResult> Worker::commit_by_transaction(const CommitId& id) {
    const std::vector<OffsetCommit> commits = offsets(id);
    sink_->start_flush();
    if (log_) {
        // With file outputs their lengths are part of the record, so they are flushed before it.
        std::string position = sink_->position();
        if (!position.empty()) {
            if (const auto flushed = sink_->flush(transaction_timeout_ms_); !flushed.ok())
                return abandon(flushed.error());
            position = sink_->position();
        }
        if (const auto appended = append_epoch(id, std::move(position)); !appended.ok())
            return abandon(appended.error());
        crash_point("after_prepare_append");
        sync_log();  // librdkafka's threads send the outputs meanwhile.
        crash_point("after_prepare_sync");
    } else {
        take_deltas();
    }
    if (const auto flushed = sink_->flush(transaction_timeout_ms_); !flushed.ok())
        return abandon(flushed.error());
    crash_point("after_flush");
    beat();
    if (const auto sent = sink_->send_offsets(commits, transaction_timeout_ms_); !sent.ok())
        return abandon(sent.error());
    crash_point("after_send_offsets");
    beat();
    const CommitOutcome outcome = sink_->commit(transaction_timeout_ms_);
    beat();
    switch (outcome) {
        case CommitOutcome::kCommitted:
        case CommitOutcome::kCommittedReplaceSink: break;
        case CommitOutcome::kFenced: return abandon({Code::kFenced, "commit transaction"});
        case CommitOutcome::kUnknown: return abandon({Code::kUnknown, "the commit's outcome is unknown"});
    }
    crash_point("after_end");
    timeout_fences_ = 0;
    next_transaction_timeout_ms_ = settings_.transaction_timeout_ms;
    if (log_) log_->committed();
    if (outcome == CommitOutcome::kCommittedReplaceSink) {
        if (const auto replaced = replace_sink(id); !replaced.ok()) return abandon(replaced.error());
    } else if (const auto begun = sink_->begin(); !begun.ok()) {
        return abandon(begun.error());
    }
    return EpochResult::kCommitted;
}

// The log decides: outputs are durable before the record says so; Kafka's offsets only follow.
Result<Worker::EpochResult> Worker::commit_by_log(const CommitId& id) {
    const std::vector<OffsetCommit> commits = offsets(id);
    sink_->start_flush();
    if (const auto flushed = sink_->flush(transaction_timeout_ms_); !flushed.ok())
        return abandon(flushed.error());
    crash_point("after_flush");
    if (const auto appended = append_epoch(id, sink_->position()); !appended.ok())
        return abandon(appended.error());
    crash_point("after_prepare_append");
    sync_log();
    crash_point("after_prepare_sync");
    log_->committed();
    if (settings_.kafka_inputs)
        if (const auto noted = sink_->commit_offsets(commits, false); !noted.ok())
            log_debug("slot={} advisory offset commit: {}", settings_.identity.slot, noted.error().message);
    return EpochResult::kCommitted;
}

Result<Worker::EpochResult> Worker::commit_by_offsets(const CommitId& id) {
    const std::vector<OffsetCommit> commits = offsets(id);
    take_deltas();
    sink_->start_flush();
    auto done = sink_->flush(transaction_timeout_ms_);
    crash_point("after_flush");
    if (done.ok()) done = sink_->commit_offsets(commits, true);
    if (!done.ok()) return abandon(done.error());
    return EpochResult::kCommitted;
}

Result<Worker::EpochResult> Worker::abandon(const Error& cause) {
    WEIR_TRY(count_recovery(cause));
    return EpochResult::kRecover;
}

void Worker::take_deltas() {
    deltas_.resize(shards_.size());
    for (size_t i = 0; i < shards_.size(); ++i) {
        deltas_[i].clear();
        state::DeltaWriter delta(deltas_[i]);
        shards_[i]->take_delta(delta);
        WEIR_CHECK(log_ || deltas_[i].empty(), "a plan without state wrote some");
    }
}

// EndTxn was sent more than once: a delayed copy could end the next transaction half way. A new producer
// epoch fences it (docs/exactly_once.md, "The delayed EndTxn").
Result<void> Worker::replace_sink(const CommitId& expected) {
    ++status_.sinks_replaced;
    sink_.reset();
    WEIR_TRY(open_sink());
    WEIR_ASSIGN(const auto committed, sink_->committed(partitions_, kReadBackTimeoutMs));
    for (const auto& offset : committed) {
        const auto metadata = offset ? state::parse_commit_metadata(offset->metadata) : std::nullopt;
        if (!metadata || metadata->id != expected)
            return Error{Code::kMismatch,
                         fmt::format("slot {}: after a repeated EndTxn Kafka holds another commit than {}",
                                     settings_.identity.slot, to_string(expected))};
    }
    return sink_->begin();
}

Result<void> Worker::count_recovery(const Error& cause) {
    if (cause.code == Code::kFenced) {
        // Kafka answers a transaction that it timed out as it answers a zombie. Our own clock tells the first
        // from the second, a few times: two processes so slow that each times out would fence each other for
        // ever.
        const int64_t began_us = epoch_started_us_ != 0 ? epoch_started_us_ : turn_began_us_;
        const bool timed_out = clock_.monotonic_us() - began_us > transaction_timeout_ms_ * 1000;
        if (began_us == 0 || !timed_out || ++timeout_fences_ > kTimeoutFencesInARow)
            return Error{
                Code::kFenced,
                fmt::format("slot {} was fenced: another process runs pipeline '{}' as instance {}{}; this "
                            "one stops ({})",
                            settings_.identity.slot, settings_.identity.pipeline, settings_.identity.instance,
                            timed_out ? ", or its transactions take longer than transaction.timeout.ms" : "",
                            cause.message)};
        // Perhaps the epoch needs so long, as when much state gives its results at once.
        next_transaction_timeout_ms_ = 2 * transaction_timeout_ms_;
        log_warn("slot={} the transaction took longer than {} ms; the next one may take {} ms",
                 settings_.identity.slot, transaction_timeout_ms_, next_transaction_timeout_ms_);
    }
    ready_ = false;
    turn_began_us_ = 0;
    ++status_.recoveries;
    const int64_t now_us = clock_.monotonic_us();
    std::erase_if(recent_recoveries_us_, [&](int64_t at) { return now_us - at > 60'000'000; });
    recent_recoveries_us_.push_back(now_us);
    log_warn("slot={} epoch abandoned, reading the outcome back: cause={} {}", settings_.identity.slot,
             code_name(cause.code), cause.message);
    if (recent_recoveries_us_.size() <= kRecoveriesPerMinute) return {};
    return Error{Code::kFenced,
                 fmt::format("slot {} had to recover {} times within a minute; last cause: {}",
                             settings_.identity.slot, recent_recoveries_us_.size(), cause.message)};
}

}  // namespace weir::processor
