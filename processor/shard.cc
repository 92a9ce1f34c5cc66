#include "processor/shard.h"

#include <algorithm>
#include <limits>

#include "processor/executor.h"
#include "processor/source_reader.h"
#include "processor/watermark.h"

namespace weir::processor {

class Shard::Impl {
public:
    Impl(const Plan& plan, ShardId id, std::span<const TopicPartition> partitions, const Clock& clock,
         Counters& counters)
        : plan_(plan),
          id_(id),
          clock_(clock),
          watermarks_(*plan.graph, partitions, sources_of_topics(plan), clock),
          executor_(plan, watermarks_, counters) {
        for (size_t source = 0; source < plan.graph->sources.size(); ++source) {
            readers_.push_back(std::make_unique<SourceReader>(plan, source, watermarks_, counters));
        }
    }

    Result<void> process(const InputRun& run, const Source& source, int64_t wall_ms, Sink& sink) {
        if (run.records.empty()) return {};
        changed_ = true;
        const size_t index = watermarks_.index_of(run.partition);
        const int64_t now_us = clock_.monotonic_us();
        watermarks_.wake(index, now_us);
        Watermarks::Partition& partition = watermarks_.partition(index);
        executor_.begin(sink, &source, wall_ms);
        for (size_t first = 0; first < run.records.size(); first += kSliceRows) {
            const auto records = run.records.subspan(first, std::min(kSliceRows, run.records.size() - first));
            WEIR_TRY(readers_[partition.source]->read(executor_, index, records, source, wall_ms, sink));
            partition.next_offset = records.back().offset + 1;
            partition.position = std::max(partition.position, partition.next_offset);
            WEIR_TRY(close_due(now_us));
        }
        return {};
    }

    void stood_still() {
        watermarks_.doubt_idle();
        look_at_clock_ = true;
    }

    Result<void> advance_time(Source& source, Sink& sink) {
        const int64_t now_us = clock_.monotonic_us();
        look_at_clock_ = false;
        if (now_us >= watermarks_.next_idle_us() && watermarks_.find_idle(source, now_us)) changed_ = true;
        executor_.begin(sink, nullptr, clock_.wall_ms());
        return close_due(now_us);
    }

