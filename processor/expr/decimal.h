// Exact decimals: PostgreSQL's numeric with a mantissa of at most 38 digits. The value is
// mantissa × 10^-scale; scale is PostgreSQL's display scale, so 1.50 and 1.5 are equal but print differently.
//
// Result scales and rounding (half away from zero) are PostgreSQL's (src/backend/utils/adt/numeric.c
// describes the rules: sum keeps the larger scale, a product adds them, a quotient has at least 16
// significant digits). avg() is divide(sum, count), as in PostgreSQL.
//
// Thread:  pure functions.
// Failure: Status; anything that needs more than 38 digits is kOverflow, never a rounded result.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "processor/value.h"

namespace weir::processor::expr {

struct Decimal {
    Int128 mantissa = 0;
    uint16_t scale = 0;

    static Decimal of(int64_t value) { return {value, 0}; }
    // `value` must be kInt4, kInt8 or kNumeric.
    static Decimal of(const Value& value) {
        return value.type == Type::kNumeric ? Decimal{value.mantissa(), value.scale} : of(value.integer);
    }
    [[nodiscard]] Value value() const { return Value::of_numeric(mantissa, scale); }
};

enum class Status : uint8_t { kOk, kOverflow, kDivisionByZero };

inline constexpr int kMaxDecimalDigits = 38;
inline constexpr int kMaxDecimalScale = 16383;

// 10^exponent, 0 … 38.
[[nodiscard]] Int128 power_of_ten(int exponent);

// A JSON number, or PostgreSQL's numeric input without surrounding blanks: [+-]digits[.digits][e[+-]digits].
// False: not a number (kind unchanged) or more than 38 digits (`*overflow`).
[[nodiscard]] bool parse_decimal(std::string_view text, Decimal& out, bool* overflow = nullptr);

[[nodiscard]] Status add_slow(const Decimal& a, const Decimal& b, Decimal& out);
[[nodiscard]] inline Status add(const Decimal& a, const Decimal& b, Decimal& out) {
    if (a.scale == b.scale) [[likely]] {
        const auto x = static_cast<int64_t>(a.mantissa);
        const auto y = static_cast<int64_t>(b.mantissa);
        int64_t sum;
        if (x == a.mantissa && y == b.mantissa && !__builtin_add_overflow(x, y, &sum)) [[likely]] {
            out = {sum, a.scale};
            return Status::kOk;
        }
    }
    return add_slow(a, b, out);
}
[[nodiscard]] Status subtract(const Decimal& a, const Decimal& b, Decimal& out);
[[nodiscard]] Status multiply(const Decimal& a, const Decimal& b, Decimal& out);
[[nodiscard]] Status divide(const Decimal& a, const Decimal& b, Decimal& out);
// a × b − c × d for products of one scale, exactly, though a product alone may need 76 digits.
[[nodiscard]] Status multiply_subtract(const Decimal& a, const Decimal& b, const Decimal& c, const Decimal& d,
                                       Decimal& out);
[[nodiscard]] Status modulo(const Decimal& a, const Decimal& b, Decimal& out);  // Sign of `a`.

[[nodiscard]] int compare_slow(const Decimal& a, const Decimal& b);
// Negative, zero, positive.
[[nodiscard]] inline int compare(const Decimal& a, const Decimal& b) {
    if (a.scale == b.scale) return a.mantissa < b.mantissa ? -1 : a.mantissa > b.mantissa;
    return compare_slow(a, b);
}

// Rounds half away from zero, or truncates; `digits` may be negative (round(1234, -2) = 1200). The result's
// scale is max(digits, 0).
[[nodiscard]] Status round_to(const Decimal& a, int digits, Decimal& out);
[[nodiscard]] Status truncate_to(const Decimal& a, int digits, Decimal& out);
[[nodiscard]] Status floor(const Decimal& a, Decimal& out);
[[nodiscard]] Status ceil(const Decimal& a, Decimal& out);

// The value's text: digits, a point when scale > 0, all of the scale's digits.
void append_decimal(const Decimal& a, std::string& out);

[[nodiscard]] double to_double(const Decimal& a);
// PostgreSQL's float8 → numeric: 15 significant digits. kOverflow for NaN and infinities too.
[[nodiscard]] Status from_double(double value, Decimal& out);
// Rounds half away from zero; false when it does not fit.
[[nodiscard]] bool to_int64(const Decimal& a, int64_t& out);

// Decimal weight of the value's first base-10000 digit and that digit: what PostgreSQL's scale rules count
// in.
struct Weight {
    int weight = 0;
    int first_digit = 0;
};
[[nodiscard]] Weight weight_of(const Decimal& a);

}  // namespace weir::processor::expr
