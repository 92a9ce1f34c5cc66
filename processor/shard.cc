#include "processor/shard.h"

#include <algorithm>
#include <limits>

#include "processor/executor.h"
#include "processor/group_key.h"
#include "processor/repartition.h"
#include "processor/source_reader.h"
#include "processor/watermark.h"

namespace weir::processor {

class Shard::Impl {
public:
    Impl(const Plan& plan, ShardId id, std::span<const TopicPartition> partitions,
         std::span<const int32_t> partition_counts, const Clock& clock, Counters& counters,
         const Impl* globals, CloseBudget* budget)
        : plan_(plan),
          id_(id),
          clock_(clock),
          watermarks_(*plan.graph, partitions, sources_of_topics(plan), partition_counts, clock),
          executor_(plan, id, watermarks_, counters, globals == nullptr ? nullptr : &globals->executor_,
                    budget),
          upstream_(*plan.graph, id, watermarks_, executor_, partition_counts) {
        for (size_t source = 0; source < plan.graph->sources.size(); ++source) {
            const int32_t repartition = plan.graph->sources[source].repartition;
            if (repartition < 0)
                readers_.push_back(std::make_unique<SourceReader>(plan, source, watermarks_, counters));
            else
                internal_readers_.push_back(std::make_unique<RepartitionReader>(
                    plan, static_cast<size_t>(repartition), watermarks_, counters));
        }
    }

    Result<size_t> process(const InputRun& run, const Source& source, int64_t wall_ms, Sink& sink) {
        if (run.records.empty()) return 0;
        changed_ = true;
        const size_t index = watermarks_.index_of(run.partition);
        const int64_t now_us = clock_.monotonic_us();
        watermarks_.wake(index, now_us);
        Watermarks::Partition& partition = watermarks_.partition(index);
        const int32_t repartition = plan_.graph->sources[partition.source].repartition;
        // What travelled of an internal topic's records has no headers to ask the source for.
        executor_.begin(sink, repartition < 0 ? &source : nullptr, wall_ms);
        if (wall_clock_due(wall_ms)) WEIR_TRY(close_due(now_us));
        const size_t slice = plan_.graph->sources[partition.source].one_by_one ? 1 : kSliceRows;
        size_t taken = 0;
        while (taken < run.records.size() && (!closing_ || restored_)) {
            auto records = run.records.subspan(taken, std::min(slice, run.records.size() - taken));
            if (repartition < 0) {
                WEIR_ASSIGN(const size_t read, readers_[partition.source]->read(executor_, index, records,
                                                                                source, wall_ms, sink));
                records = records.first(read);
            } else {
                WEIR_TRY(internal_readers_[static_cast<size_t>(repartition)]->read(executor_, index, records,
                                                                                   wall_ms));
            }
            taken += records.size();
            partition.next_offset = records.back().offset + 1;
            partition.position = std::max(partition.position, partition.next_offset);
            WEIR_TRY(close_due(now_us));
        }
        return taken;
    }

    void stood_still() {
        watermarks_.doubt_idle();
        look_at_clock_ = true;
    }

    Result<void> advance_time(Source& source, Sink& sink) {
        const int64_t now_us = clock_.monotonic_us();
        look_at_clock_ = false;
        changed_ = upstream_.heartbeat_due(now_us) || changed_;
        if (now_us >= watermarks_.next_idle_us() && watermarks_.find_idle(source, now_us)) changed_ = true;
        executor_.begin(sink, nullptr, clock_.wall_ms());
        return close_due(now_us);
    }

    bool closing() const { return closing_.has_value(); }

    Result<void> go_on(Sink& sink) {
        restored_ = false;
        executor_.begin(sink, nullptr, clock_.wall_ms());
        return close_due(clock_.monotonic_us());
    }

