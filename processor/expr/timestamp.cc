#include "processor/expr/timestamp.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iterator>

namespace weir::processor::expr {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Exactly `count` digits at text[at]; −1 otherwise.
int fixed_digits(std::string_view text, size_t at, size_t count) {
    if (at + count > text.size()) return -1;
    int value = 0;
    for (size_t i = at; i < at + count; ++i) {
        if (!is_digit(text[i])) return -1;
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

// Digits of a second's fraction as microseconds, rounded to nearest; advances `at` over them.
int64_t fraction_micros(std::string_view text, size_t& at) {
    int64_t micros = 0;
    int64_t unit = 100'000;
    bool round_up = false;
    for (size_t index = 0; at < text.size() && is_digit(text[at]); ++at, ++index) {
        micros += unit * (text[at] - '0');
        if (index == 6) round_up = text[at] >= '5';
        unit /= 10;
    }
    return micros + round_up;
}

bool is_zone_utc(std::string_view zone) {
    return zone == "Z" || zone == "z" || zone == "UTC" || zone == "utc" || zone == "GMT";
}

// Seconds east of UTC of "+02", "-0530", "+02:00:30".
std::optional<int64_t> zone_offset(std::string_view zone) {
    if (zone.size() < 3 || (zone[0] != '+' && zone[0] != '-')) return std::nullopt;
    const int hours = fixed_digits(zone, 1, 2);
    int minutes = 0;
    int seconds = 0;
    if (zone.size() == 5) {
        minutes = fixed_digits(zone, 3, 2);
    } else if (zone.size() >= 6) {
        minutes = zone[3] == ':' ? fixed_digits(zone, 4, 2) : -1;
        if (zone.size() == 9) {
            seconds = zone[6] == ':' ? fixed_digits(zone, 7, 2) : -1;
        } else if (zone.size() != 6) {
            return std::nullopt;
        }
    } else if (zone.size() != 3) {
        return std::nullopt;
    }
    if (hours < 0 || hours > 15 || minutes < 0 || minutes > 59 || seconds < 0 || seconds > 59)
        return std::nullopt;
    const int64_t offset = hours * 3600 + minutes * 60 + seconds;
    return zone[0] == '-' ? -offset : offset;
}

}  // namespace

int64_t days_from_civil(int year, int month, int day) {
    const int64_t y = year - (month <= 2);
    const int64_t era = (y >= 0 ? y : y - 399) / 400;
    const int64_t year_of_era = y - era * 400;
    const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146'097 + day_of_era - 719'468;
}

CivilDate civil_from_days(int64_t days) {
    days += 719'468;
    const int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
    const int64_t day_of_era = days - era * 146'097;
    const int64_t year_of_era =
        (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
    const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const int64_t shifted_month = (5 * day_of_year + 2) / 153;
    const int month = static_cast<int>(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
    return {static_cast<int>(year_of_era + era * 400 + (month <= 2)), month,
            static_cast<int>(day_of_year - (153 * shifted_month + 2) / 5 + 1)};
}

int days_in_month(int year, int month) {
    static constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : kDays[month - 1];
}

std::optional<int64_t> parse_timestamp_text(std::string_view text) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    const int year = fixed_digits(text, 0, 4);
    const int month = fixed_digits(text, 5, 2);
    const int day = fixed_digits(text, 8, 2);
    if (year < 1 || month < 1 || month > 12 || day < 1 || text[4] != '-' || text[7] != '-' ||
        day > days_in_month(year, month))
        return std::nullopt;
    int64_t micros = days_from_civil(year, month, day) * kMicrosPerDay;
    size_t at = 10;
    if (at == text.size()) return micros;

    const bool has_t = text[at] == 'T' || text[at] == 't';
    const size_t separator = at;
    while (at < text.size() && text[at] == ' ') ++at;
    if (has_t) ++at;
    if (at < text.size() && is_digit(text[at])) {
        if (at == separator) return std::nullopt;
        const int hour = fixed_digits(text, at, 2);
        const int minute = fixed_digits(text, at + 3, 2);
        if (hour < 0 || hour > 24 || minute < 0 || minute > 59 || text[at + 2] != ':') return std::nullopt;
        at += 5;
        int second = 0;
        int64_t fraction = 0;
        if (at < text.size() && text[at] == ':') {
            second = fixed_digits(text, at + 1, 2);
            if (second < 0 || second > 60) return std::nullopt;
            at += 3;
            if (at < text.size() && text[at] == '.') fraction = fraction_micros(text, ++at);
        }
        // 24:00:00 and a leap second's 60 are the next day's or minute's start.
        if (hour == 24 && (minute != 0 || second != 0 || fraction != 0)) return std::nullopt;
        if (second == 60 && fraction != 0) return std::nullopt;
        micros +=
            hour * kMicrosPerHour + minute * 60 * kMicrosPerSecond + second * kMicrosPerSecond + fraction;
        while (at < text.size() && text[at] == ' ') ++at;
    } else if (has_t) {
        return std::nullopt;
    }
    const std::string_view zone = text.substr(at);
    if (zone.empty() || is_zone_utc(zone)) return micros;
    const auto offset = zone_offset(zone);
    if (!offset) return std::nullopt;
    return micros - *offset * kMicrosPerSecond;
}

namespace {

// "05.25": two digits at least, a fraction without trailing zeros.
void append_seconds(int64_t seconds, int64_t micros, std::string& out) {
    fmt::format_to(std::back_inserter(out), "{:02}", seconds);
    if (micros == 0) return;
    fmt::format_to(std::back_inserter(out), ".{:06}", micros);
    while (out.back() == '0') out.pop_back();
}

}  // namespace

void append_timestamp(int64_t microseconds, std::string& out) {
    int64_t days = microseconds / kMicrosPerDay;
    int64_t rest = microseconds % kMicrosPerDay;
    if (rest < 0) {
        rest += kMicrosPerDay;
        --days;
    }
    const CivilDate date = civil_from_days(days);
    const bool before_christ = date.year <= 0;
    const int64_t seconds = rest / kMicrosPerSecond;
    fmt::format_to(std::back_inserter(out),
                   "{:04}-{:02}-{:02} {:02}:{:02}:", before_christ ? 1 - date.year : date.year, date.month,
                   date.day, seconds / 3600, seconds / 60 % 60);
    append_seconds(seconds % 60, rest % kMicrosPerSecond, out);
    out.append(before_christ ? "+00 BC" : "+00");
}

Value make_interval(int32_t months, int32_t days, int64_t microseconds) {
    Value v;
    v.type = Type::kInterval;
    v.integer = microseconds;
    v.interval.months = months;
    v.interval.days = days;
    return v;
}

void append_interval(const Value& interval, std::string& out) {
    bool is_zero = true;
    bool is_before = false;  // The previous part was negative: a positive one then shows its sign.
    const auto part = [&](int64_t value, std::string_view unit) {
        if (value == 0) return;
        fmt::format_to(std::back_inserter(out), "{}{}{} {}{}", is_zero ? "" : " ",
                       is_before && value > 0 ? "+" : "", value, unit, value != 1 ? "s" : "");
        is_before = value < 0;
        is_zero = false;
    };
    part(interval.interval.months / 12, "year");
    part(interval.interval.months % 12, "mon");
    part(interval.interval.days, "day");
    if (!is_zero && interval.integer == 0) return;
    const bool minus = interval.integer < 0;
    const uint64_t micros =
        minus ? 0 - static_cast<uint64_t>(interval.integer) : static_cast<uint64_t>(interval.integer);
    const auto seconds = static_cast<int64_t>(micros / 1'000'000);
    fmt::format_to(std::back_inserter(out), "{}{}{:02}:{:02}:", is_zero ? "" : " ",
                   minus       ? "-"
                   : is_before ? "+"
                               : "",
                   seconds / 3600, seconds / 60 % 60);
    append_seconds(seconds % 60, static_cast<int64_t>(micros % 1'000'000), out);
}

int compare_intervals(const Value& a, const Value& b) {
    const auto span = [](const Value& v) {
        return (static_cast<Int128>(v.interval.months) * 30 + v.interval.days) * kMicrosPerDay + v.integer;
    };
    const Int128 x = span(a);
    const Int128 y = span(b);
    return x < y ? -1 : x > y;
}

std::optional<int64_t> add_interval(int64_t microseconds, const Value& interval, int sign) {
    int64_t days = microseconds / kMicrosPerDay;
    int64_t rest = microseconds % kMicrosPerDay;
    if (rest < 0) {
        rest += kMicrosPerDay;
        --days;
    }
    if (interval.interval.months != 0) {
        const CivilDate date = civil_from_days(days);
        const int64_t month = static_cast<int64_t>(date.year) * 12 + date.month - 1 +
                              static_cast<int64_t>(sign) * interval.interval.months;
        const int64_t year = month >= 0 ? month / 12 : -((11 - month) / 12);
        if (year < -5'000 || year > 300'000) return std::nullopt;
        const int in_year = static_cast<int>(month - year * 12) + 1;
        days = days_from_civil(static_cast<int>(year), in_year,
                               std::min(date.day, days_in_month(static_cast<int>(year), in_year)));
    }
    days += static_cast<int64_t>(sign) * interval.interval.days;
    const Int128 sum =
        static_cast<Int128>(days) * kMicrosPerDay + rest + static_cast<Int128>(sign) * interval.integer;
    // PostgreSQL's range: 4714-11-24 BC up to 294276 AD.
    if (sum < Int128{-210'866'803'200} * kMicrosPerSecond ||
        sum >= Int128{9'224'318'016'000} * kMicrosPerSecond)
        return std::nullopt;
    return static_cast<int64_t>(sum);
}

namespace {

double round_to_micros(double seconds) { return std::rint(seconds * 1e6) / 1e6; }

// PostgreSQL's cascade: what is left of the months becomes days (30 each), of the days seconds.
std::optional<Value> scale_interval(const Value& interval, double (*scale)(double, double), double by) {
    const double months = scale(interval.interval.months, by);
    const double days = scale(interval.interval.days, by);
    const auto fits = [](double v) { return v >= -2147483648.0 && v <= 2147483647.0; };
    if (!fits(months) || !fits(days)) return std::nullopt;
    const auto whole_months = static_cast<int32_t>(months);
    auto whole_days = static_cast<int64_t>(days);
    const double month_days = round_to_micros((months - whole_months) * 30);
    double seconds = round_to_micros(
        (days - static_cast<double>(whole_days) + month_days - std::trunc(month_days)) * 86'400);
    if (std::fabs(seconds) >= 86'400) {
        whole_days += static_cast<int64_t>(seconds / 86'400);
        seconds -= std::trunc(seconds / 86'400) * 86'400;
    }
    whole_days += static_cast<int64_t>(month_days);
    const double micros = std::rint(scale(static_cast<double>(interval.integer), by) + seconds * 1e6);
    if (!fits(static_cast<double>(whole_days)) ||
        !(micros >= -9223372036854775808.0 && micros < 9223372036854775808.0))
        return std::nullopt;
    return make_interval(whole_months, static_cast<int32_t>(whole_days), static_cast<int64_t>(micros));
}

}  // namespace

std::optional<Value> multiply_interval(const Value& interval, double factor) {
    return scale_interval(
        interval, [](double a, double b) { return a * b; }, factor);
}

std::optional<Value> divide_interval(const Value& interval, double divisor) {
    return scale_interval(
        interval, [](double a, double b) { return a / b; }, divisor);
}

}  // namespace weir::processor::expr
