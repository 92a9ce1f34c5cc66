#include "processor/decode.h"

#include <simdjson.h>

#include <algorithm>
#include <cstring>

#include "base/result.h"
#include "processor/expr/jsonb.h"

namespace weir::processor {
namespace {

constexpr size_t kUsualPayloadBytes = 64 << 10;  // The token index starts with room for this much …
constexpr size_t kKeptPayloadBytes = 1 << 20;    // … and falls back to it after a payload above this.

bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// `text` stands between the quotes and has a backslash.
bool escapes_are_valid(std::string_view text) {
    for (size_t i = text.find('\\'); i != std::string_view::npos; i = text.find('\\', i)) {
        if (++i >= text.size()) return false;
        if (text[i] == 'u') {
            if (text.size() - i < 5) return false;
            if (!std::all_of(text.begin() + static_cast<ptrdiff_t>(i) + 1,
                             text.begin() + static_cast<ptrdiff_t>(i) + 5, is_hex)) {
                return false;
            }
            i += 5;
        } else {
            if (std::strchr("\"\\/bfnrt", text[i]) == nullptr || text[i] == '\0') return false;
            ++i;
        }
    }
    return true;
}

}  // namespace

PathTree::Node& PathTree::node(std::span<const std::string> path) {
    uint32_t at = 0;
    for (const std::string& name : path) {
        const auto& children = nodes_[at].children;
        const auto found = std::find_if(children.begin(), children.end(),
                                        [&](const Child& child) { return child.name == name; });
        if (found != children.end()) {
            at = found->node;
            continue;
        }
        const auto made = static_cast<uint32_t>(nodes_.size());
        nodes_[at].children.push_back({name, made});
        nodes_.emplace_back();
        at = made;
    }
    return nodes_[at];
}

// The second stage: a recursive descent over the token index of one payload. Every `bool` is "still valid".
class Decoder::Walk {
public:
    Walk(const PathTree& paths, std::string_view json, const uint32_t* index, uint32_t count, Arena& arena,
         std::vector<Column>& columns, size_t row, RecordShape* shape)
        : paths_(paths),
          json_(json),
          index_(index),
          count_(count),
          arena_(arena),
          columns_(columns),
          row_(row),
          shape_(shape),
          has_escapes_(std::memchr(json.data(), '\\', json.size()) != nullptr) {}

    bool document() {
        if (token() != '{') return fail("the record is not a JSON object");
        if (!object(&paths_.root(), 1)) return false;
        return next_ == count_ || fail("text after the JSON object");
    }

    // Meaningful after a failure.
    [[nodiscard]] std::string error() const {
        const size_t position = next_ < count_ ? index_[next_] : json_.size();
        return std::string(reason_) + " (byte " + std::to_string(position) + ")";
    }

private:
    bool fail(const char* reason) {
        if (reason_ == nullptr) reason_ = reason;
        return false;
    }
    [[nodiscard]] char token() const { return next_ < count_ ? json_[index_[next_]] : '\0'; }

    void set(const PathTree::Node* node, const Value& value) {
        if (node != nullptr && node->slot != PathTree::kNoSlot)
            columns_[static_cast<size_t>(node->slot)][row_] = value;
    }

    // A repeated member replaces the earlier one with all that was below it.
    void clear_below(const PathTree::Node& node) {
        for (const PathTree::Child& child : node.children) {
            const PathTree::Node& below = paths_.at(child.node);
            set(&below, Value::null());
            clear_below(below);
        }
    }

    // Past the last byte of the token at next_; blanks before the following token are not part of it.
    [[nodiscard]] size_t token_end() const {
        size_t end = index_[next_ + 1];  // The index ends with the payload's size.
        while (is_blank(json_[end - 1])) --end;
        return end;
    }

    // What stands between the quotes of the string token at next_.
    [[gnu::always_inline]] bool string_body(std::string_view& body) {
        const size_t start = index_[next_] + 1;
        const size_t end = token_end();
        if (end <= start || json_[end - 1] != '"') return fail("invalid JSON");
        body = json_.substr(start, end - 1 - start);
        if (has_escapes_ && body.find('\\') != std::string_view::npos && !escapes_are_valid(body)) {
            return fail("invalid escape in a JSON string");
        }
        return true;
    }

    [[gnu::always_inline]] const PathTree::Node* child_of(const PathTree::Node& node, std::string_view name) {
        if (has_escapes_ && name.find('\\') != std::string_view::npos) {
            name = expr::unescape_json_string({name.data() - 1, name.size() + 2}, arena_);
        }
        for (const PathTree::Child& child : node.children) {
            if (child.name.size() == name.size() && (name.empty() || child.name[0] == name[0]) &&
                std::memcmp(child.name.data(), name.data(), name.size()) == 0) {
                return &paths_.at(child.node);
            }
        }
        return nullptr;
    }

