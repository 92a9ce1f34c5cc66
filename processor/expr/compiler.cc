#include "processor/expr/compiler.h"

#include <absl/strings/ascii.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "processor/expr/json_tree.h"
#include "processor/expr/value_text.h"

namespace weir::processor::expr {
namespace {

struct MetadataName {
    std::string_view name;
    Metadata metadata;
};
constexpr std::array<MetadataName, 6> kMetadata = {{{"_key", Metadata::kKey},
                                                    {"_topic", Metadata::kTopic},
                                                    {"_partition", Metadata::kPartition},
                                                    {"_offset", Metadata::kOffset},
                                                    {"_timestamp", Metadata::kTimestamp},
                                                    {"_headers", Metadata::kHeaders}}};

bool is_word(char c) {
    const auto u = static_cast<unsigned char>(c);
    return absl::ascii_isalnum(u) || c == '_' || c == '$' || u >= 0x80;
}

}  // namespace

std::optional<Metadata> metadata_named(std::string_view name) {
    for (const MetadataName& entry : kMetadata)
        if (entry.name == name) return entry.metadata;
    return std::nullopt;
}

Compiled<Scope::Binding> bind_name(std::span<const std::string> path, Scope& scope) {
    const auto metadata = metadata_named(path.front());
    if (!metadata) return scope.bind(path);
    if (path.size() > 1 && *metadata != Metadata::kHeaders)
        return CompileError{fmt::format("{} has no fields", path.front()), 0, path.front().size(), {}};
    auto bound = scope.bind_metadata(*metadata);
    if (auto* const binding = std::get_if<Scope::Binding>(&bound)) binding->segments_used = 1;
    return bound;
}

Compiled<NodePtr> Compiler::compile(const Json& part) {
    Term root;
    if (!term(part, root)) return error_;
    return root.node;
}

bool Compiler::fail(std::string message, size_t position, size_t length, std::string help) {
    error_ = {std::move(message), position, length == 0 ? syntax_.token_length(position) : length,
              std::move(help)};
    return false;
}

size_t Compiler::position_of(const Json& body) const {
    const Json* const location = child(body, "location");
    return location == nullptr ? 0 : syntax_.source_position(location->GetInt64());
}

bool Compiler::term(const Json& json, Term& out) {
    if (!json.IsObject() || json.MemberCount() == 0) return fail("expression cannot be read", 0, 1);
    const std::string_view kind = text_of(json.MemberBegin()->name);
    const Json& body = json.MemberBegin()->value;
    if (++depth_ > kMaxExpressionDepth) return fail("expression is nested too deeply", position_of(body));
    struct Leave {
        int& depth;
        ~Leave() { --depth; }
    } leave{depth_};

    if (kind == "ColumnRef") return column(body, out);
    if (kind == "A_Const") return constant(body, out);
    if (kind == "A_Expr") return operation(body, out);
    if (kind == "BoolExpr") return logic(body, out);
    if (kind == "FuncCall") return function_call(body, out);
    if (kind == "NullTest") return null_test(body, out);
    if (kind == "BooleanTest") return boolean_test(body, out);
    if (kind == "CaseExpr") return case_expression(body, out);
    if (kind == "CoalesceExpr") return coalesce(body, out);
    if (kind == "MinMaxExpr") return greatest_least(body, out);
    if (kind == "TypeCast") return type_cast(body, out);
    if (kind == "A_Indirection") return indirection(body, out);
    if (kind == "SQLValueFunction") return value_function(body, out);
    const size_t position = position_of(body);
    if (kind == "SubLink") return fail("subqueries are not supported in expressions", position);
    if (kind == "ParamRef") return fail("there are no parameters here: $1", position);
    if (kind == "A_ArrayExpr")
        return fail("ARRAY[…] is not supported", position, 0, "use jsonb_build_array(…)");
    if (kind == "RowExpr") return fail("rows are not supported", position);
    return fail(fmt::format("{} is not supported in expressions", kind), position);
}

bool Compiler::terms(const Json* list, std::vector<Term>& out) {
    if (list == nullptr || !list->IsArray()) return true;
    for (const Json& item : list->GetArray()) {
        out.emplace_back();
        if (!term(item, out.back())) return false;
    }
    return true;
}

bool Compiler::constant(const Json& body, Term& out) {
    out.position = position_of(body);
    out.length = syntax_.token_length(out.position);
    Arena arena;
    Value value;
    if (child(body, "ival") != nullptr) {
        value = Value::of_int4(syntax_.integer_constant(body));
    } else if (const Json* const decimal = child(body, "fval")) {
        const Json* const digits = child(*decimal, "fval");
        const std::string_view text = digits == nullptr ? "0" : text_of(*digits);
        value = parse_text_as(Type::kInt4, text, arena);  // -2147483648 arrives as text.
        if (value.is_error()) value = parse_text_as(Type::kInt8, text, arena);
        if (value.is_error()) value = parse_text_as(Type::kNumeric, text, arena);
        if (value.is_error()) return fail(std::string(value.bytes()), out.position);
    } else if (const Json* const string = child(body, "sval")) {
        const Json* const characters = child(*string, "sval");
        out.is_literal = true;
        out.text = characters == nullptr ? std::string() : std::string(text_of(*characters));
        value = Value::of_text(out.text);
    } else if (const Json* const boolean = child(body, "boolval")) {
        const Json* const truth = child(*boolean, "boolval");
        value = Value::of_bool(truth != nullptr && truth->GetBool());
    } else if (child(body, "isnull") == nullptr) {
        return fail("bit strings are not supported", out.position);
    }
    out.node = make_constant(value);
    if (!value.is_null() && !out.is_literal) out.type = value.type;
    return true;
}

bool Compiler::column(const Json& body, Term& out) {
    const size_t position = position_of(body);
    const Json* const fields = child(body, "fields");
    std::vector<std::string> path;
    for (const Json& field : fields->GetArray()) {
        const Json* const name = child(field, "String");
        if (name == nullptr) return fail("* is not supported here", position);
        path.emplace_back(text_of(*child(*name, "sval")));
    }
    // PostgreSQL folds a bare name to lower case; the spelling in the text is the field's name. The words
    // of dotted paths reach the parser in quotes.
    size_t length = syntax_.token_length(position);
    const std::string_view source = syntax_.source;
    if (path.size() == 1 && position < source.size() && is_word(source[position]) &&
        source.substr(position, 2) != "U&" && source.substr(position, 2) != "u&") {
        size_t end = position;
        while (end < source.size() && is_word(source[end])) ++end;
        path.front() = source.substr(position, end - position);
    } else if (path.size() > 1) {
        size_t end = position;
        while (end < source.size() && (is_word(source[end]) || source[end] == '.' || source[end] == '"'))
            ++end;
        length = end - position;
    }
    return bind_path(std::move(path), position, length, out);
}

bool Compiler::bind_path(std::vector<std::string> path, size_t position, size_t length, Term& out) {
    out.position = position;
    out.length = std::max<size_t>(length, 1);
    Compiled<Scope::Binding> bound = bind_name(path, *scope_);
    if (auto* const error = std::get_if<CompileError>(&bound))
        return fail(error->message, position, out.length, error->help);
    const auto& binding = std::get<Scope::Binding>(bound);
    if (binding.segments_used >= path.size()) {
        out.node = make_slot(binding.slot, binding.type);
        out.type = binding.type;
        return true;
    }
    path.erase(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(binding.segments_used));
    out.node = make_path(make_slot(binding.slot, binding.type), std::move(path));
    return true;
}

// A term that must be boolean: a literal is read as one, anything else known is refused.
bool Compiler::condition(Term& term) {
    if (term.is_literal) return coerce_literal(term, Type::kBool);
    if (term.type && *term.type != Type::kBool)
        return fail(fmt::format("a condition must be boolean, not {}", type_name(*term.type)), term.position,
                    term.length);
    return true;
}

bool Compiler::logic(const Json& body, Term& out) {
    const std::string_view op = text_of(*child(body, "boolop"));
    // A constant that decides makes the other operands unreachable, wherever it stands.
    const auto decides = [&](const NodePtr& node) {
        const Value* const constant = node->constant();
        return constant != nullptr && constant->type == Type::kBool && constant->boolean == (op == "OR_EXPR");
    };
    std::vector<Term> operands;
    std::vector<NodePtr> nodes;
    const bool outer_unreachable = unreachable_;
    for (const Json& json : child(body, "args")->GetArray()) {
        operands.emplace_back();
        const bool compiled = term(json, operands.back()) && condition(operands.back());
        if (!compiled) return false;
        nodes.push_back(operands.back().node);
        unreachable_ = unreachable_ || (op != "NOT_EXPR" && decides(nodes.back()));
    }
    unreachable_ = outer_unreachable;
    if (op != "NOT_EXPR" && std::any_of(nodes.begin(), nodes.end(), decides)) {
        out.node = make_constant(Value::of_bool(op == "OR_EXPR"));
        out.type = Type::kBool;
        out.position = operands.front().position;
        out.length = operands.front().length;
        return true;
    }
    out.position = operands.front().position;
    out.length = operands.front().length;
    out.type = Type::kBool;
    const bool constant = std::all_of(nodes.begin(), nodes.end(),
                                      [](const NodePtr& node) { return node->constant() != nullptr; });
    if (op == "NOT_EXPR") {
        out.node = make_not(std::move(nodes.front()));
    } else {
        out.node = op == "AND_EXPR" ? make_and(std::move(nodes)) : make_or(std::move(nodes));
    }
    return !constant || fold(out);
}

bool Compiler::null_test(const Json& body, Term& out) {
    Term operand;
    if (!term(*child(body, "arg"), operand)) return false;
    const bool is_null = text_of(*child(body, "nulltesttype")) == "IS_NULL";
    out.position = operand.position;
    out.length = operand.length;
    out.type = Type::kBool;
    const bool constant = operand.node->constant() != nullptr;
    out.node = make_test(is_null ? Test::kIsNull : Test::kIsNotNull, std::move(operand.node));
    return !constant || fold(out);
}

bool Compiler::boolean_test(const Json& body, Term& out) {
    Term operand;
    if (!term(*child(body, "arg"), operand) || !condition(operand)) return false;
    static constexpr std::array<std::pair<std::string_view, Test>, 6> kTests = {
        {{"IS_TRUE", Test::kIsTrue},
         {"IS_NOT_TRUE", Test::kIsNotTrue},
         {"IS_FALSE", Test::kIsFalse},
         {"IS_NOT_FALSE", Test::kIsNotFalse},
         {"IS_UNKNOWN", Test::kIsUnknown},
         {"IS_NOT_UNKNOWN", Test::kIsNotUnknown}}};
    const Json* const kind = child(body, "booltesttype");
    const auto test = std::find_if(kTests.begin(), kTests.end(), [&](const auto& entry) {
        return kind != nullptr && entry.first == text_of(*kind);
    });
    out.position = operand.position;
    out.length = operand.length;
    out.type = Type::kBool;
    const bool constant = operand.node->constant() != nullptr;
    out.node = make_test(test == kTests.end() ? Test::kIsTrue : test->second, std::move(operand.node));
    return !constant || fold(out);
}

bool Compiler::case_expression(const Json& body, Term& out) {
    const size_t position = position_of(body);
    std::optional<Term> subject;
    if (const Json* const arg = child(body, "arg")) {
        subject.emplace();
        if (!term(*arg, *subject)) return false;
    }
    // Branches that a constant condition rules out are still checked, but never computed.
    const bool outer_unreachable = unreachable_;
    struct Restore {
        bool& flag;
        bool value;
        ~Restore() { flag = value; }
    } restore{unreachable_, outer_unreachable};
    std::vector<NodePtr> conditions;
    std::vector<Term> results;
    std::vector<bool> taken;
    for (const Json& item : child(body, "args")->GetArray()) {
        const Json& when = *child(item, "CaseWhen");
        Term test;
        if (!term(*child(when, "expr"), test)) return false;
        if (subject) {
            Term equal;
            if (!binary(Operator::kEqual, *subject, std::move(test), position_of(when), equal)) return false;
            test = std::move(equal);
        } else if (!condition(test)) {
            return false;
        }
        const Value* const constant = test.node->constant();
        const bool never = constant != nullptr && (constant->is_null() || !constant->boolean);
        const bool after_always = unreachable_ && !outer_unreachable;
        taken.push_back(!never && !after_always);
        conditions.push_back(std::move(test.node));
        results.emplace_back();
        unreachable_ = outer_unreachable || never || after_always;
        if (!term(*child(when, "result"), results.back())) return false;
        unreachable_ = outer_unreachable || after_always || (constant != nullptr && !never);
    }
    results.emplace_back();
    if (const Json* const otherwise = child(body, "defresult")) {
        if (!term(*otherwise, results.back())) return false;
    } else {
        results.back().node = make_constant(Value::null());
    }
    std::vector<Term*> branches;
    for (Term& result : results) branches.push_back(&result);
    if (!unify("CASE", branches, out.type)) return false;
    std::vector<CaseBranch> code;
    for (size_t i = 0; i < conditions.size(); ++i)
        if (taken[i]) code.push_back({std::move(conditions[i]), results[i].node});
    out.position = position;
    out.length = syntax_.token_length(position);
    const bool always = !code.empty() && code.front().condition->constant() != nullptr;
    if (code.empty() || always) {
        out.node = always ? code.front().result : results.back().node;
    } else {
        out.node = make_case(std::move(code), results.back().node, out.type);
    }
    return true;
}

bool Compiler::coalesce(const Json& body, Term& out) {
    std::vector<Term> operands;
    size_t needed = 0;  // Nothing behind a constant that is not NULL is ever computed.
    const bool outer_unreachable = unreachable_;
    for (const Json& json : child(body, "args")->GetArray()) {
        operands.emplace_back();
        if (!term(json, operands.back())) return false;
        if (outer_unreachable == unreachable_ || outer_unreachable) needed = operands.size();
        unreachable_ = unreachable_ ||
                       (operands.back().node->constant() != nullptr && !is_null_constant(operands.back()));
    }
    unreachable_ = outer_unreachable;
    std::vector<Term*> branches;
    for (Term& operand : operands) branches.push_back(&operand);
    if (!unify("COALESCE", branches, out.type)) return false;
    std::vector<NodePtr> nodes;
    for (size_t i = 0; i < needed; ++i) nodes.push_back(operands[i].node);
    if (nodes.front()->constant() != nullptr && !nodes.front()->constant()->is_null()) {
        out.position = position_of(body);
        out.node = nodes.front();
        return true;
    }
    while (nodes.size() > 1 && nodes.front()->constant() != nullptr) {  // A constant NULL.
        nodes.erase(nodes.begin());
        if (nodes.front()->constant() != nullptr && !nodes.front()->constant()->is_null()) break;
    }
    if (nodes.size() == 1) {
        out.position = position_of(body);
        out.node = nodes.front();
        return true;
    }
    out.position = position_of(body);
    out.length = syntax_.token_length(out.position);
    out.node = make_coalesce(std::move(nodes), out.type);
    return true;
}

bool Compiler::value_function(const Json& body, Term& out) {
    out.position = position_of(body);
    out.length = syntax_.token_length(out.position);
    if (text_of(*child(body, "op")) == "SVFOP_CURRENT_TIMESTAMP") {
        out.node = make_now();
        out.type = Type::kTimestamptz;
        return true;
    }
    const std::string word(syntax_.source.substr(out.position, out.length));
    return fail(
        fmt::format("{} is not supported", word), out.position, out.length,
        fmt::format("\"{}\" is a reserved word; a field of that name is written in double quotes: \"{}\"",
                    word, word));
}

Expression::Expression(std::string text, std::shared_ptr<const Node> root)
    : text_(std::move(text)), root_(std::move(root)) {}

Compiled<Expression> Expression::compile(std::string_view text, Scope& scope) {
    auto parsed = parse(text);
    if (auto* const error = std::get_if<CompileError>(&parsed)) return std::move(*error);
    auto compiled = Compiler(*std::get<0>(parsed), scope, nullptr).compile();
    if (auto* const error = std::get_if<CompileError>(&compiled)) return std::move(*error);
    return Expression(std::string(text), std::get<NodePtr>(std::move(compiled)));
}

Compiled<Expression> Expression::path(std::vector<std::string> path, Scope& scope) {
    auto bound = bind_name(path, scope);
    if (auto* const error = std::get_if<CompileError>(&bound)) return std::move(*error);
    const auto& binding = std::get<Scope::Binding>(bound);
    std::string text = fmt::format("{}", fmt::join(path, "."));
    NodePtr node = make_slot(binding.slot, binding.type);
    if (binding.segments_used < path.size()) {
        path.erase(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(binding.segments_used));
        node = make_path(std::move(node), std::move(path));
    }
    return Expression(std::move(text), std::move(node));
}

Compiled<Expression> Expression::literal(std::string_view yaml_scalar) {
    Value value;
    Arena arena;
    if (yaml_scalar == "null" || yaml_scalar == "~" || yaml_scalar.empty()) {
        value = Value::null();
    } else if (const auto boolean = yaml_scalar == "true"    ? std::optional(true)
                                    : yaml_scalar == "false" ? std::optional(false)
                                                             : std::nullopt) {
        value = Value::of_bool(*boolean);
    } else {
        value = parse_text_as(Type::kInt4, yaml_scalar, arena);
        if (value.is_error()) value = parse_text_as(Type::kInt8, yaml_scalar, arena);
        if (value.is_error()) value = parse_text_as(Type::kNumeric, yaml_scalar, arena);
        if (value.is_error()) return CompileError{std::string(value.bytes()), 0, yaml_scalar.size(), {}};
    }
    return Expression(std::string(yaml_scalar), make_constant(value));
}

void Expression::evaluate(EvalContext& context, std::span<const uint32_t> rows, size_t row_count,
                          Column& out) const {
    if (out.size() < row_count) out.resize(row_count);
    if (!rows.empty()) root_->evaluate(context, rows, out.data());
}

std::optional<Type> Expression::static_type() const { return root_->type(); }
std::optional<Slot> Expression::plain_slot() const { return root_->slot(); }

Compiled<AggregateExpression> compile_aggregate(std::string_view text, Scope& input, Scope& group,
                                                Slot first_call_slot) {
    auto parsed = parse(text);
    if (auto* const error = std::get_if<CompileError>(&parsed)) return std::move(*error);
    Compiler::Aggregates aggregates{input, first_call_slot, {}};
    auto compiled = Compiler(*std::get<0>(parsed), group, &aggregates).compile();
    if (auto* const error = std::get_if<CompileError>(&compiled)) return std::move(*error);
    return AggregateExpression{std::move(aggregates.calls),
                               Expression(std::string(text), std::get<NodePtr>(std::move(compiled)))};
}

}  // namespace weir::processor::expr
