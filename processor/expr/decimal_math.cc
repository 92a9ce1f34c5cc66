#include "processor/expr/decimal_math.h"

#include <quadmath.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "processor/expr/value_text.h"

namespace weir::processor::expr {
namespace {

__extension__ typedef __float128 Quad;
__extension__ typedef unsigned __int128 Unsigned128;

constexpr int kMinSignificantDigits = 16;
constexpr int kMaxDisplayScale = 1000;

Value overflow(Arena& arena) { return error_value(arena, "numeric overflow: more than 38 digits"); }

Quad to_quad(const Decimal& a) {
    std::string text;
    append_decimal(a, text);
    return strtoflt128(text.c_str(), nullptr);
}

Value from_quad(Quad value, int scale, Arena& arena) {
    if (finiteq(value) == 0) return overflow(arena);
    std::array<char, 128> text;
    if (fabsq(value) >= to_quad({power_of_ten(kMaxDecimalDigits - 1), 0}) * 10) return overflow(arena);
    const int length = quadmath_snprintf(text.data(), text.size(), "%.36Qe", value);
    Decimal digits;
    if (!parse_decimal({text.data(), static_cast<size_t>(length)}, digits)) return overflow(arena);
    Decimal rounded;
    return decimal_result(round_to(digits, scale, rounded), rounded, arena);
}

int clamp_scale(int scale, int at_least) {
    return std::min(std::max({scale, at_least, 0}), kMaxDisplayScale);
}

// The decimal weight of ln(a)'s first digit, as PostgreSQL estimates it.
int ln_weight(const Decimal& a) {
    const Decimal low{9, 1};
    const Decimal high{11, 1};
    if (compare(a, low) >= 0 && compare(a, high) <= 0) {
        Decimal distance;
        if (subtract(a, Decimal::of(1), distance) != Status::kOk || distance.mantissa == 0) return 0;
        const Weight weight = weight_of(distance);
        return weight.weight * 4 + static_cast<int>(std::log10(weight.first_digit));
    }
    const double ln = static_cast<double>(logq(to_quad(a)));
    return static_cast<int>(std::log10(std::fabs(ln)));
}

bool is_whole(const Decimal& a) {
    Decimal whole;
    return truncate_to(a, 0, whole) == Status::kOk && compare(whole, a) == 0;
}

}  // namespace

Value decimal_result(Status status, const Decimal& result, Arena& arena) {
    switch (status) {
        case Status::kOk: return result.value();
        case Status::kDivisionByZero: return error_value(arena, "division by zero");
        case Status::kOverflow: break;
    }
    return overflow(arena);
}

Value decimal_sqrt(const Decimal& a, Arena& arena) {
    const int weight = weight_of(a).weight;
    const int result_weight = weight >= 0 ? weight * 4 / 2 + 1 : 1 - (1 - weight * 4) / 2;
    return decimal_sqrt(a, clamp_scale(kMinSignificantDigits - result_weight, a.scale), arena);
}

Value decimal_sqrt(const Decimal& a, int scale, Arena& arena) {
    if (a.mantissa < 0) return error_value(arena, "cannot take square root of a negative number");
    return from_quad(sqrtq(to_quad(a)), scale, arena);
}

Value decimal_ln(const Decimal& a, Arena& arena) {
    if (a.mantissa == 0) return error_value(arena, "cannot take logarithm of zero");
    if (a.mantissa < 0) return error_value(arena, "cannot take logarithm of a negative number");
    return from_quad(logq(to_quad(a)), clamp_scale(kMinSignificantDigits - ln_weight(a), a.scale), arena);
}

Value decimal_log(const Decimal& base, const Decimal& a, Arena& arena) {
    if (a.mantissa == 0 || base.mantissa == 0) return error_value(arena, "cannot take logarithm of zero");
    if (a.mantissa < 0 || base.mantissa < 0)
        return error_value(arena, "cannot take logarithm of a negative number");
    const Quad ln_base = logq(to_quad(base));
    if (ln_base == 0) return error_value(arena, "division by zero");
    const int scale =
        clamp_scale(kMinSignificantDigits - (ln_weight(a) - ln_weight(base)), std::max(base.scale, a.scale));
    return from_quad(logq(to_quad(a)) / ln_base, scale, arena);
}

Value decimal_power(const Decimal& base, const Decimal& exponent, Arena& arena) {
    if (base.mantissa == 0 && exponent.mantissa < 0)
        return error_value(arena, "zero raised to a negative power is undefined");
    if (base.mantissa < 0 && !is_whole(exponent))
        return error_value(arena, "a negative number raised to a non-integer power yields a complex result");
    if (base.mantissa == 0) {
        Decimal result;
        const Status status =
            round_to(Decimal::of(exponent.mantissa == 0 ? 1 : 0),
                     clamp_scale(kMinSignificantDigits, std::max(base.scale, exponent.scale)), result);
        return decimal_result(status, result, arena);
    }
    const Quad x = to_quad(base);
    const Quad y = to_quad(exponent);
    const Quad result = powq(x, y);
    const double digits = static_cast<double>(log10q(fabsq(x)) * y);
    if (digits > 40) return overflow(arena);
    // Whole exponents keep 16 digits after the point, fractional ones 16 significant digits.
    const int wanted =
        is_whole(exponent) ? kMinSignificantDigits : kMinSignificantDigits - static_cast<int>(digits);
    return from_quad(result, clamp_scale(wanted, std::max(base.scale, exponent.scale)), arena);
}

}  // namespace weir::processor::expr
