#include "cmd/test_compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "cmd/record_condition.h"
#include "processor/expr/json_scanner.h"
#include "processor/expr/jsonb.h"
#include "processor/expr/timestamp.h"

namespace weir::cmd {
namespace {

namespace expr = processor::expr;
using connectors::MemoryRecord;

// How far event time was when a result was written. After a restart a record is read together with the news
// that other partitions are at their ends, otherwise after it.
constexpr std::string_view kPollHeader = "weir.watermark";

// --- YAML ---

bool is_word(std::string_view text) {
    const auto is_letter = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    };
    if (text.empty() || !is_letter(text.front())) return false;
    const bool plain = std::all_of(text.begin(), text.end(), [&](char c) {
        return is_letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.';
    });
    std::string lower(text);
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    static constexpr std::string_view kWords[] = {"yes", "no", "on", "off", "true", "false", "null"};
    return plain && std::find(std::begin(kWords), std::end(kWords), lower) == std::end(kWords);
}

std::string yaml_text(std::string_view text) {
    if (is_word(text)) return std::string(text);
    std::string out;
    expr::append_json_string(text, out);
    return out;
}

std::string yaml_maybe(const std::optional<std::string>& text) { return text ? yaml_text(*text) : "null"; }

void append_yaml(std::string_view json, std::string& out) {
    expr::JsonScanner scanner(json);
    const expr::JsonKind kind = expr::json_kind(json);
    bool first = true;
    const auto separate = [&] {
        if (!first) out += ", ";
        first = false;
    };
    if (kind == expr::JsonKind::kObject) {
        scanner.take('{');
        out += '{';
        std::string_view key;
        std::string_view value;
        while (scanner.member(key, value)) {
            separate();
            const std::string_view body = expr::json_string_body(key);
            out += is_word(body) ? std::string(body) : std::string(key);
            out += ": ";
            append_yaml(value, out);
        }
        out += '}';
    } else if (kind == expr::JsonKind::kArray) {
        scanner.take('[');
        out += '[';
        std::string_view element;
        while (scanner.element(element)) {
            separate();
            append_yaml(element, out);
        }
        out += ']';
    } else if (kind == expr::JsonKind::kString) {
        const std::string_view body = expr::json_string_body(json);
        out += is_word(body) ? body : json;
    } else {
        out += json;
    }
}

std::string yaml_value(const std::string& json) {
    std::string out;
    append_yaml(json, out);
    return out;
}

std::string yaml_headers(const std::vector<std::pair<std::string, std::string>>& headers) {
    std::string out;
    for (const auto& [name, value] : headers)
        out += fmt::format("{}{}: {}", out.empty() ? "" : ", ", yaml_text(name), yaml_text(value));
    return "{" + out + "}";
}

// RFC 3339, as the file has it.
std::string instant(int64_t milliseconds) {
    std::string text;
    expr::append_timestamp(milliseconds * 1000, text);
    text[text.find(' ')] = 'T';
    return text.substr(0, text.rfind('+')) + 'Z';
}

std::string join(const std::vector<std::string>& parts) {
    std::string out;
    for (const std::string& part : parts) out += (out.empty() ? "" : ", ") + part;
    return "{" + out + "}";
}

// --- Differences ---

std::string unlike(const std::string& path, std::string_view expected, std::string_view actual) {
    std::string want;
    std::string got;
    append_yaml(expected, want);
    append_yaml(actual, got);
    return fmt::format("{}: expected {}, got {}", path, want, got);
}

// As they are written.
std::vector<expr::JsonMember> json_members(std::string_view json) {
    std::vector<expr::JsonMember> members = expr::sorted_json_members(json);
    std::sort(members.begin(), members.end(),
              [](const auto& a, const auto& b) { return a.value.data() < b.value.data(); });
    return members;
}

std::string json_difference(const std::string& path, std::string_view expected, std::string_view actual,
                            bool partial) {
    const expr::JsonKind kind = expr::json_kind(expected);
    if (kind != expr::json_kind(actual)) return unlike(path, expected, actual);
    if (kind == expr::JsonKind::kObject) {
        for (const expr::JsonMember& member : json_members(expected)) {
            const auto found = expr::json_member(actual, member.key);
            if (!found) {
                return fmt::format("{}.{}: expected {}, it is missing", path, member.key,
                                   yaml_value(std::string(member.value)));
            }
            std::string inside = json_difference(path + "." + member.key, member.value, *found, partial);
            if (!inside.empty()) return inside;
        }
        if (partial) return {};
        for (const expr::JsonMember& member : json_members(actual)) {
            if (expr::json_member(expected, member.key)) continue;
            return fmt::format("{}.{}: nobody expected {}", path, member.key,
                               yaml_value(std::string(member.value)));
        }
        return {};
    }
    if (kind == expr::JsonKind::kArray) {
        const int64_t length = expr::json_array_length(expected);
        if (length != expr::json_array_length(actual)) return unlike(path, expected, actual);
        for (int64_t i = 0; i < length; ++i) {
            std::string inside =
                json_difference(fmt::format("{}[{}]", path, i), *expr::json_element(expected, i),
                                *expr::json_element(actual, i), partial);
            if (!inside.empty()) return inside;
        }
        return {};
    }
    return expr::compare_json(expected, actual) == 0 ? std::string() : unlike(path, expected, actual);
}

std::string bytes_difference(const std::string& what, const std::optional<std::string>& expected,
                             const std::optional<std::string>& actual) {
    if (expected == actual) return {};
    return fmt::format("{}: expected {}, got {}", what, yaml_maybe(expected), yaml_maybe(actual));
}

std::string value_difference(const config::ExpectedRecord& expected,
                             const std::optional<std::string>& actual) {
    const auto& json = expected.value.bytes;
    if (!json || !actual) return bytes_difference("value", json, actual);
    if (!expr::is_valid_json(*actual))
        return fmt::format("value: expected {}, got no JSON", yaml_value(*json));
    return json_difference("value", *json, *actual, expected.partial);
}

// Empty: the record is what was expected.
std::string difference(const config::ExpectedRecord& expected, const MemoryRecord& actual) {
    std::string found;
    if (expected.key.said) found = bytes_difference("key", expected.key.bytes, actual.key);
    if (found.empty() && expected.value.said) found = value_difference(expected, actual.value);
    if (found.empty() && expected.raw.said)
        found = bytes_difference("value", expected.raw.bytes, actual.value);
    for (const auto& [name, value] : expected.headers) {
        if (!found.empty()) return found;
        std::optional<std::string> header;
        for (const auto& [its_name, its_value] : actual.headers) {
            if (its_name == name) header = its_value;
        }
        found = bytes_difference("header " + name, value, header);
    }
    if (found.empty() && expected.timestamp_ms && *expected.timestamp_ms != actual.timestamp_ms)
        found = fmt::format("timestamp: expected {}, got {}", instant(*expected.timestamp_ms),
                            instant(actual.timestamp_ms));
    if (found.empty() && expected.match) {
        const auto condition = RecordCondition::compile(expected.match->value);
        found = std::get<RecordCondition>(condition).failure(actual);
    }
    return found;
}

// --- Which record answers which: for each expected one the actual one that agrees. ---

using Answers = std::vector<std::optional<size_t>>;
using Agree = std::vector<std::vector<bool>>;  // By expected, then actual.

// The longest common subsequence.
Answers answers_in_order(const Agree& agree, size_t actual_count) {
    const size_t expected_count = agree.size();
    std::vector<std::vector<size_t>> longest(expected_count + 1, std::vector<size_t>(actual_count + 1));
    for (size_t i = expected_count; i-- > 0;) {
        for (size_t j = actual_count; j-- > 0;) {
            longest[i][j] =
                agree[i][j] ? longest[i + 1][j + 1] + 1 : std::max(longest[i + 1][j], longest[i][j + 1]);
        }
    }
    Answers answers(expected_count);
    for (size_t i = 0, j = 0; i < expected_count && j < actual_count;) {
        if (agree[i][j]) {
            answers[i++] = j++;
        } else if (longest[i + 1][j] >= longest[i][j + 1]) {
            ++i;
        } else {
            ++j;
        }
    }
    return answers;
}

// The largest matching, by augmenting paths.
Answers answers_in_any_order(const Agree& agree, size_t actual_count) {
    std::vector<std::optional<size_t>> taken(actual_count);
    std::vector<bool> tried;
    const std::function<bool(size_t)> place = [&](size_t i) {
        for (size_t j = 0; j < actual_count; ++j) {
            if (!agree[i][j] || tried[j]) continue;
            tried[j] = true;
            if (taken[j] && !place(*taken[j])) continue;
            taken[j] = i;
            return true;
        }
        return false;
    };
    for (size_t i = 0; i < agree.size(); ++i) {
        tried.assign(actual_count, false);
        static_cast<void>(place(i));
    }
    Answers answers(agree.size());
    for (size_t j = 0; j < actual_count; ++j) {
        if (taken[j]) answers[*taken[j]] = j;
    }
    return answers;
}

}  // namespace