    int64_t next_deadline_us() {
        if (look_at_clock_ || closing_) return 0;
        int64_t next = std::min({watermarks_.next_idle_us(), watermarks_.next_lease_us(),
                                 changed_ ? INT64_MAX : upstream_.next_heartbeat_us()});
        for (StageId id = 0; id < stage_count(); ++id) {
            StageOperator& stage_operator = executor_.stage(id);
            const EventTime due = stage_operator.next_due();
            // kEndOfTime: nothing waits for event time.
            if (due != kEndOfTime && !stage_operator.processing_time())
                next = std::min({next, watermarks_.tick_reaches_us(id, due), watermarks_.next_emit_us(id)});
            const int64_t wall_ms = stage_operator.next_wall_ms();
            if (wall_ms == kEndOfTime) continue;
            const int64_t wait_ms = std::max<int64_t>(0, wall_ms - clock_.wall_ms());
            next = std::min(next, clock_.monotonic_us() + wait_ms * 1000);
        }
        return next;
    }

    Result<void> advance_watermark(EventTime watermark, size_t depth, Sink& sink) {
        executor_.begin(sink, nullptr, clock_.wall_ms());
        watermarks_.raise(watermark, depth);
        changed_ = changed_ || plan_.stateful;
        return close_due(clock_.monotonic_us());
    }

    void caught_up(const CaughtUp& event) {
        watermarks_.caught_up(watermarks_.index_of(event.partition), event.end_offset);
        // After a restart the partition may be idle already; then event time ticks on from here.
        look_at_clock_ = true;
    }

    bool changed() const { return changed_ || upstream_.due(); }

    Result<void> finish_epoch(Sink& sink) {
        executor_.begin(sink, nullptr, clock_.wall_ms());
        WEIR_TRY(executor_.finish_epoch());
        WEIR_TRY(sweep_tables());
        return upstream_.tell(sink, clock_.monotonic_us());
    }

    std::vector<PartitionProgress> progress() const {
        std::vector<PartitionProgress> result;
        for (const Watermarks::Partition& partition : watermarks_.partitions()) {
            result.push_back(
                {partition.id, partition.next_offset, partition.watermark, Watermarks::encode(partition)});
        }
        return result;
    }

    void take_delta(state::DeltaWriter& out) {
        for (StageId id = 0; id < stage_count(); ++id) {
            StageOperator& stage_operator = executor_.stage(id);
            if (state::StoredRows* const rows = stored_of(plan_.graph->stages[id].table)) {
                changes_.clear();
                state::DeltaWriter changes(changes_);
                stage_operator.write_changes(reached(id), changes);
                replay(changes_, *rows);
                out.append(changes_);
            } else {
                stage_operator.write_changes(reached(id), out);
            }
            watermarks_.emitted(id);
        }
        for (TableId id = 0; id < plan_.graph->tables.size(); ++id) {
            if (owns(id)) executor_.table(id).write_changes(out);
        }
        changed_ = false;
    }

    Result<void> open_stores(state::RowStores* stores, const CommitId& base, size_t shards) {
        for (const state::StoredTables& tables : plan_.stored_tables) {
            WEIR_CHECK(stores != nullptr, "rows on disk need row stores");
            WEIR_ASSIGN(auto store, stores->open(tables.name, id_));
            stored_.push_back(std::make_unique<state::StoredRows>(std::move(store), tables, base));
            if (const auto table = table_of(tables.first)) {
                executor_.table(*table).open(*stored_.back());
                continue;
            }
            WEIR_ASSIGN(const StageId id, stage_of(tables.first));
            executor_.stage(id).open(*stored_.back(), plan_.graph->stages[id].cache_bytes / shards);
        }
        return {};
    }

    Result<void> make_scratch_stores(state::RowStores* stores, int32_t slot) {
        for (const state::StoredTables& tables : plan_.scratch_tables) {
            WEIR_CHECK(stores != nullptr, "rows on disk need row stores");
            WEIR_ASSIGN(auto store, stores->make_scratch(tables.name, slot));
            stored_.push_back(std::make_unique<state::StoredRows>(std::move(store), tables, CommitId{}));
            for (TableId id = 0; id < plan_.graph->tables.size(); ++id)
                if (plan_.graph->tables[id].name == tables.name) executor_.table(id).open(*stored_.back());
        }
        return {};
    }

