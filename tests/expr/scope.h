// A record whose fields are given by name, for expressions under test.
#pragma once

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "processor/expr/expression.h"
#include "processor/expr/jsonb.h"
#include "processor/expr/value_text.h"

namespace weir::processor::expr::test {

// Every first word of a path is a column; a column exists once it was named by `add` or by an expression.
class NamedScope final : public Scope {
public:
    Slot add(std::string name) {
        names_.push_back(std::move(name));
        types_.emplace_back();
        return static_cast<Slot>(names_.size() - 1);
    }
    void set_type(Slot slot, Type type) { types_[static_cast<size_t>(slot)] = type; }

    Compiled<Binding> bind(std::span<const std::string> path) override {
        for (size_t i = 0; i < names_.size(); ++i)
            if (names_[i] == path.front()) return Binding{static_cast<Slot>(i), 1, types_[i]};
        return Binding{add(path.front()), 1, std::nullopt};
    }
    Compiled<Binding> bind_metadata(Metadata which) override {
        static constexpr const char* kNames[] = {"_key",    "_topic",     "_partition",
                                                 "_offset", "_timestamp", "_headers"};
        const std::string name = kNames[static_cast<size_t>(which)];
        return bind({&name, 1});
    }

    [[nodiscard]] const std::vector<std::string>& names() const { return names_; }

private:
    std::vector<std::string> names_;
    std::vector<std::optional<Type>> types_;
};

// Evaluates `text` over one record given as a JSON object; the result as text, "NULL", "ERROR: …", or
// "COMPILE: … @position" when it does not compile.
inline std::string evaluate(std::string_view text, std::string_view record = "{}", int64_t now_us = 0) {
    NamedScope scope;
    auto compiled = Expression::compile(text, scope);
    if (const auto* const error = std::get_if<CompileError>(&compiled))
        return "COMPILE: " + error->message + " @" + std::to_string(error->position) +
               (error->help.empty() ? "" : " (" + error->help + ")");
    Arena arena;
    std::vector<Column> columns(scope.names().size());
    for (size_t i = 0; i < columns.size(); ++i) {
        const auto member = json_member(record, scope.names()[i]);
        columns[i].push_back(member ? json_to_value(*member, arena) : Value::null());
    }
    EvalContext context{arena, now_us, columns};
    Column out;
    const uint32_t row = 0;
    std::get<Expression>(compiled).evaluate(context, {&row, 1}, 1, out);
    if (out[0].is_null()) return "NULL";
    if (out[0].is_error()) return "ERROR: " + to_text(out[0]);
    return to_text(out[0]);
}

}  // namespace weir::processor::expr::test
