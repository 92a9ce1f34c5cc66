#include "processor/expr/decimal.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace weir::processor::expr {
namespace {

__extension__ typedef unsigned __int128 Unsigned128;

constexpr std::array<Int128, kMaxDecimalDigits + 1> kPowers = [] {
    std::array<Int128, kMaxDecimalDigits + 1> powers{};
    powers[0] = 1;
    for (size_t i = 1; i < powers.size(); ++i) powers[i] = powers[i - 1] * 10;
    return powers;
}();
constexpr Int128 kLimit = kPowers[kMaxDecimalDigits];  // Every |mantissa| is below it.

bool in_range(Int128 mantissa) { return mantissa < kLimit && mantissa > -kLimit; }

Unsigned128 magnitude(Int128 value) {
    return value < 0 ? static_cast<Unsigned128>(-value) : static_cast<Unsigned128>(value);
}

int digit_count(Unsigned128 value) {  // 1 for 0.
    int digits = 1;
    while (digits < kMaxDecimalDigits &&
           value >= static_cast<Unsigned128>(kPowers[static_cast<size_t>(digits)]))
        ++digits;
    return digits;
}

// value × 10^exponent; false when it leaves the range.
bool scale_up(Int128 value, int exponent, Int128& out) {
    if (value == 0) {
        out = 0;
        return true;
    }
    if (exponent > kMaxDecimalDigits) return false;
    Int128 result;
    if (__builtin_mul_overflow(value, kPowers[static_cast<size_t>(exponent)], &result) || !in_range(result))
        return false;
    out = result;
    return true;
}

// value ÷ 10^exponent, to nearest, halves away from zero.
Int128 scale_down_rounded(Int128 value, int exponent) {
    if (exponent > kMaxDecimalDigits) return 0;
    const Int128 power = kPowers[static_cast<size_t>(exponent)];
    const Int128 quotient = value / power;
    const Int128 rest = value % power;
    const Int128 twice = rest < 0 ? -rest : rest;
    if (twice >= power - twice) return quotient + (value < 0 ? -1 : 1);
    return quotient;
}

bool align(const Decimal& a, const Decimal& b, Int128& x, Int128& y) {
    x = a.mantissa;
    y = b.mantissa;
    if (a.scale < b.scale) return scale_up(a.mantissa, b.scale - a.scale, x);
    if (b.scale < a.scale) return scale_up(b.mantissa, a.scale - b.scale, y);
    return true;
}

// Ten times `rest` divided by `divisor`, both below 10^38, where the product may not fit.
unsigned next_digit(Unsigned128& rest, Unsigned128 divisor) {
    unsigned digit = 0;
    Unsigned128 sum = 0;
    for (int i = 0; i < 10; ++i) {
        sum += rest;
        if (sum >= divisor) {
            sum -= divisor;
            ++digit;
        }
    }
    rest = sum;
    return digit;
}

// 256 bits, two's complement.
struct Wide {
    Unsigned128 low = 0;
    Unsigned128 high = 0;
};

Wide wide_product(Int128 a, Int128 b) {
    const Unsigned128 x = magnitude(a);
    const Unsigned128 y = magnitude(b);
    const Unsigned128 mask = ~uint64_t{0};
    const Unsigned128 low = (x & mask) * (y & mask);
    const Unsigned128 cross = (x >> 64) * (y & mask) + (low >> 64);  // The magnitudes are below 2^127.
    const Unsigned128 middle = (x & mask) * (y >> 64) + (cross & mask);
    Wide result{middle << 64 | (low & mask), (x >> 64) * (y >> 64) + (cross >> 64) + (middle >> 64)};
    if ((a < 0) != (b < 0)) {
        result.low = ~result.low + 1;
        result.high = ~result.high + (result.low == 0 ? 1 : 0);
    }
    return result;
}

}  // namespace

Int128 power_of_ten(int exponent) { return kPowers[static_cast<size_t>(exponent)]; }

