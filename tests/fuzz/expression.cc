// An expression's text, compiled as a value and as an aggregate, and evaluated over a small batch. Errors lie
// in the text, evaluation has no side effects, and every result has a text and a JSON form.
#include <algorithm>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "processor/expr/expression.h"
#include "processor/expr/jsonb.h"
#include "processor/expr/value_text.h"
#include "scope.h"

namespace {

using namespace weir;
using namespace weir::processor;
using namespace weir::processor::expr;

constexpr std::string_view kRecords[] = {
    R"({"n":1.50,"m":-2,"i":3,"k":9000000000,"t":"abc","u":"","s":"2026-01-01T10:00:00Z","b":true,)"
    R"("j":{"a":[1,{"b":"x"}],"c":null},"l":"1 day 02:00","f":1e-3,"z":null})",
    R"({"n":0,"m":99999999999999999999999999999999999999,"i":-2147483648,"k":9223372036854775807,)"
    R"("t":"ÄÖ%_\n","u":"\u0000","s":"no time","b":false,"j":[],"l":"-7 years","f":1.7976931348623157e308})",
    "{}",
};

void check_error(const CompileError& error, std::string_view text) {
    WEIR_CHECK(error.position <= text.size() && !error.message.empty());
}

std::vector<Column> columns_for(const test::NamedScope& scope, Arena& arena) {
    std::vector<Column> columns(scope.names().size());
    for (size_t i = 0; i < columns.size(); ++i) {
        for (const std::string_view record : kRecords) {
            const auto member = json_member(record, scope.names()[i]);
            columns[i].push_back(member ? json_to_value(*member, arena) : Value::null());
        }
    }
    return columns;
}

std::vector<std::string> evaluate(const Expression& expression, const std::vector<Column>& columns,
                                  const std::vector<uint32_t>& rows) {
    Arena arena;
    EvalContext context{arena, 1'700'000'000'000'000, columns};
    Column out;
    expression.evaluate(context, rows, std::size(kRecords), out);
    std::vector<std::string> results;
    for (const uint32_t row : rows) {
        std::string& result = results.emplace_back(type_name(out[row].type));
        result += ' ' + to_text(out[row]) + ' ';
        std::string json;
        append_json(out[row], json);
        WEIR_CHECK(!json.empty());
        result += json;
    }
    return results;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    test::NamedScope scope;
    const auto compiled = Expression::compile(text, scope);
    if (const auto* const error = std::get_if<CompileError>(&compiled)) {
        check_error(*error, text);
    } else {
        const auto& expression = std::get<Expression>(compiled);
        Arena arena;
        const std::vector<Column> columns = columns_for(scope, arena);
        const auto all = evaluate(expression, columns, {0, 1, 2});
        // A row's result depends on that row only.
        WEIR_CHECK(evaluate(expression, columns, {0, 1, 2}) == all);
        WEIR_CHECK(evaluate(expression, columns, {2}).front() == all[2]);
        WEIR_CHECK(evaluate(expression, columns, {0}).front() == all[0]);
    }

    test::NamedScope input;
    test::NamedScope group;
    const auto aggregate = compile_aggregate(text, input, group, 0);
    if (const auto* const error = std::get_if<CompileError>(&aggregate)) check_error(*error, text);
    return 0;
}
