#include <absl/strings/ascii.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "processor/expr/decimal.h"
#include "processor/expr/timestamp.h"
#include "processor/expr/value_text.h"

namespace weir::processor::expr {
namespace {

enum class Unit : uint8_t { kMicrosecond, kMillisecond, kSecond, kMinute, kHour, kDay, kWeek, kMonth, kYear };

struct UnitName {
    std::string_view name;
    Unit unit;
    int64_t months;  // Of one unit.
    int64_t days;
    int64_t micros;
};

constexpr std::array<UnitName, 44> kUnits = {{
    {"us", Unit::kMicrosecond, 0, 0, 1},
    {"usec", Unit::kMicrosecond, 0, 0, 1},
    {"usecs", Unit::kMicrosecond, 0, 0, 1},
    {"microsecond", Unit::kMicrosecond, 0, 0, 1},
    {"microseconds", Unit::kMicrosecond, 0, 0, 1},
    {"ms", Unit::kMillisecond, 0, 0, 1'000},
    {"msec", Unit::kMillisecond, 0, 0, 1'000},
    {"msecs", Unit::kMillisecond, 0, 0, 1'000},
    {"millisecond", Unit::kMillisecond, 0, 0, 1'000},
    {"milliseconds", Unit::kMillisecond, 0, 0, 1'000},
    {"s", Unit::kSecond, 0, 0, kMicrosPerSecond},
    {"sec", Unit::kSecond, 0, 0, kMicrosPerSecond},
    {"secs", Unit::kSecond, 0, 0, kMicrosPerSecond},
    {"second", Unit::kSecond, 0, 0, kMicrosPerSecond},
    {"seconds", Unit::kSecond, 0, 0, kMicrosPerSecond},
    {"m", Unit::kMinute, 0, 0, 60 * kMicrosPerSecond},
    {"min", Unit::kMinute, 0, 0, 60 * kMicrosPerSecond},
    {"mins", Unit::kMinute, 0, 0, 60 * kMicrosPerSecond},
    {"minute", Unit::kMinute, 0, 0, 60 * kMicrosPerSecond},
    {"minutes", Unit::kMinute, 0, 0, 60 * kMicrosPerSecond},
    {"h", Unit::kHour, 0, 0, kMicrosPerHour},
    {"hr", Unit::kHour, 0, 0, kMicrosPerHour},
    {"hrs", Unit::kHour, 0, 0, kMicrosPerHour},
    {"hour", Unit::kHour, 0, 0, kMicrosPerHour},
    {"hours", Unit::kHour, 0, 0, kMicrosPerHour},
    {"d", Unit::kDay, 0, 1, 0},
    {"day", Unit::kDay, 0, 1, 0},
    {"days", Unit::kDay, 0, 1, 0},
    {"w", Unit::kWeek, 0, 7, 0},
    {"week", Unit::kWeek, 0, 7, 0},
    {"weeks", Unit::kWeek, 0, 7, 0},
    {"mon", Unit::kMonth, 1, 0, 0},
    {"mons", Unit::kMonth, 1, 0, 0},
    {"month", Unit::kMonth, 1, 0, 0},
    {"months", Unit::kMonth, 1, 0, 0},
    {"y", Unit::kYear, 12, 0, 0},
    {"yr", Unit::kYear, 12, 0, 0},
    {"yrs", Unit::kYear, 12, 0, 0},
    {"year", Unit::kYear, 12, 0, 0},
    {"years", Unit::kYear, 12, 0, 0},
    {"decade", Unit::kYear, 120, 0, 0},
    {"decades", Unit::kYear, 120, 0, 0},
    {"century", Unit::kYear, 1200, 0, 0},
    {"centuries", Unit::kYear, 1200, 0, 0},
}};

// Sums parts and checks the ranges at the end.
class Sum {
public:
    // `number` (an exact decimal) of a unit; fractions go down to days (30 a month) and time, as in
    // PostgreSQL.
    bool add(const Decimal& number, const UnitName& unit) {
        Decimal whole;
        if (truncate_to(number, 0, whole) != Status::kOk) return false;
        Decimal fraction;
        if (subtract(number, whole, fraction) != Status::kOk) return false;
        int64_t count;
        if (!to_int64(whole, count) || std::abs(static_cast<double>(count)) > 1e15) return false;
        const double part = to_double(fraction);
        months_ += Int128{count} * unit.months;
        days_ += Int128{count} * unit.days;
        micros_ += Int128{count} * unit.micros;
        if (part == 0) return true;
        if (unit.unit == Unit::kYear) {
            months_ += static_cast<int64_t>(std::rint(part * static_cast<double>(unit.months)));
        } else if (unit.unit == Unit::kMonth) {
            add_days(part * 30);
        } else if (unit.days != 0) {
            add_days(part * static_cast<double>(unit.days));
        } else {
            micros_ += static_cast<int64_t>(std::rint(part * static_cast<double>(unit.micros)));
        }
        return true;
    }
    void add_micros(Int128 micros) { micros_ += micros; }
    void negate() {
        months_ = -months_;
        days_ = -days_;
        micros_ = -micros_;
    }
    [[nodiscard]] std::optional<Value> interval() const {
        const auto fits = [](Int128 value) { return value == static_cast<int32_t>(value); };
        if (!fits(months_) || !fits(days_) || micros_ != static_cast<int64_t>(micros_)) return std::nullopt;
        return make_interval(static_cast<int32_t>(months_), static_cast<int32_t>(days_),
                             static_cast<int64_t>(micros_));
    }

private:
    void add_days(double days) {
        const double whole = std::trunc(days);
        days_ += static_cast<int64_t>(whole);
        micros_ += static_cast<int64_t>(std::rint((days - whole) * static_cast<double>(kMicrosPerDay)));
    }

    Int128 months_ = 0;
    Int128 days_ = 0;
    Int128 micros_ = 0;
};

const UnitName* find_unit(std::string_view word) {
    std::string lower(word);
    for (char& c : lower) c = absl::ascii_tolower(static_cast<unsigned char>(c));
    for (const UnitName& unit : kUnits)
        if (unit.name == lower) return &unit;
    return nullptr;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return absl::ascii_isalpha(static_cast<unsigned char>(c)); }

// "[+-]digits[.digits]" at text[at].
bool take_number(std::string_view text, size_t& at, std::string_view& number) {
    const size_t start = at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    const size_t digits = at;
    while (at < text.size() && (is_digit(text[at]) || text[at] == '.')) ++at;
    number = text.substr(start, at - start);
    return at > digits;
}

// "[+-]HH:MM[:SS[.digits]]", after its hours were taken as `hours`.
bool take_clock(std::string_view text, size_t& at, std::string_view hours, Sum& sum) {
    const bool negative = hours.starts_with('-');
    Decimal whole_hours;
    if (!parse_decimal(hours, whole_hours) || whole_hours.scale != 0) return false;
    if (whole_hours.mantissa < 0) whole_hours.mantissa = -whole_hours.mantissa;
    if (whole_hours.mantissa > 3'000'000'000) return false;
    std::string_view part;
    Decimal minutes;
    Decimal seconds;
    ++at;
    if (!take_number(text, at, part) || !parse_decimal(part, minutes) || minutes.scale != 0 ||
        !is_digit(part[0]))
        return false;
    if (at < text.size() && text[at] == ':') {
        ++at;
        if (!take_number(text, at, part) || !parse_decimal(part, seconds) || !is_digit(part[0])) return false;
    }
    if (minutes.mantissa > 59 || compare(seconds, Decimal::of(60)) >= 0) return false;
    Decimal rounded;
    if (round_to(seconds, 6, rounded) != Status::kOk) return false;
    const Int128 micros =
        whole_hours.mantissa * kMicrosPerHour + minutes.mantissa * 60 * kMicrosPerSecond + rounded.mantissa;
    sum.add_micros(negative ? -micros : micros);
    return true;
}

// P[nY][nM][nW][nD][T[nH][nM][nS]]
std::optional<Value> parse_iso(std::string_view text) {
    Sum sum;
    bool time = false;
    bool any = false;
    for (size_t at = 1; at < text.size();) {
        if (text[at] == 'T' && !time) {
            time = true;
            ++at;
            continue;
        }
        std::string_view number;
        Decimal value;
        if (!take_number(text, at, number) || !parse_decimal(number, value) || at == text.size())
            return std::nullopt;
        const char letter = text[at++];
        std::string_view unit;
        switch (letter) {
            case 'Y': unit = time ? "" : "year"; break;
            case 'M': unit = time ? "minute" : "month"; break;
            case 'W': unit = time ? "" : "week"; break;
            case 'D': unit = time ? "" : "day"; break;
            case 'H': unit = time ? "hour" : ""; break;
            case 'S': unit = time ? "second" : ""; break;
            default: break;
        }
        const UnitName* const found = find_unit(unit);
        if (found == nullptr || !sum.add(value, *found)) return std::nullopt;
        any = true;
    }
    return any ? sum.interval() : std::nullopt;
}

}  // namespace

std::optional<Value> parse_interval_text(std::string_view text) {
    const auto skip_blanks = [&](size_t& at) {
        while (at < text.size() && absl::ascii_isspace(static_cast<unsigned char>(text[at]))) ++at;
    };
    size_t at = 0;
    skip_blanks(at);
    if (at < text.size() && text[at] == 'P') return parse_iso(text.substr(at));
    if (at < text.size() && text[at] == '@') ++at;
    Sum sum;
    bool any = false;
    bool ago = false;
    while (true) {
        skip_blanks(at);
        if (at == text.size()) break;
        if (ago) return std::nullopt;
        if (is_letter(text[at])) {
            if (text.substr(at, 3) != "ago" || !any) return std::nullopt;
            ago = true;
            at += 3;
            continue;
        }
        std::string_view number;
        if (!take_number(text, at, number)) return std::nullopt;
        any = true;
        if (at < text.size() && text[at] == ':') {
            if (!take_clock(text, at, number, sum)) return std::nullopt;
            continue;
        }
        Decimal value;
        if (!parse_decimal(number, value)) return std::nullopt;
        skip_blanks(at);
        const size_t start = at;
        while (at < text.size() && is_letter(text[at])) ++at;
        const std::string_view word = text.substr(start, at - start);
        const UnitName* const unit = find_unit(word.empty() ? "second" : word);
        if (unit == nullptr || !sum.add(value, *unit)) return std::nullopt;
    }
    if (!any) return std::nullopt;
    if (ago) sum.negate();
    return sum.interval();
}

}  // namespace weir::processor::expr
