#include "cmd/test_update.h"

#include <algorithm>

namespace weir::cmd {
namespace {

size_t line_begin(std::string_view source, size_t at) {
    const size_t before = at == 0 ? std::string_view::npos : source.rfind('\n', at - 1);
    return before == std::string_view::npos ? 0 : before + 1;
}

// One past the line's newline.
size_t line_end(std::string_view source, size_t at) {
    const size_t end = source.find('\n', at);
    return end == std::string_view::npos ? source.size() : end + 1;
}

size_t indentation(std::string_view source, size_t at) {
    const size_t begin = line_begin(source, at);
    return source.find_first_not_of(' ', begin) - begin;
}

std::string yaml_of(const config::ExpectedTopic& topic, const std::vector<connectors::MemoryRecord>& actual,
                    const Pairing& pairing) {
    const config::ExpectedRecord* const like = pairing.expected ? &topic.records[*pairing.expected] : nullptr;
    return as_yaml(actual[*pairing.actual], like);
}

// A list in brackets is written anew; an empty one looks the same in both forms.
std::string flow_list(std::string_view source, const config::ExpectedTopic& topic,
                      const std::vector<connectors::MemoryRecord>& actual,
                      const std::vector<Pairing>& pairings) {
    // Deeper than the line that the list begins in, whatever form that has.
    const std::string next_line = ",\n" + std::string(indentation(source, topic.span.begin) + 2, ' ');
    std::string items;
    for (const Pairing& pairing : pairings) {
        if (!pairing.actual) continue;
        if (!items.empty()) items += next_line;
        if (pairing.difference.empty()) {
            const config::Span span = topic.records[*pairing.expected].span;
            items += source.substr(span.begin, span.end - span.begin);
        } else {
            items += yaml_of(topic, actual, pairing);
        }
    }
    return "[" + items + "]";
}

}  // namespace

std::vector<Edit> edits_for(std::string_view source, const config::ExpectedTopic& topic,
                            const std::vector<connectors::MemoryRecord>& actual,
                            const std::vector<Pairing>& pairings) {
    const bool agrees = std::all_of(pairings.begin(), pairings.end(),
                                    [](const Pairing& pairing) { return pairing.difference.empty(); });
    if (agrees) return {};
    if (topic.is_flow || actual.empty()) return {{topic.span, flow_list(source, topic, actual, pairings)}};

    std::vector<Edit> edits;
    const std::string dash = std::string(indentation(source, topic.records.front().span.begin), ' ') + "- ";
    size_t after = line_begin(source, topic.records.front().span.begin);  // Where the next new record goes.
    for (const Pairing& pairing : pairings) {
        if (!pairing.expected) {
            const bool starts_line = after == 0 || source[after - 1] == '\n';
            edits.push_back(
                {{after, after}, (starts_line ? "" : "\n") + dash + yaml_of(topic, actual, pairing) + "\n"});
            continue;
        }
        const config::Span span = topic.records[*pairing.expected].span;
        after = line_end(source, span.end);
        if (pairing.difference.empty()) continue;
        if (pairing.actual) {
            edits.push_back({span, yaml_of(topic, actual, pairing)});
        } else {
            edits.push_back({{line_begin(source, span.begin), after}, ""});
        }
    }
    return edits;
}

std::string apply_edits(std::string source, std::vector<Edit> edits) {
    std::stable_sort(edits.begin(), edits.end(),
                     [](const Edit& a, const Edit& b) { return a.span.begin < b.span.begin; });
    for (auto edit = edits.rbegin(); edit != edits.rend(); ++edit)
        source.replace(edit->span.begin, edit->span.end - edit->span.begin, edit->text);
    return source;
}

}  // namespace weir::cmd
