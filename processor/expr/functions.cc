#include "processor/expr/functions.h"

#include <algorithm>

namespace weir::processor::expr {
namespace {

const std::vector<FunctionSpec>& table() {
    static const std::vector<FunctionSpec> kTable = [] {
        std::vector<FunctionSpec> all;
        add_text_functions(all);
        add_number_functions(all);
        add_jsonb_functions(all);
        add_time_functions(all);
        return all;
    }();
    return kTable;
}

}  // namespace

std::span<const FunctionSpec> functions() { return table(); }

const FunctionSpec* find_function(std::string_view name, size_t arguments) {
    for (const FunctionSpec& spec : table())
        if (spec.name == name && arguments >= spec.min_arguments &&
            (spec.max_arguments == kVariadic || arguments <= spec.max_arguments))
            return &spec;
    return nullptr;
}

bool is_function_name(std::string_view name) {
    return std::any_of(table().begin(), table().end(),
                       [&](const FunctionSpec& spec) { return spec.name == name; });
}

std::optional<Type> result_type(const FunctionSpec& spec, std::span<const std::optional<Type>> arguments) {
    switch (spec.rule) {
        case ResultRule::kFixed: return spec.result;
        case ResultRule::kSameAsFirst: return arguments[0];
        case ResultRule::kSameAsSecond: return arguments[1];
        case ResultRule::kFloatUnlessNumeric:
        case ResultRule::kPromoted: break;
    }
    std::optional<Type> largest;
    for (const auto& argument : arguments) {
        if (!argument) return std::nullopt;
        largest = largest ? std::max(*largest, *argument) : *argument;
    }
    if (spec.rule == ResultRule::kPromoted || largest == Type::kNumeric) return largest;
    return Type::kFloat8;
}

}  // namespace weir::processor::expr
