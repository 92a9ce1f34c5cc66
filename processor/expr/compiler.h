// From the parser's tree to nodes: names are bound, types are followed as far as they are known, literals
// take the type that their neighbour asks for, and constant parts are computed once.
#pragma once

#include <rapidjson/document.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "processor/expr/expression.h"
#include "processor/expr/nodes.h"
#include "processor/expr/syntax.h"

namespace weir::processor::expr {

// A compiled part of an expression.
struct Term {
    NodePtr node;
    std::optional<Type> type;  // None: known per row only, or NULL.
    bool is_literal = false;   // A bare string literal: its type is still open.
    std::string text;          // Of a literal.
    size_t position = 0;
    size_t length = 1;
};

[[nodiscard]] inline bool is_null_constant(const Term& term) {
    const Value* const constant = term.node->constant();
    return constant != nullptr && constant->is_null();
}

class Compiler {
public:
    // `aggregates` is null where aggregate functions are not allowed.
    struct Aggregates {
        Scope& input;
        Slot first_slot;
        std::vector<AggregateCall> calls;
    };
    Compiler(const Syntax& syntax, Scope& scope, Aggregates* aggregates)
        : syntax_(syntax), scope_(&scope), aggregates_(aggregates) {}

    using Json = rapidjson::Value;

    [[nodiscard]] Compiled<NodePtr> compile() { return compile(*syntax_.expression); }
    // A part of the expression.
    [[nodiscard]] Compiled<NodePtr> compile(const Json& part);

private:
    bool term(const Json& json, Term& out);
    bool constant(const Json& body, Term& out);
    bool column(const Json& body, Term& out);
    bool bind_path(std::vector<std::string> path, size_t position, size_t length, Term& out);
    bool operation(const Json& body, Term& out);
    bool logic(const Json& body, Term& out);
    bool in_list(const Json& body, Term left, bool negated, size_t position, Term& out);
    bool between(const Json& body, const Term& left, std::string_view kind, size_t position, Term& out);
    bool pattern_match(const Json& body, const Term& left, std::string_view name, size_t position, Term& out);
    bool null_test(const Json& body, Term& out);
    bool boolean_test(const Json& body, Term& out);
    bool case_expression(const Json& body, Term& out);
    bool coalesce(const Json& body, Term& out);
    bool greatest_least(const Json& body, Term& out);
    bool type_cast(const Json& body, Term& out);
    bool indirection(const Json& body, Term& out);
    bool function_call(const Json& body, Term& out);
    bool aggregate_call(const Json& body, const AggregateFunctionSpec& function, size_t position, Term& out);
    bool aggregate_arguments(const Json& body, const AggregateFunctionSpec& function, size_t position,
                             AggregateCall& call, std::optional<Type>& type);
    bool aggregate_argument(const Json& json, const AggregateFunctionSpec& function, AggregateCall& call,
                            std::optional<Type>& type);
    bool aggregate_constant(const Json& json, const AggregateFunctionSpec& function, AggregateSpec& spec);
    bool aggregate_order(const Json& order, std::string_view name, size_t position, AggregateSpec& spec,
                         const Json*& by);
    bool value_function(const Json& body, Term& out);

    bool terms(const Json* list, std::vector<Term>& out);
    bool condition(Term& term);
    bool binary(Operator op, Term left, Term right, size_t position, Term& out);
    bool distinct(Term left, Term right, bool negated, size_t position, Term& out);
    bool call(std::string_view name, std::vector<Term> arguments, size_t position, Term& out);
    // Gives terms that can become each other's result one type, as CASE and coalesce need it.
    bool unify(std::string_view what, std::vector<Term*>& branches, std::optional<Type>& type);
    bool coerce_literal(Term& term, Type type);
    bool promote(Term& term, Type type);
    bool fold(Term& term);
    bool target_type(const Json& type_name, Type& type, int& precision, int& scale);

    bool fail(std::string message, size_t position, size_t length = 0, std::string help = {});
    [[nodiscard]] size_t position_of(const Json& body) const;

    const Syntax& syntax_;
    Scope* scope_;
    Aggregates* aggregates_;
    bool in_aggregate_ = false;
    int depth_ = 0;
    bool unreachable_ = false;  // Within a branch that no row takes: constants may fail.
    CompileError error_;
};

// The candidate closest to `word` when it is close enough to be a typing error.
[[nodiscard]] std::optional<std::string_view> nearest(std::string_view word,
                                                      std::span<const std::string_view> candidates);

}  // namespace weir::processor::expr
