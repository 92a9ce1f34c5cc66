#include "config/diagnostic.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

namespace weir::config {
namespace {

constexpr size_t kMaxRendered = 100;   // A file that is wrong everywhere says so and stops.
constexpr size_t kMaxLineBytes = 160;  // Longer source lines are shown around the caret.
constexpr size_t kBytesBeforeCaret = 60;
constexpr size_t kMaxMessageBytes = 2'000;  // Messages may quote a value of the file.
constexpr size_t kMaxDistance = 2;

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

// Nothing of the file may drive the terminal.
void disarm(std::string& text) {
    for (char& c : text) {
        if (c == '\t') c = ' ';
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
    }
}

std::string presentable(std::string text) {
    disarm(text);
    if (text.size() <= kMaxMessageBytes) return text;
    size_t end = kMaxMessageBytes;
    while (is_continuation(text[end])) --end;
    return text.substr(0, end) + "…";
}

size_t code_points(std::string_view text) {
    return static_cast<size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return !is_continuation(c); }));
}

std::string_view line_of(std::string_view source, int32_t number) {
    size_t begin = 0;
    for (int32_t line = 1; line < number; ++line) {
        const size_t end = source.find('\n', begin);
        if (end == std::string_view::npos) return {};
        begin = end + 1;
    }
    return source.substr(begin, source.find('\n', begin) - begin);
}

struct Excerpt {
    std::string text;
    size_t indent = 0;  // Columns before the caret.
    size_t carets = 1;
};

Excerpt excerpt(std::string_view line, const Mark& mark) {
    size_t column = std::min(static_cast<size_t>(std::max(mark.column, 1) - 1), line.size());
    size_t length = std::min(static_cast<size_t>(std::max(mark.length, 1)), line.size() - column);
    Excerpt result;
    std::string_view shown = line;
    std::string_view before;
    std::string_view after;
    if (line.size() > kMaxLineBytes) {
        size_t begin = column > kBytesBeforeCaret ? column - kBytesBeforeCaret : 0;
        while (begin > 0 && is_continuation(line[begin])) --begin;
        size_t end = std::min(line.size(), begin + kMaxLineBytes);
        while (end < line.size() && is_continuation(line[end])) ++end;
        shown = line.substr(begin, end - begin);
        before = begin > 0 ? "…" : "";
        after = end < line.size() ? "…" : "";
        column -= begin;
        length = std::min(length, shown.size() - column);
    }
    result.text = fmt::format("{}{}{}", before, shown, after);
    disarm(result.text);
    result.indent = code_points(before) + code_points(shown.substr(0, column));
    result.carets = std::max<size_t>(1, code_points(shown.substr(column, length)));
    return result;
}

std::string counted(size_t count, std::string_view noun) {
    return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

// Optimal string alignment: insert, delete, replace, swap neighbours. Boytsov, "Indexing methods for
// approximate dictionary searching" (2011), section 2.
size_t distance(std::string_view a, std::string_view b) {
    std::vector<size_t> before(b.size() + 1);
    std::vector<size_t> last(b.size() + 1);
    std::vector<size_t> now(b.size() + 1);
    for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
        now[0] = i;
        for (size_t j = 1; j <= b.size(); ++j) {
            const size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
            now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + cost});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                now[j] = std::min(now[j], before[j - 2] + 1);
            }
        }
        std::swap(before, last);
        std::swap(last, now);
    }
    return last[b.size()];
}

}  // namespace

void Diagnostics::error(std::string code, Mark mark, std::string message, std::string label,
                        std::string help) {
    all_.push_back({std::move(code), presentable(std::move(message)), mark, presentable(std::move(label)),
                    presentable(std::move(help)), false});
}

void Diagnostics::warning(std::string code, Mark mark, std::string message, std::string label,
                          std::string help) {
    all_.push_back({std::move(code), presentable(std::move(message)), mark, presentable(std::move(label)),
                    presentable(std::move(help)), true});
}

bool Diagnostics::has_errors() const {
    return std::any_of(all_.begin(), all_.end(), [](const Diagnostic& d) { return !d.warning; });
}

std::string Diagnostics::render(std::string_view path, std::string_view source) const {
    std::vector<const Diagnostic*> ordered;
    ordered.reserve(all_.size());
    for (const Diagnostic& diagnostic : all_) ordered.push_back(&diagnostic);
    std::stable_sort(ordered.begin(), ordered.end(), [](const Diagnostic* a, const Diagnostic* b) {
        return std::pair(a->mark.line, a->mark.column) < std::pair(b->mark.line, b->mark.column);
    });

    std::string out;
    const auto append = std::back_inserter(out);
    for (size_t i = 0; i < std::min(ordered.size(), kMaxRendered); ++i) {
        const Diagnostic& d = *ordered[i];
        if (i > 0) out += '\n';
        fmt::format_to(append, "{}[{}]: {}\n", d.warning ? "warning" : "error", d.code, d.message);
        if (d.mark.line == 0) {  // About the file as a whole.
            fmt::format_to(append, " --> {}\n", path);
            if (!d.help.empty()) fmt::format_to(append, "  = help: {}\n", d.help);
            continue;
        }
        const std::string number = std::to_string(d.mark.line);
        const Excerpt shown = excerpt(line_of(source, d.mark.line), d.mark);
        const std::string margin(number.size(), ' ');
        fmt::format_to(append, "{}--> {}:{}:{}\n", margin, path, d.mark.line, d.mark.column);
        fmt::format_to(append, "{} |\n{} | {}\n", margin, number, shown.text);
        fmt::format_to(append, "{} | {:{}}{:^>{}}{}{}\n", margin, "", shown.indent, "", shown.carets,
                       d.label.empty() ? "" : " ", d.label);
        if (!d.help.empty()) fmt::format_to(append, "{} = help: {}\n", margin, d.help);
    }
    if (ordered.size() > kMaxRendered) {
        fmt::format_to(append, "… and {} more\n", ordered.size() - kMaxRendered);
    }
    if (ordered.empty()) return out;
    const auto errors = static_cast<size_t>(
        std::count_if(all_.begin(), all_.end(), [](const Diagnostic& d) { return !d.warning; }));
    fmt::format_to(append, "{}, {}{}\n", counted(errors, "error"), counted(all_.size() - errors, "warning"),
                   errors > 0 ? "; nothing was started" : "");
    return out;
}

std::string_view nearest(std::string_view name, const std::vector<std::string_view>& candidates) {
    constexpr size_t kMaxName = 64;  // Nobody mistypes longer names, and the cost is quadratic.
    std::string_view best;
    size_t best_distance = kMaxDistance + 1;
    if (name.size() > kMaxName) return best;
    for (const std::string_view candidate : candidates) {
        const size_t longer = std::max(name.size(), candidate.size());
        // No distance is below the difference in length.
        if (longer > kMaxName || longer - std::min(name.size(), candidate.size()) >= best_distance) continue;
        const size_t d = distance(name, candidate);
        // A word of which more than half is wrong is another word.
        if (d < best_distance && d * 2 <= longer) {
            best = candidate;
            best_distance = d;
        }
    }
    return best;
}

}  // namespace weir::config
