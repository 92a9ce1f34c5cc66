// dedupe with keep: first, and throttle, in one shard: of the records of a key at most `limit` pass within
// `limit_ms` of event time, at once and as they are.
//
//   passes   when fewer than `limit` records of its key that passed have an event time less than limit_ms
//            before or after its own. So no span of limit_ms holds more of them, whatever the disorder.
//   late     when the watermark before it has reached its event time + limit_ms: to `<stream>.late`.
//   memory   a record that passed is remembered for twice limit_ms, so one that is not late is compared to
//            all that can matter, and results do not depend on when memory is freed.
//
//   on disk  (Stage::on_disk) the same is remembered in rows (stored_passes.h).
//
// Stored form: as span_table.h has it, a span without cells per record that passed, or rows; and table T, on
// disk T + 1, key "w": version(u8) watermark(i64).
//
// Thread:  the worker that owns the shard.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "processor/accumulator.h"
#include "processor/batch.h"
#include "processor/graph.h"
#include "processor/span_table.h"
#include "processor/stage_operator.h"
#include "processor/stored_passes.h"

namespace weir::processor {

class Limiter final : public StageOperator {
public:
    Limiter(const Graph& graph, StageId id);

    // `batch` is the node's.
    [[nodiscard]] Result<void> pass(Executor& executor, const Node& node, const LimitNode& input,
                                    Batch& batch, Rows rows);

    // Forgets what no record can be compared to any more. Nobody waits for that.
    [[nodiscard]] Result<bool> advance(Executor& executor, EventTime watermark, bool idle) override;
    [[nodiscard]] Result<void> finish_epoch(Executor&) override { return {}; }
    [[nodiscard]] EventTime next_due() override { return kEndOfTime; }
    [[nodiscard]] EventTime clock() const override { return now_; }
    [[nodiscard]] uint64_t open_windows() const override { return 0; }
    // On disk an estimate, of rows.
    [[nodiscard]] uint64_t entries() const override { return stored_ ? store_->rows() : spans_.keys(); }
    [[nodiscard]] uint64_t bytes() const override { return stored_ ? stored_->bytes() : spans_.bytes(); }
    void write_changes(EventTime watermark, state::DeltaWriter& out) override;
    [[nodiscard]] Result<void> restore(uint32_t table, std::string_view key, std::string_view value,
                                       EventTime& watermark) override;
    void restore_erased(uint32_t table, std::string_view key) override;
    void open(state::StoredRows& rows, size_t cache_bytes) override;
    [[nodiscard]] Result<void> restore_stored(EventTime& watermark) override;

private:
    // When a span is forgotten, as a heap with the earliest on top.
    struct Expiry {
        EventTime at;
        Span* span;
        bool operator<(const Expiry& other) const { return at > other.at; }
    };

    [[nodiscard]] Result<void> evaluate(Executor& executor, const Node& node, const LimitNode& input,
                                        const Batch& batch, Rows rows);
    // The record's key is in key_.
    [[nodiscard]] Result<bool> take(EventTime time);
    void expire_later(Span& span);
    // Takes up what was restored.
    void prepare();

    const Stage& stage_;
    const StageId id_;
    const Accumulators no_cells_;
    SpanTable spans_;  // Records that passed …
    std::vector<Expiry> heap_;
    std::optional<StoredPasses> stored_;  // … or, on disk, these.
    state::StoredRows* store_ = nullptr;
    EventTime now_ = kNoTime;

    std::vector<uint32_t> rows_;  // Neither late nor failed; then: that pass.
    std::vector<uint32_t> late_;
    std::vector<const Column*> by_;
    std::vector<Column> by_scratch_;
    std::string key_;
};

}  // namespace weir::processor
