#include "config/schema.h"

#include <fmt/format.h>

#include <optional>
#include <string_view>
#include <vector>

#include "config/fields.h"

namespace weir::config {
namespace {

constexpr std::string_view kReference = R"({"type": "string", "pattern": "\\$\\{"})";

std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + '"';
}

std::string list(const std::vector<std::string_view>& names) {
    std::string out;
    for (const std::string_view name : names) out += (out.empty() ? "" : ", ") + quoted(name);
    return '[' + out + ']';
}

std::string any_of(const std::vector<std::string>& schemas) {
    if (schemas.size() == 1) return schemas.front();
    std::string out;
    for (const std::string& schema : schemas) out += (out.empty() ? "" : ", ") + schema;
    return R"({"anyOf": [)" + out + "]}";
}

// A pattern that a reference may stand in for.
std::string text_like(std::string_view pattern) {
    return fmt::format(R"({{"type": "string", "pattern": {}}})", quoted(fmt::format("{}|\\$\\{{", pattern)));
}

std::string scalar_schema(const Field& field) {
    switch (field.type) {
        case Type::kPipelineName: return text_like("^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$");
        case Type::kTopic: return text_like("^[A-Za-z0-9._-]{1,249}$");
        case Type::kDuration: return text_like("^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$");
        case Type::kEnum:
            return any_of(
                {fmt::format(R"({{"enum": {}}})", list(words(field.values))), std::string(kReference)});
        case Type::kInteger:
            return any_of(
                {fmt::format(R"({{"type": "integer", "minimum": {}, "maximum": {}}})", field.min, field.max),
                 std::string(kReference)});
        case Type::kOrdinal:
        case Type::kWorkers: return R"({"type": ["string", "integer"]})";
        case Type::kExpression:
        case Type::kProperty: return R"({"type": ["string", "number", "boolean", "null"]})";
        case Type::kText: return R"({"type": ["string", "number", "boolean"]})";
        case Type::kData: return "{}";
        case Type::kNone:
        case Type::kInstant:
        case Type::kPath:
        case Type::kTimezone:
        case Type::kInput:
        case Type::kTable:
        case Type::kFieldName:
        case Type::kStart:
        case Type::kAddress:
        case Type::kInstance: return R"({"type": "string"})";
    }
    return "{}";
}

std::string schema_of(const Field& field);

std::string map_schema(const Field& field) {
    std::string properties;
    std::string others = "false";
    std::vector<std::string_view> required;
    std::string one_of;
    for (const Field* child : children(field)) {
        const std::string_view name = last_segment(child->path);
        if (name == "*") {
            others = schema_of(*child);
            continue;
        }
        properties +=
            fmt::format("{}{}: {}", properties.empty() ? "" : ", ", quoted(name), schema_of(*child));
        if (child->required) required.push_back(name);
        if (child->one_of)
            one_of += fmt::format(R"({}{{"required": {}}})", one_of.empty() ? "" : ", ", list({name}));
    }
    std::string out = R"({"type": "object")";
    if (!properties.empty()) out += R"(, "properties": {)" + properties + "}";
    out += R"(, "additionalProperties": )" + others;
    if (!required.empty()) out += R"(, "required": )" + list(required);
    if (!one_of.empty()) out += R"(, "oneOf": [)" + one_of + "]";
    if (field.single_key) out += R"(, "minProperties": 1, "maxProperties": 1)";
    return out + "}";
}

std::string schema_of(const Field& field) {
    std::vector<std::string> forms;
    if (field.type != Type::kNone) forms.push_back(scalar_schema(field));
    if (field.map) forms.push_back(map_schema(field));
    const std::string single = any_of(forms);
    const std::string many = R"({"type": "array", "items": )" + single + "}";
    std::string out = single;
    if (field.list == ListForm::kOnly) out = many;
    if (field.list == ListForm::kAlso) out = any_of({single, many});
    // Every schema here is an object: its description goes in front.
    const std::string_view rest = std::string_view(out).substr(1);
    return fmt::format(R"({{"description": {}{}{})", quoted(field.doc), rest == "}" ? "" : ", ", rest);
}

}  // namespace

std::string json_schema() {
    std::string out = R"({"$schema": "http://json-schema.org/draft-07/schema#", "title": "weir pipeline", )";
    return out + map_schema(root_field()).substr(1) + "\n";
}

}  // namespace weir::config
