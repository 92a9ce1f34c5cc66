// The one way into a running epoch: after a start, a crash, an abort, a fence by timeout or an unknown
// outcome. Read what Kafka holds, decide by state/recovery.h, rebuild the shards, open a fresh log, read on
// from there.
#include <algorithm>

#include "base/crash_point.h"
#include "base/entropy.h"
#include "base/log.h"
#include "processor/worker.h"
#include "state/recovery.h"

namespace weir::processor {
namespace {

constexpr int64_t kAttemptMs = 5'000;
constexpr int64_t kForgetUs = 5'000'000;  // Deleting costs the brokers a write per partition.
constexpr int64_t kBetweenAttemptsMs = 200;
constexpr int64_t kBetweenDiskAttemptsMs = 1000;
constexpr int64_t kWaitLogUs = 10'000'000;

bool may_come_back(Code code) {
    return code == Code::kUnavailable || code == Code::kTimedOut || code == Code::kNoSpace;
}

// What Kafka holds for one shard; its partitions were committed together, so they must agree.
Result<state::KafkaCommit> commit_of_shard(ShardId shard, std::span<const TopicPartition> partitions,
                                           std::span<const std::optional<CommittedOffset>> committed) {
    using Kind = state::KafkaCommit::Kind;
    std::optional<state::KafkaCommit> agreed;
    for (size_t i = 0; i < partitions.size(); ++i) {
        if (partitions[i].partition != shard) continue;
        state::KafkaCommit here;
        if (committed[i]) {
            const auto metadata = state::parse_commit_metadata(committed[i]->metadata);
            here.kind = metadata ? Kind::kCommit : Kind::kForeign;
            if (metadata) here.metadata = *metadata;
        }
        if (!agreed) {
            agreed = here;
        } else if (agreed->kind != here.kind || agreed->metadata.id != here.metadata.id) {
            return Error{
                Code::kMismatch,
                fmt::format(
                    "shard {}: its partitions' committed offsets come from different commits; somebody "
                    "changed the group's offsets: restore them, or start with a new pipeline name",
                    shard)};
        }
    }
    return agreed.value_or(state::KafkaCommit{});
}

// The commit that wrote a slot's offsets; empty: none, or somebody who is not weir.
CommitId commit_named_by(std::span<const std::optional<CommittedOffset>> committed) {
    for (const auto& offset : committed)
        if (offset)
            if (const auto metadata = state::parse_commit_metadata(offset->metadata)) return metadata->id;
    return {};
}

// Hands a slot's state to the shards that it belongs to.
class ShardLoader final : public state::StateVisitor {
public:
    explicit ShardLoader(std::span<const std::unique_ptr<Shard>> shards) : shards_(shards) {}

    Result<void> entry(ShardId id, uint32_t table, std::string_view key, std::string_view value) override {
        WEIR_ASSIGN(Shard* const shard, find(id));
        return shard->apply_put(table, key, value);
    }
    Result<void> delta(ShardId id, const CommitId& epoch, std::string_view delta) override {
        WEIR_ASSIGN(Shard* const shard, find(id));
        return shard->apply(delta, epoch);
    }

private:
    [[nodiscard]] Result<Shard*> find(ShardId id) const {
        for (const auto& shard : shards_)
            if (shard->id() == id) return shard.get();
        return Error{Code::kMismatch,
                     fmt::format("the slot holds state of shard {}, which is not its own", id)};
    }

