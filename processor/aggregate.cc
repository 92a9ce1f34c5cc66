#include "processor/aggregate.h"

#include <algorithm>

#include "processor/executor.h"
#include "processor/group_key.h"
#include "processor/shard.h"

namespace weir::processor {
Result<void> Aggregate::accumulate(Executor& executor, const Node& node, const AccumulateNode& input,
                                   const Batch& batch, Rows rows) {
    WEIR_TRY(split_late(executor, node, input, batch, rows));
    if (rows_.empty()) return {};
    WEIR_TRY(evaluate(executor, node, input, batch));
    find_groups();
    for (size_t i = 0; i < calls_.size(); ++i) {
        const CallRows& call = calls_[i];
        const Rows taken = call.filtered ? Rows(call.rows) : Rows(rows_);
        state_.accumulators().accumulate(i, {taken, call.arguments, batch.times, cells_, stores_});
    }
    executor.counters(node.stream).merged += rows_.size();
    return {};
}

Result<void> Aggregate::split_late(Executor& executor, const Node& node, const AccumulateNode& input,
                                   const Batch& batch, Rows rows) {
    rows_.clear();
    late_.clear();
    starts_.resize(batch.row_count);
    // Windows' results come without watermarks: a stage before never lets them go too late for this one.
    const bool can_be_late = !batch.watermarks.empty();
    Watermarks::Before before{};
    if (can_be_late) before = executor.watermarks().before(id_, batch.partition);
    const int64_t closes_after = stage_.window.size_ms + stage_.window.grace_ms;
    EventTime start = 0;
    EventTime end = 0;  // Of the window that the previous row was in.
    for (const uint32_t row : rows) {
        const EventTime time = batch.times[row];
        if (time < start || time >= end) {
            start = state_.start_of(time);
            end = start + stage_.window.size_ms;
        }
        if (can_be_late && before.at(batch.watermarks[row]) >= start + closes_after) [[unlikely]] {
            late_.push_back(row);
            continue;
        }
        starts_[row] = start;
        rows_.push_back(row);
    }
    executor.counters(node.stream).late += late_.size();
    return executor.run(input.late, late_);
}

// Everything that can fail for a row is computed before any state changes.
Result<void> Aggregate::evaluate(Executor& executor, const Node& node, const AccumulateNode& input,
                                 const Batch& batch) {
    failures_.assign(batch.row_count, {});
    bool failed = false;
    const auto fail = [&](uint32_t row, std::string_view message) {
        failures_[row] = message;
        failed = true;
    };
    by_.resize(input.by.size());
    by_scratch_.resize(input.by.size());
    for (size_t i = 0; i < input.by.size(); ++i) {
        by_[i] = &executor.evaluate(input.by[i], batch, rows_, by_scratch_[i]);
        for (const uint32_t row : rows_) {
            if ((*by_[i])[row].is_error()) [[unlikely]]
                fail(row, (*by_[i])[row].bytes());
        }
    }
    calls_.resize(input.calls.size());
    for (size_t i = 0; i < input.calls.size(); ++i) {
        CallRows& call = calls_[i];
        Rows rows = rows_;
        call.filtered = input.calls[i].filter.has_value();
        if (call.filtered) {
            const Column& filter =
                executor.evaluate(*input.calls[i].filter, batch, rows_, call.filter_scratch);
            call.rows.clear();
            for (const uint32_t row : rows_) {
                const Value& value = filter[row];
                if (value.type == Type::kBool && value.boolean) call.rows.push_back(row);
                if (value.type != Type::kBool && !value.is_null()) {
                    fail(row, value.is_error() ? value.bytes() : "a FILTER condition is boolean");
                }
            }
            rows = call.rows;
        }
        const size_t argument_count = input.calls[i].arguments.size();
        call.arguments.resize(argument_count);
        call.scratch.resize(argument_count);
        for (size_t k = 0; k < argument_count; ++k) {
            call.arguments[k] =
                &executor.evaluate(input.calls[i].arguments[k], batch, rows, call.scratch[k]);
            const unsigned accepted = state_.accumulators().accepts(i, k);
            for (const uint32_t row : rows) {
                const Value& value = (*call.arguments[k])[row];
                if ((accepted >> static_cast<unsigned>(value.type) & 1) != 0) [[likely]]
                    continue;
                fail(row, value.is_error() ? value.bytes() : state_.accumulators().refusal(i));
            }
        }
    }
    if (!failed) [[likely]]
        return {};

    const auto keep_good = [&](std::vector<uint32_t>& rows) {
        std::erase_if(rows, [&](uint32_t row) { return failures_[row].data() != nullptr; });
    };
    for (const uint32_t row : rows_) {
        if (failures_[row].data() == nullptr) continue;
        WEIR_TRY(
            executor.reject(node, batch, row, input.layout, ErrorName::kExpressionFailed, failures_[row]));
    }
    keep_good(rows_);
    for (CallRows& call : calls_) keep_good(call.rows);
    return {};
}

void Aggregate::find_groups() {
    const size_t size = rows_.empty() ? 0 : rows_.back() + size_t{1};
    cells_.resize(size);
    stores_.resize(size);
    for (const uint32_t row : rows_) {
        key_.clear();
        for (const Column* by : by_) append_group_key((*by)[row], key_);
        Window& window = state_.window(starts_[row]);
        Group& group = window.group(key_, hash_group_key(key_));
        window.touch(group);
        cells_[row] = group.cells();
        stores_[row] = &window.store();
    }
}

Result<bool> Aggregate::close_due(Executor& executor, EventTime watermark) {
    bool closed = false;
    for (Window* window = state_.first(); window != nullptr && state_.closes_at(*window) <= watermark;
         window = state_.first()) {
        for (size_t first = 0; first < window->size(); first += kSliceRows) {
            WEIR_TRY(emit(executor, *window, first, std::min(kSliceRows, window->size() - first)));
        }
        state_.close(*window);
        ++executor.counters(stage_.stream).windows_closed;
        closed = true;
    }
    return closed;
}

Result<void> Aggregate::emit(Executor& executor, Window& window, size_t first, size_t count) {
    Batch& batch = executor.begin_slice(stage_.frame, count);
    const EventTime end = state_.end_of(window);
    std::fill_n(batch.records.begin(), count, nullptr);
    std::fill_n(batch.times.begin(), count, end - 1);
    batch.watermarks.clear();
    const auto column = [&](expr::Slot slot) -> Column& { return batch.columns[static_cast<size_t>(slot)]; };
    result_rows_.resize(count);
    for (uint32_t row = 0; row < count; ++row) {
        result_rows_[row] = row;
        Group& group = *window.groups()[first + row];
        ByteReader key(group.key());
        for (size_t i = 0; i < stage_.by.size(); ++i) batch.columns[i][row] = read_group_key(key);
        column(stage_.window_start)[row] = Value::of_int8(window.start());
        column(stage_.window_end)[row] = Value::of_int8(end);
        for (size_t i = 0; i < stage_.calls.size(); ++i) {
            column(stage_.first_call + static_cast<expr::Slot>(i))[row] =
                state_.accumulators().result(i, group.cells(), window.store(), executor.arena());
        }
    }
    StreamCounters& counters = executor.counters(stage_.stream);
    counters.derived += count;
    for (const ResultField& field : stage_.fields) {
        Column& values = column(field.slot);
        const Column& computed = executor.evaluate(field.result, batch, result_rows_, values);
        if (&computed != &values) std::copy_n(computed.begin(), count, values.begin());
    }
    return executor.run(stage_.next, result_rows_);
}

}  // namespace weir::processor
