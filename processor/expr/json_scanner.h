// Steps over JSON text, shared by the lookups, the canonical form and the order.
//
// Failure: every step stays inside the text, whatever it holds.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weir::processor::expr {

[[nodiscard]] inline bool is_json_blank(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

class JsonScanner {
public:
    explicit JsonScanner(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

    char peek() {
        while (at_ != end_ && is_json_blank(*at_)) ++at_;
        return at_ == end_ ? '\0' : *at_;
    }
    bool take(char c) {
        if (peek() != c) return false;
        ++at_;
        return true;
    }
    // A string with its quotes; `at_` must stand on the first one.
    std::string_view string() {
        const char* const start = at_;
        ++at_;
        while (at_ != end_ && *at_ != '"') {
            if (*at_ == '\\' && at_ + 1 != end_) ++at_;
            ++at_;
        }
        if (at_ != end_) ++at_;
        return {start, static_cast<size_t>(at_ - start)};
    }
    std::string_view value() {
        const char first = peek();
        const char* const start = at_;
        if (first == '"') return string();
        if (first == '{' || first == '[') {
            int depth = 0;
            while (at_ != end_) {
                const char c = *at_;
                if (c == '"') {
                    string();
                    continue;
                }
                ++at_;
                if (c == '{' || c == '[') ++depth;
                if ((c == '}' || c == ']') && --depth == 0) break;
            }
        } else {
            while (at_ != end_ && *at_ != ',' && *at_ != '}' && *at_ != ']' && !is_json_blank(*at_)) ++at_;
        }
        return {start, static_cast<size_t>(at_ - start)};
    }
    // The next member of an object whose `{` or previous member was read; false at the end.
    bool member(std::string_view& quoted_key, std::string_view& member_value) {
        if (peek() == ',') ++at_;
        if (peek() != '"') return false;
        quoted_key = string();
        if (!take(':')) return false;
        member_value = value();
        return !member_value.empty();
    }
    bool element(std::string_view& element_value) {
        if (peek() == ',') ++at_;
        if (peek() == ']') return false;
        element_value = value();
        return !element_value.empty();
    }
    [[nodiscard]] const char* position() const { return at_; }

private:
    const char* at_;
    const char* end_;
};

// A JSON string without its quotes, still escaped.
[[nodiscard]] inline std::string_view json_string_body(std::string_view quoted) {
    if (quoted.size() < 2) return {};
    return quoted.substr(1, quoted.size() - 2);
}
void append_unescaped_json(std::string_view body, std::string& out);

struct JsonMember {
    std::string key;
    std::string_view value;
};
// In jsonb's order, of equal keys the last.
[[nodiscard]] std::vector<JsonMember> sorted_json_members(std::string_view json);
void append_json_number(std::string_view number, std::string& out);  // Written out in full, as numeric.

}  // namespace weir::processor::expr