    Result<void> apply(std::string_view delta, const CommitId& epoch) {
        for (const auto& rows : stored_) rows->begin_epoch(epoch);
        state::DeltaReader reader(delta);
        state::StateOp op;
        while (reader.next(op)) {
            if (state::StoredRows* const rows = stored_of(op.table); rows != nullptr) {
                rows->replay(op);
                continue;
            }
            switch (op.kind) {
                case state::StateOp::Kind::kPut: WEIR_TRY(apply_put(op.table, op.key, op.value)); break;
                case state::StateOp::Kind::kErase:
                case state::StateOp::Kind::kErasePrefix: {
                    if (const auto table = table_of(op.table)) {
                        executor_.table(*table).restore_erased(op.key);
                        break;
                    }
                    WEIR_ASSIGN(const StageId id, stage_of(op.table));
                    executor_.stage(id).restore_erased(op.table, op.key);
                    break;
                }
            }
        }
        if (reader.failed()) return Error{Code::kCorrupt, "state changes are not in a readable format"};
        return {};
    }

    Result<void> apply_put(uint32_t table, std::string_view key, std::string_view value) {
        if (stored_of(table) != nullptr)
            return Error{Code::kCorrupt, "a snapshot has rows that belong into a row store"};
        if (const auto rows = table_of(table)) return executor_.table(*rows).restore(key, value);
        WEIR_ASSIGN(const StageId id, stage_of(table));
        EventTime watermark = kNoTime;
        WEIR_TRY(executor_.stage(id).restore(table, key, value, watermark));
        if (watermark != kNoTime) watermarks_.restore_stage(id, watermark);
        return {};
    }

    Result<void> end_replay() {
        for (const auto& rows : stored_) WEIR_TRY(rows->end_replay());
        for (const auto& rows : stored_) {
            if (const auto table = table_of(rows->tables().first)) {
                WEIR_TRY(executor_.table(*table).restore_stored());
                continue;
            }
            WEIR_ASSIGN(const StageId id, stage_of(rows->tables().first));
            EventTime watermark = kNoTime;
            WEIR_TRY(executor_.stage(id).restore_stored(watermark));
            if (watermark != kNoTime) watermarks_.restore_stage(id, watermark);
        }
        for (StageId id = 0; id < stage_count() && !closing_; ++id)
            if (executor_.stage(id).has_rest()) closing_ = id;
        restored_ = closing_.has_value();
        return {};
    }

    Result<void> apply_rows(const CommitId& id) {
        for (const auto& rows : stored_) WEIR_TRY(rows->apply(id));
        return {};
    }

    Result<void> apply_global_rows() {
        WEIR_TRY(sweep_tables());
        for (const auto& rows : stored_)
            if (rows->changed_bytes() > 0) WEIR_TRY(rows->apply({}));
        return {};
    }

    void append_row_stores(std::vector<state::RowStore*>& out) {
        for (const auto& rows : stored_) out.push_back(&rows->store());
    }

    Result<void> restore_progress(const PartitionProgress& progress) {
        return watermarks_.restore(watermarks_.index_of(progress.partition), progress.next_offset,
                                   progress.blob);
    }

    ShardStatus status() {
        ShardStatus result;
        result.shard = id_;
        for (const Watermarks::Partition& partition : watermarks_.partitions()) {
            result.partitions.push_back({partition.id, partition.next_offset, partition.max_seen,
                                         partition.watermark, partition.advances, partition.advanced_offset,
                                         partition.advanced_wall_ms, partition.quiet_since_wall_ms,
                                         partition.idle, partition.caught_up, partition.held_behind,
                                         partition.held_by});
        }
        for (StageId id = 0; id < stage_count(); ++id) {
            const Stage& stage = plan_.graph->stages[id];
            StageOperator& stage_operator = executor_.stage(id);
            StageStatus& status = result.stages.emplace_back();
            status.stream = stage_name(plan_, stage);
            status.stream_index = stage.stream;
            status.windows_end = windows_end(stage);
            status.window_records = stage.window.count;
            status.open_windows = stage_operator.open_windows();
            status.groups = stage_operator.entries();
            status.records = stage_operator.records();
            status.state_bytes = stage_bytes(id);
            status.shown_at_wall_ms = stage_operator.shown_at_wall_ms();
            // Before next_due(), which may be earlier than anything is due until somebody looks.
            if (const auto next = stage_operator.next_window()) status.next = *next;
            status.next_due = stage_operator.next_due();
            if (stage_operator.processing_time()) {
                status.watermark = stage_operator.clock();
                status.due_at_wall_ms = status.next_due;
                continue;
            }
            status.watermark = watermarks_.stage(id);
            status.ticking = watermarks_.ticking(id);
            status.held_by = watermarks_.held_by(id);
            if (status.next_due == kEndOfTime) continue;
            if (status.ticking)
                status.due_at_wall_ms =
                    clock_.wall_ms() +
                    (watermarks_.tick_reaches_us(id, status.next_due) - clock_.monotonic_us()) / 1000;
            if (status.held_by >= 0)
                status.needed =
                    watermarks_.needed(id, static_cast<size_t>(status.held_by), status.next_due);
        }
        for (TableId id = 0; id < plan_.graph->tables.size(); ++id) {
            const Table& table = executor_.table(id);
            if (!owns(id)) continue;
            result.tables.push_back({plan_.graph->tables[id].name, table.rows(), table.bytes()});
        }
        return result;
    }

