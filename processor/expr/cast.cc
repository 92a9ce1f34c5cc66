#include "processor/expr/cast.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <string>

#include "processor/expr/decimal.h"
#include "processor/expr/decimal_math.h"
#include "processor/expr/jsonb.h"
#include "processor/expr/operators.h"
#include "processor/expr/value_text.h"

namespace weir::processor::expr {
namespace {

Value out_of_range(Type type, Arena& arena) {
    return error_value(arena, fmt::format("{} out of range", type_name(type)));
}

Value integer_value(int64_t value, Type type, Arena& arena) {
    if (type == Type::kInt8) return Value::of_int8(value);
    if (value > std::numeric_limits<int32_t>::max() || value < std::numeric_limits<int32_t>::min())
        return out_of_range(type, arena);
    return Value::of_int4(static_cast<int32_t>(value));
}

Value to_integer(const Value& value, Type type, Arena& arena) {
    switch (value.type) {
        case Type::kBool: return Value::of_int4(value.boolean ? 1 : 0);
        case Type::kInt4:
        case Type::kInt8: return integer_value(value.integer, type, arena);
        case Type::kNumeric: {
            int64_t whole;
            if (!to_int64(Decimal::of(value), whole)) return out_of_range(type, arena);
            return integer_value(whole, type, arena);
        }
        default: {
            const double whole = std::nearbyint(value.real);  // Halves to even, as rint() in PostgreSQL.
            if (!(whole >= -9223372036854775808.0 && whole < 9223372036854775808.0))
                return out_of_range(type, arena);
            return integer_value(static_cast<int64_t>(whole), type, arena);
        }
    }
}

Value to_numeric(const Value& value, const CastTarget& target, Arena& arena) {
    Decimal decimal;
    if (value.type == Type::kFloat8) {
        if (!std::isfinite(value.real))
            return error_value(arena, "cannot convert NaN or infinity to numeric");
        if (const Status status = from_double(value.real, decimal); status != Status::kOk)
            return decimal_result(status, decimal, arena);
    } else {
        decimal = Decimal::of(value);
    }
    if (target.precision == 0) return decimal.value();
    Decimal rounded;
    const Status status = round_to(decimal, target.scale, rounded);
    const int whole_digits = target.precision - target.scale;
    const Decimal limit{power_of_ten(std::max(0, std::min(whole_digits, kMaxDecimalDigits))), 0};
    const Decimal size{rounded.mantissa < 0 ? -rounded.mantissa : rounded.mantissa, rounded.scale};
    if (status == Status::kOk && whole_digits < kMaxDecimalDigits && compare(size, limit) >= 0)
        return error_value(arena, "numeric field overflow");
    return decimal_result(status, rounded, arena);
}

// A jsonb scalar as a number or boolean; anything else is refused by name, as PostgreSQL does.
Value from_jsonb(const Value& value, const CastTarget& target, Arena& arena) {
    const JsonKind kind = json_kind(value.bytes());
    const bool wants_boolean = target.type == Type::kBool;
    if (kind != (wants_boolean ? JsonKind::kBoolean : JsonKind::kNumber))
        return error_value(arena, fmt::format("cannot cast jsonb {} to type {}", json_kind_name(kind),
                                              type_name(target.type)));
    const Value scalar = json_to_value(value.bytes(), arena);
    return scalar.is_error() || wants_boolean ? scalar : cast(scalar, target, arena);
}

Value to_jsonb_text(const Value& value, Arena& arena) {
    const Value parsed = parse_text_as(Type::kJsonb, value.bytes(), arena);
    if (parsed.is_error()) return parsed;
    std::string canonical;
    append_canonical_json(parsed.bytes(), canonical);
    return Value::of_bytes(Type::kJsonb, arena.copy(canonical));
}

}  // namespace

bool can_cast(Type from, Type to) {
    if (from == to || from == Type::kText || to == Type::kText) return true;
    switch (to) {
        case Type::kInt4: return is_number(from) || from == Type::kBool || from == Type::kJsonb;
        case Type::kInt8:
        case Type::kNumeric:
        case Type::kFloat8: return is_number(from) || from == Type::kJsonb;
        case Type::kBool: return from == Type::kInt4 || from == Type::kJsonb;
        default: return false;
    }
}

Value cast(const Value& value, const CastTarget& target, Arena& arena) {
    if (value.type == target.type && target.precision == 0) return value;
    if (!can_cast(value.type, target.type))
        return error_value(
            arena, fmt::format("cannot cast type {} to {}", type_name(value.type), type_name(target.type)));
    if (value.type == Type::kText) {
        if (target.type == Type::kJsonb) return to_jsonb_text(value, arena);
        const Value parsed = parse_text_as(target.type, value.bytes(), arena);
        return parsed.is_error() || target.precision == 0 ? parsed : cast(parsed, target, arena);
    }
    if (target.type == Type::kText) {
        std::string text;
        append_text(value, text);
        return Value::of_text(arena.copy(text));
    }
    if (value.type == Type::kJsonb) return from_jsonb(value, target, arena);
    switch (target.type) {
        case Type::kInt4:
        case Type::kInt8: return to_integer(value, target.type, arena);
        case Type::kNumeric: return to_numeric(value, target, arena);
        case Type::kFloat8: return Value::of_float8(number_as_double(value));
        default: return Value::of_bool(value.integer != 0);  // integer → boolean.
    }
}

}  // namespace weir::processor::expr
