#include <absl/strings/ascii.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "processor/expr/cast.h"
#include "processor/expr/compiler.h"
#include "processor/expr/functions.h"
#include "processor/expr/json_tree.h"
#include "processor/expr/jsonb.h"
#include "processor/expr/value_text.h"

namespace weir::processor::expr {
namespace {

struct TypeName {
    std::string_view name;
    Type type;
};
constexpr std::array<TypeName, 9> kTypeNames = {{{"int4", Type::kInt4},
                                                 {"int8", Type::kInt8},
                                                 {"numeric", Type::kNumeric},
                                                 {"float8", Type::kFloat8},
                                                 {"text", Type::kText},
                                                 {"bool", Type::kBool},
                                                 {"jsonb", Type::kJsonb},
                                                 {"timestamptz", Type::kTimestamptz},
                                                 {"interval", Type::kInterval}}};
constexpr std::string_view kTypesHelp =
    "the types are integer, bigint, numeric, double precision (float8), text, boolean, jsonb, timestamptz "
    "and interval";

size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<size_t> row(b.size() + 1);
    for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.size(); ++j) {
            const size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
        }
    }
    return row.back();
}

std::string nearest_function(std::string_view name, bool aggregates) {
    std::vector<std::string_view> names;
    for (const FunctionSpec& spec : functions())
        if (absl::ascii_isalpha(static_cast<unsigned char>(spec.name.front()))) names.push_back(spec.name);
    for (const std::string_view special : {"coalesce", "nullif", "greatest", "least", "now"})
        names.push_back(special);
    if (aggregates)
        for (const AggregateFunctionSpec& aggregate : aggregate_functions()) names.push_back(aggregate.name);
    const auto found = nearest(name, names);
    return found ? fmt::format("did you mean {}?", *found) : "";
}

// The type as which a bare literal is read where a function takes several.
Type preferred_type(uint16_t mask) {
    for (const Type type : {Type::kText, Type::kFloat8, Type::kNumeric, Type::kTimestamptz, Type::kInterval,
                            Type::kJsonb, Type::kInt8, Type::kInt4, Type::kBool})
        if ((mask & type_bit(type)) != 0) return type;
    return Type::kText;
}

CastTarget target_of(const CallContext& context) { return *static_cast<const CastTarget*>(context.prepared); }

Value cast_code(CallContext& context, std::span<const Value> arguments) {
    return cast(arguments[0], target_of(context), context.arena);
}

template <bool kGreatest>
Value extreme_code(CallContext& context, std::span<const Value> arguments) {
    const Value* best = nullptr;
    for (const Value& value : arguments) {
        if (value.is_null()) continue;
        if (best == nullptr) {
            best = &value;
            continue;
        }
        const auto order = compare_values(value, *best);
        if (!order)
            return error_value(context.arena, fmt::format("types {} and {} cannot be compared",
                                                          type_name(best->type), type_name(value.type)));
        if (kGreatest ? *order > 0 : *order < 0) best = &value;
    }
    return best == nullptr ? Value::null() : *best;
}

Value subscript_code(CallContext& context, std::span<const Value> arguments) {
    const Value& key = arguments[1];
    if (key.type == Type::kInt8 && key.integer != static_cast<int32_t>(key.integer)) return Value::null();
    const Value index = key.type == Type::kInt8 ? Value::of_int4(static_cast<int32_t>(key.integer)) : key;
    if (index.type == Type::kInt4 && json_kind(arguments[0].bytes()) != JsonKind::kArray)
        return Value::null();
    return apply(Operator::kJsonGet, arguments[0], index, context.arena);
}

}  // namespace

std::optional<std::string_view> nearest(std::string_view word, std::span<const std::string_view> candidates) {
    std::optional<std::string_view> best;
    size_t best_distance = std::max<size_t>(1, word.size() / 3) + 1;
    if (word.size() > 64) return best;
    for (const std::string_view candidate : candidates) {
        const size_t distance = edit_distance(word, candidate);
        if (distance < best_distance) {
            best_distance = distance;
            best = candidate;
        }
    }
    return best;
}

