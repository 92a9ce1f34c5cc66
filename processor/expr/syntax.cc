#include "processor/expr/syntax.h"

#include <absl/container/flat_hash_set.h>
#include <absl/strings/ascii.h>
#include <fmt/format.h>
#include <pg_query.h>

#include <algorithm>

namespace weir::processor::expr {
namespace {

constexpr std::string_view kPrefix = "SELECT ";

// Words that PostgreSQL's grammar does not take as a column's name unless they are quoted.
const absl::flat_hash_set<absl::string_view>& reserved_words() {
    static const absl::flat_hash_set<absl::string_view> kWords = {"all",
                                                                  "analyse",
                                                                  "analyze",
                                                                  "and",
                                                                  "any",
                                                                  "array",
                                                                  "as",
                                                                  "asc",
                                                                  "asymmetric",
                                                                  "authorization",
                                                                  "binary",
                                                                  "both",
                                                                  "case",
                                                                  "cast",
                                                                  "check",
                                                                  "collate",
                                                                  "collation",
                                                                  "column",
                                                                  "concurrently",
                                                                  "constraint",
                                                                  "create",
                                                                  "cross",
                                                                  "current_catalog",
                                                                  "current_date",
                                                                  "current_role",
                                                                  "current_schema",
                                                                  "current_time",
                                                                  "current_timestamp",
                                                                  "current_user",
                                                                  "default",
                                                                  "deferrable",
                                                                  "desc",
                                                                  "distinct",
                                                                  "do",
                                                                  "else",
                                                                  "end",
                                                                  "except",
                                                                  "false",
                                                                  "fetch",
                                                                  "for",
                                                                  "foreign",
                                                                  "freeze",
                                                                  "from",
                                                                  "full",
                                                                  "grant",
                                                                  "group",
                                                                  "having",
                                                                  "ilike",
                                                                  "in",
                                                                  "initially",
                                                                  "inner",
                                                                  "intersect",
                                                                  "into",
                                                                  "is",
                                                                  "isnull",
                                                                  "join",
                                                                  "lateral",
                                                                  "leading",
                                                                  "left",
                                                                  "like",
                                                                  "limit",
                                                                  "localtime",
                                                                  "localtimestamp",
                                                                  "natural",
                                                                  "not",
                                                                  "notnull",
                                                                  "null",
                                                                  "offset",
                                                                  "on",
                                                                  "only",
                                                                  "or",
                                                                  "order",
                                                                  "outer",
                                                                  "overlaps",
                                                                  "placing",
                                                                  "primary",
                                                                  "references",
                                                                  "returning",
                                                                  "right",
                                                                  "select",
                                                                  "session_user",
                                                                  "similar",
                                                                  "some",
                                                                  "symmetric",
                                                                  "table",
                                                                  "tablesample",
                                                                  "then",
                                                                  "to",
                                                                  "trailing",
                                                                  "true",
                                                                  "union",
                                                                  "unique",
                                                                  "user",
                                                                  "using",
                                                                  "variadic",
                                                                  "verbose",
                                                                  "when",
                                                                  "where",
                                                                  "window",
                                                                  "with"};
    return kWords;
}

bool is_word_start(char c) {
    return absl::ascii_isalpha(static_cast<unsigned char>(c)) || c == '_' ||
           static_cast<unsigned char>(c) >= 0x80;
}
bool is_word(char c) {
    return is_word_start(c) || absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '$';
}
bool is_blank(char c) { return absl::ascii_isspace(static_cast<unsigned char>(c)); }

size_t word_end(std::string_view text, size_t at) {
    while (at < text.size() && is_word(text[at])) ++at;
    return at;
}

// Past a '…' string; `escapes`: E'…', where a backslash escapes.
size_t string_end(std::string_view text, size_t at, bool escapes) {
    for (++at; at < text.size(); ++at) {
        if (escapes && text[at] == '\\') {
            ++at;
        } else if (text[at] == '\'') {
            if (at + 1 >= text.size() || text[at + 1] != '\'') return at + 1;
            ++at;
        }
    }
    return text.size();
}

size_t quoted_end(std::string_view text, size_t at) {
    for (++at; at < text.size(); ++at) {
        if (text[at] != '"') continue;
        if (at + 1 >= text.size() || text[at + 1] != '"') return at + 1;
        ++at;
    }
    return text.size();
}

// Past a comment that starts at `at`, or `at` itself.
size_t comment_end(std::string_view text, size_t at) {
    if (text.substr(at).starts_with("--")) return std::min(text.find('\n', at), text.size());
    if (!text.substr(at).starts_with("/*")) return at;
    int depth = 0;
    while (at < text.size()) {
        if (text.substr(at).starts_with("/*")) {
            ++depth;
            at += 2;
        } else if (text.substr(at).starts_with("*/")) {
            at += 2;
            if (--depth == 0) return at;
        } else {
            ++at;
        }
    }
    return at;
}

// The parser's time grows with the square of a comment's nesting: such comments never reach it.
constexpr int kMaxCommentStarts = 100;
std::optional<size_t> bad_comment(std::string_view text) {
    int starts = 0;
    int ends = 0;
    for (size_t at = text.find('*'); at != std::string_view::npos; at = text.find('*', at + 1)) {
        if (at > 0 && text[at - 1] == '/' && ++starts > kMaxCommentStarts) return at - 1;
        if (at + 1 < text.size() && text[at + 1] == '/') ++ends;
    }
    if (starts > 0 && ends == 0) return text.find("/*");
    return std::nullopt;
}

// Past $tag$…$tag$, or `at` itself when no such string starts there.
size_t dollar_end(std::string_view text, size_t at) {
    size_t tag = at + 1;
    while (tag < text.size() && text[tag] != '$' && is_word(text[tag])) ++tag;
    if (tag >= text.size() || text[tag] != '$') return at;
    if (tag > at + 1 && !is_word_start(text[at + 1])) return at;
    const std::string_view delimiter = text.substr(at, tag - at + 1);
    const size_t close = text.find(delimiter, tag + 1);
    return close == std::string_view::npos ? text.size() : close + delimiter.size();
}

size_t number_end(std::string_view text, size_t at) {
    while (at < text.size() && (is_word(text[at]) || text[at] == '.')) {
        const bool exponent = text[at] == 'e' || text[at] == 'E';
        ++at;
        if (exponent && at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    }
    return at;
}

size_t skip_blanks(std::string_view text, size_t at) {
    while (at < text.size() && is_blank(text[at])) ++at;
    return at;
}

// Writes the query: the text, with the unquoted words beside a dot quoted.
void quote_paths(Syntax& syntax) {
    const std::string_view text = syntax.source;
    const auto put = [&](char c, size_t from) {
        syntax.query.push_back(c);
        syntax.origin.push_back(static_cast<uint32_t>(from));
    };
    const auto copy = [&](size_t from, size_t to) {
        for (size_t i = from; i < to; ++i) put(text[i], i);
    };
    for (const char c : kPrefix) put(c, 0);
    bool after_dot = false;
    for (size_t at = 0; at < text.size();) {
        const char c = text[at];
        size_t next = at;
        if (c == '\'') {
            next = string_end(text, at, false);
        } else if ((c == 'e' || c == 'E') && at + 1 < text.size() && text[at + 1] == '\'') {
            next = string_end(text, at + 1, true);
        } else if (c == '"') {
            next = quoted_end(text, at);
        } else if (c == '$') {
            next = dollar_end(text, at);
        } else if (c == '-' || c == '/') {
            next = comment_end(text, at);
        } else if (absl::ascii_isdigit(static_cast<unsigned char>(c)) ||
                   (c == '.' && at + 1 < text.size() &&
                    absl::ascii_isdigit(static_cast<unsigned char>(text[at + 1])))) {
            next = number_end(text, at);
        } else if (is_word_start(c)) {
            next = word_end(text, at);
            const size_t dot = skip_blanks(text, next);
            const bool before_dot = dot < text.size() && text[dot] == '.' && text.substr(dot, 2) != "..";
            if (after_dot || before_dot) {
                put('"', at);
                copy(at, next);
                put('"', next - 1);
                after_dot = false;
                at = next;
                continue;
            }
        }
        if (next == at) next = at + 1;
        copy(at, next);
        if (!is_blank(c)) after_dot = c == '.' && next == at + 1;
        at = next;
    }
    syntax.origin.push_back(static_cast<uint32_t>(text.size()));
}

CompileError make_error(std::string message, size_t position, size_t length, std::string help = {}) {
    return {std::move(message), position, std::max<size_t>(length, 1), std::move(help)};
}

std::string lower(std::string_view word) {
    std::string out(word);
    for (char& c : out) c = absl::ascii_tolower(static_cast<unsigned char>(c));
    return out;
}

std::string reserved_help(std::string_view word) {
    return fmt::format("\"{}\" is a reserved word; a field of that name is written in double quotes: \"{}\"",
                       word, word);
}

// A syntax error is reported where the parser stopped: at the reserved word or just behind it.
CompileError syntax_error(const Syntax& syntax, const PgQueryError& error) {
    const size_t position = syntax.source_position(error.cursorpos - 1);
    const std::string_view source = syntax.source;
    const size_t end = word_end(source, position);
    const std::string_view word = source.substr(position, end - position);
    std::string message = error.message != nullptr ? error.message : "syntax error";
    if (position >= source.size()) message = "syntax error: the expression ends too early";
    if (reserved_words().contains(lower(word)))
        return make_error(std::move(message), position, word.size(), reserved_help(word));
    size_t before = std::min(position, source.size());
    while (before > 0 && is_blank(source[before - 1])) --before;
    size_t start = before;
    while (start > 0 && is_word(source[start - 1])) --start;
    const std::string_view previous = source.substr(start, before - start);
    if (reserved_words().contains(lower(previous)))
        return make_error(std::move(message), position, syntax.token_length(position),
                          reserved_help(previous));
    return make_error(std::move(message), position, syntax.token_length(position));
}

// The place of the first node below `value` that has one.
int64_t first_location(const rapidjson::Value& value) {
    std::vector<const rapidjson::Value*> pending = {&value};
    int64_t found = -1;
    while (!pending.empty()) {
        const rapidjson::Value* const at = pending.back();
        pending.pop_back();
        if (at->IsObject()) {
            for (const auto& member : at->GetObject()) {
                if (member.name == "location" && member.value.IsInt64()) {
                    const int64_t location = member.value.GetInt64();
                    if (location >= 0 && (found < 0 || location < found)) found = location;
                } else {
                    pending.push_back(&member.value);
                }
            }
        } else if (at->IsArray()) {
            for (const auto& element : at->GetArray()) pending.push_back(&element);
        }
    }
    return found;
}

const rapidjson::Value* child(const rapidjson::Value* value, const char* name) {
    if (value == nullptr || !value->IsObject()) return nullptr;
    const auto member = value->FindMember(name);
    return member == value->MemberEnd() ? nullptr : &member->value;
}

}  // namespace

size_t Syntax::source_position(int64_t location) const {
    if (location < 0) return 0;
    const auto index = std::min(static_cast<size_t>(location), origin.size() - 1);
    return origin[index];
}

int32_t Syntax::integer_constant(const rapidjson::Value& constant) const {
    if (const rapidjson::Value* const number = child(child(&constant, "ival"), "ival"))
        return number->GetInt();
    const rapidjson::Value* const location = child(&constant, "location");
    if (location == nullptr) return 0;
    // The parser folds signs into the constant and moves its place to the outermost sign: -(-(-7)).
    bool negative = false;
    int64_t value = 0;
    for (size_t at = source_position(location->GetInt64()); at < source.size();) {
        const char c = source[at];
        if (absl::ascii_isdigit(static_cast<unsigned char>(c))) {
            for (; at < source.size() && absl::ascii_isdigit(static_cast<unsigned char>(source[at])) &&
                   value < 1LL << 40;
                 ++at)
                value = value * 10 + (source[at] - '0');
            break;
        }
        if (const size_t end = comment_end(source, at); end != at) {
            at = end;
            continue;
        }
        negative ^= c == '-';
        ++at;
    }
    return static_cast<int32_t>(negative ? -value : value);
}

size_t Syntax::token_length(size_t position) const {
    if (position >= source.size()) return 1;
    const char c = source[position];
    size_t end = position + 1;
    if (is_word_start(c)) end = word_end(source, position);
    if (c == '\'') end = string_end(source, position, false);
    if (c == '"') end = quoted_end(source, position);
    if (absl::ascii_isdigit(static_cast<unsigned char>(c))) end = number_end(source, position);
    return end - position;
}

Compiled<std::unique_ptr<Syntax>> parse(std::string_view text) {
    if (text.size() > kMaxExpressionBytes)
        return make_error(fmt::format("expression is longer than {} bytes", kMaxExpressionBytes), 0, 1);
    if (const size_t zero = text.find('\0'); zero != std::string_view::npos)
        return make_error("expression holds a zero byte", zero, 1);
    auto syntax = std::make_unique<Syntax>();
    syntax->source = text;
    if (const auto comment = bad_comment(text))
        return make_error("comment is not closed, or holds too many others", *comment, 2);
    quote_paths(*syntax);

    const PgQueryParseResult result = pg_query_parse(syntax->query.c_str());
    struct Free {
        const PgQueryParseResult& result;
        ~Free() { pg_query_free_parse_result(result); }
    } free_result{result};
    if (result.error != nullptr) return syntax_error(*syntax, *result.error);

    constexpr unsigned kFlags = rapidjson::kParseIterativeFlag;
    syntax->tree.Parse<kFlags>(result.parse_tree);
    if (syntax->tree.HasParseError()) return make_error("the parser's answer cannot be read", 0, 1);

    const rapidjson::Value* const statements = child(&syntax->tree, "stmts");
    if (statements == nullptr || !statements->IsArray() || statements->Empty())
        return make_error("empty expression", 0, 1);
    if (statements->Size() > 1) {
        const size_t semicolon = text.find(';');
        return make_error("one expression is expected, not several statements",
                          semicolon == std::string_view::npos ? 0 : semicolon, 1);
    }
    const rapidjson::Value* const select = child(child(&(*statements)[0], "stmt"), "SelectStmt");
    const rapidjson::Value* const targets = child(select, "targetList");
    if (targets == nullptr || !targets->IsArray() || targets->Empty())
        return make_error("empty expression", 0, 1);
    for (const auto& part : select->GetObject()) {
        const std::string_view name(part.name.GetString(), part.name.GetStringLength());
        if (name == "targetList" || name == "limitOption" || name == "op") continue;
        const int64_t location = first_location(part.value);
        const size_t position = location < 0 ? 0 : syntax->source_position(location);
        return make_error(
            "an expression is expected, not a query: FROM, WHERE, GROUP BY and the like do not belong here",
            position, syntax->token_length(position));
    }
    if (targets->Size() > 1) {
        const size_t position = syntax->source_position(first_location((*targets)[1]));
        return make_error("one expression is expected, not a list", position, syntax->token_length(position));
    }
    const rapidjson::Value* const target = child(&(*targets)[0], "ResTarget");
    if (child(target, "name") != nullptr) {
        const auto& name = *child(target, "name");
        const size_t found = text.rfind(std::string_view(name.GetString(), name.GetStringLength()));
        const size_t position = found == std::string_view::npos ? 0 : found;
        return make_error("an expression takes no alias", position, name.GetStringLength(),
                          "the name of a field stands before the colon");
    }
    syntax->expression = child(target, "val");
    if (syntax->expression == nullptr) return make_error("empty expression", 0, 1);
    if (const rapidjson::Value* const star = child(child(syntax->expression, "ColumnRef"), "fields");
        star != nullptr && star->Size() == 1 && child(&(*star)[0], "A_Star") != nullptr)
        return make_error("* is no expression", 0, 1);
    return syntax;
}

}  // namespace weir::processor::expr
