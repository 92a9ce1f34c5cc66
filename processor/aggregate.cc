#include "processor/aggregate.h"

#include <algorithm>

#include "processor/executor.h"
#include "processor/expr/decimal.h"
#include "processor/expr/operators.h"
#include "processor/group_key.h"
#include "processor/shard.h"

namespace weir::processor {
namespace {

using expr::AggregateFunction;

constexpr std::string_view kSumOverflow = "sum is out of range";
constexpr std::string_view kMixedTypes = "min() and max() over values of different types";

Value failed_for_good(std::string_view message) { return Value::of_bytes(Type::kError, message); }

// Null: the function takes such a value.
const char* refusal(AggregateFunction function, bool distinct, const Value& value) {
    if (value.is_null()) return nullptr;
    switch (function) {
        case AggregateFunction::kSum:
            if (!expr::is_number(value.type)) return "sum() takes numbers";
            break;
        case AggregateFunction::kAvg:
            if (!expr::is_number(value.type)) return "avg() takes numbers";
            break;
        case AggregateFunction::kMin:
        case AggregateFunction::kMax:
            if (value.type == Type::kJsonb || value.type == Type::kBool) {
                return "min() and max() take numbers, texts, timestamps and intervals";
            }
            break;
        case AggregateFunction::kCount:
        case AggregateFunction::kCountStar: static_cast<void>(distinct); break;
    }
    return nullptr;
}

void add_number(Value& sum, const Value& value, bool widen) {
    if (sum.type == Type::kNumeric && value.type == Type::kNumeric) [[likely]] {
        expr::Decimal result;
        if (expr::add({sum.mantissa(), sum.scale}, {value.mantissa(), value.scale}, result) ==
            expr::Status::kOk) {
            sum = result.value();
        } else {
            sum = failed_for_good(kSumOverflow);
        }
        return;
    }
    if (sum.is_error()) return;
    if (value.type == Type::kFloat8 || sum.type == Type::kFloat8) {
        const double before = sum.is_null() ? 0 : expr::number_as_double(sum);
        sum = Value::of_float8(before + expr::number_as_double(value));
        return;
    }
    if (value.type == Type::kInt4 && !widen && (sum.is_null() || sum.type == Type::kInt8)) {
        int64_t result = 0;
        if (__builtin_add_overflow(sum.is_null() ? 0 : sum.integer, value.integer, &result)) {
            sum = failed_for_good(kSumOverflow);
        } else {
            sum = Value::of_int8(result);
        }
        return;
    }
    expr::Decimal result = expr::Decimal::of(value);
    if (!sum.is_null() &&
        expr::add(expr::Decimal::of(sum), expr::Decimal::of(value), result) != expr::Status::kOk) {
        sum = failed_for_good(kSumOverflow);
        return;
    }
    sum = result.value();
}

// min and max; of equal numbers the one with more digits after the point stays, whatever the order.
void keep_extreme(Window& window, Accumulator& accumulator, const Value& value, int wanted_order) {
    Value& kept = accumulator.value;
    if (kept.is_error()) return;
    if (!kept.is_null()) {
        int order = 0;
        if (kept.type == Type::kNumeric && value.type == Type::kNumeric) [[likely]] {
            order = expr::compare(expr::Decimal::of(value), expr::Decimal::of(kept));
        } else {
            const auto compared = expr::compare_values(value, kept);
            if (!compared) {
                kept = failed_for_good(kMixedTypes);
                accumulator.capacity = 0;
                return;
            }
            order = *compared;
        }
        const bool replaces = order == 0 ? kept.type == Type::kNumeric && value.scale > kept.scale
                                         : (order < 0) == (wanted_order < 0);
        if (!replaces) return;
    }
    if (value.type == Type::kText) {
        window.keep_text(accumulator, value);
    } else {
        kept = value;
    }
}

Value average(const Accumulator& accumulator) {
    if (accumulator.count == 0 || accumulator.value.is_error()) return accumulator.value;
    if (accumulator.value.type == Type::kFloat8) {
        return Value::of_float8(accumulator.value.real / static_cast<double>(accumulator.count));
    }
    expr::Decimal quotient;
    const auto status =
        expr::divide(expr::Decimal::of(accumulator.value), expr::Decimal::of(accumulator.count), quotient);
    return status == expr::Status::kOk ? quotient.value() : failed_for_good("avg is out of range");
}

Value result_of(AggregateFunction function, const Accumulator& accumulator) {
    switch (function) {
        case AggregateFunction::kCountStar:
        case AggregateFunction::kCount: return Value::of_int8(accumulator.count);
        case AggregateFunction::kAvg: return average(accumulator);
        case AggregateFunction::kSum:
        case AggregateFunction::kMin:
        case AggregateFunction::kMax: return accumulator.value;
    }
    return Value::null();
}

}  // namespace

Result<void> Aggregate::accumulate(Executor& executor, const Node& node, const AccumulateNode& input,
                                   const Batch& batch, Rows rows) {
    WEIR_TRY(split_late(executor, node, input, batch, rows));
    if (rows_.empty()) return {};
    WEIR_TRY(evaluate(executor, node, input, batch));
    find_groups();
    for (size_t call = 0; call < stage_.calls.size(); ++call) update(call);
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
        call.argument = nullptr;
        if (!input.calls[i].argument) continue;
        call.argument = &executor.evaluate(*input.calls[i].argument, batch, rows, call.argument_scratch);
        const CallPlan& plan = stage_.calls[i];
        for (const uint32_t row : rows) {
            const Value& value = (*call.argument)[row];
            if (value.type == Type::kNumeric) [[likely]]
                continue;
            if (value.is_error()) {
                fail(row, value.bytes());
            } else if (const char* message = refusal(plan.function, plan.distinct, value)) {
                fail(row, message);
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
    groups_.resize(size);
    windows_.resize(size);
    for (const uint32_t row : rows_) {
        key_.clear();
        for (const Column* by : by_) append_group_key((*by)[row], key_);
        Window& window = state_.window(starts_[row]);
        Group& group = window.group(key_, hash_group_key(key_));
        window.touch(group);
        groups_[row] = &group;
        windows_[row] = &window;
    }
}

void Aggregate::update(size_t index) {
    const CallRows& call = calls_[index];
    const CallPlan& plan = stage_.calls[index];
    const Rows rows = call.filtered ? Rows(call.rows) : Rows(rows_);
    if (call.argument == nullptr) {
        for (const uint32_t row : rows) ++groups_[row]->accumulators()[index].count;
        return;
    }
    const Column& values = *call.argument;
    const auto for_each = [&](const auto& change) {
        for (const uint32_t row : rows) {
            if (!values[row].is_null()) change(row, groups_[row]->accumulators()[index], values[row]);
        }
    };
    if (plan.distinct) {
        for_each([&](uint32_t row, Accumulator&, const Value& value) {
            key_.clear();
            append_group_key(value, key_);
            windows_[row]->add_distinct(*groups_[row], index, key_);
        });
        return;
    }
    switch (plan.function) {
        case AggregateFunction::kCountStar:
        case AggregateFunction::kCount:
            for_each([](uint32_t, Accumulator& accumulator, const Value&) { ++accumulator.count; });
            return;
        case AggregateFunction::kSum:
            for_each([](uint32_t, Accumulator& accumulator, const Value& value) {
                add_number(accumulator.value, value, false);
            });
            return;
        case AggregateFunction::kAvg:
            for_each([](uint32_t, Accumulator& accumulator, const Value& value) {
                ++accumulator.count;
                add_number(accumulator.value, value, true);
            });
            return;
        case AggregateFunction::kMin:
            for_each([&](uint32_t row, Accumulator& accumulator, const Value& value) {
                keep_extreme(*windows_[row], accumulator, value, -1);
            });
            return;
        case AggregateFunction::kMax:
            for_each([&](uint32_t row, Accumulator& accumulator, const Value& value) {
                keep_extreme(*windows_[row], accumulator, value, 1);
            });
            return;
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
                result_of(stage_.calls[i].function, group.accumulators()[i]);
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