std::vector<Pairing> compare(const std::vector<config::ExpectedRecord>& expected,
                             const std::vector<MemoryRecord>& actual, bool any_order) {
    Agree agree(expected.size(), std::vector<bool>(actual.size()));
    for (size_t i = 0; i < expected.size(); ++i) {
        for (size_t j = 0; j < actual.size(); ++j) agree[i][j] = difference(expected[i], actual[j]).empty();
    }
    const Answers answers =
        any_order ? answers_in_any_order(agree, actual.size()) : answers_in_order(agree, actual.size());
    std::vector<bool> answered(actual.size());
    for (const auto& answer : answers) {
        if (answer) answered[*answer] = true;
    }

    // What is left over is paired in its order, in order also between its neighbours.
    std::vector<Pairing> pairings;
    size_t next = 0;
    const auto leftover = [&](size_t stop) -> std::optional<size_t> {
        while (next < stop && answered[next]) ++next;
        return next < stop ? std::optional<size_t>(next++) : std::nullopt;
    };
    const auto surplus = [&](size_t stop) {
        while (const auto j = leftover(stop))
            pairings.push_back({std::nullopt, j, "nobody expected this record"});
    };
    for (size_t i = 0; i < expected.size(); ++i) {
        if (answers[i]) {
            if (!any_order) surplus(*answers[i]);
            pairings.push_back({i, answers[i], {}});
            continue;
        }
        size_t stop = actual.size();
        for (size_t k = i; k < expected.size() && !any_order; ++k) {
            if (!answers[k]) continue;
            stop = *answers[k];
            break;
        }
        const auto j = leftover(stop);
        pairings.push_back({i, j, j ? difference(expected[i], actual[*j]) : "the record is missing"});
    }
    surplus(actual.size());
    return pairings;
}

