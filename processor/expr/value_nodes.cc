#include "processor/expr/nodes.h"

#include <absl/container/flat_hash_set.h>
#include <absl/strings/string_view.h>
#include <fmt/format.h>

#include <array>
#include <cstring>

#include "processor/expr/decimal.h"
#include "processor/expr/jsonb.h"
#include "processor/expr/value_text.h"

namespace weir::processor::expr {
namespace {

class ConstantNode final : public Node {
public:
    explicit ConstantNode(const Value& value)
        : Node(value.is_null() ? std::nullopt : std::optional(value.type)), value_(value) {
        if (value.type == Type::kText || value.type == Type::kJsonb || value.type == Type::kError) {
            bytes_ = value.bytes();
            value_.data = bytes_.data();
        }
    }

    void evaluate(EvalContext&, Rows rows, Value* out) const override {
        for (const uint32_t row : rows) out[row] = value_;
    }
    [[nodiscard]] const Value* constant() const override { return &value_; }

private:
    std::string bytes_;
    Value value_;
};

class SlotNode final : public Node {
public:
    SlotNode(Slot slot, std::optional<Type> type) : Node(type), slot_(slot) {}

    void evaluate(EvalContext& context, Rows rows, Value* out) const override {
        const Value* const values = column(context);
        for (const uint32_t row : rows) out[row] = values[row];
    }
    [[nodiscard]] const Value* column(const EvalContext& context) const override {
        return context.columns[static_cast<size_t>(slot_)].data();
    }
    [[nodiscard]] std::optional<Slot> slot() const override { return slot_; }

private:
    Slot slot_;
};

class NowNode final : public Node {
public:
    NowNode() : Node(Type::kTimestamptz) {}

    void evaluate(EvalContext& context, Rows rows, Value* out) const override {
        for (const uint32_t row : rows) out[row] = Value::of_timestamptz(context.now_us);
    }
};

class PathNode final : public Node {
public:
    PathNode(NodePtr base, std::vector<std::string> segments)
        : Node(std::nullopt), base_(std::move(base)), segments_(std::move(segments)) {}

    void evaluate(EvalContext& context, Rows rows, Value* out) const override {
        const Operand base(*base_, context, rows);
        for (const uint32_t row : rows) out[row] = lookup(base[row], context.arena);
    }

private:
    [[nodiscard]] Value lookup(const Value& base, Arena& arena) const {
        if (base.is_error()) return base;
        if (base.type != Type::kJsonb) return Value::null();  // A scalar has no members.
        std::string_view at = base.bytes();
        for (const std::string& segment : segments_) {
            const auto member = json_member(at, segment);
            if (!member) return Value::null();
            at = *member;
        }
        return json_to_value(at, arena);
    }

    NodePtr base_;
    std::vector<std::string> segments_;
};

class BinaryNode final : public Node {
public:
    BinaryNode(Operator op, NodePtr left, NodePtr right, std::shared_ptr<const AdaptiveLiteral> left_literal,
               std::shared_ptr<const AdaptiveLiteral> right_literal, std::optional<Type> type)
        : Node(type),
          op_(op),
          compares_(is_comparison(op)),
          left_(std::move(left)),
          right_(std::move(right)),
          left_literal_(std::move(left_literal)),
          right_literal_(std::move(right_literal)) {}

    void evaluate(EvalContext& context, Rows rows, Value* out) const override {
        const Operand left(*left_, context, rows);
        const Operand right(*right_, context, rows);
        for (const uint32_t row : rows) {
            const Value* a = &left[row];
            const Value* b = &right[row];
            if (left_literal_ != nullptr) a = &left_literal_->beside(b->type);
            if (right_literal_ != nullptr) b = &right_literal_->beside(a->type);
            if (compares_ && a->type == Type::kNumeric && b->type == Type::kNumeric) {
                out[row].set_bool(holds(op_, compare(Decimal::of(*a), Decimal::of(*b))));
            } else if (a->is_error() || b->is_error()) {
                out[row] = a->is_error() ? *a : *b;
            } else if (a->is_null() || b->is_null()) {
                out[row] = Value::null();
            } else {
                out[row] = apply(op_, *a, *b, context.arena);
            }
        }
    }

private:
    Operator op_;
    bool compares_;
    NodePtr left_;
    NodePtr right_;
    std::shared_ptr<const AdaptiveLiteral> left_literal_;
    std::shared_ptr<const AdaptiveLiteral> right_literal_;
};

// A column compared with a literal, where nearly all values are of the literal's kind.
template <Operator kOp>
class CompareNode final : public Node {
public:
    CompareNode(NodePtr left, const Value& literal, std::shared_ptr<const AdaptiveLiteral> adaptive)
        : Node(Type::kBool), left_(std::move(left)), literal_(literal), adaptive_(std::move(adaptive)) {
        if (literal_.type == Type::kText) {
            bytes_ = literal_.bytes();
            literal_.data = bytes_.data();
        } else {
            decimal_ = Decimal::of(literal_);
            for (int scale = 0; scale < kScales; ++scale) {
                Decimal scaled;
                if (scale < decimal_.scale || round_to(decimal_, scale, scaled) != Status::kOk) continue;
                if (scaled.mantissa != static_cast<int64_t>(scaled.mantissa)) continue;
                has_mantissa_[static_cast<size_t>(scale)] = true;
                mantissas_[static_cast<size_t>(scale)] = static_cast<int64_t>(scaled.mantissa);
            }
        }
    }

