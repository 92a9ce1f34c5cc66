// Results of a join on their way to the steps that follow: rows of its frame, a slice at a time. The values
// are views into the buffered records that they come from.
//
// Thread:  the worker that owns the shard.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "processor/batch.h"
#include "processor/graph.h"

namespace weir::processor {

class Executor;

class JoinResults {
public:
    explicit JoinResults(const Stage& stage)
        : stage_(stage),
          join_(*stage.join),
          row_bytes_(sizeof(Value) * (join_.key_count + join_.columns[0].size() + join_.columns[1].size())) {}

    // A new slice of up to kSliceRows. `nested`: while another batch is in use.
    void begin(Executor& executor, bool nested);
    // The first of a row, which then counts among the waiting bytes.
    void begin_row(size_t row, EventTime time) {
        batch_->times[row] = time;
        bytes_ += row_bytes_;
    }
    // Empty: NULL, in all of its columns.
    void fill_key(size_t row, std::string_view key);
    // One side's values, as JoinInput::encode() has written them.
    void fill(size_t row, Side side, std::string_view values);
    // Only those that conditions read.
    void fill_for_match(size_t row, Side side, std::string_view values);
    void fill_null(size_t row, Side side);
    [[nodiscard]] Value& value(size_t row, const JoinColumn& column) {
        return batch_->columns[static_cast<size_t>(column.slot)][row];
    }
    // Where results have windows.
    void fill_window(size_t row, EventTime start, EventTime end);

    // Which of the slice's first `count` rows are pairs that the conditions hold for; those that fail are
    // rejected. complete(row) fills what no condition reads, of rows of either kind. Valid until the next
    // call.
    [[nodiscard]] Result<Rows> matching(Executor& executor, const Node& node, size_t count,
                                        const std::function<void(uint32_t)>& complete);
    [[nodiscard]] Rows all(size_t count);
    // Of the slice, about.
    [[nodiscard]] size_t waiting_bytes() const { return bytes_; }
    // Hands them on; `rows` are of the slice.
    [[nodiscard]] Result<void> run(Executor& executor, Rows rows);

private:
    const Stage& stage_;
    const JoinPlan& join_;
    const size_t row_bytes_;
    Batch* batch_ = nullptr;
    bool nested_ = false;
    size_t bytes_ = 0;
    std::vector<uint32_t> rows_;
    Column condition_;
};

}  // namespace weir::processor
