// Calls that keep every value: array_agg, string_agg, percentile_cont, percentile_disc; and jsonb_object_agg,
// which keeps the last value of each key.
#include <algorithm>
#include <cmath>

#include "processor/accumulators/object_map.h"
#include "processor/accumulators/operations.h"
#include "processor/accumulators/value_list.h"
#include "processor/expr/jsonb.h"
#include "processor/expr/operators.h"
#include "processor/expr/value_text.h"

namespace weir::processor {
namespace {

constexpr std::string_view kListFull = "array_agg or string_agg holds more than 1 MiB";
constexpr std::string_view kObjectFull = "jsonb_object_agg holds more than 1 MiB";
constexpr std::string_view kPercentileFull =
    "an exact percentile holds more than 16 MiB; approx_percentile does not";
constexpr std::string_view kMixedTypes = "values of different types cannot be sorted";

template <bool kTakesNull>
void accumulate_list(const CallPlan& call, uint32_t cell, const AccumulatorRows& input, std::string&) {
    const Column& values = *input.arguments[0];
    for (const uint32_t row : input.rows) {
        Accumulator& at = input.cells[row][cell];
        if (at.value.is_error() || (!kTakesNull && values[row].is_null())) continue;
        AccumulatorStore& store = *input.stores[row];
        const Value* const order = call.ordered ? &(*input.arguments[1])[row] : nullptr;
        if (!store.object<ValueList>(at, call).append(values[row], order)) {
            store.fail(at, failed_for_good(kListFull));
        }
    }
}

void accumulate_percentile(const CallPlan& call, uint32_t cell, const AccumulatorRows& input, std::string&) {
    const bool interpolates = call.function == expr::AggregateFunction::kPercentileCont;
    for_each_value(cell, input, [&](uint32_t row, Accumulator* at, const Value& value) {
        AccumulatorStore& store = *input.stores[row];
        const bool as_float = interpolates && value.type != Type::kInterval;
        const Value kept = as_float ? Value::of_float8(expr::number_as_double(value)) : value;
        if (!store.object<ValueList>(*at, call).append(kept, nullptr)) {
            store.fail(*at, failed_for_good(kPercentileFull));
        }
    });
}

void merge_lists(const CallPlan& call, Accumulator* into, AccumulatorStore& store, const Accumulator* from,
                 const AccumulatorStore& from_store) {
    const auto* const list = static_cast<const ValueList*>(from_store.find(*from));
    if (list == nullptr || store.object<ValueList>(*into, call).append(*list)) return;
    const bool is_list = call.function == expr::AggregateFunction::kArrayAgg ||
                         call.function == expr::AggregateFunction::kStringAgg;
    store.fail(*into, failed_for_good(is_list ? kListFull : kPercentileFull));
}

// Whether any two of every stride-th value compare.
bool comparable(const std::vector<Value>& values, size_t first, size_t stride) {
    const Value* some = nullptr;
    for (size_t i = first; i < values.size(); i += stride) {
        if (values[i].is_null()) continue;
        if (some == nullptr) some = &values[i];
        if (!expr::compare_values(*some, values[i])) return false;
    }
    return true;
}

// NULL is larger than everything, as in PostgreSQL.
bool sorts_before(const Value& a, const Value& b) {
    if (a.is_null() || b.is_null()) return !a.is_null();
    return *expr::compare_values(a, b) < 0;
}

// The values in the order that the call asks for; false when they cannot be sorted.
bool sorted_values(const CallPlan& call, const ValueList& list, std::vector<Value>& out) {
    out = list.values();
    if (!call.ordered && !call.distinct) return true;
    const size_t stride = call.ordered ? 2 : 1;
    if (!comparable(out, stride - 1, stride)) return false;
    std::vector<size_t> order(list.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i * stride;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        if (call.descending) std::swap(a, b);
        const Value& left = out[a + stride - 1];
        const Value& right = out[b + stride - 1];
        return !(left.is_null() && right.is_null()) && sorts_before(left, right);
    });
    std::vector<Value> sorted(order.size());
    for (size_t i = 0; i < order.size(); ++i) sorted[i] = out[order[i]];
    out = std::move(sorted);
    return true;
}

Value array_result(const CallPlan& call, const Accumulator* cell, const AccumulatorStore& store,
                   Arena& arena) {
    const auto* const list = static_cast<const ValueList*>(store.find(*cell));
    if (list == nullptr) return Value::null();
    std::vector<Value> values;
    if (!sorted_values(call, *list, values)) return failed_for_good(kMixedTypes);
    std::string text = "[";
    for (const Value& value : values) {
        if (text.size() > 1) text.push_back(',');
        expr::append_json_element(value, text);
    }
    text.push_back(']');
    std::string canonical;
    expr::append_canonical_json(text, canonical);
    return Value::of_bytes(Type::kJsonb, arena.copy(canonical));
}

Value text_result(const CallPlan& call, const Accumulator* cell, const AccumulatorStore& store,
                  Arena& arena) {
    const auto* const list = static_cast<const ValueList*>(store.find(*cell));
    if (list == nullptr) return Value::null();
    std::vector<Value> values;
    if (!sorted_values(call, *list, values)) return failed_for_good(kMixedTypes);
    std::string text;
    for (size_t i = 0; i < values.size(); ++i) {
        if (i > 0) text.append(call.separator);
        text.append(values[i].bytes());
    }
    return Value::of_text(arena.copy(text));
}

// Moves the value of that rank, from 0 in the call's order, to its place.
const Value& select(const CallPlan& call, std::vector<Value>& values, size_t rank) {
    const auto at = values.begin() + static_cast<ptrdiff_t>(rank);
    std::nth_element(values.begin(), at, values.end(), [&](const Value& a, const Value& b) {
        return call.descending ? sorts_before(b, a) : sorts_before(a, b);
    });
    return *at;
}

Value discrete_result(const CallPlan& call, const Accumulator* cell, const AccumulatorStore& store,
                      Arena& arena) {
    const auto* const list = static_cast<const ValueList*>(store.find(*cell));
    if (list == nullptr) return Value::null();
    std::vector<Value> values = list->values();
    if (!comparable(values, 0, 1)) return failed_for_good(kMixedTypes);
    const double rank = std::ceil(call.fraction * static_cast<double>(values.size()));
    Value result = select(call, values, rank < 1 ? 0 : static_cast<size_t>(rank) - 1);
    if (result.type == Type::kText) result = Value::of_text(arena.copy(result.bytes()));
    return result;
}

Value continuous_result(const CallPlan& call, const Accumulator* cell, const AccumulatorStore& store,
                        Arena& arena) {
    const auto* const list = static_cast<const ValueList*>(store.find(*cell));
    if (list == nullptr) return Value::null();
    std::vector<Value> values = list->values();
    if (!comparable(values, 0, 1)) return failed_for_good(kMixedTypes);
    const double rank = call.fraction * static_cast<double>(values.size() - 1);
    const double below = std::floor(rank);
    const Value low = select(call, values, static_cast<size_t>(below));
    if (below == std::ceil(rank)) return low;
    const Value high = select(call, values, static_cast<size_t>(below) + 1);
    if (low.type == Type::kFloat8) {
        return Value::of_float8(low.real + (rank - below) * (high.real - low.real));
    }
    const Value distance = expr::apply(expr::Operator::kSubtract, high, low, arena);
    if (distance.is_error()) return distance;
    const Value part =
        expr::apply(expr::Operator::kMultiply, distance, Value::of_float8(rank - below), arena);
    return part.is_error() ? part : expr::apply(expr::Operator::kAdd, part, low, arena);
}

void accumulate_object(const CallPlan& call, uint32_t cell, const AccumulatorRows& input,
                       std::string& scratch) {
    const Column& members = *input.arguments[1];
    std::string json;
    for_each_value(cell, input, [&](uint32_t row, Accumulator* at, const Value& name) {
        scratch.clear();
        expr::append_text(name, scratch);
        json.clear();
        expr::append_json_element(members[row], json);
        AccumulatorStore& store = *input.stores[row];
        if (!store.object<ObjectMap>(*at, call).set(scratch, json)) {
            store.fail(*at, failed_for_good(kObjectFull));
        }
    });
}

void merge_objects(const CallPlan& call, Accumulator* into, AccumulatorStore& store, const Accumulator* from,
                   const AccumulatorStore& from_store) {
    const auto* const map = static_cast<const ObjectMap*>(from_store.find(*from));
    if (map == nullptr || store.object<ObjectMap>(*into, call).set(*map)) return;
    store.fail(*into, failed_for_good(kObjectFull));
}

Value object_result(const CallPlan&, const Accumulator* cell, const AccumulatorStore& store, Arena& arena) {
    const auto* const map = static_cast<const ObjectMap*>(store.find(*cell));
    if (map == nullptr) return Value::null();
    return Value::of_bytes(Type::kJsonb, arena.copy(map->json()));
}

}  // namespace

const AccumulatorOperations kArray = {1, accumulate_list<true>, merge_lists, array_result,
                                      object_of<ValueList>};
const AccumulatorOperations kText = {1, accumulate_list<false>, merge_lists, text_result,
                                     object_of<ValueList>};
const AccumulatorOperations kPercentileContinuous = {1, accumulate_percentile, merge_lists,
                                                     continuous_result, object_of<ValueList>};
const AccumulatorOperations kPercentileDiscrete = {1, accumulate_percentile, merge_lists, discrete_result,
                                                   object_of<ValueList>};
const AccumulatorOperations kObject = {1, accumulate_object, merge_objects, object_result,
                                       object_of<ObjectMap>};

}  // namespace weir::processor
