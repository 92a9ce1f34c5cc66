// Finds the bytes of a scalar's value in the source again: yaml-cpp tells only where the scalar starts. The
// value is walked along the source; a byte that cannot be found sends the whole rest to the scalar's start.
#include <algorithm>

#include "config/yaml.h"

namespace weir::config {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n'; }

// How many source bytes an escape of a double-quoted scalar takes, from its backslash on.
size_t escape_length(std::string_view source, size_t at) {
    switch (at + 1 < source.size() ? source[at + 1] : '\0') {
        case 'x': return 4;
        case 'u': return 6;
        case 'U': return 10;
        default: return 2;
    }
}

size_t utf8_length(char first) {
    const auto byte = static_cast<unsigned char>(first);
    if (byte < 0x80) return 1;
    if (byte < 0xE0) return 2;
    return byte < 0xF0 ? 3 : 4;
}

bool is_number(std::string_view text) {
    size_t at = 0;
    const auto digits = [&] {
        const size_t begin = at;
        while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
        return at > begin;
    };
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
    if (!digits()) return false;
    if (at < text.size() && text[at] == '.') {
        ++at;
        if (!digits()) return false;
    }
    if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
        ++at;
        if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
        if (!digits()) return false;
    }
    return at == text.size();
}

}  // namespace

std::optional<size_t> closing_quote(std::string_view source, size_t offset) {
    const char quote = source[offset];
    for (size_t at = offset + 1; at < source.size(); ++at) {
        if (quote == '"' && source[at] == '\\') {
            ++at;
        } else if (source[at] == quote) {
            if (quote == '"' || at + 1 >= source.size() || source[at + 1] != '\'') return at + 1;
            ++at;  // '' is one quote.
        }
    }
    return std::nullopt;
}

std::vector<size_t> scalar_offsets(std::string_view source, const Node& scalar) {
    const std::string_view value = scalar.value;
    std::vector<size_t> offsets(value.size(), scalar.offset);
    size_t at = scalar.offset;
    const bool block = scalar.style == ScalarStyle::kLiteral || scalar.style == ScalarStyle::kFolded;
    if (block) {
        at = std::min(source.find('\n', at), source.size());  // The header may hold a comment.
    } else if (scalar.style != ScalarStyle::kPlain) {
        ++at;
    }
    for (size_t i = 0; i < value.size();) {
        if (scalar.style == ScalarStyle::kDoubleQuoted) {
            // A backslash before a line's end joins the lines and gives no byte.
            while (at + 1 < source.size() && source[at] == '\\' && source[at + 1] == '\n') {
                at += 2;
                while (at < source.size() && is_blank(source[at])) ++at;
            }
            if (at < source.size() && source[at] == '\\') {
                const size_t bytes = std::min(utf8_length(value[i]), value.size() - i);
                std::fill_n(offsets.begin() + static_cast<std::ptrdiff_t>(i), bytes, at);
                i += bytes;
                at += escape_length(source, at);
                continue;
            }
        }
        if (is_blank(value[i])) {  // Folded or kept as it is: at or before the next word.
            offsets[i++] = std::min(at, source.size() - 1);
            if (at < source.size() && source[at] == value[i - 1]) ++at;
            continue;
        }
        while (at < source.size() && is_blank(source[at])) ++at;
        if (at >= source.size() || source[at] != value[i]) return offsets;
        offsets[i++] = at++;
        if (scalar.style == ScalarStyle::kSingleQuoted && source[at - 1] == '\'') ++at;
    }
    return offsets;
}

Text to_text(std::string_view source, const Node& scalar) {
    Text text;
    text.value = scalar.value;
    text.mark = scalar.mark;
    if (scalar.style == ScalarStyle::kPlain) {
        text.is_plain_number = is_number(text.value) || text.value == "true" || text.value == "false";
        if (source.substr(scalar.offset, text.value.size()) == text.value) return text;
    }
    // Offsets grow through the value, so lines are counted on from the scalar's start.
    size_t line_begin = scalar.offset + 1 - static_cast<size_t>(scalar.mark.column);
    size_t line_end = source.find('\n', line_begin);
    int32_t line = scalar.mark.line;
    for (const size_t offset : scalar_offsets(source, scalar)) {
        for (; line_end < offset; line_end = source.find('\n', line_begin)) {
            line_begin = line_end + 1;
            ++line;
        }
        const bool restarted = offset < line_begin;  // A byte that was not found again.
        text.positions.push_back(restarted ? scalar.mark
                                           : Mark{line, static_cast<int32_t>(offset - line_begin) + 1, 1});
    }
    return text;
}

}  // namespace weir::config
