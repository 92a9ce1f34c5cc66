// Compiled code: a tree of nodes, each of which computes its value for all selected rows before its parent
// looks at them. AND, OR, CASE and coalesce hand smaller selections to the branches that come later, so an
// expression that is guarded by another is not evaluated where the guard says no.
//
// Thread:  immutable after compilation; scratch columns are the evaluating thread's own.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "processor/expr/expression.h"
#include "processor/value.h"

namespace weir::processor::expr {

using Rows = std::span<const uint32_t>;  // Ascending, not empty.

class Node {
public:
    explicit Node(std::optional<Type> type) : type_(type) {}
    virtual ~Node() = default;
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

    // Sets out[row] for every row of `rows`.
    virtual void evaluate(EvalContext& context, Rows rows, Value* out) const = 0;

    // Values that stand ready: a column of the batch, or one constant.
    [[nodiscard]] virtual const Value* column(const EvalContext&) const { return nullptr; }
    [[nodiscard]] virtual const Value* constant() const { return nullptr; }
    [[nodiscard]] virtual std::optional<Slot> slot() const { return std::nullopt; }

    [[nodiscard]] std::optional<Type> type() const { return type_; }

private:
    std::optional<Type> type_;  // None: known per row only.
};

using NodePtr = std::shared_ptr<const Node>;

// A column or a selection for the time of one evaluation, lent from the thread's pool.
template <class T>
class Scratch {
public:
    explicit Scratch(size_t size);
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    [[nodiscard]] T* data() { return buffer_.data(); }

private:
    std::vector<T> buffer_;
};

// A child's values over a selection.
class Operand {
public:
    Operand(const Node& node, EvalContext& context, Rows rows) {
        if (const Value* const constant = node.constant()) {
            base_ = constant;
            stride_ = 0;
        } else if (const Value* const column = node.column(context)) {
            base_ = column;
        } else {
            scratch_.emplace(size_t{rows.back()} + 1);
            node.evaluate(context, rows, scratch_->data());
            base_ = scratch_->data();
        }
    }

    const Value& operator[](uint32_t row) const { return base_[row * stride_]; }

private:
    const Value* base_ = nullptr;
    size_t stride_ = 1;
    std::optional<Scratch<Value>> scratch_;
};

}  // namespace weir::processor::expr
