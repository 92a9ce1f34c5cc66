#include "config/read_tests.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <set>

#include "config/scalar.h"

namespace weir::config {
namespace {

constexpr int64_t kDefaultStartMs = 1'767'225'600'000;  // 2026-01-01T00:00:00Z

using Writer = rapidjson::Writer<rapidjson::StringBuffer>;

void write_text(std::string_view text, Writer& out) {
    out.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
}

// JSON's grammar of a number, which is narrower than YAML's.
bool is_json_number(std::string_view text) {
    size_t at = 0;
    const auto digits = [&] {
        const size_t begin = at;
        while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
        return at - begin;
    };
    if (text.starts_with('-')) ++at;
    const size_t first = at;
    const size_t whole = digits();
    if (whole == 0 || (whole > 1 && text[first] == '0')) return false;
    if (at < text.size() && text[at] == '.') {
        ++at;
        if (digits() == 0) return false;
    }
    if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
        ++at;
        if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
        if (digits() == 0) return false;
    }
    return at == text.size();
}

// A plain scalar is what JSON would read it as, else a text; a quoted one is a text.
void write_json(const Node& node, Writer& out) {
    switch (node.kind) {
        case NodeKind::kNull: out.Null(); return;
        case NodeKind::kScalar: {
            const bool plain = node.style == ScalarStyle::kPlain;
            if (plain && (node.value == "true" || node.value == "false")) {
                out.Bool(node.value == "true");
            } else if (plain && is_json_number(node.value)) {
                out.RawValue(node.value.data(), node.value.size(), rapidjson::kNumberType);
            } else {
                write_text(node.value, out);
            }
            return;
        }
        case NodeKind::kSequence:
            out.StartArray();
            for (const Node& item : node.items) write_json(item, out);
            out.EndArray();
            return;
        case NodeKind::kMap:
            out.StartObject();
            for (size_t i = 0; i < node.items.size(); ++i) {
                write_text(node.keys[i].value, out);
                write_json(node.items[i], out);
            }
            out.EndObject();
            return;
    }
}

std::string to_json(const Node& node) {
    rapidjson::StringBuffer buffer;
    Writer writer(buffer);
    write_json(node, writer);
    return {buffer.GetString(), buffer.GetSize()};
}

// Null, the scalar's text, or JSON.
Said read_bytes(const Node* node) {
    if (node == nullptr) return {};
    if (node->kind == NodeKind::kNull) return {true, std::nullopt};
    return {true, node->is_scalar() ? node->value : to_json(*node)};
}

Said read_json(const Node* node) {
    if (node == nullptr) return {};
    if (node->kind == NodeKind::kNull) return {true, std::nullopt};
    return {true, to_json(*node)};
}

const std::string& scalar(const Node& map, std::string_view key) {
    static const std::string none;
    const Node* const node = map.find(key);
    return node != nullptr && node->is_scalar() ? node->value : none;
}

std::vector<std::pair<std::string, std::string>> read_headers(const Node& map) {
    std::vector<std::pair<std::string, std::string>> headers;
    const Node* const node = map.find("headers");
    if (node == nullptr || !node->is_map()) return headers;
    for (size_t i = 0; i < node->items.size(); ++i)
        headers.emplace_back(node->keys[i].value, node->items[i].value);
    return headers;
}

// One past the node's last byte.
size_t end_of(std::string_view source, const Node& node) {
    const bool is_flow =
        node.offset < source.size() && (source[node.offset] == '{' || source[node.offset] == '[');
    if (node.kind == NodeKind::kNull) return node.offset + node.value.size();
    if (node.kind == NodeKind::kScalar) {
        if (node.style == ScalarStyle::kSingleQuoted || node.style == ScalarStyle::kDoubleQuoted)
            return closing_quote(source, node.offset).value_or(source.size());
        const auto offsets = scalar_offsets(source, node);
        return offsets.empty() ? node.offset : offsets.back() + 1;
    }
    if (!is_flow) {
        return node.items.empty()
                   ? node.offset
                   : std::max(end_of(source, node.items.back()),
                              node.is_map() ? node.keys.back().offset + node.keys.back().value.size() + 1
                                            : size_t{0});
    }
    int depth = 0;
    for (size_t at = node.offset; at < source.size(); ++at) {
        const char c = source[at];
        const char before = at == 0 ? ' ' : source[at - 1];
        const bool begins_token = std::string_view(" \n,[{:").find(before) != std::string_view::npos;
        if ((c == '"' || c == '\'') && begins_token) {
            at = closing_quote(source, at).value_or(source.size()) - 1;
        } else if (c == '#' && (before == ' ' || before == '\n')) {
            at = std::min(source.find('\n', at), source.size());
        } else if (c == '{' || c == '[') {
            ++depth;
        } else if ((c == '}' || c == ']') && --depth == 0) {
            return at + 1;
        }
    }
    return source.size();
}

TestEvent read_event(const Node& node) {
    TestEvent event;
    event.mark = node.mark;
    if (const Node* const to = node.find("to"); to != nullptr) event.to = {to->value, to->mark, {}, false};
    if (const auto advance = parse_duration(scalar(node, "advance"))) {
        event.kind = TestEvent::Kind::kAdvance;
        event.time_ms = *advance;
    } else if (const auto watermark = parse_instant(scalar(node, "watermark"))) {
        event.kind = TestEvent::Kind::kWatermark;
        event.time_ms = *watermark;
    } else if (node.find("restart") != nullptr) {
        event.kind = TestEvent::Kind::kRestart;
    } else if (const Node* const moved = node.find("rebalance"); moved != nullptr) {
        event.kind = TestEvent::Kind::kRebalance;
        for (const Node& partition : moved->is_scalar() ? std::vector<Node>{*moved} : moved->items)
            event.moved.push_back(parse_integer(partition.value).value_or(0));
    }
    event.at_ms = parse_duration(scalar(node, "at"));
    event.key = read_bytes(node.find("key"));
    const Node* const raw = node.find("raw");
    event.value = raw != nullptr ? read_bytes(raw) : read_json(node.find("value"));
    event.headers = read_headers(node);
    event.partition = parse_integer(scalar(node, "partition"));
    event.timestamp_ms = parse_instant(scalar(node, "timestamp"));
    return event;
}

ExpectedRecord read_expected(const Node& node, std::string_view source) {
    ExpectedRecord record;
    record.mark = node.mark;
    record.span = {node.offset, end_of(source, node)};
    record.key = read_bytes(node.find("key"));
    record.value = read_json(node.find("value"));
    record.raw = read_bytes(node.find("raw"));
    record.headers = read_headers(node);
    record.timestamp_ms = parse_instant(scalar(node, "timestamp"));
    if (const Node* const match = node.find("match"); match != nullptr && match->is_scalar())
        record.match = to_text(source, *match);
    record.partial = scalar(node, "partial") == "true";
    return record;
}

TestCase read_test(const Node& node, std::string_view source) {
    TestCase test;
    test.mark = node.mark;
    test.name = scalar(node, "name");
    test.start_ms = parse_instant(scalar(node, "start")).value_or(kDefaultStartMs);
    test.partitions = parse_integer(scalar(node, "partitions")).value_or(1);
    if (const std::string& flush = scalar(node, "flush"); !flush.empty()) test.flush = flush == "true";
    test.any_order = scalar(node, "order") == "any";
    test.only = scalar(node, "only") == "true";
    if (const Node* const feed = node.find("feed")) {
        for (const Node& item : feed->items) {
            if (item.is_map()) test.feed.push_back(read_event(item));
        }
    }
    const Node* const expect = node.find("expect");
    if (expect == nullptr || !expect->is_map()) return test;
    for (size_t i = 0; i < expect->items.size(); ++i) {
        const Node& list = expect->items[i];
        ExpectedTopic topic;
        topic.topic = {expect->keys[i].value, expect->keys[i].mark, {}, false};
        topic.is_flow = list.offset < source.size() && source[list.offset] == '[';
        topic.span = {list.offset, end_of(source, list)};
        for (const Node& item : list.items) {
            if (item.is_map()) topic.records.push_back(read_expected(item, source));
        }
        test.expect.push_back(std::move(topic));
    }
    return test;
}

class TestChecker {
public:
    TestChecker(const Pipeline& pipeline, bool must_fit, Diagnostics& diagnostics)
        : must_fit_(must_fit), diagnostics_(diagnostics) {
        for (const Source& source : pipeline.sources) {
            inputs_.insert(source.topics.begin(), source.topics.end());
            if (!source.file.empty()) inputs_.insert(source.file);
        }
        for (const Table& table : pipeline.tables) {
            inputs_.insert(table.input.topics.begin(), table.input.topics.end());
            if (!table.input.file.empty()) inputs_.insert(table.input.file);
        }
        for (const Stream& stream : pipeline.streams) {
            for (const Route& route : stream.to)
                outputs_.insert(route.topic.empty() ? route.file : route.topic);
        }
        for (const ErrorPolicy* policy :
             {&pipeline.on_error.decode, &pipeline.on_error.expression, &pipeline.on_error.produce}) {
            if (policy->action == ErrorAction::kDeadLetter) outputs_.insert(policy->dead_letter_topic);
        }
    }

