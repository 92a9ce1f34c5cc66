#include <algorithm>
#include <cmath>
#include <limits>

#include "processor/expr/decimal.h"
#include "processor/expr/decimal_math.h"
#include "processor/expr/functions.h"
#include "processor/expr/value_text.h"

namespace weir::processor::expr {
namespace {

using Arguments = std::span<const Value>;
using DecimalCode = Status (*)(const Decimal&, Decimal&);

Value abs(CallContext& context, Arguments arguments) {
    const Value& value = arguments[0];
    switch (value.type) {
        case Type::kFloat8: return Value::of_float8(std::fabs(value.real));
        case Type::kNumeric: return value.mantissa() < 0 ? negate(value, context.arena) : value;
        default: return value.integer < 0 ? negate(value, context.arena) : value;
    }
}

// One code for numeric and one for double precision; integers are computed as double precision, as PostgreSQL
// does.
template <DecimalCode kDecimal, double (*kFloat)(double)>
Value rounding(CallContext& context, Arguments arguments) {
    const Value& value = arguments[0];
    if (value.type != Type::kNumeric) return Value::of_float8(kFloat(number_as_double(value)));
    Decimal result;
    const Status status = kDecimal(Decimal::of(value), result);
    return decimal_result(status, result, context.arena);
}

Status round_whole(const Decimal& a, Decimal& out) { return round_to(a, 0, out); }
Status truncate_whole(const Decimal& a, Decimal& out) { return truncate_to(a, 0, out); }
double round_half_even(double value) { return std::nearbyint(value); }
double floor_float(double value) { return std::floor(value); }
double ceil_float(double value) { return std::ceil(value); }
double truncate_float(double value) { return std::trunc(value); }

template <Status (*kCode)(const Decimal&, int, Decimal&)>
Value rounding_to(CallContext& context, Arguments arguments) {
    Decimal result;
    // Beyond these nothing is left of, or changes in, 38 digits.
    const auto digits = static_cast<int>(std::clamp<int64_t>(arguments[1].integer, -2000, 2000));
    const Status status = kCode(Decimal::of(arguments[0]), digits, result);
    return decimal_result(status, result, context.arena);
}

Value sign(CallContext&, Arguments arguments) {
    const Value& value = arguments[0];
    if (value.type == Type::kNumeric)
        return Decimal::of((value.mantissa() > 0) - (value.mantissa() < 0)).value();
    const double real = number_as_double(value);
    return Value::of_float8((real > 0) - (real < 0));
}

Value modulo_of(CallContext& context, Arguments arguments) {
    return apply(Operator::kModulo, arguments[0], arguments[1], context.arena);
}
Value power(CallContext& context, Arguments arguments) {
    return apply(Operator::kPower, arguments[0], arguments[1], context.arena);
}

Value sqrt(CallContext& context, Arguments arguments) {
    if (arguments[0].type == Type::kNumeric) return decimal_sqrt(Decimal::of(arguments[0]), context.arena);
    const double value = number_as_double(arguments[0]);
    if (value < 0) return error_value(context.arena, "cannot take square root of a negative number");
    return Value::of_float8(std::sqrt(value));
}

template <bool kNatural>
Value logarithm(CallContext& context, Arguments arguments) {
    if (arguments[0].type == Type::kNumeric) {
        const Decimal value = Decimal::of(arguments[0]);
        return kNatural ? decimal_ln(value, context.arena)
                        : decimal_log(Decimal::of(10), value, context.arena);
    }
    const double value = number_as_double(arguments[0]);
    if (value == 0) return error_value(context.arena, "cannot take logarithm of zero");
    if (value < 0) return error_value(context.arena, "cannot take logarithm of a negative number");
    return Value::of_float8(kNatural ? std::log(value) : std::log10(value));
}

Value logarithm_to_base(CallContext& context, Arguments arguments) {
    return decimal_log(Decimal::of(arguments[0]), Decimal::of(arguments[1]), context.arena);
}

}  // namespace

void add_number_functions(std::vector<FunctionSpec>& out) {
    constexpr uint16_t kN = kNumberArgument;
    constexpr uint16_t kD = kNumericArgument;
    const auto number = [&](std::string_view name, std::string_view signature, uint8_t count,
                            std::vector<uint16_t> accepts, FunctionCode code, ResultRule rule) {
        out.push_back({name, signature, count, count, std::move(accepts), rule, Type::kNumeric, code});
    };
    constexpr auto kFloat = ResultRule::kFloatUnlessNumeric;
    number("abs", "abs(number)", 1, {kN}, abs, ResultRule::kSameAsFirst);
    number("round", "round(number)", 1, {kN}, rounding<round_whole, round_half_even>, kFloat);
    number("round", "round(numeric, digits integer)", 2, {kD, kInt4Argument}, rounding_to<round_to>,
           ResultRule::kFixed);
    number("trunc", "trunc(number)", 1, {kN}, rounding<truncate_whole, truncate_float>, kFloat);
    number("trunc", "trunc(numeric, digits integer)", 2, {kD, kInt4Argument}, rounding_to<truncate_to>,
           ResultRule::kFixed);
    number("floor", "floor(number)", 1, {kN}, rounding<floor, floor_float>, kFloat);
    number("ceil", "ceil(number)", 1, {kN}, rounding<ceil, ceil_float>, kFloat);
    number("ceiling", "ceiling(number)", 1, {kN}, rounding<ceil, ceil_float>, kFloat);
    number("sign", "sign(number)", 1, {kN}, sign, kFloat);
    number("mod", "mod(numeric, numeric)", 2, {kD, kD}, modulo_of, ResultRule::kPromoted);
    number("power", "power(number, number)", 2, {kN, kN}, power, kFloat);
    number("pow", "pow(number, number)", 2, {kN, kN}, power, kFloat);
    number("sqrt", "sqrt(number)", 1, {kN}, sqrt, kFloat);
    number("ln", "ln(number)", 1, {kN}, logarithm<true>, kFloat);
    number("log", "log(number)", 1, {kN}, logarithm<false>, kFloat);
    number("log10", "log10(number)", 1, {kN}, logarithm<false>, kFloat);
    number("log", "log(base numeric, numeric)", 2, {kD, kD}, logarithm_to_base, ResultRule::kFixed);
}

}  // namespace weir::processor::expr
