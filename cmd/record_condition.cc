#include "cmd/record_condition.h"

#include "processor/expr/jsonb.h"

namespace weir::cmd {

using processor::Type;
using processor::Value;
namespace expr = processor::expr;

class RecordCondition::Scope final : public expr::Scope {
public:
    expr::Compiled<Binding> bind(std::span<const std::string> path) override {
        columns.push_back({{path.begin(), path.end()}, {}});
        return Binding{last(), path.size(), std::nullopt};
    }
    expr::Compiled<Binding> bind_metadata(expr::Metadata which) override {
        columns.push_back({{}, which});
        switch (which) {
            case expr::Metadata::kKey: return Binding{last(), 1, Type::kText};
            case expr::Metadata::kTimestamp: return Binding{last(), 1, Type::kTimestamptz};
            case expr::Metadata::kHeaders: return Binding{last(), 1, Type::kJsonb};
            case expr::Metadata::kTopic:
            case expr::Metadata::kPartition:
            case expr::Metadata::kOffset: break;
        }
        return expr::CompileError{"a test compares _key, _timestamp and _headers", 0, 1, ""};
    }

    std::vector<Column> columns;

private:
    [[nodiscard]] expr::Slot last() const { return static_cast<expr::Slot>(columns.size() - 1); }
};

namespace {

Value member(std::string_view json, const std::vector<std::string>& path, processor::Arena& arena) {
    for (const std::string& segment : path) {
        const auto found = expr::json_kind(json) == expr::JsonKind::kObject ? expr::json_member(json, segment)
                                                                            : std::nullopt;
        if (!found) return Value::null();
        json = *found;
    }
    return expr::json_to_value(json, arena);
}

Value headers_of(const connectors::MemoryRecord& record, processor::Arena& arena) {
    std::string json = "{";
    for (const auto& [name, value] : record.headers) {
        if (json.size() > 1) json += ", ";
        expr::append_json_string(name, json);
        json += ": ";
        if (value) {
            expr::append_json_string(*value, json);
        } else {
            json += "null";
        }
    }
    return Value::of_bytes(Type::kJsonb, arena.copy(json + "}"));
}

}  // namespace

expr::Compiled<RecordCondition> RecordCondition::compile(std::string_view text) {
    Scope scope;
    auto compiled = expr::Expression::compile(text, scope);
    if (auto* const error = std::get_if<expr::CompileError>(&compiled)) return std::move(*error);
    auto& expression = std::get<expr::Expression>(compiled);
    const auto type = expression.static_type();
    if (type && *type != Type::kBool && *type != Type::kNull)
        return expr::CompileError{std::string("a condition is boolean, this is ") + type_name(*type), 0,
                                  text.size(), ""};
    return RecordCondition(std::move(expression), std::move(scope.columns));
}

std::string RecordCondition::failure(const connectors::MemoryRecord& record) const {
    processor::Arena arena;
    std::vector<processor::Column> columns;
    const bool readable = record.value && expr::is_valid_json(*record.value);
    for (const Column& column : columns_) {
        Value value = Value::null();
        if (!column.path.empty()) {
            if (readable) value = member(*record.value, column.path, arena);
        } else if (column.metadata == expr::Metadata::kKey) {
            if (record.key) value = Value::of_text(*record.key);
        } else if (column.metadata == expr::Metadata::kTimestamp) {
            value = Value::of_timestamptz(record.timestamp_ms * 1000);
        } else {
            value = headers_of(record, arena);
        }
        columns.push_back({value});
    }
    expr::EvalContext context{arena, record.timestamp_ms * 1000, columns};
    const std::vector<uint32_t> rows{0};
    processor::Column result;
    expression_.evaluate(context, rows, 1, result);
    if (result[0].is_error()) return "match fails: " + std::string(result[0].bytes());
    if (result[0].type == Type::kBool && result[0].boolean) return {};
    return result[0].is_null() ? "match is NULL" : "match is false";
}

}  // namespace weir::cmd