    void check(const TestCase& test) {
        if (!names_.insert(test.name).second && !test.name.empty()) {
            diagnostics_.error("W0070", test.mark, fmt::format("two tests are called `{}`", test.name));
        }
        int64_t now_ms = 0;
        for (const TestEvent& event : test.feed) {
            check_event(test, event, now_ms);
            if (event.kind == TestEvent::Kind::kAdvance) now_ms += event.time_ms;
            if (event.at_ms) now_ms = std::max(now_ms, *event.at_ms);
        }
        for (const ExpectedTopic& expected : test.expect) {
            if (!outputs_.contains(expected.topic.value))
                unknown(expected.topic, outputs_, "no stream writes to");
        }
    }

private:
    void check_event(const TestCase& test, const TestEvent& event, int64_t now_ms) {
        const bool is_record = event.kind == TestEvent::Kind::kRecord;
        if (!is_record && (event.at_ms || event.key.said || event.value.said || !event.headers.empty() ||
                           event.partition || event.timestamp_ms)) {
            diagnostics_.error("W0072", event.mark, "only a record has a time, a key and a value", "",
                               "give the record an entry with `to` of its own");
        }
        for (const int32_t partition : event.moved) check_partition(test, event, partition);
        if (!is_record) return;
        if (!event.to.value.empty() && !inputs_.contains(event.to.value))
            unknown(event.to, inputs_, "no source reads");
        if (event.at_ms && *event.at_ms < now_ms) {
            diagnostics_.error("W0073", event.mark,
                               fmt::format("the clock cannot go back to {}", format_duration(*event.at_ms)),
                               fmt::format("it shows {} here", format_duration(now_ms)),
                               "event time may: it is what the record says");
        }
        if (event.partition) check_partition(test, event, *event.partition);
    }

