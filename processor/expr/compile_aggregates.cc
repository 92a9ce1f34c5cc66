// Calls of aggregate functions: what they take from records is compiled where the records are known, the call
// itself becomes a slot of the results.
#include <fmt/format.h>

#include <utility>

#include "processor/expr/compiler.h"
#include "processor/expr/functions.h"
#include "processor/expr/json_tree.h"
#include "processor/expr/operators.h"

namespace weir::processor::expr {
namespace {

bool takes_groups(const AggregateFunctionSpec& function) {
    return function.constant == AggregateConstant::kFraction;
}

size_t size_of(const rapidjson::Value* list) { return list == nullptr ? 0 : list->Size(); }

}  // namespace

bool Compiler::aggregate_call(const Json& body, const AggregateFunctionSpec& function, size_t position,
                              Term& out) {
    const std::string_view name = function.name;
    if (aggregates_ == nullptr)
        return fail(fmt::format("aggregate function {} is not allowed here", name), position, 0,
                    "aggregates belong into the fields of an aggregate step");
    if (in_aggregate_) return fail("aggregate function calls cannot be nested", position);
    if (child(body, "func_variadic") != nullptr)
        return fail(fmt::format("VARIADIC is not supported in {}", name), position);

    AggregateCall call;
    call.spec.function = function.function;
    call.spec.sample = function.sample;
    call.spec.root = function.root;
    call.position = position;
    if (child(body, "agg_distinct") != nullptr) {
        if (!function.takes_distinct)
            return fail(fmt::format("{}(DISTINCT …) is not supported", name), position, 0,
                        std::string(function.signature));
        // Of min, max and the boolean ones the result is the same.
        call.spec.distinct = function.function == AggregateFunction::kCount ||
                             function.function == AggregateFunction::kSum ||
                             function.function == AggregateFunction::kAvg ||
                             function.function == AggregateFunction::kArrayAgg ||
                             function.function == AggregateFunction::kStringAgg;
    }

    Scope* const group = std::exchange(scope_, &aggregates_->input);
    in_aggregate_ = true;
    std::optional<Type> type;
    const auto compile_parts = [&] {
        if (!aggregate_arguments(body, function, position, call, type)) return false;
        const Json* const filter = child(body, "agg_filter");
        if (filter == nullptr) return true;
        Term condition_term;
        if (!term(*filter, condition_term) || !condition(condition_term)) return false;
        call.filter.emplace(std::string(syntax_.source), std::move(condition_term.node));
        return true;
    };
    const bool compiled = compile_parts();
    in_aggregate_ = false;
    scope_ = group;
    if (!compiled) return false;

    type = aggregate_result(call.spec.function, type);
    const auto slot =
        static_cast<Slot>(aggregates_->first_slot + static_cast<Slot>(aggregates_->calls.size()));
    aggregates_->calls.push_back(std::move(call));
    out.node = make_slot(slot, type);
    out.type = type;
    out.position = position;
    out.length = syntax_.token_length(position);
    return true;
}

// `type` becomes that of the first argument.
bool Compiler::aggregate_arguments(const Json& body, const AggregateFunctionSpec& function, size_t position,
                                   AggregateCall& call, std::optional<Type>& type) {
    const std::string_view name = function.name;
    const std::string signature(function.signature);
    const Json* const arguments = child(body, "args");
    const size_t count = size_of(arguments);
    if (child(body, "agg_star") != nullptr) {
        if (function.function != AggregateFunction::kCount)
            return fail(fmt::format("{}(*) does not exist", name), position, 0, signature);
        call.spec.function = AggregateFunction::kCountStar;
        return true;
    }
    const Json* const order = child(body, "agg_order");
    const bool within_group = child(body, "agg_within_group") != nullptr;
    if (within_group != takes_groups(function))
        return fail(within_group ? fmt::format("{} takes no WITHIN GROUP", name)
                                 : fmt::format("WITHIN GROUP is required for {}", name),
                    position, 0, signature);
    const Json* by = nullptr;
    if (order != nullptr && !aggregate_order(*order, name, position, call.spec, by)) return false;
    if (by != nullptr && (!function.takes_order || call.spec.distinct))
        return fail(
            call.spec.distinct ? fmt::format("{}(DISTINCT …) takes no ORDER BY: its values are sorted", name)
                               : fmt::format("ORDER BY is not supported in {}", name),
            position, 0, signature);

    const bool two_values = !function.takes_order && function.accepts[1] != 0;
    const size_t wanted = function.constant == AggregateConstant::kNone ? 1 + (two_values ? 1U : 0U)
                          : within_group                                ? 1
                                                                        : 2;
    if (count != wanted) {
        const char* const number = wanted == 1 ? "one argument" : "two arguments";
        return fail(fmt::format("{} takes {}, not {}", name, number, count), position, 0,
                    function.function == AggregateFunction::kCount ? "count(*) counts records" : signature);
    }
    if (within_group) {
        return aggregate_constant((*arguments)[0], function, call.spec) &&
               aggregate_argument(*by, function, call, type);
    }
    if (!aggregate_argument((*arguments)[0], function, call, type)) return false;
    std::optional<Type> other;
    if (two_values) return aggregate_argument((*arguments)[1], function, call, other);
    if (wanted == 2 && !aggregate_constant((*arguments)[1], function, call.spec)) return false;
    call.spec.ordered = by != nullptr;
    return by == nullptr || aggregate_argument(*by, function, call, other);
}

bool Compiler::aggregate_argument(const Json& json, const AggregateFunctionSpec& function,
                                  AggregateCall& call, std::optional<Type>& type) {
    Term argument;
    if (!term(json, argument) || !coerce_literal(argument, Type::kText)) return false;
    const uint16_t accepted = function.accepts[call.arguments.size()];
    if (argument.type && (accepted & type_bit(*argument.type)) == 0)
        return fail(fmt::format("function {}({}) does not exist", function.name, type_name(*argument.type)),
                    argument.position, argument.length, std::string(function.signature));
    type = argument.type;
    call.arguments.emplace_back(std::string(syntax_.source), std::move(argument.node));
    return true;
}

bool Compiler::aggregate_constant(const Json& json, const AggregateFunctionSpec& function,
                                  AggregateSpec& spec) {
    Term argument;
    if (!term(json, argument)) return false;
    const auto refuse = [&](std::string_view wanted) {
        return fail(fmt::format("{} takes {} here", function.name, wanted), argument.position,
                    argument.length, std::string(function.signature));
    };
    if (!coerce_literal(argument, function.constant == AggregateConstant::kSeparator ? Type::kText
                                                                                     : Type::kNumeric))
        return false;
    const Value* const constant = argument.node->constant();
    switch (function.constant) {
        case AggregateConstant::kFraction:
            if (constant == nullptr || !is_number(constant->type))
                return refuse("a constant number from 0 to 1");
            spec.fraction = number_as_double(*constant);
            // Not a number is refused, too.
            if (!(spec.fraction >= 0 && spec.fraction <= 1)) return refuse("a constant number from 0 to 1");
            return true;
        case AggregateConstant::kK:
            if (constant == nullptr || constant->type != Type::kInt4 || constant->integer < 1 ||
                constant->integer > kLargestTopK)
                return refuse(fmt::format("a constant whole number from 1 to {}", kLargestTopK));
            spec.k = static_cast<int32_t>(constant->integer);
            return true;
        case AggregateConstant::kSeparator:
            if (constant == nullptr || constant->type != Type::kText) return refuse("a constant text");
            spec.separator = constant->bytes();
            return true;
        case AggregateConstant::kNone: break;
    }
    return true;
}

bool Compiler::aggregate_order(const Json& order, std::string_view name, size_t position,
                               AggregateSpec& spec, const Json*& by) {
    if (order.Size() != 1)
        return fail(fmt::format("ORDER BY in {} takes one expression", name), position);
    const Json& sort = *child(order[0], "SortBy");
    const std::string_view direction = text_of(*child(sort, "sortby_dir"));
    if (direction == "SORTBY_USING" || text_of(*child(sort, "sortby_nulls")) != "SORTBY_NULLS_DEFAULT")
        return fail(fmt::format("ORDER BY in {} takes ASC or DESC, no USING and no NULLS", name), position);
    spec.descending = direction == "SORTBY_DESC";
    by = child(sort, "node");
    return true;
}

}  // namespace weir::processor::expr
