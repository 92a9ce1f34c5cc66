#include "processor/expr/like.h"

#include <absl/strings/ascii.h>
#include <fmt/format.h>
#include <re2/re2.h>

#include <memory>
#include <string>

#include "processor/expr/value_text.h"

namespace weir::processor::expr {
namespace {

using Arguments = std::span<const Value>;

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

size_t next_character(std::string_view text, size_t at) {
    ++at;
    while (at < text.size() && is_continuation(text[at])) ++at;
    return at;
}

char folded(char c, bool fold_case) {
    return fold_case ? absl::ascii_tolower(static_cast<unsigned char>(c)) : c;
}

template <bool kFold, bool kNegated>
Value like_code(CallContext& context, Arguments arguments) {
    switch (like(arguments[0].bytes(), arguments[1].bytes(), kFold)) {
        case LikeMatch::kNo: return Value::of_bool(kNegated);
        case LikeMatch::kYes: return Value::of_bool(!kNegated);
        case LikeMatch::kBadPattern: break;
    }
    return error_value(context.arena, "LIKE pattern must not end with escape character");
}

// A pattern written with another escape character, as one with backslashes.
Value like_escape(CallContext& context, Arguments arguments) {
    const std::string_view pattern = arguments[0].bytes();
    const std::string_view escape = arguments[1].bytes();
    if (!escape.empty() && next_character(escape, 0) != escape.size())
        return error_value(context.arena, "invalid escape string");
    if (escape == "\\") return arguments[0];
    std::string out;
    bool after_escape = false;
    for (size_t at = 0; at < pattern.size();) {
        const size_t end = next_character(pattern, at);
        const std::string_view character = pattern.substr(at, end - at);
        at = end;
        if (!escape.empty() && character == escape && !after_escape) {
            out.push_back('\\');
            after_escape = true;
        } else if (character == "\\") {
            out.append(after_escape ? "\\" : "\\\\");
            after_escape = false;
        } else {
            out.append(character);
            after_escape = false;
        }
    }
    return Value::of_text(context.arena.copy(out));
}

re2::StringPiece piece(std::string_view text) { return {text.data(), text.size()}; }

std::unique_ptr<RE2> compile_regex(std::string_view pattern, bool fold_case) {
    RE2::Options options;
    options.set_log_errors(false);
    options.set_case_sensitive(!fold_case);
    options.set_dot_nl(true);
    options.set_max_mem(1 << 20);
    return std::make_unique<RE2>(piece(pattern), options);
}

std::string regex_error(const RE2& regex) {
    return fmt::format("invalid regular expression: {}", regex.error());
}

template <bool kFold>
std::shared_ptr<const void> prepare_regex(std::span<const Value* const> constants, std::string& error) {
    const Value* const pattern = constants[1];
    if (pattern == nullptr || pattern->type != Type::kText) return nullptr;
    std::shared_ptr<const RE2> regex = compile_regex(pattern->bytes(), kFold);
    if (!regex->ok()) error = regex_error(*regex);
    return regex;
}

template <bool kFold, bool kNegated>
Value regex_code(CallContext& context, Arguments arguments) {
    const std::string_view text = arguments[0].bytes();
    if (context.prepared != nullptr)
        return Value::of_bool(RE2::PartialMatch(piece(text), *static_cast<const RE2*>(context.prepared)) !=
                              kNegated);
    const auto regex = compile_regex(arguments[1].bytes(), kFold);
    if (!regex->ok()) return error_value(context.arena, regex_error(*regex));
    return Value::of_bool(RE2::PartialMatch(piece(text), *regex) != kNegated);
}

}  // namespace

LikeMatch like(std::string_view text, std::string_view pattern, bool fold_case) {
    size_t t = 0;
    size_t p = 0;
    // Where to go on when a character does not match: after the last %, one character of the text later.
    size_t retry_t = 0;
    size_t retry_p = std::string_view::npos;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '%') {
            retry_p = ++p;
            retry_t = t;
            continue;
        }
        if (p < pattern.size() && pattern[p] == '_') {
            t = next_character(text, t);
            ++p;
            continue;
        }
        if (p < pattern.size()) {
            const bool escaped = pattern[p] == '\\';
            if (escaped && p + 1 == pattern.size()) return LikeMatch::kBadPattern;
            const char expected = pattern[p + escaped];
            if (folded(text[t], fold_case) == folded(expected, fold_case)) {
                ++t;
                p += escaped ? 2 : 1;
                continue;
            }
        }
        if (retry_p == std::string_view::npos) return LikeMatch::kNo;
        retry_t = next_character(text, retry_t);
        t = retry_t;
        p = retry_p;
    }
    while (p < pattern.size() && pattern[p] == '%') ++p;
    return p == pattern.size() ? LikeMatch::kYes : LikeMatch::kNo;
}

void add_pattern_functions(std::vector<FunctionSpec>& out) {
    constexpr uint16_t kT = kTextArgument;
    const auto like_operator = [&](std::string_view name, FunctionCode code) {
        out.push_back({name, "text LIKE text", 2, 2, {kT, kT}, ResultRule::kFixed, Type::kBool, code});
    };
    like_operator("~~", like_code<false, false>);
    like_operator("!~~", like_code<false, true>);
    like_operator("~~*", like_code<true, false>);
    like_operator("!~~*", like_code<true, true>);
    out.push_back({"like_escape",
                   "LIKE pattern ESCAPE character",
                   2,
                   2,
                   {kT, kT},
                   ResultRule::kFixed,
                   Type::kText,
                   like_escape});
    const auto regex_operator = [&](std::string_view name, FunctionCode code, auto prepare) {
        out.push_back(
            {name, "text ~ pattern", 2, 2, {kT, kT}, ResultRule::kFixed, Type::kBool, code, true, prepare});
    };
    regex_operator("~", regex_code<false, false>, prepare_regex<false>);
    regex_operator("!~", regex_code<false, true>, prepare_regex<false>);
    regex_operator("~*", regex_code<true, false>, prepare_regex<true>);
    regex_operator("!~*", regex_code<true, true>, prepare_regex<true>);
}

}  // namespace weir::processor::expr
