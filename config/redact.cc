#include "config/redact.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <string_view>
#include <vector>

#include "config/diagnostic.h"

namespace weir::config {
namespace {

bool in_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
}

std::string lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return out;
}

void star(std::string& text, size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i)
        if (text[i] != ' ') text[i] = '*';
}

// All of [begin, end) but "${scheme:name" and "}".
void star_literals(std::string& text, size_t begin, size_t end) {
    const std::string_view line = std::string_view(text).substr(0, end);
    while (begin < end) {
        const size_t open = std::min(line.find("${", begin), end);
        star(text, begin, open);
        const size_t close = std::min(line.find('}', open), end);
        if (close == end) {
            star(text, open, end);
            return;
        }
        const size_t fallback = std::min(line.find(":-", open), close);
        if (fallback < close) star(text, fallback + 2, close);
        begin = close + 1;
    }
}

// `line` ends where the line does. Where the value behind a secret's name begins in it; its end: in the lines
// that follow. Nothing: there is no such name.
std::optional<size_t> secret_value(std::string_view line, size_t begin) {
    for (size_t colon = line.find(':', begin); colon < line.size(); colon = line.find(':', colon + 1)) {
        size_t name_end = colon;
        while (name_end > begin &&
               (line[name_end - 1] == ' ' || line[name_end - 1] == '"' || line[name_end - 1] == '\''))
            --name_end;
        size_t name_begin = name_end;
        while (name_begin > begin && in_name(line[name_begin - 1])) --name_begin;
        const bool reference = (name_begin >= 2 && line.substr(name_begin - 2, 2) == "${") ||
                               line.substr(colon, 2) == ":-";  // A default follows.
        if (!reference && names_secret(line.substr(name_begin, name_end - name_begin)))
            return std::min(line.find_first_not_of(" \t", colon + 1), line.size());
    }
    return std::nullopt;
}

size_t value_end(std::string_view line, size_t begin) {
    if (begin == line.size()) return begin;
    const char first = line[begin];
    if (first == '"' || first == '\'') return std::min(line.find(first, begin + 1), line.size());
    return std::min(line.find(" #", begin), line.size());
}

void hide_userinfo(std::string& text, size_t begin, size_t end) {
    const std::string_view line = std::string_view(text).substr(0, end);
    for (size_t at = line.find("://", begin); at < end;) {
        const size_t last = std::min(line.find_first_of(" \t\"'", at), end);
        const size_t sign = line.substr(at, last - at).rfind('@');
        if (sign != std::string_view::npos) star(text, at + 3, at + sign);
        at = line.find("://", last);
    }
}

}  // namespace

bool names_secret(std::string_view name) {
    constexpr size_t kShortestSecretName = 4;  // "jaas"
    static constexpr std::array<std::string_view, 7> kWords{"password", "passwd",  "passphrase", "secret",
                                                            "token",    "private", "credential"};
    if (name.size() < kShortestSecretName) return false;
    const std::string text = lower(name);
    const auto says = [&](std::string_view word) { return text.find(word) != std::string::npos; };
    if (std::any_of(kWords.begin(), kWords.end(), says) || says("jaas")) return true;
    for (size_t begin = 0; begin < text.size();) {
        const size_t end = std::min(text.find_first_of("._-", begin), text.size());
        const std::string_view part = std::string_view(text).substr(begin, end - begin);
        // Short words are near to everything, and nobody misses the first letter.
        std::vector<std::string_view> alike;
        if (part.size() >= 5)
            std::copy_if(kWords.begin(), kWords.end(), std::back_inserter(alike),
                         [&](std::string_view word) { return word[0] == part[0]; });
        if (!nearest(part, alike).empty()) return true;
        begin = end + 1;
    }
    return false;
}

std::string_view userinfo(std::string_view address) {
    const size_t scheme = address.find("://");
    if (scheme == std::string_view::npos) return {};
    address.remove_prefix(scheme + 3);
    const size_t sign = address.rfind('@');
    return sign == std::string_view::npos ? std::string_view{} : address.substr(0, sign);
}

void hide_secrets(std::string& source) {
    size_t hidden_indent = std::string::npos;  // Lines that stand deeper belong to a secret.
    for (size_t begin = 0; begin < source.size();) {
        const size_t end = std::min(source.find('\n', begin), source.size());
        const std::string_view line = std::string_view(source).substr(0, end);
        const size_t text = std::min(line.find_first_not_of(' ', begin), end);
        if (text < end && hidden_indent != std::string::npos) {
            if (text - begin > hidden_indent)
                star_literals(source, text, end);
            else
                hidden_indent = std::string::npos;
        }
        if (hidden_indent == std::string::npos) {
            if (const auto value = secret_value(line, text)) {
                const bool quoted = *value < end && (line[*value] == '"' || line[*value] == '\'');
                star_literals(source, *value + (quoted ? 1 : 0), value_end(line, *value));
                hidden_indent = line.find_first_not_of("- ", text) - begin;
            }
        }
        hide_userinfo(source, begin, end);
        begin = end + 1;
    }
}

}  // namespace weir::config