    std::span<const std::unique_ptr<Shard>> shards_;
};

}  // namespace

Result<SlotDecision> decide_slot(const state::SlotImage& image, Decider decider, int32_t slot,
                                 std::span<const ShardId> shards, std::span<const TopicPartition> partitions,
                                 std::span<const std::optional<CommittedOffset>> committed) {
    std::vector<state::EpochLink> links;
    for (const state::LoggedEpoch& epoch : image.epochs) links.push_back({epoch.id, epoch.prev});
    SlotDecision decision;
    bool first = true;
    for (const ShardId shard : shards) {
        state::RecoveryInput input;
        if (const state::SnapshotRef* const snapshot = image.snapshot(shard)) input.snapshot = snapshot->id;
        input.epochs = links;
        input.end = image.end;
        WEIR_ASSIGN(input.kafka, commit_of_shard(shard, partitions, committed));
        const state::RecoveryDecision shard_decision =
            decider == Decider::kTransaction ? state::decide(input) : state::decide_by_log(input);
        if (first || !shard_decision.proceed())
            log_info("recovery outcome={} slot={} shard={} kept={} discarded={} commit={}",
                     state::outcome_name(shard_decision.outcome), slot, shard, shard_decision.epochs_kept,
                     shard_decision.discarded, to_string(shard_decision.upto));
        if (!shard_decision.proceed()) {
            const Code code =
                shard_decision.outcome == state::Outcome::kCorrupt ? Code::kCorrupt : Code::kMismatch;
            return Error{code, fmt::format("shard {}: {}{}{}", shard, shard_decision.text,
                                           image.damage.empty() ? "" : " Damage: ", image.damage)};
        }
        if (!first && decision.epochs_kept != shard_decision.epochs_kept)
            return Error{Code::kMismatch,
                         fmt::format("slot {}: shard {} is at another commit than the slot's others; "
                                     "somebody changed the group's offsets",
                                     slot, shard)};
        if (shard_decision.outcome == state::Outcome::kGenesis)
            decision.genesis.push_back(shard);
        else
            decision.upto = shard_decision.upto;
        decision.epochs_kept = shard_decision.epochs_kept;
        first = false;
    }
    return decision;
}

Result<void> Worker::recover() {
    if (first_attempt_ms_ == 0) first_attempt_ms_ = clock_.monotonic_ms();
    publish(WorkerPhase::kRecovering);
    const auto attempt = try_recover();
    beat();
    if (attempt.ok()) {
        ready_ = true;
        recovered_once_ = true;
        publish(WorkerPhase::kRunning);
        return {};
    }
    const bool patient =
        recovered_once_ || clock_.monotonic_ms() - first_attempt_ms_ < settings_.startup_timeout_ms;
    if (!may_come_back(attempt.error().code) || !patient) return attempt.error();
    if (attempt.error().code == Code::kNoSpace) {
        wait_for_space(attempt.error());
        clock_.sleep_ms(kBetweenDiskAttemptsMs);
        return {};
    }
    if (clock_.monotonic_us() >= next_wait_log_us_) {
        next_wait_log_us_ = clock_.monotonic_us() + kWaitLogUs;
        log_warn("slot={} waiting for the broker: {}", settings_.identity.slot, attempt.error().message);
    }
    clock_.sleep_ms(kBetweenAttemptsMs);
    return {};
}

Result<void> Worker::try_recover() {
    source_.reset();
    sink_.reset();
    log_.reset();
    shards_.clear();
    input_ = {};
    input_open_ = false;
    close_budget_.renew();
    log_reserved_ = false;
    epoch_started_us_ = 0;
    previous_ = {};
    unapplied_ = {};
    counters_ = committed_counters_;
    if (!recovered_once_) ledger_ = Ledger(plan_);

    WEIR_TRY(open_sink());
    crash_point("after_open");
    Committed committed(partitions_.size());
    if (settings_.kafka_inputs) {
        // After open(): the predecessor's transaction has ended, one way or the other.
        WEIR_ASSIGN(committed, sink_->committed(partitions_, kAttemptMs));
    }
    crash_point("during_recovery");
    if (loading() && has_file_table()) globals_.reset();  // Half a file is no point to go on from.
    table_ends_.clear();
    const auto global = global_partitions(plan_, settings_.partition_counts);
    if (!globals_ && !global.empty()) {
        auto globals = std::make_unique<Shard>(plan_, kGlobalTables, global, settings_.partition_counts,
                                               clock_, global_counters_);
        WEIR_TRY(globals->make_scratch_stores(settings_.row_stores, settings_.identity.slot));
        globals_ = std::move(globals);
    }
    for (const ShardId shard : settings_.shards)
        shards_.push_back(std::make_unique<Shard>(plan_, shard,
                                                  partitions_of(shard, sharded_counts_),
                                                  settings_.partition_counts, clock_, counters_,
                                                  globals_.get(), &close_budget_));
    if (slot_directory_ != nullptr)
        WEIR_TRY(restore_from_log(committed));
    else
        WEIR_TRY(restore_from_offsets(committed));
    check_ledger();
    next_measure_us_ = 0;
    WEIR_TRY(check_state_limit());
    crash_point("after_recovery_switch");
    attempted_ = {};
    add_own_boot(commit_named_by(committed));
    WEIR_TRY(sink_->begin());
    WEIR_TRY(pin_start_offsets());
    return start_reading();
}

Result<void> Worker::open_sink() {
    draw_boot_nonce();
    WEIR_ASSIGN(sink_, connector_.make_sink(settings_.identity, settings_.decider == Decider::kTransaction));
    if (recovered_once_ && settings_.decider == Decider::kTransaction) WEIR_TRY(check_not_replaced());
    transaction_timeout_ms_ = next_transaction_timeout_ms_;
    const bool longer = transaction_timeout_ms_ != settings_.transaction_timeout_ms;
    if (longer) sink_->set_transaction_timeout(transaction_timeout_ms_);
    auto opened = sink_->open(kAttemptMs);
    // Brokers have a greatest timeout that they take (transaction.max.timeout.ms).
    if (longer && !opened.ok() && opened.error().code != Code::kUnavailable &&
        opened.error().code != Code::kTimedOut)
        next_transaction_timeout_ms_ = settings_.transaction_timeout_ms;
    return opened;
}

// A process that stood still may have been replaced, and learn of it as a fence, a timeout or a refused
// record. Opening a producer would fence its successor. Who committed last tells. The commit read here may be
// older than the latest one of ours: a transaction is answered when it is decided, and visible when its
// markers are written, which a broker that dies in between does at its next start.
Result<void> Worker::check_not_replaced() {
    WEIR_ASSIGN(const Committed committed, sink_->committed(partitions_, kAttemptMs));
    const CommitId held = commit_named_by(committed);
    if (std::find(own_boots_.begin(), own_boots_.end(), held.boot) != own_boots_.end()) return {};
    return Error{
        Code::kFenced,
        fmt::format("slot {} was replaced: another process runs pipeline '{}' as instance {}, Kafka holds "
                    "its commit {}; this one stops",
                    settings_.identity.slot, settings_.identity.pipeline, settings_.identity.instance,
                    to_string(held))};
}

void Worker::add_own_boot(const CommitId& id) {
    if (own_boots_.empty() || own_boots_.back() != id.boot) own_boots_.push_back(id.boot);
}

void Worker::draw_boot_nonce() {
    next_ = {};
    for (uint64_t& bits : next_.boot) bits = random_u64();
}

Result<void> Worker::restore_from_log(const Committed& committed) {
    WEIR_ASSIGN(const state::SlotImage image, state::load_slot(*slot_directory_));
    WEIR_ASSIGN(const SlotDecision decision, decide_slot(image, settings_.decider, settings_.identity.slot,
                                                         settings_.shards, partitions_, committed));
    for (const auto& shard : shards_) {
        const state::SnapshotRef* const snapshot = image.snapshot(shard->id());
        WEIR_TRY(shard->open_stores(settings_.row_stores, snapshot == nullptr ? CommitId{} : snapshot->id,
                                    settings_.process_shards));
    }
    ShardLoader loader(shards_);
    WEIR_TRY(state::replay_slot(*slot_directory_, image, decision.upto, loader));
    for (const auto& shard : shards_) WEIR_TRY(shard->end_replay());
    for (const auto& shard : shards_) {
        const state::ShardProgress* const progress = image.progress(shard->id(), decision.epochs_kept);
        if (progress == nullptr) continue;
        for (const state::PartitionProgress& partition : progress->partitions)
            WEIR_TRY(shard->restore_progress(
                {partition.partition, partition.next_offset, partition.watermark, partition.clocks}));
    }
    if (settings_.decider == Decider::kTransaction) WEIR_TRY(check_offsets(committed));
    WEIR_TRY(sink_->restore(image.sink_position(decision.epochs_kept)));
    state::SlotOptions options = slot_options_;
    options.stored_tables = plan_.stored_tables;
    for (const auto& shard : shards_) shard->append_row_stores(options.row_stores);
    WEIR_ASSIGN(log_, state::SlotStore::start(*slot_directory_, image, decision.upto, options, clock_));
    previous_ = decision.upto;
    // Only now is what was replayed safe on disk. Without epochs the stores are at their snapshots' commits.
    if (decision.epochs_kept > 0 && !plan_.stored_tables.empty())
        unapplied_ = decision.upto;
    else
        log_->rows_applied();
    keep_counters_of(decision.upto);
    return {};
}

// A cross-check that costs nothing: the epoch on disk and Kafka's commit speak of the same offsets.
Result<void> Worker::check_offsets(const Committed& committed) const {
    for (const auto& shard : shards_)
        for (const PartitionProgress& progress : shard->progress())
            for (size_t i = 0; i < partitions_.size(); ++i) {
                if (partitions_[i] != progress.partition || !committed[i]) continue;
                if (committed[i]->offset == progress.next_offset) continue;
                return Error{
                    Code::kMismatch,
                    fmt::format(
                        "shard {}: Kafka's committed offset {} is not the log's {} although both name the "
                        "same commit; somebody changed the group's offsets",
                        shard->id(), committed[i]->offset, progress.next_offset)};
            }
    return {};
}

// No state: Kafka's offsets are all there is, also when an operator set them.
Result<void> Worker::restore_from_offsets(const Committed& committed) {
    for (const auto& shard : shards_)
        for (size_t i = 0; i < partitions_.size(); ++i) {
            if (partitions_[i].partition != shard->id() || !committed[i]) continue;
            WEIR_TRY(shard->restore_progress({partitions_[i], committed[i]->offset, kNoTime, {}}));
        }
    keep_counters_of(commit_named_by(committed));
    log_info("recovery outcome=offsets slot={}", settings_.identity.slot);
    return {};
}

// The genesis epoch: concrete start offsets are committed before the first record is processed. Without it a
// crash before the first commit would skip data under `latest`, and look like state without offsets.
Result<void> Worker::pin_start_offsets() {
    bool pinned = false;
    for (const auto& shard : shards_)
        for (const PartitionProgress& progress : shard->progress()) {
            if (progress.next_offset >= 0) continue;
            const auto input = static_cast<size_t>(progress.partition.topic);
            WEIR_ASSIGN(
                const int64_t offset,
                connector_.resolve_start(progress.partition, settings_.start_policies[input], kAttemptMs));
            WEIR_TRY(shard->restore_progress({progress.partition, offset, kNoTime, {}}));
            pinned = true;
        }
    if (!pinned) return {};
    crash_point("during_genesis");
    WEIR_ASSIGN(const bool reserved, reserve_log());
    if (!reserved) return Error{Code::kNoSpace, "the disk is full"};
    epoch_started_us_ = clock_.monotonic_us();
    WEIR_ASSIGN(const EpochResult result, commit_epoch());
    if (result != EpochResult::kCommitted)
        return Error{Code::kUnavailable, "the genesis epoch was not committed"};
    return {};
}

Result<void> Worker::start_reading() {
    WEIR_ASSIGN(source_, connector_.make_source(settings_.identity));
    if (settings_.stop_when_caught_up && !recovered_once_) {
        for (const auto& shard : shards_) {
            for (const PartitionProgress& progress : shard->progress()) {
                WEIR_ASSIGN(const OffsetRange range,
                            connector_.offset_range(progress.partition, kAttemptMs));
                if (progress.next_offset < range.end)
                    end_offsets_.emplace_back(progress.partition, range.end);
            }
        }
    }
    last_commit_us_ = looked_us_ = clock_.monotonic_us();
    behind_ = true;
    backlog_ms_ = settings_.commit_interval_ms;
    WEIR_TRY(find_table_ends());
    held_.clear();
    WEIR_TRY(assign_inputs());
    align();  // What ran ahead before the restart is held from the first poll on.
    return {};
}

// What was read from internal topics up to the epoch that was just committed: its offsets are Kafka's, its
// state is on disk, and no recovery goes back behind it.
void Worker::forget_consumed() {
    if (plan_.internal_topics.empty() || source_ == nullptr || clock_.monotonic_us() < next_forget_us_)
        return;
    next_forget_us_ = clock_.monotonic_us() + kForgetUs;
    std::vector<StartOffset> before;
    for (const auto& shard : shards_)
        for (const PartitionProgress& progress : shard->progress()) {
            const bool internal = plan_.inputs[static_cast<size_t>(progress.partition.topic)].internal >= 0;
            if (internal && progress.next_offset > 0)
                before.push_back({progress.partition, progress.next_offset});
        }
    if (!before.empty()) source_->forget(before);
}

}  // namespace weir::processor