bool parse_decimal(std::string_view text, Decimal& out, bool* overflow) {
    const char* p = text.data();
    const char* const end = p + text.size();
    if (overflow != nullptr) *overflow = false;
    bool negative = false;
    if (p != end && (*p == '-' || *p == '+')) negative = *p++ == '-';

    // Up to 18 digits fit a machine word; that is nearly every number.
    uint64_t small = 0;
    Unsigned128 large = 0;
    int significant = 0;
    int digits = 0;
    int64_t scale = 0;
    bool point = false;
    bool too_long = false;
    for (; p != end; ++p) {
        const auto digit = static_cast<unsigned>(*p) - '0';
        if (digit > 9) {
            if (*p != '.' || point) break;
            point = true;
            continue;
        }
        ++digits;
        if (point) ++scale;
        if (significant > 0 || digit != 0) ++significant;
        if (significant <= 18) {
            small = small * 10 + digit;
        } else if (significant <= kMaxDecimalDigits) {
            if (significant == 19) large = small;
            large = large * 10 + digit;
        } else {
            too_long = true;
        }
    }
    if (digits == 0) return false;
    int64_t exponent = 0;
    if (p != end && (*p == 'e' || *p == 'E')) {
        ++p;
        bool negative_exponent = false;
        if (p != end && (*p == '-' || *p == '+')) negative_exponent = *p++ == '-';
        if (p == end) return false;
        for (; p != end; ++p) {
            const auto digit = static_cast<unsigned>(*p) - '0';
            if (digit > 9) return false;
            if (exponent < 1'000'000) exponent = exponent * 10 + digit;
        }
        if (negative_exponent) exponent = -exponent;
    }
    if (p != end) return false;

    const auto fail = [&] {
        if (overflow != nullptr) *overflow = true;
        return false;
    };
    if (too_long) return fail();
    auto mantissa = static_cast<Int128>(significant <= 18 ? small : large);
    if (negative) mantissa = -mantissa;
    scale -= exponent;
    if (scale > kMaxDecimalScale) return fail();
    if (scale < 0) {
        if (!scale_up(mantissa, scale < -1'000 ? 1'000 : static_cast<int>(-scale), mantissa)) return fail();
        scale = 0;
    }
    out = {mantissa, static_cast<uint16_t>(scale)};
    return true;
}

Status add_slow(const Decimal& a, const Decimal& b, Decimal& out) {
    Int128 x;
    Int128 y;
    if (!align(a, b, x, y)) return Status::kOverflow;
    Int128 sum;
    if (__builtin_add_overflow(x, y, &sum) || !in_range(sum)) return Status::kOverflow;
    out = {sum, std::max(a.scale, b.scale)};
    return Status::kOk;
}

Status subtract(const Decimal& a, const Decimal& b, Decimal& out) {
    return add(a, {-b.mantissa, b.scale}, out);
}

Status multiply(const Decimal& a, const Decimal& b, Decimal& out) {
    Int128 product;
    if (__builtin_mul_overflow(a.mantissa, b.mantissa, &product) || !in_range(product))
        return Status::kOverflow;
    const int scale = a.scale + b.scale;
    if (scale > kMaxDecimalScale) return Status::kOverflow;
    out = {product, static_cast<uint16_t>(scale)};
    return Status::kOk;
}

Weight weight_of(const Decimal& a) {
    if (a.mantissa == 0) return {};
    const Unsigned128 value = magnitude(a.mantissa);
    const int digits = digit_count(value);
    const int exponent = digits - 1 - a.scale;  // Of the first decimal digit.
    const int weight = exponent >= 0 ? exponent / 4 : -((-exponent + 3) / 4);
    // The first base-10000 digit holds the decimal digits from 10^(4 weight + 3) down to 10^(4 weight).
    const int taken = exponent - weight * 4 + 1;
    Unsigned128 first = value;
    if (digits > taken) {
        first /= static_cast<Unsigned128>(kPowers[static_cast<size_t>(digits - taken)]);
    } else {
        first *= static_cast<Unsigned128>(kPowers[static_cast<size_t>(taken - digits)]);
    }
    return {weight, static_cast<int>(first)};
}