    void evaluate(EvalContext& context, Rows rows, Value* out) const override {
        const Operand left(*left_, context, rows);
        if (literal_.type == Type::kText) {
            for (const uint32_t row : rows) {
                const Value& value = left[row];
                if (value.type == Type::kText) [[likely]] {
                    out[row].set_bool(holds_for_text(value));
                } else {
                    out[row] = general(value, context.arena);
                }
            }
            return;
        }
        for (const uint32_t row : rows) {
            const Value& value = left[row];
            if (value.type == Type::kNumeric) [[likely]] {
                out[row].set_bool(holds(kOp, order(value)));
            } else {
                out[row] = general(value, context.arena);
            }
        }
    }

private:
    static constexpr int kScales = 10;

    // A mantissa of one machine word is compared with the literal's at the same scale.
    [[nodiscard]] int order(const Value& value) const {
        const auto word = static_cast<int64_t>(value.low);
        if (value.scale < kScales && has_mantissa_[value.scale] && value.high == word >> 63) [[likely]]
            return word < mantissas_[value.scale] ? -1 : word > mantissas_[value.scale];
        return compare(Decimal::of(value), decimal_);
    }
    [[nodiscard]] bool holds_for_text(const Value& value) const {
        if constexpr (kOp == Operator::kEqual || kOp == Operator::kNotEqual) {
            const bool equal =
                value.length == literal_.length &&
                (value.length == 0 || std::memcmp(value.data, literal_.data, value.length) == 0);
            return equal == (kOp == Operator::kEqual);
        } else {
            return holds(kOp, value.bytes().compare(literal_.bytes()));
        }
    }
    [[nodiscard]] Value general(const Value& value, Arena& arena) const {
        if (value.is_null() || value.is_error()) return value;
        const Value& literal = adaptive_ != nullptr ? adaptive_->beside(value.type) : literal_;
        return literal.is_error() ? literal : apply(kOp, value, literal, arena);
    }

    NodePtr left_;
    Value literal_;
    std::string bytes_;
    Decimal decimal_;
    std::array<int64_t, kScales> mantissas_{};  // Of the literal, by scale.
    std::array<bool, kScales> has_mantissa_{};
    std::shared_ptr<const AdaptiveLiteral> adaptive_;
};

NodePtr make_compare(Operator op, NodePtr left, const Value& literal,
                     std::shared_ptr<const AdaptiveLiteral> adaptive) {
    switch (op) {
        case Operator::kEqual:
            return std::make_shared<CompareNode<Operator::kEqual>>(std::move(left), literal,
                                                                   std::move(adaptive));
        case Operator::kNotEqual:
            return std::make_shared<CompareNode<Operator::kNotEqual>>(std::move(left), literal,
                                                                      std::move(adaptive));
        case Operator::kLess:
            return std::make_shared<CompareNode<Operator::kLess>>(std::move(left), literal,
                                                                  std::move(adaptive));
        case Operator::kLessEqual:
            return std::make_shared<CompareNode<Operator::kLessEqual>>(std::move(left), literal,
                                                                       std::move(adaptive));
        case Operator::kGreater:
            return std::make_shared<CompareNode<Operator::kGreater>>(std::move(left), literal,
                                                                     std::move(adaptive));
        default:
            return std::make_shared<CompareNode<Operator::kGreaterEqual>>(std::move(left), literal,
                                                                          std::move(adaptive));
    }
}

Operator mirrored(Operator op) {
    switch (op) {
        case Operator::kLess: return Operator::kGreater;
        case Operator::kLessEqual: return Operator::kGreaterEqual;
        case Operator::kGreater: return Operator::kLess;
        case Operator::kGreaterEqual: return Operator::kLessEqual;
        default: return op;
    }
}

bool is_fast_literal(const Node& node) {
    const Value* const value = node.constant();
    return value != nullptr && (value->type == Type::kText || value->type == Type::kInt4 ||
                                value->type == Type::kInt8 || value->type == Type::kNumeric);
}

class NegateNode final : public Node {
public:
    explicit NegateNode(NodePtr operand) : Node(operand->type()), operand_(std::move(operand)) {}

