#include "processor/expr/operators.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "processor/expr/decimal.h"
#include "processor/expr/decimal_math.h"
#include "processor/expr/jsonb.h"
#include "processor/expr/timestamp.h"
#include "processor/expr/value_text.h"

namespace weir::processor::expr {
namespace {

bool is_integer(Type type) { return type == Type::kInt4 || type == Type::kInt8; }

// The type that two numbers are computed in.
Type promoted(Type a, Type b) {
    if (a == Type::kFloat8 || b == Type::kFloat8) return Type::kFloat8;
    if (a == Type::kNumeric || b == Type::kNumeric) return Type::kNumeric;
    return a == Type::kInt8 || b == Type::kInt8 ? Type::kInt8 : Type::kInt4;
}

Value no_operator(Operator op, const Value& left, const Value& right, Arena& arena) {
    return error_value(arena, fmt::format("operator does not exist: {} {} {}", type_name(left.type),
                                          operator_text(op), type_name(right.type)));
}

Value division_by_zero(Arena& arena) { return error_value(arena, "division by zero"); }

Value out_of_range(Type type, Arena& arena) {
    return error_value(arena, fmt::format("{} out of range", type_name(type)));
}

Value integer_arithmetic(Operator op, Type type, int64_t x, int64_t y, Arena& arena) {
    int64_t result = 0;
    bool overflow = false;
    switch (op) {
        case Operator::kAdd: overflow = __builtin_add_overflow(x, y, &result); break;
        case Operator::kSubtract: overflow = __builtin_sub_overflow(x, y, &result); break;
        case Operator::kMultiply: overflow = __builtin_mul_overflow(x, y, &result); break;
        default:
            if (y == 0) return division_by_zero(arena);
            if (y == -1) {  // The smallest integer has no positive counterpart.
                if (op == Operator::kDivide) overflow = __builtin_sub_overflow(int64_t{0}, x, &result);
            } else {
                result = op == Operator::kDivide ? x / y : x % y;
            }
    }
    if (type == Type::kInt8) return overflow ? out_of_range(type, arena) : Value::of_int8(result);
    if (overflow || result > std::numeric_limits<int32_t>::max() ||
        result < std::numeric_limits<int32_t>::min())
        return out_of_range(Type::kInt4, arena);
    return Value::of_int4(static_cast<int32_t>(result));
}

Value float_result(double result, bool operands_finite, bool zero_is_underflow, Arena& arena) {
    if (std::isinf(result) && operands_finite) return error_value(arena, "value out of range: overflow");
    if (result == 0 && zero_is_underflow) return error_value(arena, "value out of range: underflow");
    return Value::of_float8(result);
}

Value float_power(double x, double y, Arena& arena) {
    if (std::isnan(x)) return Value::of_float8(y == 0 ? 1 : x);
    if (std::isnan(y)) return Value::of_float8(x == 1 ? 1 : y);
    if (x == 0 && y < 0) return error_value(arena, "zero raised to a negative power is undefined");
    if (x < 0 && std::floor(y) != y && std::isfinite(y))
        return error_value(arena, "a negative number raised to a non-integer power yields a complex result");
    const double result = std::pow(x, y);
    return float_result(result, std::isfinite(x) && std::isfinite(y),
                        x != 0 && std::isfinite(x) && std::isfinite(y), arena);
}

Value float_arithmetic(Operator op, double x, double y, Arena& arena) {
    const bool finite = std::isfinite(x) && std::isfinite(y);
    switch (op) {
        case Operator::kAdd: return float_result(x + y, finite, false, arena);
        case Operator::kSubtract: return float_result(x - y, finite, false, arena);
        case Operator::kMultiply: return float_result(x * y, finite, x != 0 && y != 0, arena);
        case Operator::kDivide:
            if (y == 0 && !std::isnan(x)) return division_by_zero(arena);
            return float_result(x / y, finite, x != 0 && !std::isinf(y), arena);
        default: return float_power(x, y, arena);
    }
}

Value numeric_arithmetic(Operator op, const Decimal& x, const Decimal& y, Arena& arena) {
    Decimal result;
    switch (op) {
        case Operator::kAdd: return decimal_result(add(x, y, result), result, arena);
        case Operator::kSubtract: return decimal_result(subtract(x, y, result), result, arena);
        case Operator::kMultiply: return decimal_result(multiply(x, y, result), result, arena);
        case Operator::kDivide: return decimal_result(divide(x, y, result), result, arena);
        case Operator::kModulo: return decimal_result(modulo(x, y, result), result, arena);
        default: return decimal_power(x, y, arena);
    }
}

Value number_arithmetic(Operator op, const Value& left, const Value& right, Arena& arena) {
    const Type type = promoted(left.type, right.type);
    if (type == Type::kFloat8 || (op == Operator::kPower && is_integer(type))) {
        if (op == Operator::kModulo) return no_operator(op, left, right, arena);
        return float_arithmetic(op, number_as_double(left), number_as_double(right), arena);
    }
    if (type == Type::kNumeric) return numeric_arithmetic(op, Decimal::of(left), Decimal::of(right), arena);
    return integer_arithmetic(op, type, left.integer, right.integer, arena);
}

Value add_intervals(const Value& a, const Value& b, int sign, Arena& arena) {
    const int64_t months = int64_t{a.interval.months} + sign * int64_t{b.interval.months};
    const int64_t days = int64_t{a.interval.days} + sign * int64_t{b.interval.days};
    int64_t micros;
    const bool overflow = sign > 0 ? __builtin_add_overflow(a.integer, b.integer, &micros)
                                   : __builtin_sub_overflow(a.integer, b.integer, &micros);
    if (overflow || static_cast<int32_t>(months) != months || static_cast<int32_t>(days) != days)
        return out_of_range(Type::kInterval, arena);
    return make_interval(static_cast<int32_t>(months), static_cast<int32_t>(days), micros);
}

Value shift(const Value& timestamp, const Value& interval, int sign, Arena& arena) {
    const auto shifted = add_interval(timestamp.integer, interval, sign);
    return shifted ? Value::of_timestamptz(*shifted) : error_value(arena, "timestamp out of range");
}

Value scaled_interval(const std::optional<Value>& interval, Arena& arena) {
    return interval ? *interval : out_of_range(Type::kInterval, arena);
}

Value time_arithmetic(Operator op, const Value& left, const Value& right, Arena& arena) {
    const Type a = left.type;
    const Type b = right.type;
    switch (op) {
        case Operator::kAdd:
            if (a == Type::kTimestamptz) return shift(left, right, 1, arena);
            if (b == Type::kTimestamptz) return shift(right, left, 1, arena);
            return add_intervals(left, right, 1, arena);
        case Operator::kSubtract:
            if (b == Type::kTimestamptz) {
                int64_t micros;
                if (__builtin_sub_overflow(left.integer, right.integer, &micros))
                    return out_of_range(Type::kInterval, arena);
                return make_interval(0, static_cast<int32_t>(micros / kMicrosPerDay), micros % kMicrosPerDay);
            }
            if (a == Type::kTimestamptz) return shift(left, right, -1, arena);
            return add_intervals(left, right, -1, arena);
        case Operator::kMultiply:
            return scaled_interval(a == Type::kInterval ? multiply_interval(left, number_as_double(right))
                                                        : multiply_interval(right, number_as_double(left)),
                                   arena);
        default:
            if (number_as_double(right) == 0) return division_by_zero(arena);
            return scaled_interval(divide_interval(left, number_as_double(right)), arena);
    }
}

Value concat(const Value& left, const Value& right, Arena& arena) {
    if (left.type == Type::kText && right.type == Type::kText) {
        char* const to = arena.allocate(size_t{left.length} + right.length);
        if (left.length > 0) std::memcpy(to, left.data, left.length);
        if (right.length > 0) std::memcpy(to + left.length, right.data, right.length);
        return Value::of_text({to, size_t{left.length} + right.length});
    }
    std::string text;
    append_text(left, text);
    append_text(right, text);
    return Value::of_text(arena.copy(text));
}

// One step of a path: a key of an object, or an index of an array ("-1" is the last).
std::optional<std::string_view> json_step(std::string_view json, std::string_view step, bool& bad_index) {
    bad_index = false;
    if (json_kind(json) != JsonKind::kArray) return json_member(json, step);
    int64_t index = 0;
    const Value parsed = [&] {
        Arena scratch;
        return parse_text_as(Type::kInt4, step, scratch);
    }();
    if (parsed.type != Type::kInt4) {
        bad_index = true;
        return std::nullopt;
    }
    index = parsed.integer;
    return json_element(json, index);
}

Value json_result(std::optional<std::string_view> found, bool as_text, Arena& arena) {
    if (!found) return Value::null();
    if (!as_text) return Value::of_bytes(Type::kJsonb, *found);
    switch (json_kind(*found)) {
        case JsonKind::kNull: return Value::null();
        case JsonKind::kString: return Value::of_text(unescape_json_string(*found, arena));
        default: {
            std::string text;
            append_canonical_json(*found, text);
            return Value::of_text(arena.copy(text));
        }
    }
}

// '{a,0,"b c"}': the text form of PostgreSQL's text[].
Value json_path(const Value& json, std::string_view path, bool as_text, Arena& arena) {
    std::vector<std::string> steps;
    if (!parse_text_array(path, steps))
        return error_value(arena, fmt::format("malformed array literal: \"{}\"", path));
    std::string_view at = json.bytes();
    for (const std::string& step : steps) {
        bool bad_index;
        const auto next = json_step(at, step, bad_index);
        if (!next) return Value::null();
        at = *next;
    }
    return json_result(at, as_text, arena);
}

Value json_get(const Value& json, const Value& key, bool as_text, Arena& arena) {
    if (key.type == Type::kText) return json_result(json_member(json.bytes(), key.bytes()), as_text, arena);
    // PostgreSQL keeps a scalar as an array of one element.
    const JsonKind kind = json_kind(json.bytes());
    if (kind != JsonKind::kArray && kind != JsonKind::kObject && (key.integer == 0 || key.integer == -1))
        return json_result(json.bytes(), as_text, arena);
    return json_result(json_element(json.bytes(), key.integer), as_text, arena);
}

}  // namespace

bool parse_text_array(std::string_view text, std::vector<std::string>& out) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    if (text.size() < 2 || text.front() != '{' || text.back() != '}') return false;
    text = text.substr(1, text.size() - 2);
    size_t i = 0;
    const auto skip_blanks = [&] {
        while (i < text.size() && text[i] == ' ') ++i;
    };
    skip_blanks();
    if (i == text.size()) return true;
    while (true) {
        skip_blanks();
        std::string item;
        if (i < text.size() && text[i] == '"') {
            for (++i; i < text.size() && text[i] != '"'; ++i) {
                if (text[i] == '\\' && i + 1 < text.size()) ++i;
                item.push_back(text[i]);
            }
            if (i == text.size()) return false;
            ++i;
            skip_blanks();
        } else {
            for (; i < text.size() && text[i] != ','; ++i) {
                if (text[i] == '{' || text[i] == '}' || text[i] == '"') return false;
                if (text[i] == '\\' && i + 1 < text.size()) ++i;
                item.push_back(text[i]);
            }
            while (!item.empty() && item.back() == ' ') item.pop_back();
            if (item.empty()) return false;
        }
        out.push_back(std::move(item));
        if (i == text.size()) return true;
        if (text[i] != ',') return false;
        ++i;
    }
}

