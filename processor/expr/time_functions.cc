#include <absl/strings/ascii.h>
#include <absl/strings/string_view.h>
#include <absl/time/time.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>

#include "processor/expr/decimal.h"
#include "processor/expr/functions.h"
#include "processor/expr/timestamp.h"
#include "processor/expr/value_text.h"

namespace weir::processor::expr {
namespace {

using Arguments = std::span<const Value>;

enum class Field : uint8_t {
    kMicroseconds,
    kMilliseconds,
    kSecond,
    kMinute,
    kHour,
    kDay,
    kWeek,
    kMonth,
    kQuarter,
    kYear,
    kDecade,
    kCentury,
    kMillennium,
    kEpoch,
    kDayOfWeek,
    kIsoDayOfWeek,
    kDayOfYear,
    kIsoYear,
    kJulian,
    kZone,
    kZoneHour,
    kZoneMinute,
};

struct FieldName {
    std::string_view name;
    Field field;
};
constexpr std::array<FieldName, 70> kFields = {{
    {"microseconds", Field::kMicroseconds},
    {"microsecond", Field::kMicroseconds},
    {"us", Field::kMicroseconds},
    {"usec", Field::kMicroseconds},
    {"usecs", Field::kMicroseconds},
    {"milliseconds", Field::kMilliseconds},
    {"millisecond", Field::kMilliseconds},
    {"ms", Field::kMilliseconds},
    {"msec", Field::kMilliseconds},
    {"msecs", Field::kMilliseconds},
    {"second", Field::kSecond},
    {"seconds", Field::kSecond},
    {"sec", Field::kSecond},
    {"secs", Field::kSecond},
    {"s", Field::kSecond},
    {"minute", Field::kMinute},
    {"minutes", Field::kMinute},
    {"min", Field::kMinute},
    {"mins", Field::kMinute},
    {"m", Field::kMinute},
    {"hour", Field::kHour},
    {"hours", Field::kHour},
    {"hr", Field::kHour},
    {"hrs", Field::kHour},
    {"h", Field::kHour},
    {"day", Field::kDay},
    {"days", Field::kDay},
    {"d", Field::kDay},
    {"week", Field::kWeek},
    {"weeks", Field::kWeek},
    {"w", Field::kWeek},
    {"month", Field::kMonth},
    {"months", Field::kMonth},
    {"mon", Field::kMonth},
    {"mons", Field::kMonth},
    {"quarter", Field::kQuarter},
    {"qtr", Field::kQuarter},
    {"year", Field::kYear},
    {"years", Field::kYear},
    {"yr", Field::kYear},
    {"yrs", Field::kYear},
    {"y", Field::kYear},
    {"decade", Field::kDecade},
    {"decades", Field::kDecade},
    {"dec", Field::kDecade},
    {"decs", Field::kDecade},
    {"century", Field::kCentury},
    {"centuries", Field::kCentury},
    {"cent", Field::kCentury},
    {"c", Field::kCentury},
    {"millennium", Field::kMillennium},
    {"millennia", Field::kMillennium},
    {"mil", Field::kMillennium},
    {"mils", Field::kMillennium},
    {"epoch", Field::kEpoch},
    {"dow", Field::kDayOfWeek},
    {"isodow", Field::kIsoDayOfWeek},
    {"doy", Field::kDayOfYear},
    {"isoyear", Field::kIsoYear},
    {"julian", Field::kJulian},
    {"jd", Field::kJulian},
    {"j", Field::kJulian},
    {"timezone", Field::kZone},
    {"timezone_hour", Field::kZoneHour},
    {"timezone_h", Field::kZoneHour},
    {"timezone_minute", Field::kZoneMinute},
    {"timezone_m", Field::kZoneMinute},
    {"mseconds", Field::kMilliseconds},
    {"useconds", Field::kMicroseconds},
    {"quarters", Field::kQuarter},
}};

std::optional<Field> field_named(std::string_view name) {
    std::string lower(name);
    for (char& c : lower) c = absl::ascii_tolower(static_cast<unsigned char>(c));
    for (const FieldName& field : kFields)
        if (field.name == lower) return field.field;
    return std::nullopt;
}

Value not_recognized(CallContext& context, std::string_view name, Type type) {
    return error_value(context.arena,
                       fmt::format("unit \"{}\" not recognized for type {}", name, type_name(type)));
}
Value not_supported(CallContext& context, std::string_view name, Type type) {
    return error_value(context.arena,
                       fmt::format("unit \"{}\" not supported for type {}", name, type_name(type)));
}

int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

int weekday(int64_t days) {
    return static_cast<int>(((days % 7) + 11) % 7);
}  // 1970-01-01 was a Thursday (4).

// The Monday of ISO week 1 of `year`.
int64_t iso_year_start(int year) {
    const int64_t fourth = days_from_civil(year, 1, 4);
    return fourth - (weekday(fourth) + 6) % 7;
}
int iso_year(int64_t days) {
    const int year = civil_from_days(days).year;
    if (days < iso_year_start(year)) return year - 1;
    return days >= iso_year_start(year + 1) ? year + 1 : year;
}

Value whole(int64_t value) { return Decimal::of(value).value(); }
Value scaled(Int128 value, uint16_t scale) { return Value::of_numeric(value, scale); }

Value julian_day(int64_t days, int64_t time) {
    Decimal part;
    Decimal sum;
    const Status divided = divide(Decimal::of(time), Decimal::of(kMicrosPerDay), part);
    const Status added = add(Decimal::of(days + 2'440'588), part, sum);
    return divided == Status::kOk && added == Status::kOk ? sum.value() : Value::null();
}

// One part of an instant, as numeric with PostgreSQL's scale.
Value instant_field(CallContext& context, Field field, std::string_view name, int64_t instant) {
    const int64_t days = floor_div(instant, kMicrosPerDay);
    const int64_t time = instant - days * kMicrosPerDay;
    const int64_t in_minute = time % (60 * kMicrosPerSecond);
    const CivilDate date = civil_from_days(days);
    const int year = date.year > 0 ? date.year : date.year - 1;  // There is no year 0: 1 BC is -1.
    switch (field) {
        case Field::kMicroseconds: return whole(in_minute);
        case Field::kMilliseconds: return scaled(in_minute, 3);
        case Field::kSecond: return scaled(in_minute, 6);
        case Field::kMinute: return whole(time / (60 * kMicrosPerSecond) % 60);
        case Field::kHour: return whole(time / kMicrosPerHour);
        case Field::kDay: return whole(date.day);
        case Field::kWeek: return whole((days - iso_year_start(iso_year(days))) / 7 + 1);
        case Field::kMonth: return whole(date.month);
        case Field::kQuarter: return whole((date.month - 1) / 3 + 1);
        case Field::kYear: return whole(year);
        case Field::kDecade: return whole(floor_div(date.year, 10));
        case Field::kCentury: return whole(year > 0 ? (year + 99) / 100 : -((99 - year) / 100));
        case Field::kMillennium: return whole(year > 0 ? (year + 999) / 1000 : -((999 - year) / 1000));
        case Field::kEpoch: return scaled(instant, 6);
        case Field::kDayOfWeek: return whole(weekday(days));
        case Field::kIsoDayOfWeek: return whole(weekday(days) == 0 ? 7 : weekday(days));
        case Field::kDayOfYear: return whole(days - days_from_civil(date.year, 1, 1) + 1);
        case Field::kIsoYear: return whole(iso_year(days) > 0 ? iso_year(days) : iso_year(days) - 1);
        case Field::kJulian: return julian_day(days, time);
        case Field::kZone:
        case Field::kZoneHour:
        case Field::kZoneMinute: return whole(0);
    }
    return not_supported(context, name, Type::kTimestamptz);
}

Value interval_field(CallContext& context, Field field, std::string_view name, const Value& interval) {
    const int64_t time = interval.integer;
    const int64_t in_minute = time % (60 * kMicrosPerSecond);
    const int32_t months = interval.interval.months;
    const int32_t years = months / 12;
    switch (field) {
        case Field::kMicroseconds: return whole(in_minute);
        case Field::kMilliseconds: return scaled(in_minute, 3);
        case Field::kSecond: return scaled(in_minute, 6);
        case Field::kMinute: return whole(time / (60 * kMicrosPerSecond) % 60);
        case Field::kHour: return whole(time / kMicrosPerHour);
        case Field::kDay: return whole(interval.interval.days);
        case Field::kMonth: return whole(months % 12);
        case Field::kQuarter: return whole(months % 12 / 3 + 1);
        case Field::kYear: return whole(years);
        case Field::kDecade: return whole(years / 10);
        case Field::kCentury: return whole(years / 100);
        case Field::kMillennium: return whole(years / 1000);
        case Field::kEpoch: {
            // A year is 365.25 days here, a month 30.
            const Int128 days = Int128{years} * 1461 * 6 + Int128{months % 12} * 30 * 24 +
                                Int128{interval.interval.days} * 24;
            return scaled(days * kMicrosPerHour + time, 6);
        }
        default: return not_supported(context, name, Type::kInterval);
    }
}

Value field_of(CallContext& context, Arguments arguments) {
    const std::string_view name = arguments[0].bytes();
    const Value& source = arguments[1];
    const auto field = field_named(name);
    if (!field) return not_recognized(context, name, source.type);
    return source.type == Type::kInterval ? interval_field(context, *field, name, source)
                                          : instant_field(context, *field, name, source.integer);
}

Value date_part(CallContext& context, Arguments arguments) {
    const Value field = field_of(context, arguments);
    if (field.is_error()) return field;
    const std::optional<Field> name = field_named(arguments[0].bytes());
    if (name != Field::kSecond && name != Field::kMilliseconds)
        return Value::of_float8(to_double(Decimal::of(field)));
    // PostgreSQL adds the fraction to the whole seconds, and rounds so.
    const auto micros = static_cast<int64_t>(field.mantissa());
    const auto whole_seconds = static_cast<double>(micros / kMicrosPerSecond);
    const auto fraction = static_cast<double>(micros % kMicrosPerSecond);
    return Value::of_float8(name == Field::kSecond ? whole_seconds + fraction / 1e6
                                                   : whole_seconds * 1e3 + fraction / 1e3);
}

Value to_timestamp(CallContext& context, Arguments arguments) {
    const double seconds = number_as_double(arguments[0]);
    constexpr double kFrom2000 = 946'684'800;
    const double micros = std::rint((seconds - kFrom2000) * 1e6);
    if (!(std::fabs(micros) < 9.2e18)) return error_value(context.arena, "timestamp out of range");
    const Int128 instant =
        static_cast<Int128>(static_cast<int64_t>(micros)) + Int128{946'684'800} * kMicrosPerSecond;
    if (instant < Int128{-210'866'803'200} * kMicrosPerSecond ||
        instant >= Int128{9'224'318'016'000} * kMicrosPerSecond)
        return error_value(context.arena,
                           fmt::format("timestamp out of range: \"{}\"", to_text(arguments[0])));
    return Value::of_timestamptz(static_cast<int64_t>(instant));
}

// Truncates a local time; nothing for a field that cannot be truncated to.
std::optional<int64_t> truncated(Field field, int64_t local) {
    const int64_t days = floor_div(local, kMicrosPerDay);
    const auto step = [&](int64_t unit) { return floor_div(local, unit) * unit; };
    const CivilDate date = civil_from_days(days);
    const auto start_of = [](int64_t year, int month) {
        return days_from_civil(static_cast<int>(year), month, 1) * kMicrosPerDay;
    };
    const int64_t year = date.year;
    switch (field) {
        case Field::kMicroseconds: return local;
        case Field::kMilliseconds: return step(1'000);
        case Field::kSecond: return step(kMicrosPerSecond);
        case Field::kMinute: return step(60 * kMicrosPerSecond);
        case Field::kHour: return step(kMicrosPerHour);
        case Field::kDay: return days * kMicrosPerDay;
        case Field::kWeek: return (days - (weekday(days) + 6) % 7) * kMicrosPerDay;
        case Field::kMonth: return start_of(year, date.month);
        case Field::kQuarter: return start_of(year, (date.month - 1) / 3 * 3 + 1);
        case Field::kYear: return start_of(year, 1);
        case Field::kDecade: return start_of(floor_div(year, 10) * 10, 1);
        case Field::kCentury: return start_of(floor_div(year - 1, 100) * 100 + 1, 1);
        case Field::kMillennium: return start_of(floor_div(year - 1, 1000) * 1000 + 1, 1);
        default: return std::nullopt;
    }
}

std::optional<absl::TimeZone> zone_named(std::string_view name) {
    absl::TimeZone zone;
    // "localtime" and "Fixed/…" are absl's, not names of the time zone database.
    if (name.empty() || name == "localtime" || name.starts_with("Fixed/") ||
        !absl::LoadTimeZone(absl::string_view(name.data(), name.size()), &zone))
        return std::nullopt;
    return zone;
}

std::shared_ptr<const void> prepare_zone(std::span<const Value* const> constants, std::string& error) {
    if (constants.size() < 3 || constants[2] == nullptr || constants[2]->type != Type::kText) return nullptr;
    const auto zone = zone_named(constants[2]->bytes());
    if (!zone) {
        error = fmt::format("time zone \"{}\" not recognized", constants[2]->bytes());
        return nullptr;
    }
    return std::make_shared<absl::TimeZone>(*zone);
}

Value truncate_in_zone(CallContext& context, Field field, std::string_view name, int64_t instant,
                       absl::TimeZone zone) {
    const absl::Time time = absl::FromUnixMicros(instant);
    const int64_t offset = zone.At(time).offset * kMicrosPerSecond;
    const auto local = truncated(field, instant + offset);
    if (!local) return not_supported(context, name, Type::kTimestamptz);
    // Below a day the offset stays; a day or more may lie behind a change of the clock.
    if (field <= Field::kHour) return Value::of_timestamptz(*local - offset);
    const CivilDate date = civil_from_days(floor_div(*local, kMicrosPerDay));
    const auto found = zone.At(absl::CivilSecond(date.year, date.month, date.day));
    const absl::Time start = found.kind == absl::TimeZone::TimeInfo::REPEATED  ? found.pre
                             : found.kind == absl::TimeZone::TimeInfo::SKIPPED ? found.pre
                                                                               : found.post;
    return Value::of_timestamptz(absl::ToUnixMicros(start));
}

Value truncate_interval(CallContext& context, Field field, std::string_view name, const Value& interval) {
    const int32_t months = interval.interval.months;
    const int32_t days = interval.interval.days;
    const auto step = [&](int64_t unit) {
        return make_interval(months, days, interval.integer / unit * unit);
    };
    switch (field) {
        case Field::kMicroseconds: return interval;
        case Field::kMilliseconds: return step(1'000);
        case Field::kSecond: return step(kMicrosPerSecond);
        case Field::kMinute: return step(60 * kMicrosPerSecond);
        case Field::kHour: return step(kMicrosPerHour);
        case Field::kDay: return make_interval(months, days, 0);
        case Field::kMonth: return make_interval(months, 0, 0);
        case Field::kQuarter: return make_interval(months / 12 * 12 + months % 12 / 3 * 3, 0, 0);
        case Field::kYear: return make_interval(months / 12 * 12, 0, 0);
        case Field::kDecade: return make_interval(months / 120 * 120, 0, 0);
        case Field::kCentury: return make_interval(months / 1200 * 1200, 0, 0);
        case Field::kMillennium: return make_interval(months / 12000 * 12000, 0, 0);
        default: return not_supported(context, name, Type::kInterval);
    }
}

Value date_trunc(CallContext& context, Arguments arguments) {
    const std::string_view name = arguments[0].bytes();
    const Value& source = arguments[1];
    const auto field = field_named(name);
    if (!field) return not_recognized(context, name, source.type);
    if (source.type == Type::kInterval) return truncate_interval(context, *field, name, source);
    if (arguments.size() == 2) {
        const auto result = truncated(*field, source.integer);
        return result ? Value::of_timestamptz(*result) : not_supported(context, name, source.type);
    }
    if (context.prepared != nullptr)
        return truncate_in_zone(context, *field, name, source.integer,
                                *static_cast<const absl::TimeZone*>(context.prepared));
    const auto zone = zone_named(arguments[2].bytes());
    if (!zone)
        return error_value(context.arena,
                           fmt::format("time zone \"{}\" not recognized", arguments[2].bytes()));
    return truncate_in_zone(context, *field, name, source.integer, *zone);
}

}  // namespace

void add_time_functions(std::vector<FunctionSpec>& out) {
    constexpr uint16_t kT = kTextArgument;
    constexpr uint16_t kTime = static_cast<uint16_t>(kTimestampArgument | kIntervalArgument);
    out.push_back({"to_timestamp",
                   "to_timestamp(epoch seconds)",
                   1,
                   1,
                   {kNumberArgument},
                   ResultRule::kFixed,
                   Type::kTimestamptz,
                   to_timestamp});
    out.push_back({"extract",
                   "extract(field FROM timestamptz or interval)",
                   2,
                   2,
                   {kT, kTime},
                   ResultRule::kFixed,
                   Type::kNumeric,
                   field_of});
    out.push_back({"date_part",
                   "date_part(field, timestamptz or interval)",
                   2,
                   2,
                   {kT, kTime},
                   ResultRule::kFixed,
                   Type::kFloat8,
                   date_part});
    out.push_back({"date_trunc",
                   "date_trunc(field, timestamptz or interval)",
                   2,
                   2,
                   {kT, kTime},
                   ResultRule::kSameAsSecond,
                   Type::kTimestamptz,
                   date_trunc});
    out.push_back({"date_trunc",
                   "date_trunc(field, timestamptz, zone)",
                   3,
                   3,
                   {kT, kTimestampArgument, kT},
                   ResultRule::kFixed,
                   Type::kTimestamptz,
                   date_trunc,
                   true,
                   prepare_zone});
}

}  // namespace weir::processor::expr