    void evaluate(EvalContext& context, Rows rows, Value* out) const override {
        const Operand operand(*operand_, context, rows);
        for (const uint32_t row : rows) {
            const Value& value = operand[row];
            out[row] = value.is_null() || value.is_error() ? value : negate(value, context.arena);
        }
    }

private:
    NodePtr operand_;
};

class DistinctNode final : public Node {
public:
    DistinctNode(NodePtr left, NodePtr right, std::shared_ptr<const AdaptiveLiteral> left_literal,
                 std::shared_ptr<const AdaptiveLiteral> right_literal, bool negated)
        : Node(Type::kBool),
          left_(std::move(left)),
          right_(std::move(right)),
          left_literal_(std::move(left_literal)),
          right_literal_(std::move(right_literal)),
          negated_(negated) {}

    void evaluate(EvalContext& context, Rows rows, Value* out) const override {
        const Operand left(*left_, context, rows);
        const Operand right(*right_, context, rows);
        for (const uint32_t row : rows) {
            const Value* a = &left[row];
            const Value* b = &right[row];
            if (left_literal_ != nullptr) a = &left_literal_->beside(b->type);
            if (right_literal_ != nullptr) b = &right_literal_->beside(a->type);
            if (a->is_error() || b->is_error()) {
                out[row] = a->is_error() ? *a : *b;
            } else if (a->is_null() || b->is_null()) {
                out[row].set_bool((a->is_null() != b->is_null()) != negated_);
            } else {
                out[row] = apply(negated_ ? Operator::kEqual : Operator::kNotEqual, *a, *b, context.arena);
            }
        }
    }

private:
    NodePtr left_;
    NodePtr right_;
    std::shared_ptr<const AdaptiveLiteral> left_literal_;
    std::shared_ptr<const AdaptiveLiteral> right_literal_;
    bool negated_;
};

class CallNode final : public Node {
public:
    CallNode(CallSpec spec, std::vector<NodePtr> arguments)
        : Node(spec.result), spec_(std::move(spec)), arguments_(std::move(arguments)) {}

    void evaluate(EvalContext& context, Rows rows, Value* out) const override {
        const size_t count = arguments_.size();
        std::vector<std::optional<Operand>> operands(count);
        for (size_t i = 0; i < count; ++i) operands[i].emplace(*arguments_[i], context, rows);
        CallContext call{context.arena, context.now_us, spec_.prepared.get()};
        std::vector<Value> values(count);
        for (const uint32_t row : rows) {
            bool has_null = false;
            const Value* error = nullptr;
            for (size_t i = 0; i < count; ++i) {
                values[i] = (*operands[i])[row];
                has_null |= values[i].is_null();
                if (values[i].is_error() && error == nullptr) error = &values[i];
            }
            if (error != nullptr) {
                out[row] = *error;
            } else if (has_null && spec_.strict) {
                out[row] = Value::null();
            } else {
                out[row] = accepts(values) ? spec_.code(call, values) : no_function(values, context.arena);
            }
        }
    }

private:
    [[nodiscard]] bool accepts(std::span<const Value> values) const {
        for (size_t i = 0; i < values.size(); ++i) {
            const uint16_t mask = spec_.accepts[i < spec_.accepts.size() ? i : spec_.accepts.size() - 1];
            if (!values[i].is_null() && (mask >> static_cast<unsigned>(values[i].type) & 1) == 0)
                return false;
        }
        return true;
    }
    [[nodiscard]] Value no_function(std::span<const Value> values, Arena& arena) const {
        std::string types;
        for (const Value& value : values)
            types.append(types.empty() ? "" : ", ").append(type_name(value.type));
        return error_value(arena, fmt::format("function {}({}) does not exist", spec_.name, types));
    }

    CallSpec spec_;
    std::vector<NodePtr> arguments_;
};

class PromotionNode final : public Node {
public:
    PromotionNode(NodePtr operand, Type type)
        : Node(operand->type().has_value() && is_number(*operand->type()) ? std::optional(type)
                                                                          : operand->type()),
          operand_(std::move(operand)),
          type_(type) {}

    void evaluate(EvalContext& context, Rows rows, Value* out) const override {
        const Operand operand(*operand_, context, rows);
        for (const uint32_t row : rows) {
            const Value& value = operand[row];
            if (!is_number(value.type) || value.type >= type_) {
                out[row] = value;
            } else {
                out[row] = type_ == Type::kFloat8    ? Value::of_float8(number_as_double(value))
                           : type_ == Type::kNumeric ? Decimal::of(value).value()
                                                     : Value::of_int8(value.integer);
            }
        }
    }

private:
    NodePtr operand_;
    Type type_;
};

class TextSetNode final : public Node {
public:
    TextSetNode(NodePtr operand, std::vector<std::string> members)
        : Node(Type::kBool), operand_(std::move(operand)), members_(std::move(members)) {
        for (const std::string& member : members_) {
            set_.insert(absl::string_view(member.data(), member.size()));
            literals_.push_back(std::make_unique<AdaptiveLiteral>(Operator::kEqual, member, false));
        }
    }

