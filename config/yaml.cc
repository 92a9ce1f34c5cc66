#include "config/yaml.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <array>
#include <sstream>
#include <unordered_map>
#include <utility>

namespace weir::config {
namespace {

struct LimitReached {};  // Leaves yaml-cpp's recursion; never leaves this file.

Mark mark_at(std::string_view source, size_t offset, size_t length = 1) {
    offset = std::min(offset, source.size());
    const size_t before = source.substr(0, offset).rfind('\n');
    const size_t begin = before == std::string_view::npos ? 0 : before + 1;
    const auto lines = std::count(source.begin(), source.begin() + static_cast<std::ptrdiff_t>(begin), '\n');
    return {static_cast<int32_t>(lines) + 1, static_cast<int32_t>(offset - begin) + 1,
            static_cast<int32_t>(length)};
}

// The byte at which `text` stops being UTF-8 (RFC 3629) or holds a control character.
std::optional<size_t> first_bad_byte(std::string_view text) {
    for (size_t i = 0; i < text.size();) {
        const auto lead = static_cast<unsigned char>(text[i]);
        if (lead < 0x80) {
            if ((lead < 0x20 && lead != '\t' && lead != '\n') || lead == 0x7F) return i;
            ++i;
            continue;
        }
        const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
        if (lead < 0xC2 || lead > 0xF4 || i + length > text.size()) return i;
        uint32_t point = lead & (0x7FU >> length);
        for (size_t k = 1; k < length; ++k) {
            const auto next = static_cast<unsigned char>(text[i + k]);
            if ((next & 0xC0U) != 0x80U) return i;
            point = point << 6U | (next & 0x3FU);
        }
        const bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
        if (overlong || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) return i;
        i += length;
    }
    return std::nullopt;
}

// False where yaml-cpp must not see the text at all.
bool check_text(std::string_view source, Diagnostics& diagnostics) {
    if (source.size() > kMaxFileBytes) {
        diagnostics.error("W0001", {},
                          fmt::format("the file has {} bytes; at most 1 MiB is read", source.size()));
        return false;
    }
    if (const auto bad = first_bad_byte(source)) {
        diagnostics.error("W0002", mark_at(source, *bad), "the file is not plain UTF-8 text",
                          fmt::format("byte 0x{:02x}", static_cast<unsigned char>(source[*bad])));
        return false;
    }
    bool usable = true;
    int64_t depth = 0;
    size_t flow_marks = 0;
    for (size_t i = 0; i < source.size(); ++i) {
        const bool line_start = i == 0 || source[i - 1] == '\n';
        if (line_start && source[i] == '%') {
            diagnostics.error("W0007", mark_at(source, i), "YAML directives are not supported", "",
                              "remove this line");
            return false;
        }
        if (line_start) {
            const size_t text = std::min(source.find_first_not_of(" \t", i), source.size());
            const size_t tab = source.substr(i, text - i).find('\t');
            if (tab != std::string_view::npos && text < source.size() && source[text] != '\n') {
                diagnostics.error("W0004", mark_at(source, i + tab), "a tab in the indentation", "",
                                  "indent with spaces");
                usable = false;
                if (diagnostics.all().size() >= 20) return false;  // Each costs a look from the file's start.
            }
        }
        // Brackets in texts count too: they close again, or nobody writes that many.
        if (source[i] == '[' || source[i] == '{') ++depth;
        if ((source[i] == ']' || source[i] == '}') && depth > 0) --depth;
        // yaml-cpp reads a whole flow collection before it tells of its first value.
        if (source[i] == ',' || source[i] == '[' || source[i] == '{') ++flow_marks;
        if (flow_marks > kMaxNodes) {
            diagnostics.error("W0011", mark_at(source, i),
                              fmt::format("more than {} values in one file", kMaxNodes));
            return false;
        }
        if (depth > static_cast<int64_t>(kMaxDepth)) {
            diagnostics.error("W0011", mark_at(source, i),
                              fmt::format("nested deeper than {} levels", kMaxDepth));
            return false;
        }
    }
    return usable;
}

bool looks_octal(std::string_view text) {
    if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
    return text.size() > 1 && text[0] == '0' &&
           text.find_first_not_of("0123456789_") == std::string_view::npos;
}

bool is_yaml11_boolean(std::string_view text) {
    constexpr std::array<std::string_view, 7> kWords{"yes", "no", "on", "off", "true", "false", "null"};
    std::string lower(text);
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
    return std::find(kWords.begin(), kWords.end(), lower) != kWords.end();
}

class TreeBuilder final : public YAML::EventHandler {
public:
    TreeBuilder(const std::string& source, Diagnostics& diagnostics)
        : source_(source), diagnostics_(diagnostics) {}

