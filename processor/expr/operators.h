// PostgreSQL's operators on single values, chosen by the values' types at run time as PostgreSQL chooses
// them by the columns' types at parse time: integer → bigint → numeric → double precision.
//
// Thread:  pure functions; texts and messages go to the arena.
// Failure: a kError value. NULL and error operands are the caller's business (strictness).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "processor/arena.h"
#include "processor/value.h"

namespace weir::processor::expr {

enum class Operator : uint8_t {
    kAdd,
    kSubtract,
    kMultiply,
    kDivide,
    kModulo,
    kPower,
    kEqual,
    kNotEqual,
    kLess,
    kLessEqual,
    kGreater,
    kGreaterEqual,
    kConcat,
    kJsonGet,
    kJsonGetText,
    kJsonPath,
    kJsonPathText,
};

[[nodiscard]] std::string_view operator_text(Operator op);
[[nodiscard]] inline bool is_comparison(Operator op) {
    return op >= Operator::kEqual && op <= Operator::kGreaterEqual;
}

// The result's type for operands of these types; none when there is no such operator.
[[nodiscard]] std::optional<Type> operator_result(Operator op, Type left, Type right);

[[nodiscard]] Value apply(Operator op, const Value& left, const Value& right, Arena& arena);
[[nodiscard]] Value negate(const Value& value, Arena& arena);

[[nodiscard]] bool is_number(Type type);
[[nodiscard]] double number_as_double(const Value& number);
// Three-way order of two non-null values; none when their types do not compare.
[[nodiscard]] std::optional<int> compare_values(const Value& a, const Value& b);
[[nodiscard]] inline bool holds(Operator op, int order) {
    switch (op) {
        case Operator::kEqual: return order == 0;
        case Operator::kNotEqual: return order != 0;
        case Operator::kLess: return order < 0;
        case Operator::kLessEqual: return order <= 0;
        case Operator::kGreater: return order > 0;
        default: return order >= 0;
    }
}

// The text form of text[], '{a,0,"b c"}', as #> takes it; false when malformed.
[[nodiscard]] bool parse_text_array(std::string_view text, std::vector<std::string>& out);

}  // namespace weir::processor::expr