    void add_use(std::span<OperatorUse> by_operator) {
        const size_t stages = plan_.graph->stages.size();
        for (StageId id = 0; id < stage_count(); ++id) {
            by_operator[id].bytes += stage_bytes(id);
            by_operator[id].entries += executor_.stage(id).entries();
        }
        for (TableId id = 0; id < plan_.graph->tables.size(); ++id) {
            if (!owns(id)) continue;
            by_operator[stages + id].bytes += executor_.table(id).bytes();
            by_operator[stages + id].entries += executor_.table(id).rows();
        }
    }

    void add_records(std::span<uint64_t> by_stream, bool counting) {
        for (StageId id = 0; id < stage_count(); ++id) {
            StageOperator& stage_operator = executor_.stage(id);
            by_stream[plan_.graph->stages[id].stream] +=
                counting ? stage_operator.count_records() : stage_operator.records();
        }
    }

    void append_open_windows(const WindowQuestion& question, OpenWindows& out) {
        std::vector<OpenWindow> windows;
        for (StageId id = 0; id < stage_count(); ++id) {
            const Stage& stage = plan_.graph->stages[id];
            if (stage.stream != question.stream) continue;
            windows.clear();
            const size_t columns = stage.join ? stage.join->key_count : stage.by.size();
            for (const std::string& key : group_keys_of(question.key, columns))
                executor_.stage(id).append_open(key, windows);
            for (const OpenWindow& window : windows)
                out.push_back(
                    {id_, stage_name(plan_, stage), windows_end(stage), stage.window.count, window});
        }
    }

    bool align() { return watermarks_.align(plan_.max_drift_ms); }
    void append_held(std::vector<TopicPartition>& out) const {
        for (const Watermarks::Partition& partition : watermarks_.partitions())
            if (partition.held_behind >= 0) out.push_back(partition.id);
    }

    size_t changed_bytes() {
        size_t bytes = 0;
        for (TableId id = 0; id < plan_.graph->tables.size(); ++id)
            if (owns(id)) bytes += executor_.table(id).changed_bytes();
        for (StageId id = 0; id < stage_count(); ++id)
            bytes += executor_.stage(id).changed_bytes();
        return bytes;
    }

    ShardId id() const { return id_; }

private:
    static WindowsEnd windows_end(const Stage& stage) {
        if (stage.join && !stage.join->rule.in_sessions()) return WindowsEnd::kJoin;
        if (stage.limit > 0 || stage.window.kind == config::Window::Kind::kNone) return WindowsEnd::kNever;
        if (stage.window.kind == config::Window::Kind::kCount) return WindowsEnd::kByRecords;
        return stage.window.time == config::Window::Time::kProcessing ? WindowsEnd::kByClock
                                                                      : WindowsEnd::kByWatermark;
    }
    // No stream comes to global tables, so no step of one waits there.
    [[nodiscard]] size_t stage_count() const {
        return id_ == kGlobalTables ? 0 : plan_.graph->stages.size();
    }
    [[nodiscard]] bool owns(TableId table) const {
        return plan_.graph->tables[table].global == (id_ == kGlobalTables);
    }

