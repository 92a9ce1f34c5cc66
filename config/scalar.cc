#include "config/scalar.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>
#include <utility>

namespace weir::config {
namespace {

constexpr int64_t kDayMs = 86'400'000;
constexpr int64_t kMaxDurationMs = 36'525 * kDayMs;
constexpr int32_t kMaxCpus = 1024;
constexpr size_t kMaxName = 100;
constexpr size_t kMaxTopic = 249;

struct Unit {
    std::string_view name;
    int64_t ms;
};
constexpr std::array<Unit, 5> kUnits{
    {{"d", kDayMs}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_letter(char c) { return is_lower(c) || (c >= 'A' && c <= 'Z'); }

// Reads exactly `count` digits and the text after them.
bool take_digits(std::string_view& text, size_t count, int64_t& value) {
    if (text.size() < count) return false;
    value = 0;
    for (size_t i = 0; i < count; ++i) {
        if (!is_digit(text[i])) return false;
        value = value * 10 + (text[i] - '0');
    }
    text.remove_prefix(count);
    return true;
}

bool take(std::string_view& text, std::string_view any_of) {
    if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
    text.remove_prefix(1);
    return true;
}

bool is_leap(int64_t year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

int64_t days_in_month(int64_t year, int64_t month) {
    constexpr std::array<int64_t, 12> kDays{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : kDays[static_cast<size_t>(month - 1)];
}

// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
int64_t days_from_civil(int64_t year, int64_t month, int64_t day) {
    year -= month <= 2 ? 1 : 0;
    const int64_t era = (year >= 0 ? year : year - 399) / 400;
    const int64_t year_of_era = year - era * 400;
    const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146'097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719'468;
}

}  // namespace

std::optional<int64_t> parse_duration(std::string_view text) {
    if (text.empty()) return std::nullopt;
    int64_t total = 0;
    size_t next_unit = 0;
    while (!text.empty()) {
        const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
        if (digits == 0 || digits > 15) return std::nullopt;
        int64_t number = 0;
        take_digits(text, digits, number);
        const std::string_view name = text.substr(0, std::min(text.find_first_of("0123456789"), text.size()));
        const auto* const unit = std::find_if(kUnits.begin() + next_unit, kUnits.end(),
                                              [&](const Unit& u) { return u.name == name; });
        if (unit == kUnits.end() || number > kMaxDurationMs / unit->ms) return std::nullopt;
        total += number * unit->ms;
        if (total > kMaxDurationMs) return std::nullopt;
        next_unit = static_cast<size_t>(unit - kUnits.begin()) + 1;
        text.remove_prefix(name.size());
    }
    return total;
}

std::string format_duration(int64_t milliseconds) {
    for (const Unit& unit : kUnits) {
        if (milliseconds != 0 && milliseconds % unit.ms == 0) {
            return fmt::format("{}{}", milliseconds / unit.ms, unit.name);
        }
    }
    return "0ms";
}

std::optional<int64_t> parse_instant(std::string_view text) {
    int64_t year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
    if (!take_digits(text, 4, year) || !take(text, "-") || !take_digits(text, 2, month) || !take(text, "-") ||
        !take_digits(text, 2, day) || !take(text, "Tt") || !take_digits(text, 2, hour) || !take(text, ":") ||
        !take_digits(text, 2, minute) || !take(text, ":") || !take_digits(text, 2, second)) {
        return std::nullopt;
    }
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 || minute > 59 ||
        second > 59) {
        return std::nullopt;
    }
    int64_t milliseconds = 0;
    if (take(text, ".")) {
        int64_t weight = 100;
        if (text.empty() || !is_digit(text.front())) return std::nullopt;
        for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1), weight /= 10) {
            milliseconds += (text.front() - '0') * weight;
        }
    }
    int64_t offset_minutes = 0;
    if (!take(text, "Zz")) {
        if (text.empty() || (text.front() != '+' && text.front() != '-')) return std::nullopt;
        const int64_t sign = text.front() == '-' ? -1 : 1;
        text.remove_prefix(1);
        int64_t hours = 0, minutes = 0;
        if (!take_digits(text, 2, hours) || !take(text, ":") || !take_digits(text, 2, minutes) ||
            hours > 23 || minutes > 59) {
            return std::nullopt;
        }
        offset_minutes = sign * (hours * 60 + minutes);
    }
    if (!text.empty()) return std::nullopt;
    return days_from_civil(year, month, day) * kDayMs +
           ((hour * 60 + minute - offset_minutes) * 60 + second) * 1000 + milliseconds;
}

std::optional<Start> parse_start(std::string_view text) {
    if (text == "earliest") return Start{Start::Kind::kEarliest, 0};
    if (text == "latest") return Start{Start::Kind::kLatest, 0};
    if (!text.empty() && text.front() == '-') {
        const auto ago = parse_duration(text.substr(1));
        if (!ago || *ago == 0) return std::nullopt;
        return Start{Start::Kind::kAgo, *ago};
    }
    if (const auto instant = parse_instant(text)) return Start{Start::Kind::kInstant, *instant};
    return std::nullopt;
}

std::optional<int32_t> parse_integer(std::string_view text) {
    int32_t value = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || !is_digit(text.front()) || failure != std::errc{} ||
        end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

std::optional<int32_t> parse_ordinal(std::string_view text) {
    const size_t dash = text.rfind('-');
    if (dash == 0) return std::nullopt;  // A negative number.
    return parse_integer(dash == std::string_view::npos ? text : text.substr(dash + 1));
}

std::optional<Instance> parse_instance(std::string_view text) {
    const size_t slash = text.rfind('/');
    if (slash == std::string_view::npos) return std::nullopt;
    const auto index = parse_ordinal(text.substr(0, slash));
    const auto count = parse_integer(text.substr(slash + 1));
    if (!index || !count) return std::nullopt;
    return Instance{*index, *count};
}

std::optional<std::vector<int32_t>> parse_cpu_list(std::string_view text) {
    std::vector<int32_t> cpus;
    while (true) {
        const size_t comma = std::min(text.find(','), text.size());
        const std::string_view range = text.substr(0, comma);
        const size_t dash = range.find('-');
        const auto first = parse_integer(range.substr(0, dash));
        const auto last = dash == std::string_view::npos ? first : parse_integer(range.substr(dash + 1));
        if (!first || !last || *first > *last || *last >= kMaxCpus) return std::nullopt;
        for (int32_t cpu = *first; cpu <= *last; ++cpu) {
            if (std::find(cpus.begin(), cpus.end(), cpu) != cpus.end()) return std::nullopt;
            cpus.push_back(cpu);
        }
        if (comma == text.size()) return cpus;
        text.remove_prefix(comma + 1);
    }
}

std::optional<Workers> parse_workers(std::string_view text) {
    if (text == "auto") return Workers{};
    if (const auto count = parse_integer(text)) {
        if (*count < 1 || *count > kMaxCpus) return std::nullopt;
        return Workers{false, *count, {}};
    }
    auto cpus = parse_cpu_list(text);
    if (!cpus) return std::nullopt;
    const auto count = static_cast<int32_t>(cpus->size());
    return Workers{false, count, std::move(*cpus)};
}

bool is_listen_address(std::string_view text) {
    if (text == "none") return true;
    const size_t colon = text.rfind(':');
    if (colon == std::string_view::npos || colon == 0) return false;
    const auto port = parse_integer(text.substr(colon + 1));
    const std::string_view host = text.substr(0, colon);
    const bool bracketed = host.front() == '[' && host.back() == ']';
    return port && *port <= 65'535 && (bracketed || host.find_first_of(":/ ") == std::string_view::npos);
}

bool is_pipeline_name(std::string_view text) {
    const auto is_edge = [](char c) { return is_lower(c) || is_digit(c); };
    return !text.empty() && text.size() <= kMaxName && is_edge(text.front()) && is_edge(text.back()) &&
           std::all_of(text.begin(), text.end(), [&](char c) { return is_edge(c) || c == '.' || c == '-'; });
}

bool is_part_name(std::string_view text) {
    return !text.empty() && text.size() <= kMaxName && (is_letter(text.front()) || text.front() == '_') &&
           std::all_of(text.begin(), text.end(),
                       [](char c) { return is_letter(c) || is_digit(c) || c == '_' || c == '-'; });
}

bool is_topic_name(std::string_view text) {
    return !text.empty() && text.size() <= kMaxTopic && text != "." && text != ".." &&
           std::all_of(text.begin(), text.end(), [](char c) {
               return is_letter(c) || is_digit(c) || c == '_' || c == '-' || c == '.';
           });
}

}  // namespace weir::config
