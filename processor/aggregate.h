// One aggregate in one shard: takes rows into the groups of their windows, and turns closed windows into
// rows.
//
//   late    a row is late when the stage's watermark before it is at or past its window's end + grace; it
//   goes
//           to `<stream>.late` and is counted.
//   close   a window closes when the stage's watermark reaches its end + grace: windows in order of their
//   end,
//           groups in order of their first record.
//
// Thread:  the worker that owns the shard.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "processor/batch.h"
#include "processor/graph.h"
#include "processor/watermark.h"
#include "processor/window_state.h"

namespace weir::processor {

class Executor;

class Aggregate {
public:
    Aggregate(const Graph& graph, StageId id) : stage_(graph.stages[id]), id_(id), state_(stage_) {}

    [[nodiscard]] Result<void> accumulate(Executor& executor, const Node& node, const AccumulateNode& input,
                                          const Batch& batch, Rows rows);
    // True when a window closed.
    [[nodiscard]] Result<bool> close_due(Executor& executor, EventTime watermark);

    [[nodiscard]] WindowState& state() { return state_; }
    [[nodiscard]] const WindowState& state() const { return state_; }

private:
    struct CallRows {
        std::vector<const Column*> arguments;
        bool filtered = false;       // `rows` instead of all rows.
        std::vector<uint32_t> rows;  // That pass FILTER.
        Column filter_scratch;
        std::vector<Column> scratch;
    };

    [[nodiscard]] Result<void> split_late(Executor& executor, const Node& node, const AccumulateNode& input,
                                          const Batch& batch, Rows rows);
    [[nodiscard]] Result<void> evaluate(Executor& executor, const Node& node, const AccumulateNode& input,
                                        const Batch& batch);
    void find_groups();
    [[nodiscard]] Result<void> emit(Executor& executor, Window& window, size_t first, size_t count);

    const Stage& stage_;
    const StageId id_;
    WindowState state_;
    std::vector<uint32_t> rows_;  // Neither late nor failed.
    std::vector<uint32_t> late_;
    std::vector<EventTime> starts_;  // By row.
    std::vector<Accumulator*> cells_;        // By row: those of its group.
    std::vector<AccumulatorStore*> stores_;  // By row.
    std::vector<const Column*> by_;
    std::vector<Column> by_scratch_;
    std::vector<CallRows> calls_;
    std::vector<std::string_view> failures_;  // By row; data() is null for good rows.
    std::string key_;
    std::vector<uint32_t> result_rows_;
};

}  // namespace weir::processor
