// What the compiler builds code from; each function returns one node. See node.h for the contract.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "processor/expr/node.h"
#include "processor/expr/operators.h"
#include "processor/value.h"

namespace weir::processor::expr {

// What a function sees of its call.
struct CallContext {
    Arena& arena;
    int64_t now_us;
    const void* prepared;  // What CallSpec::prepared made at compile time, or nullptr.
};
using FunctionCode = Value (*)(CallContext& context, std::span<const Value> arguments);

// A string literal whose type the other operand decides ('5' beside a number is 5): read once as each type.
class AdaptiveLiteral {
public:
    AdaptiveLiteral(Operator op, std::string text, bool is_left);
    // The literal as an operand beside a value of `type`; kError when it cannot be read as one.
    [[nodiscard]] const Value& beside(Type type) const { return variants_[static_cast<size_t>(type)]; }

private:
    std::string text_;
    Arena arena_;
    std::array<Value, 11> variants_;
};

enum class Test : uint8_t {
    kIsNull,
    kIsNotNull,
    kIsTrue,
    kIsNotTrue,
    kIsFalse,
    kIsNotFalse,
    kIsUnknown,
    kIsNotUnknown,
};

struct CaseBranch {
    NodePtr condition;
    NodePtr result;
};

struct CallSpec {
    std::string name;
    FunctionCode code = nullptr;
    std::vector<uint16_t> accepts;  // Bit mask of types per argument; the last one repeats.
    bool strict = true;             // NULL in, NULL out.
    std::shared_ptr<const void> prepared;
    std::optional<Type> result;
};

[[nodiscard]] NodePtr make_constant(const Value& value);  // Copies bytes.
[[nodiscard]] NodePtr make_slot(Slot slot, std::optional<Type> type);
[[nodiscard]] NodePtr make_now();
// A field below a slot: objects by name, arrays by a whole number; a scalar unwraps to its SQL value.
[[nodiscard]] NodePtr make_path(NodePtr base, std::vector<std::string> segments);
// The type as which PostgreSQL reads a bare literal beside an operand of type `other`.
[[nodiscard]] Type literal_type(Operator op, Type other, bool literal_is_left);
// At most one of the adaptive literals is set; that operand's node is then ignored.
[[nodiscard]] NodePtr make_binary(Operator op, NodePtr left, NodePtr right,
                                  std::shared_ptr<const AdaptiveLiteral> left_literal,
                                  std::shared_ptr<const AdaptiveLiteral> right_literal,
                                  std::optional<Type> type);
[[nodiscard]] NodePtr make_negate(NodePtr operand);
[[nodiscard]] NodePtr make_distinct(NodePtr left, NodePtr right,
                                    std::shared_ptr<const AdaptiveLiteral> left_literal,
                                    std::shared_ptr<const AdaptiveLiteral> right_literal, bool negated);
[[nodiscard]] NodePtr make_and(std::vector<NodePtr> operands);
[[nodiscard]] NodePtr make_or(std::vector<NodePtr> operands);
[[nodiscard]] NodePtr make_not(NodePtr operand);
[[nodiscard]] NodePtr make_test(Test test, NodePtr operand);
[[nodiscard]] NodePtr make_case(std::vector<CaseBranch> branches, NodePtr otherwise,
                                std::optional<Type> type);
[[nodiscard]] NodePtr make_coalesce(std::vector<NodePtr> operands, std::optional<Type> type);
[[nodiscard]] NodePtr make_call(CallSpec spec, std::vector<NodePtr> arguments);
// Numbers become `type` (kNumeric or kFloat8) when they are of a smaller one; anything else passes.
[[nodiscard]] NodePtr make_promotion(NodePtr operand, Type type);
// `field IN ('a', 'b', …)` over texts.
[[nodiscard]] NodePtr make_text_set(NodePtr operand, std::vector<std::string> members);

}  // namespace weir::processor::expr