std::string_view operator_text(Operator op) {
    switch (op) {
        case Operator::kAdd: return "+";
        case Operator::kSubtract: return "-";
        case Operator::kMultiply: return "*";
        case Operator::kDivide: return "/";
        case Operator::kModulo: return "%";
        case Operator::kPower: return "^";
        case Operator::kEqual: return "=";
        case Operator::kNotEqual: return "<>";
        case Operator::kLess: return "<";
        case Operator::kLessEqual: return "<=";
        case Operator::kGreater: return ">";
        case Operator::kGreaterEqual: return ">=";
        case Operator::kConcat: return "||";
        case Operator::kJsonGet: return "->";
        case Operator::kJsonGetText: return "->>";
        case Operator::kJsonPath: return "#>";
        case Operator::kJsonPathText: return "#>>";
    }
    return "";
}

bool is_number(Type type) { return is_integer(type) || type == Type::kNumeric || type == Type::kFloat8; }

double number_as_double(const Value& number) {
    if (number.type == Type::kFloat8) return number.real;
    if (number.type == Type::kNumeric) return to_double(Decimal::of(number));
    return static_cast<double>(number.integer);
}

std::optional<Type> operator_result(Operator op, Type a, Type b) {
    if (is_comparison(op)) {
        const bool comparable = a == b || (is_number(a) && is_number(b));
        return comparable ? std::optional(Type::kBool) : std::nullopt;
    }
    const bool numbers = is_number(a) && is_number(b);
    switch (op) {
        case Operator::kAdd:
            if (numbers) return promoted(a, b);
            if ((a == Type::kTimestamptz && b == Type::kInterval) ||
                (a == Type::kInterval && b == Type::kTimestamptz))
                return Type::kTimestamptz;
            if (a == Type::kInterval && b == Type::kInterval) return Type::kInterval;
            return std::nullopt;
        case Operator::kSubtract:
            if (numbers) return promoted(a, b);
            if (a == Type::kTimestamptz && b == Type::kInterval) return Type::kTimestamptz;
            if ((a == Type::kTimestamptz || a == Type::kInterval) && a == b) return Type::kInterval;
            return std::nullopt;
        case Operator::kMultiply:
            if (numbers) return promoted(a, b);
            if ((a == Type::kInterval && is_number(b)) || (is_number(a) && b == Type::kInterval))
                return Type::kInterval;
            return std::nullopt;
        case Operator::kDivide:
            if (numbers) return promoted(a, b);
            if (a == Type::kInterval && is_number(b)) return Type::kInterval;
            return std::nullopt;
        case Operator::kModulo:
            if (numbers && promoted(a, b) != Type::kFloat8) return promoted(a, b);
            return std::nullopt;
        case Operator::kPower:
            if (!numbers) return std::nullopt;
            return promoted(a, b) == Type::kNumeric ? Type::kNumeric : Type::kFloat8;
        case Operator::kConcat:
            return a == Type::kText || b == Type::kText ? std::optional(Type::kText) : std::nullopt;
        case Operator::kJsonGet:
        case Operator::kJsonGetText:
            if (a != Type::kJsonb || (b != Type::kText && b != Type::kInt4)) return std::nullopt;
            return op == Operator::kJsonGet ? Type::kJsonb : Type::kText;
        default:
            if (a != Type::kJsonb || b != Type::kText) return std::nullopt;
            return op == Operator::kJsonPath ? Type::kJsonb : Type::kText;
    }
}

