#include <fmt/format.h>

#include <string>

#include "processor/expr/functions.h"
#include "processor/expr/jsonb.h"
#include "processor/expr/value_text.h"

namespace weir::processor::expr {
namespace {

using Arguments = std::span<const Value>;

Value array_length(CallContext& context, Arguments arguments) {
    const int64_t length = json_array_length(arguments[0].bytes());
    if (length < 0)
        return error_value(context.arena, json_kind(arguments[0].bytes()) == JsonKind::kObject
                                              ? "cannot get array length of a non-array"
                                              : "cannot get array length of a scalar");
    return Value::of_int4(static_cast<int32_t>(length));
}

Value kind_name(CallContext&, Arguments arguments) {
    return Value::of_text(json_kind_name(json_kind(arguments[0].bytes())));
}

Value canonical(CallContext& context, const std::string& json) {
    std::string out;
    append_canonical_json(json, out);
    return Value::of_bytes(Type::kJsonb, context.arena.copy(out));
}

Value build_array(CallContext& context, Arguments arguments) {
    std::string json = "[";
    for (const Value& value : arguments) {
        if (json.size() > 1) json.push_back(',');
        append_json_element(value, json);
    }
    return canonical(context, json + "]");
}

Value build_object(CallContext& context, Arguments arguments) {
    if (arguments.size() % 2 != 0)
        return error_value(context.arena, "argument list must have even number of elements");
    std::string json = "{";
    for (size_t i = 0; i < arguments.size(); i += 2) {
        if (arguments[i].is_null())
            return error_value(context.arena, fmt::format("argument {}: key must not be null", i + 1));
        if (arguments[i].type == Type::kJsonb)
            return error_value(context.arena, "key value must be scalar, not array, composite, or json");
        if (i > 0) json.push_back(',');
        append_json_string(to_text(arguments[i]), json);
        json.push_back(':');
        append_json_element(arguments[i + 1], json);
    }
    return canonical(context, json + "}");
}

Value empty_array(CallContext&, Arguments) { return Value::of_bytes(Type::kJsonb, "[]"); }
Value empty_object(CallContext&, Arguments) { return Value::of_bytes(Type::kJsonb, "{}"); }

}  // namespace

void append_json_element(const Value& value, std::string& out) {
    if (value.type != Type::kTimestamptz) {
        append_json(value, out);
        return;
    }
    std::string text = to_text(value);
    text[text.find(' ')] = 'T';
    text.insert(text.find("+00") + 3, ":00");
    out.append("\"").append(text).append("\"");
}

void add_jsonb_functions(std::vector<FunctionSpec>& out) {
    const auto add = [&](std::string_view name, std::string_view signature, uint8_t least, uint8_t most,
                         uint16_t accepts, FunctionCode code, Type result, bool strict) {
        out.push_back({name, signature, least, most, {accepts}, ResultRule::kFixed, result, code, strict});
    };
    add("jsonb_array_length", "jsonb_array_length(jsonb)", 1, 1, kJsonbArgument, array_length, Type::kInt4,
        true);
    add("jsonb_typeof", "jsonb_typeof(jsonb)", 1, 1, kJsonbArgument, kind_name, Type::kText, true);
    add("jsonb_build_array", "jsonb_build_array(any, …)", 0, 0, kAnyArgument, empty_array, Type::kJsonb,
        false);
    add("jsonb_build_array", "jsonb_build_array(any, …)", 1, kVariadic, kAnyArgument, build_array,
        Type::kJsonb, false);
    add("jsonb_build_object", "jsonb_build_object(key, value, …)", 0, 0, kAnyArgument, empty_object,
        Type::kJsonb, false);
    add("jsonb_build_object", "jsonb_build_object(key, value, …)", 1, kVariadic, kAnyArgument, build_object,
        Type::kJsonb, false);
}

}  // namespace weir::processor::expr
