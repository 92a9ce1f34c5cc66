// One value of many: min, max, first, last, arg_min, arg_max, bool_and, bool_or.
#include "processor/accumulators/operations.h"
#include "processor/expr/decimal.h"
#include "processor/expr/operators.h"

namespace weir::processor {
namespace {

constexpr std::string_view kMixedTypes = "min() and max() over values of different types";
constexpr std::string_view kMixedKeys = "arg_min() and arg_max() by values of different types";

Value value_result(const CallPlan&, const Accumulator* cell, const AccumulatorStore&, Arena&) {
    return cell->value;
}

// Of equal numbers the one with more digits after the point stays, whatever the order.
template <int kWanted>
void keep_extreme(AccumulatorStore& store, Accumulator& cell, const Value& value) {
    Value& kept = cell.value;
    if (!kept.is_null()) {
        int order = 0;
        if (kept.type == Type::kNumeric && value.type == Type::kNumeric) [[likely]] {
            order = expr::compare(expr::Decimal::of(value), expr::Decimal::of(kept));
        } else {
            const auto compared = expr::compare_values(value, kept);
            if (!compared) return store.fail(cell, failed_for_good(kMixedTypes));
            order = *compared;
        }
        const bool replaces = order == 0 ? kept.type == Type::kNumeric && value.scale > kept.scale
                                         : (order < 0) == (kWanted < 0);
        if (!replaces) return;
    }
    store.keep(cell, value);
}

template <int kWanted>
void accumulate_extremes(const CallPlan&, uint32_t cell, const AccumulatorRows& input, std::string&) {
    for_each_value(cell, input, [&](uint32_t row, Accumulator* at, const Value& value) {
        keep_extreme<kWanted>(*input.stores[row], *at, value);
    });
}

template <int kWanted>
void merge_extremes(const CallPlan&, Accumulator* into, AccumulatorStore& store, const Accumulator* from,
                    const AccumulatorStore&) {
    if (!from->value.is_null()) keep_extreme<kWanted>(store, *into, from->value);
}

template <bool kDecisive>
void accumulate_booleans(const CallPlan&, uint32_t cell, const AccumulatorRows& input, std::string&) {
    for_each_value(cell, input, [](uint32_t, Accumulator* at, const Value& value) {
        if (at->value.is_null() || value.boolean == kDecisive) at->value = value;
    });
}

template <bool kDecisive>
void merge_booleans(const CallPlan&, Accumulator* into, AccumulatorStore&, const Accumulator* from,
                    const AccumulatorStore&) {
    if (from->value.is_null()) return;
    if (into->value.is_null() || from->value.boolean == kDecisive) into->value = from->value;
}

// By event time, which stands in `count`; ties by arrival.
template <bool kLater>
void keep_by_time(AccumulatorStore& store, Accumulator& cell, const Value& value, EventTime time) {
    const bool replaces = cell.value.is_null() || (kLater ? time >= cell.count : time < cell.count);
    if (!replaces) return;
    store.keep(cell, value);
    cell.count = time;
}

template <bool kLater>
void accumulate_by_time(const CallPlan&, uint32_t cell, const AccumulatorRows& input, std::string&) {
    for_each_value(cell, input, [&](uint32_t row, Accumulator* at, const Value& value) {
        keep_by_time<kLater>(*input.stores[row], *at, value, input.times[row]);
    });
}

template <bool kLater>
void merge_by_time(const CallPlan&, Accumulator* into, AccumulatorStore& store, const Accumulator* from,
                   const AccumulatorStore&) {
    if (!from->value.is_null()) keep_by_time<kLater>(store, *into, from->value, from->count);
}

// cells[0]: x, and in `count` its event time; cells[1]: y. Of equal ys the earlier record, ties by arrival.
template <int kWanted>
void keep_by_key(AccumulatorStore& store, Accumulator* cells, const Value& value, const Value& key,
                 EventTime time) {
    if (!cells[0].value.is_null()) {
        const auto order = expr::compare_values(key, cells[1].value);
        if (!order) {
            store.release(cells[1]);
            return store.fail(cells[0], failed_for_good(kMixedKeys));
        }
        if (*order == 0 ? time >= cells[0].count : (*order < 0) != (kWanted < 0)) return;
    }
    store.keep(cells[0], value);
    store.keep(cells[1], key);
    cells[0].count = time;
}

template <int kWanted>
void accumulate_by_key(const CallPlan&, uint32_t cell, const AccumulatorRows& input, std::string&) {
    const Column& keys = *input.arguments[1];
    for_each_value(cell, input, [&](uint32_t row, Accumulator* at, const Value& value) {
        if (keys[row].is_null()) return;
        keep_by_key<kWanted>(*input.stores[row], at, value, keys[row], input.times[row]);
    });
}

template <int kWanted>
void merge_by_key(const CallPlan&, Accumulator* into, AccumulatorStore& store, const Accumulator* from,
                  const AccumulatorStore&) {
    if (from[0].value.is_null()) return;
    keep_by_key<kWanted>(store, into, from[0].value, from[1].value, from[0].count);
}

}  // namespace

const AccumulatorOperations kMinimum = {1, accumulate_extremes<-1>, merge_extremes<-1>, value_result};
const AccumulatorOperations kMaximum = {1, accumulate_extremes<1>, merge_extremes<1>, value_result};
const AccumulatorOperations kEvery = {1, accumulate_booleans<false>, merge_booleans<false>, value_result};
const AccumulatorOperations kAny = {1, accumulate_booleans<true>, merge_booleans<true>, value_result};
const AccumulatorOperations kFirst = {1, accumulate_by_time<false>, merge_by_time<false>, value_result};
const AccumulatorOperations kLast = {1, accumulate_by_time<true>, merge_by_time<true>, value_result};
const AccumulatorOperations kArgMin = {2, accumulate_by_key<-1>, merge_by_key<-1>, value_result};
const AccumulatorOperations kArgMax = {2, accumulate_by_key<1>, merge_by_key<1>, value_result};

}  // namespace weir::processor