    void evaluate(EvalContext& context, Rows rows, Value* out) const override {
        const Operand operand(*operand_, context, rows);
        for (const uint32_t row : rows) {
            const Value& value = operand[row];
            if (value.type == Type::kText) {
                out[row].set_bool(set_.contains(absl::string_view(value.data, value.length)));
            } else if (value.is_null() || value.is_error()) {
                out[row] = value;
            } else {
                out[row] = search(value, context.arena);
            }
        }
    }

private:
    [[nodiscard]] Value search(const Value& value, Arena& arena) const {
        bool found = false;
        for (const auto& literal : literals_) {
            const Value& member = literal->beside(value.type);
            if (member.is_error()) return member;
            const Value equal = apply(Operator::kEqual, value, member, arena);
            if (equal.is_error()) return equal;
            found |= equal.boolean;
        }
        return Value::of_bool(found);
    }

    NodePtr operand_;
    std::vector<std::string> members_;
    std::vector<std::unique_ptr<AdaptiveLiteral>> literals_;
    absl::flat_hash_set<absl::string_view> set_;
};

// Buffers that went out of use, for the next evaluation on this thread: no allocation per batch.
template <class T>
std::vector<std::vector<T>>& pool() {
    thread_local std::vector<std::vector<T>> buffers;
    return buffers;
}

}  // namespace

template <class T>
Scratch<T>::Scratch(size_t size) {
    if (!pool<T>().empty()) {
        buffer_ = std::move(pool<T>().back());
        pool<T>().pop_back();
    }
    if (buffer_.size() < size) buffer_.resize(size);
}

template <class T>
Scratch<T>::~Scratch() {
    pool<T>().push_back(std::move(buffer_));
}

template class Scratch<Value>;
template class Scratch<uint32_t>;

AdaptiveLiteral::AdaptiveLiteral(Operator op, std::string text, bool is_left) : text_(std::move(text)) {
    for (size_t i = 0; i < variants_.size(); ++i) {
        const auto other = static_cast<Type>(i);
        const bool typed = other != Type::kNull && other != Type::kError;
        variants_[i] = parse_text_as(typed ? literal_type(op, other, is_left) : Type::kText, text_, arena_);
    }
}

NodePtr make_constant(const Value& value) { return std::make_shared<ConstantNode>(value); }
NodePtr make_slot(Slot slot, std::optional<Type> type) { return std::make_shared<SlotNode>(slot, type); }
NodePtr make_now() { return std::make_shared<NowNode>(); }
NodePtr make_path(NodePtr base, std::vector<std::string> segments) {
    return std::make_shared<PathNode>(std::move(base), std::move(segments));
}

NodePtr make_binary(Operator op, NodePtr left, NodePtr right,
                    std::shared_ptr<const AdaptiveLiteral> left_literal,
                    std::shared_ptr<const AdaptiveLiteral> right_literal, std::optional<Type> type) {
    if (is_comparison(op) && left_literal == nullptr && is_fast_literal(*right)) {
        const Value literal = *right->constant();
        return make_compare(op, std::move(left), literal, std::move(right_literal));
    }
    if (is_comparison(op) && right_literal == nullptr && is_fast_literal(*left)) {
        const Value literal = *left->constant();
        return make_compare(mirrored(op), std::move(right), literal, std::move(left_literal));
    }
    return std::make_shared<BinaryNode>(op, std::move(left), std::move(right), std::move(left_literal),
                                        std::move(right_literal), type);
}

NodePtr make_negate(NodePtr operand) { return std::make_shared<NegateNode>(std::move(operand)); }
NodePtr make_distinct(NodePtr left, NodePtr right, std::shared_ptr<const AdaptiveLiteral> left_literal,
                      std::shared_ptr<const AdaptiveLiteral> right_literal, bool negated) {
    return std::make_shared<DistinctNode>(std::move(left), std::move(right), std::move(left_literal),
                                          std::move(right_literal), negated);
}
NodePtr make_call(CallSpec spec, std::vector<NodePtr> arguments) {
    return std::make_shared<CallNode>(std::move(spec), std::move(arguments));
}
NodePtr make_promotion(NodePtr operand, Type type) {
    return std::make_shared<PromotionNode>(std::move(operand), type);
}
NodePtr make_text_set(NodePtr operand, std::vector<std::string> members) {
    return std::make_shared<TextSetNode>(std::move(operand), std::move(members));
}

}  // namespace weir::processor::expr