    Result<void> sweep_tables() {
        for (TableId id = 0; id < plan_.graph->tables.size(); ++id)
            if (owns(id)) WEIR_TRY(executor_.table(id).sweep_stored());
        return {};
    }

    [[nodiscard]] std::optional<TableId> table_of(uint32_t state_table) const {
        for (TableId id = 0; id < plan_.graph->tables.size(); ++id) {
            const TablePlan& table = plan_.graph->tables[id];
            if (!table.global && table.state_table == state_table) return id;
        }
        return std::nullopt;
    }

    // Null: what the table holds is in memory.
    [[nodiscard]] state::StoredRows* stored_of(uint32_t state_table) {
        for (const auto& rows : stored_)
            if (rows->tables().has(state_table)) return rows.get();
        return nullptr;
    }

    [[nodiscard]] uint64_t stage_bytes(StageId id) {
        const state::StoredRows* const rows = stored_of(plan_.graph->stages[id].table);
        return executor_.stage(id).bytes() + (rows == nullptr ? 0 : rows->bytes());
    }

    // What write_changes() just wrote: from here on an operator finds it among its rows.
    static void replay(std::string_view changes, state::StoredRows& rows) {
        state::DeltaReader reader(changes);
        state::StateOp op;
        while (reader.next(op)) rows.replay(op);
    }

    static std::vector<size_t> sources_of_topics(const Plan& plan) {
        std::vector<size_t> result;
        for (const PlanInput& input : plan.inputs) result.push_back(input.source);
        return result;
    }

    Result<void> close_due(int64_t now_us) {
        if (restored_ || id_ == kGlobalTables) return {};
        if (closing_) {
            WEIR_TRY(advance_stages(std::nullopt));
            if (closing_) return {};
        }
        watermarks_.expire_leases(now_us);
        WEIR_TRY(advance_stages(now_us));
        if (!closing_) upstream_.refresh(now_us);
        return {};
    }

    // Stages in order, each raised after the results of those before it are in, from the one with a rest on.
    // `now_us`: nullopt to give the rest and what is due behind it, as of when that began: a stage whose
    // time goes on meanwhile would be ahead of those before it, and close what they still give to.
    Result<void> advance_stages(std::optional<int64_t> now_us) {
        for (StageId id = closing_.value_or(0); id < stage_count(); ++id) {
            if (now_us) watermarks_.refresh(id, *now_us);
            StageOperator& stage_operator = executor_.stage(id);
            const bool waits = stage_operator.next_due() != kEndOfTime;
            changed_ = changed_ || (now_us && waits && watermarks_.emit_due(id, *now_us));
            WEIR_ASSIGN(const bool closed, executor_.close_due(id));
            changed_ = changed_ || closed;
            if (!stage_operator.has_rest()) continue;
            closing_ = id;
            return {};
        }
        closing_.reset();
        return {};
    }

    // The stage's watermark as it is stored. Behind the stage with a rest results are still to come, which
    // must not find one that an end of input has raised for all.
    [[nodiscard]] EventTime reached(StageId id) {
        const EventTime watermark = watermarks_.stage(id);
        return closing_ && id > *closing_ ? std::min(watermark, executor_.stage(id).clock()) : watermark;
    }

    // Before a slice, in the middle of which it would have to be given whole.
    [[nodiscard]] bool wall_clock_due(int64_t wall_ms) {
        for (StageId id = 0; id < stage_count(); ++id) {
            StageOperator& stage_operator = executor_.stage(id);
            if (stage_operator.processing_time() && stage_operator.next_due() <= wall_ms) return true;
        }
        return false;
    }

    Result<StageId> stage_of(uint32_t table) const {
        for (StageId id = 0; id < stage_count(); ++id) {
            if (plan_.graph->stages[id].table == table / kTablesPerStage * kTablesPerStage) return id;
        }
        return Error{Code::kCorrupt, "state of an operator that this pipeline does not have"};
    }

