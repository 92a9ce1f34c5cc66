// The aggregate functions: their names, what they take, and the type of what they give. What they compute is
// processor/accumulator.h's business.
//
// Thread:  constant.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "processor/value.h"

namespace weir::processor::expr {

enum class AggregateFunction : uint8_t {
    kCountStar,
    kCount,
    kSum,
    kAvg,
    kMin,
    kMax,
    kVariance,  // All of stddev_… and var_…; AggregateSpec says which.
    kBoolAnd,
    kBoolOr,
    kFirst,
    kLast,
    kArgMin,
    kArgMax,
    kPercentileCont,
    kPercentileDisc,
    kArrayAgg,
    kStringAgg,
    kJsonbObjectAgg,
    kApproxCountDistinct,
    kApproxPercentile,
    kTopK,
    kTopRows,    // What the step top_n is made of, …
    kTimedRows,  // … and a join in session windows; they have no name in expressions.
};

// What a call computes, apart from the values that it takes.
struct AggregateSpec {
    AggregateFunction function;
    bool distinct = false;
    bool ordered = false;     // The last argument is what ORDER BY names.
    bool descending = false;  // ORDER BY … DESC; rows: the largest.
    bool sample = false;      // kVariance: divides by n − 1, not by n.
    bool root = false;        // kVariance: stddev.
    double fraction = 0;      // Percentiles: 0 … 1.
    int32_t k = 0;            // top_k, and how many rows.
    std::string separator;    // string_agg.
};

// What a call has beside the arguments that it takes from records.
enum class AggregateConstant : uint8_t { kNone, kFraction, kK, kSeparator };

struct AggregateFunctionSpec {
    std::string_view name;
    AggregateFunction function;
    std::string_view signature;       // As the user sees it: "arg_min(x, y)".
    std::array<uint16_t, 2> accepts;  // Per argument a bit per Type; 0: there is no such argument.
    AggregateConstant constant = AggregateConstant::kNone;
    bool takes_distinct = false;
    bool takes_order = false;
    bool sample = false;
    bool root = false;
};

inline constexpr int32_t kLargestTopK = 1000;

[[nodiscard]] std::span<const AggregateFunctionSpec> aggregate_functions();
[[nodiscard]] const AggregateFunctionSpec* find_aggregate(std::string_view name);
[[nodiscard]] const AggregateFunctionSpec& spec_of(const AggregateSpec& call);
// The result's type for an argument of this type; none when it is known per record only.
[[nodiscard]] std::optional<Type> aggregate_result(AggregateFunction function, std::optional<Type> argument);

}  // namespace weir::processor::expr
