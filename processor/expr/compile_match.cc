#include "processor/expr/compiler.h"
#include "processor/expr/json_tree.h"
#include "processor/expr/match.h"

namespace weir::processor::expr {
namespace {

void collect_first_words(const rapidjson::Value& json, std::set<std::string>& words) {
    if (json.IsArray()) {
        for (const auto& item : json.GetArray()) collect_first_words(item, words);
    } else if (json.IsObject()) {
        for (const auto& member : json.GetObject()) {
            if (text_of(member.name) != "ColumnRef") {
                collect_first_words(member.value, words);
                continue;
            }
            const auto* const name = child((*child(member.value, "fields"))[0], "String");
            if (name != nullptr) words.emplace(text_of(*child(*name, "sval")));
        }
    }
}

bool is_equals(const rapidjson::Value& operation) {
    const auto* const kind = child(operation, "kind");
    const auto* const name = child(operation, "name");
    if (kind == nullptr || text_of(*kind) != "AEXPR_OP" || name == nullptr || name->Size() != 1) return false;
    const auto* const word = child((*name)[0], "String");
    return word != nullptr && text_of(*child(*word, "sval")) == "=" && child(operation, "lexpr") != nullptr;
}

}  // namespace

Compiled<Match> Match::parse(std::string_view text) {
    Match result;
    result.text_ = std::make_shared<const std::string>(text);
    auto parsed = expr::parse(*result.text_);
    if (auto* const error = std::get_if<CompileError>(&parsed)) return std::move(*error);
    result.syntax_ = std::move(std::get<0>(parsed));
    result.add(*result.syntax_->expression);
    return result;
}

void Match::add(const rapidjson::Value& json) {
    if (const auto* const logic = child(json, "BoolExpr");
        logic != nullptr && text_of(*child(*logic, "boolop")) == "AND_EXPR") {
        for (const auto& argument : child(*logic, "args")->GetArray()) add(argument);
        return;
    }
    Part part{&json, {}};
    if (const auto* const operation = child(json, "A_Expr"); operation != nullptr && is_equals(*operation))
        part.operands = {child(*operation, "lexpr"), child(*operation, "rexpr")};
    parts_.push_back(std::move(part));
}

std::set<std::string> Match::first_words(size_t part, size_t operand) const {
    std::set<std::string> words;
    collect_first_words(*parts_[part].operands[operand], words);
    return words;
}

Compiled<Expression> Match::operand(size_t part, size_t operand, Scope& scope) const {
    auto compiled = Compiler(*syntax_, scope, nullptr).compile(*parts_[part].operands[operand]);
    if (auto* const error = std::get_if<CompileError>(&compiled)) return std::move(*error);
    return Expression(*text_, std::get<NodePtr>(std::move(compiled)));
}

Compiled<Expression> Match::condition(size_t part, Scope& scope) const {
    auto compiled = Compiler(*syntax_, scope, nullptr).compile(*parts_[part].whole);
    if (auto* const error = std::get_if<CompileError>(&compiled)) return std::move(*error);
    return Expression(*text_, std::get<NodePtr>(std::move(compiled)));
}

}  // namespace weir::processor::expr