    const Plan& plan_;
    const ShardId id_;
    const Clock& clock_;
    std::vector<std::unique_ptr<state::StoredRows>> stored_;  // Of the plan's stored tables.
    std::string changes_;                                     // Of a stage on disk.
    Watermarks watermarks_;
    Executor executor_;
    RepartitionClocks upstream_;
    std::vector<std::unique_ptr<SourceReader>> readers_;                // By source of the file.
    std::vector<std::unique_ptr<RepartitionReader>> internal_readers_;  // By internal topic.
    std::optional<StageId> closing_;  // The stage that has a rest …
    bool restored_ = false;           // … since before this process, which has not gone on with it yet.
    bool changed_ = false;
    bool look_at_clock_ = false;
};

std::string stage_name(const Plan& plan, const Stage& stage) {
    return plan.stream_names[stage.stream] +
           (stage.step_index ? ".steps[" + std::to_string(*stage.step_index) + "]" : ".join");
}

Shard::Shard(const Plan& plan, ShardId id, std::span<const TopicPartition> partitions,
             std::span<const int32_t> partition_counts, const Clock& clock, Counters& counters,
             const Shard* globals, CloseBudget* budget)
    : impl_(std::make_unique<Impl>(plan, id, partitions, partition_counts, clock, counters,
                                   globals == nullptr ? nullptr : globals->impl_.get(), budget)) {}
Shard::~Shard() = default;

ShardId Shard::id() const { return impl_->id(); }
Result<size_t> Shard::process(const InputRun& run, const Source& source, int64_t wall_ms, Sink& sink) {
    return impl_->process(run, source, wall_ms, sink);
}
void Shard::caught_up(const CaughtUp& event) { impl_->caught_up(event); }
void Shard::stood_still() { impl_->stood_still(); }
Result<void> Shard::advance_time(Source& source, Sink& sink) { return impl_->advance_time(source, sink); }
bool Shard::closing() const { return impl_->closing(); }
Result<void> Shard::go_on(Sink& sink) { return impl_->go_on(sink); }
int64_t Shard::next_deadline_us() const { return impl_->next_deadline_us(); }
Result<void> Shard::advance_watermark(EventTime watermark, size_t depth, Sink& sink) {
    return impl_->advance_watermark(watermark, depth, sink);
}
Result<void> Shard::finish_epoch(Sink& sink) { return impl_->finish_epoch(sink); }
bool Shard::changed() const { return impl_->changed(); }
std::vector<PartitionProgress> Shard::progress() const { return impl_->progress(); }
size_t Shard::changed_bytes() const { return impl_->changed_bytes(); }
void Shard::take_delta(state::DeltaWriter& out) { impl_->take_delta(out); }
Result<void> Shard::open_stores(state::RowStores* stores, const CommitId& base, size_t shards) {
    return impl_->open_stores(stores, base, shards);
}
Result<void> Shard::make_scratch_stores(state::RowStores* stores, int32_t slot) {
    return impl_->make_scratch_stores(stores, slot);
}
Result<void> Shard::apply(std::string_view delta, const CommitId& epoch) {
    return impl_->apply(delta, epoch);
}
Result<void> Shard::end_replay() { return impl_->end_replay(); }
Result<void> Shard::apply_rows(const CommitId& id) { return impl_->apply_rows(id); }
Result<void> Shard::apply_global_rows() { return impl_->apply_global_rows(); }
void Shard::append_row_stores(std::vector<state::RowStore*>& out) { impl_->append_row_stores(out); }
Result<void> Shard::apply_put(uint32_t table, std::string_view key, std::string_view value) {
    return impl_->apply_put(table, key, value);
}
Result<void> Shard::restore_progress(const PartitionProgress& progress) {
    return impl_->restore_progress(progress);
}
bool Shard::align() { return impl_->align(); }
void Shard::append_held(std::vector<TopicPartition>& out) const { impl_->append_held(out); }
ShardStatus Shard::status() const { return impl_->status(); }
void Shard::add_use(std::span<OperatorUse> by_operator) const { impl_->add_use(by_operator); }
void Shard::add_records(std::span<uint64_t> by_stream, bool counting) {
    impl_->add_records(by_stream, counting);
}
void Shard::append_open_windows(const WindowQuestion& question, OpenWindows& out) {
    impl_->append_open_windows(question, out);
}

}  // namespace weir::processor
