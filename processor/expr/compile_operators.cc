#include <absl/strings/ascii.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "processor/expr/compiler.h"
#include "processor/expr/json_tree.h"
#include "processor/expr/value_text.h"

namespace weir::processor::expr {
namespace {

constexpr std::array<Type, 9> kTypes = {Type::kBool,    Type::kInt4,        Type::kInt8,
                                        Type::kNumeric, Type::kFloat8,      Type::kText,
                                        Type::kJsonb,   Type::kTimestamptz, Type::kInterval};

std::optional<Operator> operator_named(std::string_view name) {
    for (int i = 0; i <= static_cast<int>(Operator::kJsonPathText); ++i)
        if (operator_text(static_cast<Operator>(i)) == name) return static_cast<Operator>(i);
    if (name == "!=") return Operator::kNotEqual;
    return std::nullopt;
}

// Whether any operator `op` takes the one known type on its side.
bool takes(Operator op, std::optional<Type> left, std::optional<Type> right) {
    if (!left && !right) return true;
    return std::any_of(kTypes.begin(), kTypes.end(), [&](Type other) {
        return operator_result(op, left.value_or(other), right.value_or(other)).has_value();
    });
}

bool adapts_per_row(Operator op) { return is_comparison(op) || op <= Operator::kPower; }

}  // namespace

Type literal_type(Operator op, Type other, bool literal_is_left) {
    if (is_comparison(op)) return other;
    if (op == Operator::kConcat || op > Operator::kConcat) return Type::kText;
    if (is_number(other)) {
        const bool integer = other == Type::kInt4 || other == Type::kInt8;
        return op == Operator::kPower && integer ? Type::kFloat8 : other;
    }
    if (other == Type::kTimestamptz) return op == Operator::kAdd ? Type::kInterval : Type::kTimestamptz;
    if (other == Type::kInterval) {
        if (op == Operator::kAdd || (op == Operator::kSubtract)) return Type::kInterval;
        return op == Operator::kDivide && literal_is_left ? Type::kText : Type::kFloat8;
    }
    return Type::kText;
}

bool Compiler::coerce_literal(Term& term, Type type) {
    if (!term.is_literal) return true;
    Arena arena;
    const Value value = parse_text_as(type, term.text, arena);
    if (value.is_error()) return fail(std::string(value.bytes()), term.position, term.length);
    term.node = make_constant(value);
    term.type = type;
    term.is_literal = false;
    return true;
}

// Computes a node whose operands are all constants.
bool Compiler::fold(Term& term) {
    Arena arena;
    EvalContext context{arena, 0, {}};
    const uint32_t row = 0;
    Value value;
    term.node->evaluate(context, {&row, 1}, &value);
    if (value.is_error()) return unreachable_ || fail(std::string(value.bytes()), term.position, term.length);
    term.node = make_constant(value);
    return true;
}

// A number of a smaller type becomes `type`; anything else stays.
bool Compiler::promote(Term& term, Type type) {
    if (term.is_literal || (term.type && (!is_number(*term.type) || *term.type == type))) return true;
    const bool constant = term.node->constant() != nullptr;
    if (term.type) term.type = type;
    term.node = make_promotion(term.node, type);
    return !constant || fold(term);
}

bool Compiler::binary(Operator op, Term left, Term right, size_t position, Term& out) {
    if (left.is_literal && right.is_literal) {
        if (!is_comparison(op) && op != Operator::kConcat)
            return fail(fmt::format("operator is not unique: unknown {} unknown", operator_text(op)),
                        position, 0, "say the type of a literal, e.g. '1'::numeric");
        if (!coerce_literal(left, Type::kText) || !coerce_literal(right, Type::kText)) return false;
    }
    std::shared_ptr<const AdaptiveLiteral> left_literal;
    std::shared_ptr<const AdaptiveLiteral> right_literal;
    const auto settle = [&](Term& literal, const Term& other, bool is_left,
                            std::shared_ptr<const AdaptiveLiteral>& adaptive) {
        if (!literal.is_literal) return true;
        const Value* const constant = other.node->constant();
        const std::optional<Type> other_type = other.type || constant == nullptr || constant->is_null()
                                                   ? other.type
                                                   : std::optional(constant->type);
        if (other_type) return coerce_literal(literal, literal_type(op, *other_type, is_left));
        if (constant != nullptr || !adapts_per_row(op)) return coerce_literal(literal, Type::kText);
        adaptive = std::make_shared<AdaptiveLiteral>(op, literal.text, is_left);
        return true;
    };
    if (!settle(left, right, true, left_literal) || !settle(right, left, false, right_literal)) return false;

    const bool both_known = left.type && right.type;
    out.type = both_known ? operator_result(op, *left.type, *right.type) : std::nullopt;
    const auto shown = [](const Term& term) {
        return term.type ? type_name(*term.type) : term.is_literal ? "unknown" : "any";
    };
    if (both_known ? !out.type : !takes(op, left.type, right.type))
        return fail(
            fmt::format("operator does not exist: {} {} {}", shown(left), operator_text(op), shown(right)),
            position, 0,
            (left.type == Type::kText) != (right.type == Type::kText)
                ? "cast one side, e.g. ::numeric or ::text"
                : "");
    if (is_comparison(op)) out.type = Type::kBool;
    if (op == Operator::kConcat) out.type = Type::kText;
    if (op == Operator::kJsonGet || op == Operator::kJsonPath) out.type = Type::kJsonb;
    if (op == Operator::kJsonGetText || op == Operator::kJsonPathText) out.type = Type::kText;
    out.position = position;
    out.length = syntax_.token_length(position);
    // Strict operators: a constant NULL is the result, and the other side is never computed.
    if (is_null_constant(left) || is_null_constant(right)) {
        out.node = make_constant(Value::null());
        return true;
    }
    const bool constant = left.node->constant() != nullptr && right.node->constant() != nullptr;
    out.node =
        make_binary(op, std::move(left.node), std::move(right.node), left_literal, right_literal, out.type);
    // What depends on the session's time zone in PostgreSQL is not constant there.
    return !constant || left_literal || right_literal || out.type == Type::kTimestamptz || fold(out);
}

bool Compiler::distinct(Term left, Term right, bool negated, size_t position, Term& out) {
    Term equal;  // Checks the types and reads literals whose type is known.
    if (!binary(Operator::kEqual, left, right, position, equal)) return false;
    const auto settle = [&](Term& literal, const Term& other,
                            std::shared_ptr<const AdaptiveLiteral>& adaptive) {
        if (!literal.is_literal) return true;
        if (other.type || other.is_literal || other.node->constant() != nullptr)
            return coerce_literal(literal, other.type.value_or(Type::kText));
        adaptive = std::make_shared<AdaptiveLiteral>(Operator::kEqual, literal.text, false);
        return true;
    };
    std::shared_ptr<const AdaptiveLiteral> left_literal;
    std::shared_ptr<const AdaptiveLiteral> right_literal;
    if (!settle(left, right, left_literal) || !settle(right, left, right_literal)) return false;
    out.type = Type::kBool;
    out.position = position;
    out.length = syntax_.token_length(position);
    const bool constant = left.node->constant() != nullptr && right.node->constant() != nullptr;
    out.node = make_distinct(left.node, right.node, left_literal, right_literal, negated);
    return !constant || fold(out);
}

bool Compiler::unify(std::string_view what, std::vector<Term*>& branches, std::optional<Type>& type) {
    bool open = false;  // A branch whose type is known per row only: its numbers are numeric.
    std::optional<Type> known;
    for (const Term* const branch : branches) {
        if (branch->is_literal) continue;
        if (!branch->type) {
            const Value* const constant = branch->node->constant();
            open |= constant == nullptr || !constant->is_null();
            continue;
        }
        if (!known) {
            known = branch->type;
        } else if (is_number(*known) && is_number(*branch->type)) {
            known = std::max(*known, *branch->type);
        } else if (*known != *branch->type) {
            return fail(fmt::format("{} types {} and {} cannot be matched", what, type_name(*known),
                                    type_name(*branch->type)),
                        branch->position, branch->length);
        }
    }
    if (known && open && is_number(*known)) known = std::max(*known, Type::kNumeric);
    for (Term* const branch : branches) {
        if (branch->is_literal && !coerce_literal(*branch, known.value_or(Type::kText))) return false;
        if (known && is_number(*known) && branch->type != known && branch->node->constant() == nullptr)
            branch->node = make_promotion(branch->node, *known);
        if (known && is_number(*known) && branch->type && branch->type != known &&
            branch->node->constant() != nullptr) {
            branch->node = make_promotion(branch->node, *known);
            if (!fold(*branch)) return false;
        }
    }
    if (open) {
        type = std::nullopt;
    } else {
        const bool text = std::any_of(branches.begin(), branches.end(),
                                      [](const Term* branch) { return branch->type == Type::kText; });
        type = known ? known : text ? std::optional(Type::kText) : std::nullopt;
    }
    return true;
}

bool Compiler::operation(const Json& body, Term& out) {
    const std::string_view kind = text_of(*child(body, "kind"));
    const size_t position = position_of(body);
    std::string_view name;
    if (const Json* const names = child(body, "name"); names != nullptr && names->Size() > 0)
        if (const Json* const last = child((*names)[names->Size() - 1], "String"))
            name = text_of(*child(*last, "sval"));

    const Json* const left_json = child(body, "lexpr");
    const Json* const right_json = child(body, "rexpr");
    if (kind == "AEXPR_OP_ANY" || kind == "AEXPR_OP_ALL")
        return fail("ANY and ALL are not supported", position, 0, "use IN (…)");
    if (kind == "AEXPR_SIMILAR") return fail("SIMILAR TO is not supported", position, 0, "use LIKE or ~");
    Term left;
    if (left_json != nullptr && !term(*left_json, left)) return false;
    if (kind == "AEXPR_IN") return in_list(*right_json, left, name == "<>", position, out);
    if (kind == "AEXPR_LIKE" || kind == "AEXPR_ILIKE")
        return pattern_match(*right_json, left, name, position, out);
    if (kind.starts_with("AEXPR_BETWEEN") || kind.starts_with("AEXPR_NOT_BETWEEN"))
        return between(*right_json, left, kind, position, out);

    Term right;
    if (!term(*right_json, right)) return false;
    if (kind == "AEXPR_DISTINCT" || kind == "AEXPR_NOT_DISTINCT")
        return distinct(std::move(left), std::move(right), kind == "AEXPR_NOT_DISTINCT", position, out);
    if (kind == "AEXPR_NULLIF") {
        Term equal;
        if (!binary(Operator::kEqual, left, right, position, equal)) return false;
        if (left.is_literal && !coerce_literal(left, Type::kText)) return false;
        out.type = left.type;
        out.position = position;
        out.length = syntax_.token_length(position);
        const bool constant = equal.node->constant() != nullptr && left.node->constant() != nullptr;
        if (is_null_constant(equal)) {
            out.node = left.node;
            return true;
        }
        out.node = make_case({{equal.node, make_constant(Value::null())}}, left.node, left.type);
        return !constant || fold(out);
    }
    if (kind != "AEXPR_OP") return fail("this operator is not supported", position);
    if (left_json == nullptr) {
        if (name != "-" && name != "+")
            return fail(fmt::format("operator does not exist: {}", name), position);
        if (right.is_literal && !coerce_literal(right, Type::kFloat8)) return false;
        if (right.type && !is_number(*right.type) && (name == "+" || *right.type != Type::kInterval))
            return fail(fmt::format("operator does not exist: {} {}", name, type_name(*right.type)),
                        position);
        if (name == "+") {
            out = std::move(right);
            return true;
        }
        const bool constant = right.node->constant() != nullptr;
        out.type = right.type;
        out.position = position;
        out.node = make_negate(std::move(right.node));
        return !constant || fold(out);
    }
    if (name == "~" || name == "~*" || name == "!~" || name == "!~*" || name == "~~" || name == "~~*" ||
        name == "!~~" || name == "!~~*")
        return pattern_match(*right_json, left, name, position, out);
    const auto op = operator_named(name);
    if (!op) return fail(fmt::format("operator does not exist: {}", name), position);
    return binary(*op, std::move(left), std::move(right), position, out);
}

bool Compiler::in_list(const Json& body, Term left, bool negated, size_t position, Term& out) {
    const Json* const list = child(body, "List");
    std::vector<Term> members;
    if (list == nullptr || !terms(child(*list, "items"), members)) return false;
    const bool texts =
        std::all_of(members.begin(), members.end(), [](const Term& term) { return term.is_literal; });
    out.type = Type::kBool;
    if (texts && !left.is_literal && (!left.type || *left.type == Type::kText) &&
        left.node->constant() == nullptr) {
        std::vector<std::string> words;
        for (Term& member : members) words.push_back(std::move(member.text));
        out.node = make_text_set(left.node, std::move(words));
    } else {
        // Constant members share one type with the operand, which is double precision when one of them is.
        const bool real = std::any_of(members.begin(), members.end(), [](const Term& member) {
            return member.type == Type::kFloat8 && member.node->constant() != nullptr;
        });
        const auto constants = std::count_if(members.begin(), members.end(), [](const Term& member) {
            return member.node->constant() != nullptr;
        });
        if (real && constants > 1) {
            for (Term& member : members)
                if (member.node->constant() != nullptr && !promote(member, Type::kFloat8)) return false;
            if (!promote(left, Type::kFloat8)) return false;
        }
        bool constant = true;
        bool found = false;
        std::vector<NodePtr> comparisons;
        for (Term& member : members) {
            Term equal;
            const size_t member_position = member.position;
            if (!binary(Operator::kEqual, left, std::move(member), member_position, equal)) return false;
            const Value* const known = equal.node->constant();
            constant = constant && known != nullptr;
            found = found || (known != nullptr && known->type == Type::kBool && known->boolean);
            comparisons.push_back(std::move(equal.node));
        }
        out.node = comparisons.size() == 1 ? std::move(comparisons.front()) : make_or(std::move(comparisons));
        if (constant && !fold(out)) return false;
        if (found) out.node = make_constant(Value::of_bool(true));
    }
    const bool constant = out.node->constant() != nullptr;
    if (negated) out.node = make_not(std::move(out.node));
    out.position = position;
    out.length = syntax_.token_length(position);
    return !constant || fold(out);
}

bool Compiler::between(const Json& body, const Term& left, std::string_view kind, size_t position,
                       Term& out) {
    const Json* const list = child(body, "List");
    std::vector<Term> bounds;
    if (list == nullptr || !terms(child(*list, "items"), bounds)) return false;
    const bool negated = kind.starts_with("AEXPR_NOT");
    bool constant = true;
    const auto range = [&](const Term& low, const Term& high, NodePtr& node) {
        Term above;
        Term below;
        if (!binary(negated ? Operator::kLess : Operator::kGreaterEqual, left, low, position, above) ||
            !binary(negated ? Operator::kGreater : Operator::kLessEqual, left, high, position, below))
            return false;
        constant = constant && above.node->constant() != nullptr && below.node->constant() != nullptr;
        std::vector<NodePtr> both = {std::move(above.node), std::move(below.node)};
        node = negated ? make_or(std::move(both)) : make_and(std::move(both));
        return true;
    };
    if (!range(bounds[0], bounds[1], out.node)) return false;
    if (kind.ends_with("SYM")) {
        NodePtr swapped;
        if (!range(bounds[1], bounds[0], swapped)) return false;
        std::vector<NodePtr> both = {std::move(out.node), std::move(swapped)};
        out.node = negated ? make_and(std::move(both)) : make_or(std::move(both));
    }
    out.type = Type::kBool;
    out.position = position;
    out.length = syntax_.token_length(position);
    return !constant || fold(out);
}

bool Compiler::pattern_match(const Json& body, const Term& left, std::string_view name, size_t position,
                             Term& out) {
    Term pattern;
    if (!term(body, pattern)) return false;
    return call(name, {left, std::move(pattern)}, position, out);
}

}  // namespace weir::processor::expr