std::optional<int> compare_values(const Value& a, const Value& b) {
    if (is_number(a.type) && is_number(b.type)) {
        const Type type = promoted(a.type, b.type);
        if (type == Type::kFloat8) {
            const double x = number_as_double(a);
            const double y = number_as_double(b);
            // NaN is equal to itself and above everything else.
            if (std::isnan(x) || std::isnan(y))
                return static_cast<int>(std::isnan(x)) - static_cast<int>(std::isnan(y));
            return x < y ? -1 : x > y;
        }
        if (type == Type::kNumeric) return compare(Decimal::of(a), Decimal::of(b));
        return a.integer < b.integer ? -1 : a.integer > b.integer;
    }
    if (a.type != b.type) return std::nullopt;
    switch (a.type) {
        case Type::kText: {
            const int order = a.bytes().compare(b.bytes());
            return order < 0 ? -1 : order > 0;
        }
        case Type::kBool: return static_cast<int>(a.boolean) - static_cast<int>(b.boolean);
        case Type::kTimestamptz: return a.integer < b.integer ? -1 : a.integer > b.integer;
        case Type::kInterval: return compare_intervals(a, b);
        case Type::kJsonb: return compare_json(a.bytes(), b.bytes());
        default: return std::nullopt;
    }
}

Value apply(Operator op, const Value& left, const Value& right, Arena& arena) {
    if (is_comparison(op)) {
        const auto order = compare_values(left, right);
        return order ? Value::of_bool(holds(op, *order)) : no_operator(op, left, right, arena);
    }
    if (is_number(left.type) && is_number(right.type) && op <= Operator::kPower)
        return number_arithmetic(op, left, right, arena);
    if (!operator_result(op, left.type, right.type)) return no_operator(op, left, right, arena);
    switch (op) {
        case Operator::kConcat: return concat(left, right, arena);
        case Operator::kJsonGet: return json_get(left, right, false, arena);
        case Operator::kJsonGetText: return json_get(left, right, true, arena);
        case Operator::kJsonPath: return json_path(left, right.bytes(), false, arena);
        case Operator::kJsonPathText: return json_path(left, right.bytes(), true, arena);
        default: return time_arithmetic(op, left, right, arena);
    }
}

Value negate(const Value& value, Arena& arena) {
    switch (value.type) {
        case Type::kInt4:
        case Type::kInt8: return integer_arithmetic(Operator::kSubtract, value.type, 0, value.integer, arena);
        case Type::kNumeric: return Value::of_numeric(-value.mantissa(), value.scale);
        case Type::kFloat8: return Value::of_float8(-value.real);
        case Type::kInterval: return add_intervals(make_interval(0, 0, 0), value, -1, arena);
        default:
            return error_value(arena, fmt::format("operator does not exist: - {}", type_name(value.type)));
    }
}

}  // namespace weir::processor::expr