Status divide(const Decimal& a, const Decimal& b, Decimal& out) {
    if (b.mantissa == 0) return Status::kDivisionByZero;
    const Weight wa = weight_of(a);
    const Weight wb = weight_of(b);
    int quotient_weight = wa.weight - wb.weight;
    if (wa.first_digit <= wb.first_digit) --quotient_weight;
    int scale = 16 - quotient_weight * 4;
    scale = std::max({scale, static_cast<int>(a.scale), static_cast<int>(b.scale), 0});
    scale = std::min(scale, 1000);

    const bool negative = (a.mantissa < 0) != (b.mantissa < 0);
    const Unsigned128 divisor = magnitude(b.mantissa);
    Unsigned128 quotient = magnitude(a.mantissa) / divisor;
    Unsigned128 rest = magnitude(a.mantissa) % divisor;
    int pending = scale + b.scale - a.scale;  // Decimal digits still to come.
    if (pending < 0) {
        // Only when `a` has more than 1000 digits after the point: its last ones are rounded away.
        out = {0, 0};
        return Status::kOverflow;
    }
    const auto limit = static_cast<Unsigned128>(kLimit);
    while (pending > 0) {
        if (quotient == 0 && rest == 0) break;
        if (divisor >> 63 == 0 && pending >= 6) {
            const int step = std::min(pending, 18);
            const auto power = static_cast<Unsigned128>(kPowers[static_cast<size_t>(step)]);
            if (quotient >= limit / power + 1) return Status::kOverflow;
            rest *= power;
            quotient = quotient * power + rest / divisor;
            rest %= divisor;
            pending -= step;
        } else {
            if (quotient >= limit / 10 + 1) return Status::kOverflow;
            quotient = quotient * 10 + next_digit(rest, divisor);
            --pending;
        }
    }
    if (rest >= divisor - rest) ++quotient;
    if (quotient >= limit) return Status::kOverflow;
    const auto mantissa = static_cast<Int128>(quotient);
    out = {negative ? -mantissa : mantissa, static_cast<uint16_t>(scale)};
    return Status::kOk;
}

Status multiply_subtract(const Decimal& a, const Decimal& b, const Decimal& c, const Decimal& d,
                         Decimal& out) {
    const Wide plus = wide_product(a.mantissa, b.mantissa);
    const Wide minus = wide_product(c.mantissa, d.mantissa);
    const Unsigned128 low = plus.low - minus.low;
    const auto high = static_cast<Int128>(plus.high - minus.high - (plus.low < minus.low ? 1 : 0));
    const auto mantissa = static_cast<Int128>(low);
    if (high != (mantissa < 0 ? -1 : 0) || !in_range(mantissa)) return Status::kOverflow;
    const int scale = a.scale + b.scale;
    if (scale != c.scale + d.scale || scale > kMaxDecimalScale) return Status::kOverflow;
    out = {mantissa, static_cast<uint16_t>(scale)};
    return Status::kOk;
}

Status modulo(const Decimal& a, const Decimal& b, Decimal& out) {
    if (b.mantissa == 0) return Status::kDivisionByZero;
    const Unsigned128 divisor = magnitude(b.mantissa);
    Unsigned128 rest = magnitude(a.mantissa);
    if (a.scale < b.scale) {
        rest %= divisor;
        for (int i = a.scale; i < b.scale && rest != 0; ++i) next_digit(rest, divisor);
    } else {
        Int128 aligned;
        // A divisor that does not fit is larger than any dividend.
        if (scale_up(static_cast<Int128>(divisor), a.scale - b.scale, aligned))
            rest %= static_cast<Unsigned128>(aligned);
    }
    const auto mantissa = static_cast<Int128>(rest);
    out = {a.mantissa < 0 ? -mantissa : mantissa, std::max(a.scale, b.scale)};
    return Status::kOk;
}

int compare_slow(const Decimal& a, const Decimal& b) {
    Int128 x;
    Int128 y;
    if (align(a, b, x, y)) return x < y ? -1 : x > y;
    // The one that cannot be scaled up has the larger magnitude.
    const Int128 larger = a.scale < b.scale ? a.mantissa : -b.mantissa;
    return larger < 0 ? -1 : 1;
}