    int64_t next_deadline_us() {
        if (look_at_clock_) return 0;
        int64_t next = watermarks_.next_idle_us();
        for (StageId id = 0; id < plan_.graph->stages.size(); ++id) {
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

    Result<void> advance_watermark(EventTime watermark, Sink& sink) {
        executor_.begin(sink, nullptr, clock_.wall_ms());
        watermarks_.raise(watermark);
        changed_ = changed_ || plan_.stateful;
        WEIR_ASSIGN(const bool closed, executor_.close_due());
        static_cast<void>(closed);
        return {};
    }

    void caught_up(const CaughtUp& event) {
        watermarks_.caught_up(watermarks_.index_of(event.partition), event.end_offset);
        // After a restart the partition may be idle already; then event time ticks on from here.
        look_at_clock_ = true;
    }

    bool changed() const { return changed_; }

    Result<void> finish_epoch(Sink& sink) {
        executor_.begin(sink, nullptr, clock_.wall_ms());
        return executor_.finish_epoch();
    }

    std::vector<PartitionProgress> progress() const {
        std::vector<PartitionProgress> result;
        for (const Watermarks::Partition& partition : watermarks_.partitions()) {
            result.push_back({partition.id, partition.next_offset, partition.watermark,
                              Watermarks::encode(partition)});
        }
        return result;
    }

    void take_delta(state::DeltaWriter& out) {
        for (StageId id = 0; id < plan_.graph->stages.size(); ++id) {
            executor_.stage(id).write_changes(watermarks_.stage(id), out);
            watermarks_.emitted(id);
        }
        changed_ = false;
    }

    Result<void> apply(std::string_view delta) {
        state::DeltaReader reader(delta);
        state::StateOp op;
        while (reader.next(op)) {
            switch (op.kind) {
                case state::StateOp::Kind::kPut: WEIR_TRY(apply_put(op.table, op.key, op.value)); break;
                case state::StateOp::Kind::kErase:
                case state::StateOp::Kind::kErasePrefix: {
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
        WEIR_ASSIGN(const StageId id, stage_of(table));
        EventTime watermark = kNoTime;
        WEIR_TRY(executor_.stage(id).restore(table, key, value, watermark));
        if (watermark != kNoTime) watermarks_.restore_stage(id, watermark);
        return {};
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
                                         partition.advanced_wall_ms, partition.idle, partition.caught_up});
        }
        for (StageId id = 0; id < plan_.graph->stages.size(); ++id) {
            const Stage& stage = plan_.graph->stages[id];
            StageOperator& stage_operator = executor_.stage(id);
            result.stages.push_back(
                {plan_.stream_names[stage.stream] + ".steps[" + std::to_string(stage.step_index) + "]",
                 stage.stream,
                 stage_operator.processing_time() ? stage_operator.clock() : watermarks_.stage(id),
                 watermarks_.ticking(id), watermarks_.held_by(id), stage_operator.open_windows(),
                 stage_operator.entries(), stage_operator.bytes(), stage_operator.next_due()});
        }
        return result;
    }

    ShardId id() const { return id_; }

private:
    static std::vector<size_t> sources_of_topics(const Plan& plan) {
        std::vector<size_t> result;
        for (const PlanInput& input : plan.inputs) result.push_back(input.source);
        return result;
    }

    // Stages in order, each raised after the results of those before it are in.
    Result<void> close_due(int64_t now_us) {
        for (StageId id = 0; id < plan_.graph->stages.size(); ++id) {
            watermarks_.refresh(id, now_us);
            const bool waits = executor_.stage(id).next_due() != kEndOfTime;
            changed_ = changed_ || (waits && watermarks_.emit_due(id, now_us));
        }
        WEIR_ASSIGN(const bool closed, executor_.close_due());
        changed_ = changed_ || closed;
        return {};
    }

    Result<StageId> stage_of(uint32_t table) const {
        for (StageId id = 0; id < plan_.graph->stages.size(); ++id) {
            if (plan_.graph->stages[id].table == table / kTablesPerStage * kTablesPerStage) return id;
        }
        return Error{Code::kCorrupt, "state of an operator that this pipeline does not have"};
    }

    const Plan& plan_;
    const ShardId id_;
    const Clock& clock_;
    Watermarks watermarks_;
    Executor executor_;
    std::vector<std::unique_ptr<SourceReader>> readers_;  // By source.
    bool changed_ = false;
    bool look_at_clock_ = false;
};

Shard::Shard(const Plan& plan, ShardId id, std::span<const TopicPartition> partitions, const Clock& clock,
             Counters& counters)
    : impl_(std::make_unique<Impl>(plan, id, partitions, clock, counters)) {}
Shard::~Shard() = default;

ShardId Shard::id() const { return impl_->id(); }
Result<void> Shard::process(const InputRun& run, const Source& source, int64_t wall_ms, Sink& sink) {
    return impl_->process(run, source, wall_ms, sink);
}
void Shard::caught_up(const CaughtUp& event) { impl_->caught_up(event); }
void Shard::stood_still() { impl_->stood_still(); }
Result<void> Shard::advance_time(Source& source, Sink& sink) { return impl_->advance_time(source, sink); }
int64_t Shard::next_deadline_us() const { return impl_->next_deadline_us(); }
Result<void> Shard::advance_watermark(EventTime watermark, Sink& sink) {
    return impl_->advance_watermark(watermark, sink);
}
Result<void> Shard::finish_epoch(Sink& sink) { return impl_->finish_epoch(sink); }
bool Shard::changed() const { return impl_->changed(); }
std::vector<PartitionProgress> Shard::progress() const { return impl_->progress(); }
void Shard::take_delta(state::DeltaWriter& out) { impl_->take_delta(out); }
Result<void> Shard::apply(std::string_view delta) { return impl_->apply(delta); }
Result<void> Shard::apply_put(uint32_t table, std::string_view key, std::string_view value) {
    return impl_->apply_put(table, key, value);
}
Result<void> Shard::restore_progress(const PartitionProgress& progress) {
    return impl_->restore_progress(progress);
}
ShardStatus Shard::status() const { return impl_->status(); }

}  // namespace weir::processor