config::ExpectedRecord exactly(const MemoryRecord& record) {
    config::ExpectedRecord expected;
    expected.key = {true, record.key};
    const bool is_json = record.value && expr::is_valid_json(*record.value);
    (is_json || !record.value ? expected.value : expected.raw) = {true, record.value};
    for (const auto& [name, value] : record.headers)
        if (name != kPollHeader) expected.headers.emplace_back(name, value.value_or(""));
    expected.timestamp_ms = record.timestamp_ms;
    return expected;
}

std::string as_yaml(const MemoryRecord& record, const config::ExpectedRecord* like) {
    std::vector<std::string> parts{"key: " + yaml_maybe(record.key)};
    if (!record.value) {
        parts.emplace_back("value: null");
    } else if (expr::is_valid_json(*record.value)) {
        parts.push_back("value: " + yaml_value(*record.value));
    } else {
        parts.push_back("raw: " + yaml_text(*record.value));
    }
    if (like != nullptr && !like->headers.empty()) {
        std::vector<std::pair<std::string, std::string>> headers;
        for (const auto& [name, value] : record.headers) headers.emplace_back(name, value.value_or(""));
        parts.push_back("headers: " + yaml_headers(headers));
    }
    if (like != nullptr && like->timestamp_ms) parts.push_back("timestamp: " + instant(record.timestamp_ms));
    return join(parts);
}

std::string as_yaml(const config::ExpectedRecord& record) {
    std::vector<std::string> parts;
    if (record.key.said) parts.push_back("key: " + yaml_maybe(record.key.bytes));
    if (record.value.said)
        parts.push_back("value: " +
                        (record.value.bytes ? yaml_value(*record.value.bytes) : std::string("null")));
    if (record.raw.said) parts.push_back("raw: " + yaml_maybe(record.raw.bytes));
    if (!record.headers.empty()) parts.push_back("headers: " + yaml_headers(record.headers));
    if (record.timestamp_ms) parts.push_back("timestamp: " + instant(*record.timestamp_ms));
    if (record.match) parts.push_back("match: " + yaml_text(record.match->value));
    if (record.partial) parts.emplace_back("partial: true");
    return join(parts);
}

}  // namespace weir::cmd