Status round_to(const Decimal& a, int digits, Decimal& out) {
    const int scale = std::clamp(digits, 0, kMaxDecimalScale);
    Int128 mantissa = a.mantissa;
    if (digits < a.scale) {
        mantissa = scale_down_rounded(mantissa, a.scale - digits);
        if (digits < 0 && !scale_up(mantissa, -digits, mantissa)) return Status::kOverflow;
        if (!in_range(mantissa)) return Status::kOverflow;
    } else if (!scale_up(mantissa, scale - a.scale, mantissa)) {
        return Status::kOverflow;
    }
    out = {mantissa, static_cast<uint16_t>(scale)};
    return Status::kOk;
}

Status truncate_to(const Decimal& a, int digits, Decimal& out) {
    const int drop = a.scale - digits;
    if (drop <= 0) return round_to(a, digits, out);
    Decimal cut = a;
    if (drop > kMaxDecimalDigits) {
        cut.mantissa = 0;
    } else {
        cut.mantissa -= cut.mantissa % kPowers[static_cast<size_t>(drop)];
    }
    return round_to(cut, digits, out);
}

Status floor(const Decimal& a, Decimal& out) {
    Decimal whole;
    const Status status = truncate_to(a, 0, whole);
    if (status != Status::kOk) return status;
    if (a.mantissa < 0 && compare(whole, a) != 0) whole.mantissa -= 1;
    out = whole;
    return Status::kOk;
}

Status ceil(const Decimal& a, Decimal& out) {
    Decimal whole;
    const Status status = truncate_to(a, 0, whole);
    if (status != Status::kOk) return status;
    if (a.mantissa > 0 && compare(whole, a) != 0) whole.mantissa += 1;
    out = whole;
    return Status::kOk;
}

void append_decimal(const Decimal& a, std::string& out) {
    std::array<char, kMaxDecimalDigits + 4> buffer;  // From its end: a sign, a zero and a point, too.
    char* const end = buffer.data() + buffer.size();
    char* p = end;
    const bool tiny = a.scale > kMaxDecimalDigits;  // All digits are behind the point, zeros before them.
    size_t behind_point = tiny ? 0 : a.scale;
    const auto put = [&](uint64_t digit) {
        *--p = static_cast<char>('0' + digit);
        if (behind_point > 0 && --behind_point == 0) *--p = '.';
    };
    Unsigned128 value = magnitude(a.mantissa);
    for (; value >> 64 != 0; value /= 10) put(static_cast<uint64_t>(value % 10));
    auto low = static_cast<uint64_t>(value);
    do {
        put(low % 10);
        low /= 10;
    } while (low != 0 || behind_point > 0);
    if (*p == '.') *--p = '0';
    if (tiny) {
        out.append(a.mantissa < 0 ? "-0." : "0.").append(a.scale - static_cast<size_t>(end - p), '0');
    } else if (a.mantissa < 0) {
        *--p = '-';
    }
    out.append(p, static_cast<size_t>(end - p));
}

double to_double(const Decimal& a) {
    // Below 2^53 and 10^22 both operands and so the rounded quotient are exact.
    if (a.scale <= 22 && a.mantissa < (Int128{1} << 53) && a.mantissa > -(Int128{1} << 53))
        return static_cast<double>(static_cast<int64_t>(a.mantissa)) / static_cast<double>(kPowers[a.scale]);
    std::string text;
    append_decimal(a, text);
    return std::strtod(text.c_str(), nullptr);
}

Status from_double(double value, Decimal& out) {
    if (!std::isfinite(value)) return Status::kOverflow;
    std::array<char, 32> text;
    const int length = std::snprintf(text.data(), text.size(), "%.15g", value);
    return parse_decimal({text.data(), static_cast<size_t>(length)}, out) ? Status::kOk : Status::kOverflow;
}

bool to_int64(const Decimal& a, int64_t& out) {
    const Int128 whole = a.scale == 0 ? a.mantissa : scale_down_rounded(a.mantissa, a.scale);
    if (whole > std::numeric_limits<int64_t>::max() || whole < std::numeric_limits<int64_t>::min())
        return false;
    out = static_cast<int64_t>(whole);
    return true;
}

}  // namespace weir::processor::expr