bool Compiler::target_type(const Json& type, Type& out, int& precision, int& scale) {
    const size_t position = position_of(type);
    const Json* const names = child(type, "names");
    std::string_view name;
    if (names != nullptr && names->Size() > 0)
        if (const Json* const last = child((*names)[names->Size() - 1], "String"))
            name = text_of(*child(*last, "sval"));
    const auto known = std::find_if(kTypeNames.begin(), kTypeNames.end(),
                                    [&](const TypeName& entry) { return entry.name == name; });
    if (known == kTypeNames.end() || child(type, "arrayBounds") != nullptr)
        return fail(fmt::format("type {}{} is not supported", name,
                                child(type, "arrayBounds") != nullptr ? "[]" : ""),
                    position, 0, std::string(kTypesHelp));
    out = known->type;
    precision = 0;
    scale = 0;
    const Json* const modifiers = child(type, "typmods");
    if (modifiers == nullptr) return true;
    if (out == Type::kInterval && modifiers->Size() == 1) {
        return fail("interval with a precision or fields is not supported", position);
    }
    if (out != Type::kNumeric || modifiers->Size() > 2)
        return fail(fmt::format("type {} takes no modifier", type_name(out)), position);
    std::array<int, 2> numbers = {0, 0};
    for (rapidjson::SizeType i = 0; i < modifiers->Size(); ++i) {
        const Json* const constant = child((*modifiers)[i], "A_Const");
        if (constant == nullptr || child(*constant, "ival") == nullptr)
            return fail("numeric(precision, scale) takes whole numbers", position);
        numbers[i] = syntax_.integer_constant(*constant);
    }
    if (numbers[0] < 1 || numbers[0] > 1000)
        return fail(fmt::format("numeric precision {} must be between 1 and 1000", numbers[0]), position);
    if (numbers[1] < -1000 || numbers[1] > 1000)
        return fail(fmt::format("numeric scale {} must be between -1000 and 1000", numbers[1]), position);
    precision = numbers[0];
    scale = numbers[1];
    return true;
}

bool Compiler::type_cast(const Json& body, Term& out) {
    Term operand;
    if (!term(*child(body, "arg"), operand)) return false;
    CastTarget target{};
    const Json& name = *child(body, "typeName");
    if (!target_type(name, target.type, target.precision, target.scale)) return false;
    const size_t position = position_of(name);
    out.position = operand.position;
    out.length = operand.length;
    out.type = target.type;
    const bool was_literal = operand.is_literal;
    if (operand.is_literal) {
        if (target.type != Type::kJsonb && !coerce_literal(operand, target.type)) return false;
        if (target.type == Type::kJsonb) operand.type = Type::kText;
    }
    if (operand.type && !can_cast(*operand.type, target.type))
        return fail(
            fmt::format("cannot cast type {} to {}", type_name(*operand.type), type_name(target.type)),
            position);
    const bool zoned = (operand.type == Type::kText && target.type == Type::kTimestamptz) ||
                       (operand.type == Type::kTimestamptz && target.type == Type::kText);
    const bool constant = operand.node->constant() != nullptr && (!zoned || was_literal);
    CallSpec spec;
    spec.name = "cast";
    spec.code = cast_code;
    spec.accepts = {kAnyArgument};
    spec.prepared = std::make_shared<CastTarget>(target);
    spec.result = target.type;
    out.node = make_call(std::move(spec), {std::move(operand.node)});
    return !constant || fold(out);
}

bool Compiler::indirection(const Json& body, Term& out) {
    Term base;
    if (!term(*child(body, "arg"), base)) return false;
    for (const Json& step : child(body, "indirection")->GetArray()) {
        if (const Json* const name = child(step, "String")) {
            Term next;
            next.node = make_path(std::move(base.node), {std::string(text_of(*child(*name, "sval")))});
            next.position = base.position;
            next.length = base.length;
            if (base.type && *base.type != Type::kJsonb)
                return fail(fmt::format("{} has no fields", type_name(*base.type)), base.position,
                            base.length);
            base = std::move(next);
            continue;
        }
        const Json* const subscript = child(step, "A_Indices");
        if (subscript == nullptr || child(*subscript, "uidx") == nullptr ||
            child(*subscript, "is_slice") != nullptr)
            return fail("only j['field'] and j[0] are supported", base.position, base.length);
        Term key;
        if (!term(*child(*subscript, "uidx"), key)) return false;
        if (base.type && *base.type != Type::kJsonb)
            return fail(fmt::format("cannot subscript type {} because it does not support subscripting",
                                    type_name(*base.type)),
                        base.position, base.length);
        if (!coerce_literal(key, Type::kText)) return false;
        if (key.type && *key.type != Type::kText && *key.type != Type::kInt4 && *key.type != Type::kInt8)
            return fail(fmt::format("subscript type {} is not supported", type_name(*key.type)), key.position,
                        key.length, "cast it to integer or text");
        CallSpec spec;
        spec.name = "subscript";
        spec.code = subscript_code;
        spec.accepts = {kJsonbArgument,
                        static_cast<uint16_t>(kTextArgument | kInt4Argument | type_bit(Type::kInt8))};
        spec.result = Type::kJsonb;
        Term next;
        next.position = base.position;
        next.length = base.length;
        next.type = Type::kJsonb;
        const bool constant = base.node->constant() != nullptr && key.node->constant() != nullptr;
        next.node = make_call(std::move(spec), {std::move(base.node), std::move(key.node)});
        if (constant && !fold(next)) return false;
        base = std::move(next);
    }
    out = std::move(base);
    return true;
}

