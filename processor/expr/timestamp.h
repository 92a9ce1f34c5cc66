// Instants, calendar and intervals as PostgreSQL computes them with TimeZone = UTC.
//
// Units:   instants are microseconds since 1970-01-01T00:00:00Z, years 1 … 9999 in texts.
// Source:  days ↔ civil date after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
// Thread:  pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "processor/value.h"

namespace weir::processor::expr {

inline constexpr int64_t kMicrosPerSecond = 1'000'000;
inline constexpr int64_t kMicrosPerHour = 3'600 * kMicrosPerSecond;
inline constexpr int64_t kMicrosPerDay = 24 * kMicrosPerHour;
inline constexpr int64_t kMinTimestamp = -62'135'596'800 * kMicrosPerSecond;  // 0001-01-01.
inline constexpr int64_t kEndTimestamp = 253'402'300'800 * kMicrosPerSecond;  // 10000-01-01, exclusive.

struct CivilDate {
    int year;
    int month;  // 1 … 12
    int day;    // 1 … 31
};
[[nodiscard]] int64_t days_from_civil(int year, int month, int day);  // Since 1970-01-01.
[[nodiscard]] CivilDate civil_from_days(int64_t days);
[[nodiscard]] int days_in_month(int year, int month);

// YYYY-MM-DD, optionally followed by [T or blanks] HH:MM[:SS[.digits]], optionally followed by a zone: Z,
// UTC, ±HH, ±HHMM or ±HH:MM[:SS]. Without a zone it is UTC. Covers RFC 3339 and PostgreSQL's own output.
[[nodiscard]] std::optional<int64_t> parse_timestamp_text(std::string_view text);
// "2026-01-01 00:00:00.5+00"
void append_timestamp(int64_t microseconds, std::string& out);

// PostgreSQL's interval input: "1 day 02:03:04", "1.5 hours", "2 weeks ago", "P1DT2H".
[[nodiscard]] std::optional<Value> parse_interval_text(std::string_view text);
void append_interval(const Value& interval, std::string& out);

[[nodiscard]] Value make_interval(int32_t months, int32_t days, int64_t microseconds);
[[nodiscard]] int compare_intervals(const Value& a, const Value& b);  // A month is 30 days, a day 24 hours.
// Months clamp to the month's last day, as in PostgreSQL. Nothing when out of range.
[[nodiscard]] std::optional<int64_t> add_interval(int64_t microseconds, const Value& interval, int sign);
// `quantity` intervals, or the interval divided by it; nothing when out of range.
[[nodiscard]] std::optional<Value> multiply_interval(const Value& interval, double factor);
[[nodiscard]] std::optional<Value> divide_interval(const Value& interval, double divisor);

}  // namespace weir::processor::expr
