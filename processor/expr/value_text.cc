#include "processor/expr/value_text.h"

#include <fmt/format.h>
#include <quadmath.h>

#include <absl/strings/ascii.h>
#include <absl/strings/numbers.h>

#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "processor/expr/decimal.h"
#include "processor/expr/jsonb.h"
#include "processor/expr/timestamp.h"

namespace weir::processor {

const char* type_name(Type type) {
    switch (type) {
        case Type::kNull: return "null";
        case Type::kBool: return "boolean";
        case Type::kInt4: return "integer";
        case Type::kInt8: return "bigint";
        case Type::kNumeric: return "numeric";
        case Type::kFloat8: return "double precision";
        case Type::kText: return "text";
        case Type::kJsonb: return "jsonb";
        case Type::kTimestamptz: return "timestamp with time zone";
        case Type::kInterval: return "interval";
        case Type::kError: return "error";
    }
    return "";
}

namespace expr {
namespace {

__extension__ typedef __float128 Quad;

// Digits and exponent of the shortest text that lies strictly between the neighbours' midpoints: PostgreSQL
// does not rely on readers that round halves to even.
std::string_view scientific(double value, std::array<char, 32>& buffer) {
    char* const begin = buffer.data();
    char* const limit = begin + buffer.size() - 1;
    const auto shortest = std::to_chars(begin, limit, value, std::chars_format::scientific);
    *shortest.ptr = '\0';
    const long double exact = value;
    const long double read = std::strtold(begin, nullptr);
    const double neighbour = std::nextafter(value, read > exact ? HUGE_VAL : -HUGE_VAL);
    if (read == exact || read - exact != (static_cast<long double>(neighbour) - exact) / 2)
        return {begin, static_cast<size_t>(shortest.ptr - begin)};
    // 64 bits of precision may have rounded the text to the midpoint; 113 bits tell.
    const Quad middle = (static_cast<Quad>(value) + static_cast<Quad>(neighbour)) / 2;
    if (strtoflt128(begin, nullptr) != middle) return {begin, static_cast<size_t>(shortest.ptr - begin)};
    const long double half = std::fabs(static_cast<long double>(neighbour) - exact) / 2;
    for (int digits = 1;; ++digits) {
        const auto longer = std::to_chars(begin, limit, value, std::chars_format::scientific, digits);
        *longer.ptr = '\0';
        if (digits == 16 || std::fabs(std::strtold(begin, nullptr) - exact) < half)
            return {begin, static_cast<size_t>(longer.ptr - begin)};
    }
}

// The shortest digits that read back as the same double, laid out as PostgreSQL does: plain from 1e-4 to
// below 1e15, else with an exponent of at least two digits.
void append_float8(double value, std::string& out) {
    if (std::isnan(value)) {
        out.append("NaN");
        return;
    }
    if (std::isinf(value)) {
        out.append(value < 0 ? "-Infinity" : "Infinity");
        return;
    }
    std::array<char, 32> buffer;
    std::string_view text = scientific(value, buffer);
    if (text.front() == '-') {
        out.push_back('-');
        text.remove_prefix(1);
    }
    const size_t e = text.find('e');
    int exponent = 0;
    const char* const digits_of_exponent = text.data() + e + (text[e + 1] == '+' ? 2 : 1);
    std::from_chars(digits_of_exponent, text.data() + text.size(), exponent);
    if (exponent < -4 || exponent >= 15) {
        out.append(text.substr(0, e));
        fmt::format_to(std::back_inserter(out), "e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
        return;
    }
    std::string digits(1, text[0]);
    if (e > 2) digits.append(text.substr(2, e - 2));
    if (exponent < 0) {
        out.append("0.").append(static_cast<size_t>(-exponent - 1), '0').append(digits);
        return;
    }
    const size_t whole = static_cast<size_t>(exponent) + 1;
    if (digits.size() <= whole) {
        out.append(digits).append(whole - digits.size(), '0');
    } else {
        out.append(digits, 0, whole).append(".").append(digits, whole);
    }
}

std::string_view trim_blanks(std::string_view text) {
    while (!text.empty() && absl::ascii_isspace(static_cast<unsigned char>(text.front())))
        text.remove_prefix(1);
    while (!text.empty() && absl::ascii_isspace(static_cast<unsigned char>(text.back())))
        text.remove_suffix(1);
    return text;
}

bool equals_folded(std::string_view text, std::string_view lower) {
    if (text.size() != lower.size()) return false;
    for (size_t i = 0; i < text.size(); ++i)
        if (absl::ascii_tolower(static_cast<unsigned char>(text[i])) != lower[i]) return false;
    return true;
}

Value invalid_input(Arena& arena, const char* type, std::string_view text) {
    return error_value(arena, fmt::format("invalid input syntax for type {}: \"{}\"", type, text));
}

Value parse_integer(Type type, std::string_view text, Arena& arena) {
    std::string_view digits = trim_blanks(text);
    if (digits.starts_with('+') && digits.size() > 1 && digits[1] != '-') digits.remove_prefix(1);
    int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (digits.empty() || end != digits.data() + digits.size() || error == std::errc::invalid_argument)
        return invalid_input(arena, type_name(type), text);
    const bool fits =
        error == std::errc() && (type == Type::kInt8 || (value >= std::numeric_limits<int32_t>::min() &&
                                                         value <= std::numeric_limits<int32_t>::max()));
    if (!fits)
        return error_value(arena,
                           fmt::format("value \"{}\" is out of range for type {}", text, type_name(type)));
    return type == Type::kInt8 ? Value::of_int8(value) : Value::of_int4(static_cast<int32_t>(value));
}

}  // namespace

void append_text(const Value& value, std::string& out) {
    switch (value.type) {
        case Type::kNull: break;
        case Type::kBool: out.append(value.boolean ? "true" : "false"); break;
        case Type::kInt4:
        case Type::kInt8: {
            std::array<char, 24> buffer;
            out.append(buffer.data(),
                       std::to_chars(buffer.data(), buffer.data() + buffer.size(), value.integer).ptr);
            break;
        }
        case Type::kNumeric: append_decimal(Decimal::of(value), out); break;
        case Type::kFloat8: append_float8(value.real, out); break;
        case Type::kText:
        case Type::kError: out.append(value.bytes()); break;
        case Type::kJsonb: append_canonical_json(value.bytes(), out); break;
        case Type::kTimestamptz: append_timestamp(value.integer, out); break;
        case Type::kInterval: append_interval(value, out); break;
    }
}

std::string to_text(const Value& value) {
    std::string out;
    append_text(value, out);
    return out;
}

std::optional<double> parse_float8(std::string_view text) {
    const std::string_view trimmed = trim_blanks(text);
    double value = 0;
    if (trimmed.empty() || !absl::SimpleAtod(absl::string_view(trimmed.data(), trimmed.size()), &value))
        return std::nullopt;
    return value;
}

std::optional<bool> parse_boolean(std::string_view text) {
    const std::string_view word = trim_blanks(text);
    if (word.empty()) return std::nullopt;
    for (const std::string_view yes : {"true", "yes", "on", "1"}) {
        const bool unique = yes != "on" || word.size() == 2;  // A lone "o" could be on or off.
        if (unique && word.size() <= yes.size() && equals_folded(word, yes.substr(0, word.size())))
            return true;
    }
    for (const std::string_view no : {"false", "no", "off", "0"}) {
        const bool unique = no != "off" || word.size() >= 2;
        if (unique && word.size() <= no.size() && equals_folded(word, no.substr(0, word.size())))
            return false;
    }
    return std::nullopt;
}

Value error_value(Arena& arena, std::string_view message) {
    return Value::of_bytes(Type::kError, arena.copy(message));
}

Value parse_text_as(Type type, std::string_view text, Arena& arena) {
    switch (type) {
        case Type::kInt4:
        case Type::kInt8: return parse_integer(type, text, arena);
        case Type::kNumeric: {
            Decimal decimal;
            bool overflow = false;
            if (parse_decimal(trim_blanks(text), decimal, &overflow)) return decimal.value();
            if (overflow) return error_value(arena, "numeric overflow: more than 38 digits");
            return invalid_input(arena, "numeric", text);
        }
        case Type::kFloat8: {
            const auto value = parse_float8(text);
            if (!value) return invalid_input(arena, "double precision", text);
            const bool infinite = std::isinf(*value) && text.find_first_of("iI") == std::string_view::npos;
            const bool vanished =
                *value == 0 &&
                text.substr(0, text.find_first_of("eE")).find_first_of("123456789") != std::string_view::npos;
            if (infinite || vanished)
                return error_value(arena,
                                   fmt::format("\"{}\" is out of range for type double precision", text));
            return Value::of_float8(*value);
        }
        case Type::kBool: {
            const auto value = parse_boolean(text);
            return value ? Value::of_bool(*value) : invalid_input(arena, "boolean", text);
        }
        case Type::kTimestamptz: {
            const auto value = parse_timestamp_text(text);
            return value ? Value::of_timestamptz(*value)
                         : invalid_input(arena, "timestamp with time zone", text);
        }
        case Type::kInterval: {
            const auto value = parse_interval_text(text);
            return value ? *value : invalid_input(arena, "interval", text);
        }
        case Type::kJsonb:
            if (!is_valid_json(text)) return invalid_input(arena, "json", text);
            return Value::of_bytes(Type::kJsonb, text);
        default: return Value::of_text(text);
    }
}

}  // namespace expr
}  // namespace weir::processor
