// The functions that expressions may call, as one table: name, argument types, result, code.
//
// Thread:  the table is immutable.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "processor/expr/nodes.h"

namespace weir::processor::expr {

// Bits of argument masks.
[[nodiscard]] constexpr uint16_t type_bit(Type type) {
    return static_cast<uint16_t>(1U << static_cast<unsigned>(type));
}
inline constexpr uint16_t kTextArgument = type_bit(Type::kText);
inline constexpr uint16_t kInt4Argument = type_bit(Type::kInt4);
inline constexpr uint16_t kNumericArgument =
    static_cast<uint16_t>(type_bit(Type::kInt4) | type_bit(Type::kInt8) | type_bit(Type::kNumeric));
inline constexpr uint16_t kNumberArgument = static_cast<uint16_t>(kNumericArgument | type_bit(Type::kFloat8));
inline constexpr uint16_t kJsonbArgument = type_bit(Type::kJsonb);
inline constexpr uint16_t kTimestampArgument = type_bit(Type::kTimestamptz);
inline constexpr uint16_t kIntervalArgument = type_bit(Type::kInterval);
inline constexpr uint16_t kAnyArgument = 0x3FF;

// How the result's type follows from the arguments' types.
enum class ResultRule : uint8_t {
    kFixed,
    kFloatUnlessNumeric,  // numeric stays numeric; integers and double precision give double precision.
    kSameAsFirst,
    kSameAsSecond,
    kPromoted,  // The larger of two numeric types.
};

struct FunctionSpec {
    std::string_view name;
    std::string_view signature;  // As the user sees it: "left(text, integer)".
    uint8_t min_arguments;
    uint8_t max_arguments;  // kVariadic: any number.
    std::vector<uint16_t> accepts;
    ResultRule rule;
    Type result;
    FunctionCode code;
    bool strict = true;
    // Work that depends on constant arguments only (nullptr where not constant); a message when it fails.
    std::shared_ptr<const void> (*prepare)(std::span<const Value* const> constants,
                                           std::string& error) = nullptr;
};
inline constexpr uint8_t kVariadic = 255;

// All functions of that name (they differ in their numbers of arguments).
[[nodiscard]] std::span<const FunctionSpec> functions();
[[nodiscard]] const FunctionSpec* find_function(std::string_view name, size_t arguments);
[[nodiscard]] bool is_function_name(std::string_view name);

void add_text_functions(std::vector<FunctionSpec>& out);
void add_number_functions(std::vector<FunctionSpec>& out);
void add_jsonb_functions(std::vector<FunctionSpec>& out);
void add_time_functions(std::vector<FunctionSpec>& out);

[[nodiscard]] std::optional<Type> result_type(const FunctionSpec& spec,
                                              std::span<const std::optional<Type>> arguments);

}  // namespace weir::processor::expr