bool Compiler::greatest_least(const Json& body, Term& out) {
    std::vector<Term> operands;
    if (!terms(child(body, "args"), operands)) return false;
    const bool greatest = text_of(*child(body, "op")) == "IS_GREATEST";
    std::vector<Term*> branches;
    for (Term& operand : operands) branches.push_back(&operand);
    if (!unify(greatest ? "GREATEST" : "LEAST", branches, out.type)) return false;
    CallSpec spec;
    spec.name = greatest ? "greatest" : "least";
    spec.code = greatest ? extreme_code<true> : extreme_code<false>;
    spec.accepts = {kAnyArgument};
    spec.strict = false;
    spec.result = out.type;
    std::vector<NodePtr> nodes;
    for (Term& operand : operands) nodes.push_back(std::move(operand.node));
    const bool constant = std::all_of(nodes.begin(), nodes.end(),
                                      [](const NodePtr& node) { return node->constant() != nullptr; });
    out.node = make_call(std::move(spec), std::move(nodes));
    out.position = position_of(body);
    out.length = syntax_.token_length(out.position);
    return !constant || fold(out);
}

bool Compiler::call(std::string_view name, std::vector<Term> arguments, size_t position, Term& out) {
    const FunctionSpec* const spec = find_function(name, arguments.size());
    out.position = position;
    out.length = syntax_.token_length(position);
    if (spec == nullptr) {
        std::string forms;
        for (const FunctionSpec& other : functions())
            if (other.name == name) forms.append(forms.empty() ? "" : ", ").append(other.signature);
        return fail(fmt::format("{} does not take {} argument{}", name, arguments.size(),
                                arguments.size() == 1 ? "" : "s"),
                    position, 0, forms);
    }
    bool constant = !arguments.empty();
    std::vector<std::optional<Type>> types;
    std::vector<const Value*> constants;
    for (size_t i = 0; i < arguments.size(); ++i) {
        Term& argument = arguments[i];
        const uint16_t mask = spec->accepts[std::min(i, spec->accepts.size() - 1)];
        if (!coerce_literal(argument, preferred_type(mask))) return false;
        if (argument.type && (mask & type_bit(*argument.type)) == 0) {
            const bool is_operator = !absl::ascii_isalpha(static_cast<unsigned char>(name.front()));
            return fail(is_operator
                            ? fmt::format("operator {} does not take {}", name, type_name(*argument.type))
                            : fmt::format("{} does not take {} as argument {}", name,
                                          type_name(*argument.type), i + 1),
                        argument.position, argument.length, std::string(spec->signature));
        }
        types.push_back(argument.type);
        constants.push_back(argument.node->constant());
        constant = constant && constants.back() != nullptr;
    }
    CallSpec code;
    code.name = name;
    code.code = spec->code;
    code.accepts = spec->accepts;
    code.strict = spec->strict;
    code.result = result_type(*spec, types);
    if (spec->prepare != nullptr) {
        std::string error;
        code.prepared = spec->prepare(constants, error);
        if (!error.empty()) {
            const Term& culprit = arguments[constants.size() > 1 && constants[1] != nullptr ? 1 : 0];
            return fail(std::move(error), culprit.position, culprit.length);
        }
    }
    out.type = code.result;
    if (spec->strict && std::any_of(arguments.begin(), arguments.end(), is_null_constant)) {
        out.node = make_constant(Value::null());
        return true;
    }
    // As in PostgreSQL, what depends on settings of a session is not constant.
    constant = constant && out.type != Type::kJsonb && name != "concat" &&
               std::find(types.begin(), types.end(), Type::kTimestamptz) == types.end();
    std::vector<NodePtr> nodes;
    for (Term& argument : arguments) nodes.push_back(std::move(argument.node));
    out.node = make_call(std::move(code), std::move(nodes));
    return !constant || fold(out);
}

bool Compiler::function_call(const Json& body, Term& out) {
    const size_t position = position_of(body);
    const Json& names = *child(body, "funcname");
    std::string name;
    for (const Json& part : names.GetArray()) {
        const std::string_view word = text_of(*child(*child(part, "String"), "sval"));
        if (word == "pg_catalog" && names.Size() > 1 && name.empty()) continue;
        name.append(name.empty() ? "" : ".").append(word);
    }
    if (child(body, "over") != nullptr) return fail("window functions are not supported", position);
    if (const AggregateFunctionSpec* const aggregate = find_aggregate(name))
        return aggregate_call(body, *aggregate, position, out);
    for (const char* const part :
         {"agg_filter", "agg_order", "agg_distinct", "agg_star", "agg_within_group", "func_variadic"})
        if (child(body, part) != nullptr)
            return fail(
                fmt::format(
                    "{} is not an aggregate function: DISTINCT, ORDER BY, FILTER and * do not belong there",
                    name),
                position, 0, is_function_name(name) ? "" : nearest_function(name, aggregates_ != nullptr));
    if (name != "now" && !is_function_name(name))
        return fail(fmt::format("function {} does not exist", name), position, 0,
                    nearest_function(name, aggregates_ != nullptr));
    std::vector<Term> arguments;
    if (!terms(child(body, "args"), arguments)) return false;
    if (name == "now" && arguments.empty()) {
        out.node = make_now();
        out.type = Type::kTimestamptz;
        out.position = position;
        out.length = 3;
        return true;
    }
    return call(name, std::move(arguments), position, out);
}

}  // namespace weir::processor::expr
