#include "processor/expr/aggregate_functions.h"

#include <algorithm>

#include "processor/expr/functions.h"

namespace weir::processor::expr {
namespace {

constexpr uint16_t kNull = type_bit(Type::kNull);
constexpr uint16_t kAny = kAnyArgument;
constexpr uint16_t kNumber = kNumberArgument | kNull;
constexpr uint16_t kBoolean = type_bit(Type::kBool) | kNull;
constexpr uint16_t kOrdered = kNumber | kTextArgument | kTimestampArgument | kIntervalArgument;
constexpr uint16_t kSortable = kAny & ~kJsonbArgument;
constexpr uint16_t kScalar = kAny & ~kJsonbArgument & ~kNull;

using F = AggregateFunction;
using C = AggregateConstant;

constexpr auto kFunctions = std::to_array<AggregateFunctionSpec>({
    {"count", F::kCount, "count(x)", {kAny}, C::kNone, true},
    {"sum", F::kSum, "sum(number)", {kNumber}, C::kNone, true},
    {"avg", F::kAvg, "avg(number)", {kNumber}, C::kNone, true},
    {"min", F::kMin, "min(number, text, timestamptz or interval)", {kOrdered}, C::kNone, true},
    {"max", F::kMax, "max(number, text, timestamptz or interval)", {kOrdered}, C::kNone, true},
    {"stddev", F::kVariance, "stddev(number)", {kNumber}, C::kNone, false, false, true, true},
    {"stddev_samp", F::kVariance, "stddev_samp(number)", {kNumber}, C::kNone, false, false, true, true},
    {"stddev_pop", F::kVariance, "stddev_pop(number)", {kNumber}, C::kNone, false, false, false, true},
    {"variance", F::kVariance, "variance(number)", {kNumber}, C::kNone, false, false, true, false},
    {"var_samp", F::kVariance, "var_samp(number)", {kNumber}, C::kNone, false, false, true, false},
    {"var_pop", F::kVariance, "var_pop(number)", {kNumber}, C::kNone, false, false, false, false},
    {"bool_and", F::kBoolAnd, "bool_and(boolean)", {kBoolean}, C::kNone, true},
    {"every", F::kBoolAnd, "every(boolean)", {kBoolean}, C::kNone, true},
    {"bool_or", F::kBoolOr, "bool_or(boolean)", {kBoolean}, C::kNone, true},
    {"first", F::kFirst, "first(x)", {kAny}},
    {"last", F::kLast, "last(x)", {kAny}},
    {"arg_min", F::kArgMin, "arg_min(x, y), y a number, text, timestamptz or interval", {kAny, kOrdered}},
    {"arg_max", F::kArgMax, "arg_max(x, y), y a number, text, timestamptz or interval", {kAny, kOrdered}},
    {"percentile_cont",
     F::kPercentileCont,
     "percentile_cont(fraction) WITHIN GROUP (ORDER BY number or interval)",
     {kNumber | kIntervalArgument},
     C::kFraction,
     false,
     true},
    {"percentile_disc",
     F::kPercentileDisc,
     "percentile_disc(fraction) WITHIN GROUP (ORDER BY number, text, boolean, timestamptz or interval)",
     {kSortable},
     C::kFraction,
     false,
     true},
    {"array_agg", F::kArrayAgg, "array_agg(x [ORDER BY y])", {kAny, kSortable}, C::kNone, true, true},
    {"jsonb_agg", F::kArrayAgg, "jsonb_agg(x [ORDER BY y])", {kAny, kSortable}, C::kNone, true, true},
    {"string_agg",
     F::kStringAgg,
     "string_agg(text, 'separator' [ORDER BY y])",
     {kTextArgument | kNull, kSortable},
     C::kSeparator,
     true,
     true},
    {"jsonb_object_agg", F::kJsonbObjectAgg, "jsonb_object_agg(key, value)", {kScalar, kAny}},
    {"approx_count_distinct", F::kApproxCountDistinct, "approx_count_distinct(x)", {kAny}},
    {"approx_percentile",
     F::kApproxPercentile,
     "approx_percentile(fraction) WITHIN GROUP (ORDER BY number)",
     {kNumber},
     C::kFraction,
     false,
     true},
    {"top_k", F::kTopK, "top_k(x, k)", {kAny}, C::kK},
});

constexpr AggregateFunctionSpec kRows = {
    "top_n", F::kTopRows, "top_n by a number, text, timestamptz or interval", {kOrdered, kAny}};
constexpr AggregateFunctionSpec kJoined = {
    "join", F::kTimedRows, "a record of a join in session windows", {kAny}};

}  // namespace

std::span<const AggregateFunctionSpec> aggregate_functions() { return kFunctions; }

const AggregateFunctionSpec* find_aggregate(std::string_view name) {
    const auto* const found = std::find_if(kFunctions.begin(), kFunctions.end(),
                                           [&](const auto& entry) { return entry.name == name; });
    return found == kFunctions.end() ? nullptr : found;
}

const AggregateFunctionSpec& spec_of(const AggregateSpec& call) {
    if (call.function == F::kTopRows) return kRows;
    if (call.function == F::kTimedRows) return kJoined;
    const F function = call.function == F::kCountStar ? F::kCount : call.function;
    return *std::find_if(kFunctions.begin(), kFunctions.end(), [&](const auto& entry) {
        return entry.function == function && entry.sample == call.sample && entry.root == call.root;
    });
}

std::optional<Type> aggregate_result(AggregateFunction function, std::optional<Type> argument) {
    const bool is_float = argument == Type::kFloat8;
    switch (function) {
        case F::kCountStar:
        case F::kCount:
        case F::kApproxCountDistinct: return Type::kInt8;
        case F::kSum:
            if (argument == Type::kInt4) return Type::kInt8;
            if (argument == Type::kInt8) return Type::kNumeric;
            return argument;
        case F::kAvg:
        case F::kVariance:
            if (argument && !is_float) return Type::kNumeric;
            return argument;
        case F::kPercentileCont:
            if (argument && *argument != Type::kInterval) return Type::kFloat8;
            return argument;
        case F::kBoolAnd:
        case F::kBoolOr: return Type::kBool;
        case F::kMin:
        case F::kMax:
        case F::kFirst:
        case F::kLast:
        case F::kArgMin:
        case F::kArgMax:
        case F::kPercentileDisc: return argument;
        case F::kArrayAgg:
        case F::kJsonbObjectAgg:
        case F::kTopK: return Type::kJsonb;
        case F::kTopRows:
        case F::kTimedRows:
        case F::kStringAgg: return Type::kText;
        case F::kApproxPercentile: return Type::kFloat8;
    }
    return std::nullopt;
}

}  // namespace weir::processor::expr