    void check_partition(const TestCase& test, const TestEvent& event, int32_t partition) {
        if (partition < test.partitions) return;
        diagnostics_.error("W0023", event.mark, fmt::format("there is no partition {}", partition),
                           fmt::format("the test's topics have {}", test.partitions), "set `partitions`");
    }

    void unknown(const Text& name, const std::set<std::string>& known, std::string_view what) {
        const std::vector<std::string_view> names(known.begin(), known.end());
        const std::string_view near = nearest(name.value, names);
        const std::string message = fmt::format("{} `{}`", what, name.value);
        const std::string label = fmt::format("valid: {}", fmt::join(names, ", "));
        const std::string help = near.empty() ? "" : fmt::format("did you mean `{}`?", near);
        if (must_fit_) {
            diagnostics_.error("W0071", name.mark, message, label, help);
        } else {
            diagnostics_.warning("W0071", name.mark, message, label, help);
        }
    }

    const bool must_fit_;
    Diagnostics& diagnostics_;
    std::set<std::string> inputs_;
    std::set<std::string> outputs_;
    std::set<std::string> names_;
};

}  // namespace

std::vector<TestCase> read_tests(const Node& tests, std::string_view source) {
    std::vector<TestCase> result;
    if (tests.kind != NodeKind::kSequence) return result;  // Told by the field checks.
    for (const Node& test : tests.items) {
        if (test.is_map()) result.push_back(read_test(test, source));
    }
    return result;
}

void check_tests(const Pipeline& pipeline, const std::vector<TestCase>& tests, bool must_fit,
                 Diagnostics& diagnostics) {
    TestChecker checker(pipeline, must_fit, diagnostics);
    for (const TestCase& test : tests) checker.check(test);
}

}  // namespace weir::config
