// One step with windows in one shard (aggregate, top_n, dedupe with keep: last): takes rows into the groups
// of their windows, and turns what the windows say into rows. Which windows there are, when they are shown
// and what is late: docs/windows.md.
//
//   late     tested against the stage's watermark before the row: it goes to `<stream>.late`, or nowhere when
//            nobody reads that, and is counted.
//   clocks   the stage's watermark; with `time: processing` the wall clock at the poll, which never goes back
//            here; with `emit: {every: …}` also the wall time at which changes are shown. They are state.
//
// Stored form: as windows.h and results.h say, and table T, key "w": version(u8) clock(i64) show_at(i64), and
// where windows have a rest, with the version after that, the rest.
//
// Thread:  the worker that owns the shard.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "processor/batch.h"
#include "processor/graph.h"
#include "processor/held_rows.h"
#include "processor/results.h"
#include "processor/stage_operator.h"
#include "processor/stored_groups.h"
#include "processor/watermark.h"
#include "processor/windows.h"

namespace weir::processor {

class Aggregate final : public StageOperator, private Settler, private ResultTaker {
public:
    Aggregate(const Graph& graph, StageId id);

    void open(state::StoredRows& rows, size_t cache_bytes) override { stored_.open(rows, cache_bytes); }

    // `batch` is the node's.
    [[nodiscard]] Result<void> accumulate(Executor& executor, const Node& node, const AccumulateNode& input,
                                          Batch& batch, Rows rows);
    [[nodiscard]] Result<bool> advance(Executor& executor, EventTime watermark, bool idle) override;
    [[nodiscard]] Result<void> finish_epoch(Executor& executor) override;
    [[nodiscard]] EventTime next_due() override { return windows_->next_due(); }
    [[nodiscard]] int64_t next_wall_ms() override;
    [[nodiscard]] bool processing_time() const override { return processing_time_; }
    [[nodiscard]] EventTime clock() const override { return windows_->now(); }
    [[nodiscard]] bool has_rest() const override { return windows_->has_rest(); }
    [[nodiscard]] EventTime many_due(size_t few) override { return windows_->many_due(few); }
    [[nodiscard]] int64_t shown_at_wall_ms() const override {
        return show_at_ms_ == kEndOfTime ? 0 : show_at_ms_;
    }
    [[nodiscard]] std::optional<OpenWindow> next_window() override { return windows_->next_window(); }
    void append_open(std::string_view key, std::vector<OpenWindow>& out) override {
        windows_->append_open(key, out);
    }
    [[nodiscard]] uint64_t records() override { return windows_->records(); }
    [[nodiscard]] uint64_t count_records() override { return windows_->count_records(); }
    [[nodiscard]] uint64_t open_windows() const override { return windows_->open_windows(); }
    [[nodiscard]] uint64_t entries() const override { return windows_->groups(); }
    [[nodiscard]] uint64_t bytes() const override { return windows_->bytes() + results_.bytes(); }
    [[nodiscard]] size_t changed_bytes() const override { return windows_->changed_bytes(); }
    void write_changes(EventTime watermark, state::DeltaWriter& out) override;
    [[nodiscard]] Result<void> restore(uint32_t table, std::string_view key, std::string_view value,
                                       EventTime& watermark) override;
    void restore_erased(uint32_t table, std::string_view key) override;
    [[nodiscard]] Result<void> restore_stored(EventTime& watermark) override;

private:
    struct CallRows {
        std::vector<const Column*> arguments;
        bool filtered = false;       // `rows` instead of all rows.
        std::vector<uint32_t> rows;  // That pass FILTER.
        size_t settled = 0;          // So many of them are in their cells.
        Column filter_scratch;
        std::vector<Column> scratch;
    };

    void split_late(const Batch& batch, Rows rows, const Watermarks::Before* before);
    [[nodiscard]] Result<void> evaluate(Executor& executor, const Node& node, const AccumulateNode& input,
                                        const Batch& batch);
    void place(const Batch& batch, const Watermarks::Before* before);
    // In the middle of a slice: little is due then (Executor::slice_end()), and all of it is given.
    void advance_all(EventTime now, Reason reason);
    void settle() override;
    void take_results() override;
    [[nodiscard]] bool full() override;
    void count_closed(Executor& executor);
    void measure_late(Batch& batch, const Watermarks::Before& before) const;
    [[nodiscard]] Result<void> emit(Executor& executor);
    [[nodiscard]] Result<void> give_rows(Executor& executor);
    [[nodiscard]] Result<void> emit_slice(Executor& executor, size_t first, size_t count);

    [[nodiscard]] bool restore_clocks(std::string_view value, EventTime& watermark);

    const Stage& stage_;
    const StageId id_;
    const bool processing_time_;
    Accumulators accumulators_;
    StoredGroups stored_;  // On disk.
    Results results_;
    std::unique_ptr<Windows> windows_;
    int64_t show_at_ms_ = kEndOfTime;  // Wall time; kEndOfTime: nothing to show.
    std::string stored_clocks_;

    Executor* executor_ = nullptr;  // During a call.
    bool stops_ = false;            // It may stop when the epoch is full.
    Result<void> taken_;            // Whether results could be written in the middle of it.
    std::vector<uint32_t> rows_;  // Neither late nor failed.
    std::vector<uint32_t> late_;
    std::vector<Accumulator*> cells_;        // By row: those of its group; null: late.
    std::vector<AccumulatorStore*> stores_;  // By row.
    const Batch* placing_ = nullptr;         // Rows of it may be placed and not settled …
    uint32_t placed_end_ = 0;                // … all before this one are placed …
    size_t settled_ = 0;                     // … and so many of rows_ are settled.
    bool skips_late_ = false;
    std::vector<uint32_t> segment_;
    std::vector<const Column*> by_;
    std::vector<Column> by_scratch_;
    std::vector<CallRows> calls_;
    HeldRows held_;                           // Where the results are rows that were kept …
    Column packed_;                           // … and by row what is kept.
    std::vector<std::string_view> failures_;  // By row; data() is null for good rows.
    std::string key_;
    std::vector<uint32_t> result_rows_;
};

}  // namespace weir::processor