    std::optional<Node> root;

    void OnDocumentStart(const YAML::Mark& mark) override {
        if (++documents_ < 2) return;
        // yaml-cpp also starts a document where the indentation fits nothing that is open.
        const bool marked = source_.find("\n---") != std::string::npos;
        diagnostics_.error("W0008", place(mark).mark, "the file has a second YAML document", "it starts here",
                           marked ? "one file holds one pipeline: split it"
                                  : "check the indentation of this line: it belongs to nothing above");
        throw LimitReached{};
    }
    void OnDocumentEnd() override {}

    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        Node node = place(mark);
        node.kind = NodeKind::kNull;
        check_properties(node, anchor);
        for (const std::string_view word : {"~", "null", "Null", "NULL"}) {
            if (source_.compare(node.offset, word.size(), word) == 0) node.value = word;
        }
        node.mark.length = std::max<int32_t>(1, static_cast<int32_t>(node.value.size()));
        add(std::move(node));
    }

    void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
        Node node = place(mark);
        no_anchor(node.mark);
        add(std::move(node));
    }

    void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  const std::string& value) override {
        Node node = place(mark);
        node.kind = NodeKind::kScalar;
        node.value = value;
        if (!check_properties(node, anchor)) {
            const char first = node.offset < source_.size() ? source_[node.offset] : '\0';
            read_style(node, first);
            if (node.style == ScalarStyle::kPlain && looks_octal(value)) {
                diagnostics_.error("W0009", node.mark, fmt::format("`{}` looks like an octal number", value),
                                   "YAML readers disagree about it",
                                   "remove the leading zeros, or quote it if it is text");
            }
        }
        add(std::move(node));
    }

    void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override {
        open(mark, anchor, NodeKind::kSequence);
    }
    void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override {
        open(mark, anchor, NodeKind::kMap);
    }
    void OnSequenceEnd() override { close(); }
    void OnMapEnd() override {
        check_keys(open_.back());
        close();
    }

private:
    [[nodiscard]] Node place(const YAML::Mark& mark) const {
        Node node;
        node.offset = std::min(static_cast<size_t>(std::max(mark.pos, 0)), source_.size());
        node.mark = {mark.line + 1, mark.column + 1, 1};
        return node;
    }

    void no_anchor(const Mark& mark) {
        diagnostics_.error("W0007", mark, "anchors and aliases are not supported", "", "write the value out");
    }

    // yaml-cpp's mark of a node with an anchor or a tag is that of the anchor or tag.
    bool check_properties(const Node& node, YAML::anchor_t anchor) {
        const char first = node.offset < source_.size() ? source_[node.offset] : '\0';
        if (anchor != 0) {
            no_anchor(node.mark);
        } else if (first == '!') {
            diagnostics_.error("W0007", node.mark, "YAML tags are not supported", "",
                               "remove the tag: a field knows the type of its value");
        }
        return anchor != 0 || first == '!';
    }

    void read_style(Node& node, char first) {
        const size_t line_end = std::min(source_.find('\n', node.offset), source_.size());
        size_t end = node.offset + 1;
        if (first == '"' || first == '\'') {
            node.style = first == '"' ? ScalarStyle::kDoubleQuoted : ScalarStyle::kSingleQuoted;
            const auto closing = closing_quote(source_, node.offset);
            if (!closing) {
                diagnostics_.error("W0005", node.mark, "a quote that is never closed", "opened here");
                throw LimitReached{};
            }
            end = std::min(*closing, line_end);
        } else if (first == '|' || first == '>') {
            node.style = first == '|' ? ScalarStyle::kLiteral : ScalarStyle::kFolded;
        } else {
            end = std::min(node.offset + node.value.size(), line_end);
        }
        node.mark.length = std::max<int32_t>(1, static_cast<int32_t>(end - node.offset));
    }

    void count(const Mark& mark) {
        if (++nodes_ <= kMaxNodes) return;
        diagnostics_.error("W0011", mark, fmt::format("more than {} values in one file", kMaxNodes));
        throw LimitReached{};
    }

    void open(const YAML::Mark& mark, YAML::anchor_t anchor, NodeKind kind) {
        Node node = place(mark);
        node.kind = kind;
        check_properties(node, anchor);
        count(node.mark);
        if (open_.size() >= kMaxDepth) {
            diagnostics_.error("W0011", node.mark, fmt::format("nested deeper than {} levels", kMaxDepth));
            throw LimitReached{};
        }
        open_.push_back(std::move(node));
    }

    void close() {
        Node node = std::move(open_.back());
        open_.pop_back();
        attach(std::move(node));
    }

    void add(Node node) {
        count(node.mark);
        attach(std::move(node));
    }

    void attach(Node node) {
        if (open_.empty()) {
            root = std::move(node);
            return;
        }
        Node& parent = open_.back();
        const bool is_key = parent.is_map() && parent.keys.size() == parent.items.size();
        (is_key ? parent.keys : parent.items).push_back(std::move(node));
    }

    // Reports and drops the entries whose key no reader can rely on.
    void check_keys(Node& map) {
        std::unordered_map<std::string, Mark> seen;
        size_t kept = 0;
        for (size_t i = 0; i < map.items.size(); ++i) {
            if (!usable_key(map.keys[i], seen)) continue;
            if (kept != i) {
                map.keys[kept] = std::move(map.keys[i]);
                map.items[kept] = std::move(map.items[i]);
            }
            ++kept;
        }
        map.keys.resize(kept);
        map.items.resize(kept);
    }

    bool usable_key(const Node& key, std::unordered_map<std::string, Mark>& seen) {
        if (key.kind == NodeKind::kNull && !key.value.empty() && key.value != "~") {
            diagnostics_.error("W0010", key.mark, fmt::format("the key `{}` is read as a null", key.value),
                               "", fmt::format("write '{}'", key.value));
            return false;
        }
        if (!key.is_scalar() || key.value.empty()) {
            diagnostics_.error("W0010", key.mark, "a key must be a text");
            return false;
        }
        if (key.style == ScalarStyle::kPlain && key.value == "<<") {
            diagnostics_.error("W0007", key.mark, "merge keys are not supported", "", "write the keys out");
            return false;
        }
        if (key.style == ScalarStyle::kPlain && is_yaml11_boolean(key.value)) {
            diagnostics_.error("W0010", key.mark,
                               fmt::format("the key `{}` is a boolean to YAML 1.1", key.value), "",
                               fmt::format("write '{}'", key.value));
            return false;
        }
        const auto [first, fresh] = seen.try_emplace(key.value, key.mark);
        if (!fresh) {
            diagnostics_.error("W0006", key.mark, fmt::format("the key `{}` is given twice", key.value),
                               fmt::format("first given in line {}", first->second.line));
        }
        return fresh;
    }

    const std::string& source_;
    Diagnostics& diagnostics_;
    std::vector<Node> open_;
    size_t nodes_ = 0;
    int documents_ = 0;
};

