#include "base/ids.h"

#include <charconv>
#include <cstdio>

namespace weir {

std::string to_string(const CommitId& id) {
    char text[64];
    const int length = std::snprintf(
        text, sizeof text, "%016llx%016llx.%llu", static_cast<unsigned long long>(id.boot[0]),
        static_cast<unsigned long long>(id.boot[1]), static_cast<unsigned long long>(id.sequence));
    return {text, static_cast<size_t>(length)};
}

bool parse_commit_id(std::string_view text, CommitId& id) {
    if (text.size() < 34 || text[32] != '.') return false;
    CommitId parsed;
    const char* begin = text.data();
    for (size_t half = 0; half < 2; ++half) {
        const char* from = begin + half * 16;
        const auto [end, error] = std::from_chars(from, from + 16, parsed.boot[half], 16);
        if (error != std::errc{} || end != from + 16) return false;
    }
    const char* last = begin + text.size();
    const auto [end, error] = std::from_chars(begin + 33, last, parsed.sequence, 10);
    if (error != std::errc{} || end != last) return false;
    id = parsed;
    return true;
}

}  // namespace weir