    bool object(const PathTree::Node* node, int depth) {
        if (depth > kMaxDepth) return fail("nested deeper than 64 levels");
        ++next_;
        if (token() == '}') {
            ++next_;
            return true;
        }
        for (;;) {
            std::string_view name;
            if (token() != '"') return fail("invalid JSON: expected a member name");
            if (!string_body(name)) return false;
            const PathTree::Node* child = node == nullptr ? nullptr : child_of(*node, name);
            ++next_;
            if (token() != ':') return fail("invalid JSON: expected ':'");
            ++next_;
            if (!value(child, depth)) return false;
            const char after = token();
            if (after == ',') {
                ++next_;
            } else if (after == '}') {
                ++next_;
                return true;
            } else {
                return fail("invalid JSON: expected ',' or '}'");
            }
        }
    }

    bool array(int depth) {
        if (depth > kMaxDepth) return fail("nested deeper than 64 levels");
        ++next_;
        if (token() == ']') {
            ++next_;
            return true;
        }
        for (;;) {
            if (!value(nullptr, depth)) return false;
            const char after = token();
            if (after == ',') {
                ++next_;
            } else if (after == ']') {
                ++next_;
                return true;
            } else {
                return fail("invalid JSON: expected ',' or ']'");
            }
        }
    }

    [[gnu::noinline]] bool container(const PathTree::Node* node, int depth, bool is_object) {
        const size_t start = index_[next_];
        if (node != nullptr && !node->children.empty()) clear_below(*node);
        if (shape_ != nullptr && node != nullptr && node->slot != PathTree::kNoSlot) shape_->refuse();
        if (is_object ? !object(node, depth + 1) : !array(depth + 1)) return false;
        if (node != nullptr) {
            set(node, Value::of_bytes(Type::kJsonb, json_.substr(start, index_[next_ - 1] + 1 - start)));
        }
        return true;
    }

    // Inlined into the loops over members and elements: this is where a record's time goes.
    [[gnu::always_inline]] bool value(const PathTree::Node* node, int depth) {
        const char first = token();
        if (first == '{') return container(node, depth, true);
        if (first == '[') return container(node, depth, false);
        if (next_ >= count_) return fail("invalid JSON: it ends too early");
        if (node != nullptr && !node->children.empty()) {
            clear_below(*node);
            if (shape_ != nullptr) shape_->refuse();
        }
        if (shape_ != nullptr) [[unlikely]]
            shape_->add(index_[next_], token_end(), node == nullptr ? PathTree::kNoSlot : node->slot);
        if (first == '"') {
            std::string_view body;
            if (!string_body(body)) return false;
            ++next_;
            if (node != nullptr) {
                if (has_escapes_)
                    body = expr::unescape_json_string({body.data() - 1, body.size() + 2}, arena_);
                set(node, Value::of_text(body));
            }
            return true;
        }
        const size_t start = index_[next_];
        const std::string_view text = json_.substr(start, token_end() - start);
        Value result;
        if (first == '-' || is_digit(first)) {
            const char* const end = text.data() + text.size();
            if (read_json_number(text.data(), end, node != nullptr, result) != end) [[unlikely]] {
                return fail("invalid JSON number");
            }
        } else if (text == "true" || text == "false") {
            result = Value::of_bool(first == 't');
        } else if (text != "null") {
            return fail("invalid JSON: expected a value");
        }
        ++next_;
        set(node, result);
        return true;
    }