std::string help_for(std::string_view message, std::string_view source, const Mark& mark) {
    size_t begin = 0;
    for (int32_t line = 1; line < mark.line; ++line)
        begin = std::min(source.find('\n', begin), source.size() - 1) + 1;
    const std::string_view line = source.substr(begin, source.find('\n', begin) - begin);
    if (line.find("${") != std::string_view::npos) {
        return "inside { } and [ ] a reference needs quotes: \"${env:NAME}\"";
    }
    if (message.find("illegal map value") != std::string_view::npos) {
        return "a text that contains \": \" needs quotes; or the indentation is wrong";
    }
    return "check the indentation, the brackets and the quotes of this line and the one before";
}

}  // namespace

const Node* Node::find(std::string_view key) const {
    for (size_t i = 0; i < keys.size(); ++i) {
        if (keys[i].value == key) return &items[i];
    }
    return nullptr;
}

std::string normalised(std::string_view text) {
    if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
    std::string out;
    if (text.size() > kMaxFileBytes + kMaxFileBytes) return std::string(text.substr(0, kMaxFileBytes + 1));
    out.reserve(text.size());
    while (true) {
        const size_t end = text.find("\r\n");
        out.append(text.substr(0, end));
        if (end == std::string_view::npos) return out;
        text.remove_prefix(end + 1);
    }
}

std::optional<Node> read_yaml(const std::string& source, Diagnostics& diagnostics) {
    if (!check_text(source, diagnostics)) return std::nullopt;
    TreeBuilder builder(source, diagnostics);
    try {
        std::istringstream in(source);
        YAML::Parser parser(in);
        while (parser.HandleNextDocument(builder)) {
        }
    } catch (const LimitReached&) {
        return std::nullopt;
    } catch (const YAML::Exception& e) {
        Mark mark{std::max(e.mark.line, 0) + 1, std::max(e.mark.column, 0) + 1, 1};
        diagnostics.error("W0003", mark, fmt::format("not valid YAML: {}", e.msg), "",
                          help_for(e.msg, source, mark));
        return std::nullopt;
    } catch (const std::exception& e) {
        diagnostics.error("W0003", {}, fmt::format("not valid YAML: {}", e.what()));
        return std::nullopt;
    }
    if (!builder.root) {
        diagnostics.error("W0003", {}, "the file is empty", "",
                          "a pipeline needs `name`, `sources` and `streams`");
    }
    return std::move(builder.root);
}

}  // namespace weir::config
