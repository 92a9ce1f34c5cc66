#include "processor/join_results.h"

#include <algorithm>
#include <utility>

#include "processor/compact_value.h"
#include "processor/executor.h"
#include "processor/group_key.h"
#include "processor/shard.h"

namespace weir::processor {

void JoinResults::begin(Executor& executor, bool nested) {
    nested_ = nested;
    batch_ = nested ? &executor.begin_nested_slice(stage_.frame, kSliceRows)
                    : &executor.begin_slice(stage_.frame, kSliceRows);
}

void JoinResults::fill_key(size_t row, std::string_view key) {
    ByteReader in(key);
    for (size_t i = 0; i < join_.key_count; ++i) read_group_key(in, batch_->columns[i][row]);
}

void JoinResults::fill(size_t row, Side side, std::string_view values) {
    bytes_ += values.size();
    ByteReader in(values);
    for (const JoinColumn& column : join_.columns[static_cast<size_t>(side)])
        static_cast<void>(read_compact_value(in, value(row, column)));
}

void JoinResults::fill_for_match(size_t row, Side side, std::string_view values) {
    ByteReader in(values);
    for (const JoinColumn& column : join_.columns[static_cast<size_t>(side)]) {
        if (column.in_match)
            static_cast<void>(read_compact_value(in, value(row, column)));
        else
            skip_compact_value(in);
    }
}

void JoinResults::fill_null(size_t row, Side side) {
    for (const JoinColumn& column : join_.columns[static_cast<size_t>(side)])
        value(row, column) = Value::null();
}

void JoinResults::fill_window(size_t row, EventTime start, EventTime end) {
    batch_->columns[static_cast<size_t>(stage_.window_start)][row] = Value::of_int8(start);
    batch_->columns[static_cast<size_t>(stage_.window_end)][row] = Value::of_int8(end);
}

Rows JoinResults::all(size_t count) {
    batch_->row_count = count;
    std::fill_n(batch_->records.begin(), count, nullptr);
    rows_.resize(count);
    for (uint32_t row = 0; row < count; ++row) rows_[row] = row;
    return rows_;
}

Result<Rows> JoinResults::matching(Executor& executor, const Node& node, size_t count,
                                   const std::function<void(uint32_t)>& complete) {
    static_cast<void>(all(count));
    StreamCounters& counters = executor.counters(stage_.stream);
    for (const expr::Expression& expression : join_.conditions) {
        const Column& condition = executor.evaluate(expression, *batch_, rows_, condition_);
        size_t kept = 0;
        for (const uint32_t row : rows_) {
            const Value& value = condition[row];
            if (value.type == Type::kBool && value.boolean) {
                rows_[kept++] = row;
            } else if (value.type != Type::kBool && !value.is_null()) {
                ++counters.derived;
                complete(row);
                WEIR_TRY(executor.reject(
                    node, *batch_, row, join_.layout, ErrorName::kExpressionFailed,
                    value.is_error() ? value.bytes() : std::string_view("a condition is boolean")));
            }
        }
        rows_.resize(kept);
    }
    for (const uint32_t row : rows_) complete(row);
    return Rows(rows_);
}

Result<void> JoinResults::run(Executor& executor, Rows rows) {
    executor.counters(stage_.stream).derived += rows.size();
    const size_t bytes = std::exchange(bytes_, 0);
    if (!nested_) executor.count_given(bytes);
    return executor.run(stage_.next, rows);
}

}  // namespace weir::processor
