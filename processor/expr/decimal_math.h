// Roots, logarithms and powers of decimals, to PostgreSQL's result scales.
//
// sqrt and powers with an integer exponent that fit 38 digits are exact to the last digit; the others are
// computed with 33 significant digits and then rounded to the result's scale (16 significant digits or more).
//
// Thread:  pure functions.
// Failure: a kError value with PostgreSQL's message, or "numeric overflow".
#pragma once

#include "processor/arena.h"
#include "processor/expr/decimal.h"
#include "processor/value.h"

namespace weir::processor::expr {

[[nodiscard]] Value decimal_result(Status status, const Decimal& result, Arena& arena);
[[nodiscard]] Value decimal_sqrt(const Decimal& a, Arena& arena);
[[nodiscard]] Value decimal_sqrt(const Decimal& a, int scale, Arena& arena);  // To that many digits.
[[nodiscard]] Value decimal_ln(const Decimal& a, Arena& arena);
[[nodiscard]] Value decimal_log(const Decimal& base, const Decimal& a, Arena& arena);
[[nodiscard]] Value decimal_power(const Decimal& base, const Decimal& exponent, Arena& arena);

}  // namespace weir::processor::expr
