#include "processor/expr/nodes.h"
#include "processor/expr/value_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace weir::processor::expr {
namespace {

Value not_boolean(const Value& value, Arena& arena) {
    return error_value(arena, fmt::format("a condition must be boolean, not {}", type_name(value.type)));
}

// AND (kDecides = false) and OR (kDecides = true): the first operand that decides a row ends it.
template <bool kDecides>
class LogicNode final : public Node {
public:
    explicit LogicNode(std::vector<NodePtr> operands) : Node(Type::kBool), operands_(std::move(operands)) {}

    void evaluate(EvalContext& context, Rows rows, Value* out) const override {
        Scratch<uint32_t> open_rows(rows.size());
        uint32_t* const open = open_rows.data();
        size_t count = 0;
        operands_.front()->evaluate(context, rows, out);
        for (const uint32_t row : rows) {
            const Value& value = out[row];
            if (value.type == Type::kBool) [[likely]] {
                open[count] = row;
                count += value.boolean != kDecides;
            } else if (value.is_null()) {
                open[count++] = row;
            } else if (!value.is_error()) {
                out[row] = not_boolean(value, context.arena);
            }
        }
        for (size_t i = 1; i < operands_.size() && count > 0; ++i) {
            const Operand next(*operands_[i], context, {open, count});
            size_t kept = 0;
            for (size_t k = 0; k < count; ++k) {
                const uint32_t row = open[k];
                const Value& value = next[row];
                if (value.type == Type::kBool) [[likely]] {
                    if (value.boolean == kDecides) {
                        out[row] = value;
                        continue;
                    }
                } else if (value.is_null()) {
                    out[row] = value;
                } else {
                    out[row] = value.is_error() ? value : not_boolean(value, context.arena);
                    continue;
                }
                open[kept++] = row;
            }
            count = kept;
        }
    }

private:
    std::vector<NodePtr> operands_;
};

class NotNode final : public Node {
public:
    explicit NotNode(NodePtr operand) : Node(Type::kBool), operand_(std::move(operand)) {}

    void evaluate(EvalContext& context, Rows rows, Value* out) const override {
        const Operand operand(*operand_, context, rows);
        for (const uint32_t row : rows) {
            const Value& value = operand[row];
            if (value.type == Type::kBool) {
                out[row].set_bool(!value.boolean);
            } else {
                out[row] = value.is_null() || value.is_error() ? value : not_boolean(value, context.arena);
            }
        }
    }

private:
    NodePtr operand_;
};

class TestNode final : public Node {
public:
    TestNode(Test test, NodePtr operand) : Node(Type::kBool), test_(test), operand_(std::move(operand)) {}

    void evaluate(EvalContext& context, Rows rows, Value* out) const override {
        const Operand operand(*operand_, context, rows);
        const bool boolean_only = test_ != Test::kIsNull && test_ != Test::kIsNotNull;
        for (const uint32_t row : rows) {
            const Value& value = operand[row];
            if (value.is_error()) {
                out[row] = value;
            } else if (boolean_only && !value.is_null() && value.type != Type::kBool) {
                out[row] = not_boolean(value, context.arena);
            } else {
                out[row].set_bool(test(value));
            }
        }
    }

private:
    [[nodiscard]] bool test(const Value& value) const {
        const bool null = value.is_null();
        switch (test_) {
            case Test::kIsNull:
            case Test::kIsUnknown: return null;
            case Test::kIsNotNull:
            case Test::kIsNotUnknown: return !null;
            case Test::kIsTrue: return !null && value.boolean;
            case Test::kIsNotTrue: return null || !value.boolean;
            case Test::kIsFalse: return !null && !value.boolean;
            case Test::kIsNotFalse: return null || value.boolean;
        }
        return false;
    }

    Test test_;
    NodePtr operand_;
};

class CaseNode final : public Node {
public:
    CaseNode(std::vector<CaseBranch> branches, NodePtr otherwise, std::optional<Type> type)
        : Node(type), branches_(std::move(branches)), otherwise_(std::move(otherwise)) {}

    void evaluate(EvalContext& context, Rows rows, Value* out) const override {
        Scratch<uint32_t> open_rows(rows.size());
        Scratch<uint32_t> taken_rows(rows.size());
        uint32_t* const open = open_rows.data();
        uint32_t* const taken = taken_rows.data();
        std::copy(rows.begin(), rows.end(), open);
        size_t count = rows.size();
        for (const CaseBranch& branch : branches_) {
            if (count == 0) return;
            size_t taken_count = 0;
            size_t kept = 0;
            {
                const Operand condition(*branch.condition, context, {open, count});
                for (size_t k = 0; k < count; ++k) {
                    const uint32_t row = open[k];
                    const Value& value = condition[row];
                    if (value.type == Type::kBool && value.boolean) {
                        taken[taken_count++] = row;
                    } else if (value.type == Type::kBool || value.is_null()) {
                        open[kept++] = row;
                    } else {
                        out[row] = value.is_error() ? value : not_boolean(value, context.arena);
                    }
                }
            }
            count = kept;
            if (taken_count > 0) copy_result(*branch.result, context, {taken, taken_count}, out);
        }
        if (count > 0) copy_result(*otherwise_, context, {open, count}, out);
    }

private:
    static void copy_result(const Node& node, EvalContext& context, Rows rows, Value* out) {
        const Operand result(node, context, rows);
        for (const uint32_t row : rows) out[row] = result[row];
    }

    std::vector<CaseBranch> branches_;
    NodePtr otherwise_;
};

class CoalesceNode final : public Node {
public:
    CoalesceNode(std::vector<NodePtr> operands, std::optional<Type> type)
        : Node(type), operands_(std::move(operands)) {}

    void evaluate(EvalContext& context, Rows rows, Value* out) const override {
        Scratch<uint32_t> open_rows(rows.size());
        uint32_t* const open = open_rows.data();
        std::copy(rows.begin(), rows.end(), open);
        size_t count = rows.size();
        for (const NodePtr& node : operands_) {
            if (count == 0) return;
            const Operand operand(*node, context, {open, count});
            size_t kept = 0;
            for (size_t k = 0; k < count; ++k) {
                const uint32_t row = open[k];
                out[row] = operand[row];
                if (out[row].is_null()) open[kept++] = row;
            }
            count = kept;
        }
    }

private:
    std::vector<NodePtr> operands_;
};

}  // namespace

NodePtr make_and(std::vector<NodePtr> operands) {
    return std::make_shared<LogicNode<false>>(std::move(operands));
}
NodePtr make_or(std::vector<NodePtr> operands) {
    return std::make_shared<LogicNode<true>>(std::move(operands));
}
NodePtr make_not(NodePtr operand) { return std::make_shared<NotNode>(std::move(operand)); }
NodePtr make_test(Test test, NodePtr operand) { return std::make_shared<TestNode>(test, std::move(operand)); }
NodePtr make_case(std::vector<CaseBranch> branches, NodePtr otherwise, std::optional<Type> type) {
    return std::make_shared<CaseNode>(std::move(branches), std::move(otherwise), type);
}
NodePtr make_coalesce(std::vector<NodePtr> operands, std::optional<Type> type) {
    return std::make_shared<CoalesceNode>(std::move(operands), type);
}

}  // namespace weir::processor::expr