    const PathTree& paths_;
    const std::string_view json_;
    const uint32_t* const index_;
    const uint32_t count_;
    Arena& arena_;
    std::vector<Column>& columns_;
    const size_t row_;
    RecordShape* const shape_;  // Is told of every scalar; null: nobody wants to know.
    const bool has_escapes_;
    uint32_t next_ = 0;
    const char* reason_ = nullptr;
};

Decoder::Decoder(config::Format format, const PathTree& paths, expr::Slot value_slot)
    : format_(format), paths_(paths), value_slot_(value_slot) {
    std::vector<const PathTree::Node*> open = {&paths.root()};
    while (!open.empty()) {
        const PathTree::Node& node = *open.back();
        open.pop_back();
        if (node.slot != PathTree::kNoSlot) slots_.push_back(node.slot);
        for (const PathTree::Child& child : node.children) open.push_back(&paths.at(child.node));
    }
    if (value_slot != PathTree::kNoSlot) slots_.push_back(value_slot);
    const auto error = simdjson::get_active_implementation()->create_dom_parser_implementation(
        kUsualPayloadBytes, static_cast<size_t>(kMaxDepth), tokens_);
    WEIR_CHECK(error == simdjson::SUCCESS, simdjson::error_message(error));
}

Decoder::~Decoder() = default;

// Finds the tokens of one payload.
bool Decoder::index(std::string_view json, std::string& error) {
    if (json.size() > tokens_->capacity() ||
        (tokens_->capacity() > kKeptPayloadBytes && json.size() <= kUsualPayloadBytes)) {
        const size_t capacity = std::max(kUsualPayloadBytes, json.size());
        if (tokens_->set_capacity(capacity) != simdjson::SUCCESS) {
            error = "the record is too large to read";
            return false;
        }
    }
    const auto status = tokens_->stage1(reinterpret_cast<const uint8_t*>(json.data()), json.size(),
                                        simdjson::stage1_mode::regular);
    if (status == simdjson::SUCCESS) return true;
    switch (status) {
        case simdjson::EMPTY: error = "the record is empty"; break;
        case simdjson::UTF8_ERROR: error = "invalid UTF-8"; break;
        case simdjson::UNCLOSED_STRING: error = "invalid JSON: a string is not closed"; break;
        case simdjson::UNESCAPED_CHARS: error = "invalid JSON: control character in a string"; break;
        default: error = "invalid JSON"; break;
    }
    return false;
}

void Decoder::decode(std::span<const InputRecord> records, Arena& arena, std::vector<Column>& columns,
                     std::vector<uint32_t>& good, std::vector<DecodeError>& errors) {
    std::string error;
    for (uint32_t row = 0; row < records.size(); ++row) {
        const MaybeBytes payload = records[row].value;
        const bool json = format_ == config::Format::kJson && payload.data() != nullptr;
        if (json && read_by_shape(payload, columns, row)) [[likely]] {
            good.push_back(row);
            continue;
        }
        for (const expr::Slot slot : slots_) columns[static_cast<size_t>(slot)][row] = Value::null();
        if (payload.data() == nullptr) {
            good.push_back(row);
            continue;
        }
        if (!json) {
            if (format_ == config::Format::kString &&
                !simdjson::validate_utf8(payload.data(), payload.size())) {
                errors.push_back({row, "invalid UTF-8"});
                continue;
            }
            if (value_slot_ != PathTree::kNoSlot) {
                std::string_view text = payload;
                if (format_ == config::Format::kBytes) {
                    constexpr char kHex[] = "0123456789abcdef";
                    char* const to = arena.allocate(2 + 2 * payload.size());
                    std::memcpy(to, "\\x", 2);
                    for (size_t i = 0; i < payload.size(); ++i) {
                        const auto byte = static_cast<uint8_t>(payload[i]);
                        to[2 + 2 * i] = kHex[byte >> 4];
                        to[3 + 2 * i] = kHex[byte & 15];
                    }
                    text = {to, 2 + 2 * payload.size()};
                }
                columns[static_cast<size_t>(value_slot_)][row] = Value::of_text(text);
            }
            good.push_back(row);
            continue;
        }
        if (!index(payload, error)) {
            errors.push_back({row, error});
        } else if (RecordShape* const shape = shape_to_learn();
                   walk(payload, arena, columns, row, shape, error)) {
            good.push_back(row);
            if (shape != nullptr && !shape->learn(payload, slots_)) shapes_.pop_back();
        } else {
            errors.push_back({row, error});
            if (shape != nullptr) shapes_.pop_back();
        }
    }
    judge_shapes();
}

bool Decoder::walk(std::string_view payload, Arena& arena, std::vector<Column>& columns, size_t row,
                   RecordShape* shape, std::string& error) {
    Walk walk(paths_, payload, tokens_->structural_indexes.get(), tokens_->n_structural_indexes, arena,
              columns, row, shape);
    if (walk.document()) return true;
    error = walk.error();
    return false;
}

bool Decoder::read_by_shape(std::string_view payload, std::vector<Column>& columns, size_t row) {
    if (unread_by_shape_ > 0) {
        --unread_by_shape_;
        return false;
    }
    for (size_t tried = 0; tried < shapes_.size(); ++tried) {
        if (shapes_[latest_shape_].read(payload, columns, row)) [[likely]] {
            ++hits_;
            return true;
        }
        latest_shape_ = (latest_shape_ + 1) % shapes_.size();
    }
    ++misses_;
    return false;
}

RecordShape* Decoder::shape_to_learn() {
    if (unread_by_shape_ > 0 || shapes_.size() == kMaxShapes || misses_ > kMaxLearned) return nullptr;
    return &shapes_.emplace_back();
}

// Records that do not repeat themselves are not worth the trying: many then go by without.
void Decoder::judge_shapes() {
    if (hits_ + misses_ < kJudgedRecords) return;
    if (misses_ > hits_) {
        unread_by_shape_ = 64 * kJudgedRecords;
        shapes_.clear();
        latest_shape_ = 0;
    }
    hits_ = misses_ = 0;
}

}  // namespace weir::processor
