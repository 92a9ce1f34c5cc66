#include "processor/encode.h"

#include <algorithm>
#include <utility>

#include "processor/expr/jsonb.h"
#include "processor/expr/timestamp.h"
#include "processor/expr/value_text.h"
#include "processor/group_key.h"

namespace weir::processor {
namespace {

const Value& cell(const Batch& batch, expr::Slot slot, uint32_t row) {
    return batch.columns[static_cast<size_t>(slot)][row];
}

void append_value(const Value& value, std::string& out) {
    if (value.type != Type::kTimestamptz) {
        expr::append_json(value, out);
        return;
    }
    std::string text;
    expr::append_timestamp(value.integer, text);  // "2026-01-31 12:00:00.5+00"
    constexpr std::string_view kUtc = "+00";
    if (text.ends_with(kUtc)) text.resize(text.size() - kUtc.size());
    std::replace(text.begin(), text.end(), ' ', 'T');
    out += '"' + text + "Z\"";
}

void append_member(const FieldSlot& field, const Batch& batch, uint32_t row, std::string& out) {
    if (out.size() > 1) out += ',';
    out += field.json_name;
    append_value(cell(batch, field.slot, row), out);
}

// Cuts a valid JSON object into its members.
class Members {
public:
    explicit Members(std::string_view object) : json_(object) { at_ = json_.find('{') + 1; }

    // False at the end. `quoted_name` and `member` (name to value) are views of the object.
    bool next(std::string_view& quoted_name, std::string_view& member) {
        at_ = json_.find_first_of("\"}", at_);
        if (at_ == std::string_view::npos || json_[at_] == '}') return false;
        const size_t start = at_;
        skip_string();
        quoted_name = json_.substr(start, at_ - start);
        int depth = 0;
        size_t end = at_;
        for (; at_ < json_.size(); ++at_) {
            const char c = json_[at_];
            if (c == '"') {
                skip_string();
                end = at_--;
            } else if (c == '{' || c == '[') {
                ++depth;
            } else if (depth == 0 && (c == ',' || c == '}')) {
                break;
            } else if (c == '}' || c == ']') {
                --depth;
                end = at_ + 1;
            } else if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
                end = at_ + 1;
            }
        }
        member = json_.substr(start, end - start);
        if (json_[at_] == ',') ++at_;
        return true;
    }

private:
    void skip_string() {
        for (++at_; json_[at_] != '"'; ++at_) {
            if (json_[at_] == '\\') ++at_;
        }
        ++at_;
    }

    std::string_view json_;
    size_t at_;
};

void encode_changed(const Layout& layout, std::string_view raw, const Batch& batch, uint32_t row,
                    std::string& out) {
    out = "{";
    std::vector<bool> written(layout.fields.size(), false);
    if (raw.data() != nullptr) {
        Members members(raw);
        Arena arena;
        std::string_view quoted;
        std::string_view member;
        while (members.next(quoted, member)) {
            const std::string_view name = expr::unescape_json_string(quoted, arena);
            if (std::find(layout.removed.begin(), layout.removed.end(), name) != layout.removed.end())
                continue;
            const auto field =
                std::find_if(layout.fields.begin(), layout.fields.end(),
                             [&](const FieldSlot& candidate) { return candidate.name == name; });
            if (field == layout.fields.end()) {
                if (out.size() > 1) out += ',';
                out += member;
                continue;
            }
            const auto index = static_cast<size_t>(field - layout.fields.begin());
            if (!written[index]) append_member(*field, batch, row, out);
            written[index] = true;
        }
    }
    for (size_t i = 0; i < layout.fields.size(); ++i) {
        if (!written[i]) append_member(layout.fields[i], batch, row, out);
    }
    out += '}';
}

}  // namespace

FieldSlot::FieldSlot(std::string its_name, expr::Slot its_slot) : name(std::move(its_name)), slot(its_slot) {
    expr::append_json_string(name, json_name);
    json_name += ':';
}

MaybeBytes encode_value(const Layout& layout, const Batch& batch, uint32_t row, std::string& buffer) {
    const InputRecord* const record = batch.records[row];
    if (layout.untouched() && record != nullptr) return record->value;
    if (layout.raw && record != nullptr) {
        encode_changed(layout, record->value, batch, row, buffer);
        return buffer;
    }
    buffer = "{";
    for (const FieldSlot& field : layout.fields) append_member(field, batch, row, buffer);
    buffer += '}';
    return buffer;
}

MaybeBytes encode_text(const Value& value, std::string& buffer) {
    if (value.is_null()) return {};
    if (value.type == Type::kText) return value.bytes().data() == nullptr ? MaybeBytes("") : value.bytes();
    buffer.clear();
    expr::append_text(value, buffer);
    return buffer;
}

bool is_key_of(MaybeBytes key, const Value& field, std::string& buffer) {
    const MaybeBytes text = encode_text(field, buffer);
    return text == key && (text.data() == nullptr) == (key.data() == nullptr);
}

MaybeBytes encode_key(std::span<const Column* const> columns, uint32_t row, std::string& buffer) {
    if (columns.size() == 1) return encode_text((*columns.front())[row], buffer);
    buffer = "[";
    for (const Column* column : columns) {
        if (buffer.size() > 1) buffer += ',';
        append_value((*column)[row], buffer);
    }
    buffer += ']';
    return buffer;
}

MaybeBytes encode_group_key(std::span<const expr::Slot> slots, const Batch& batch, uint32_t row,
                            std::string& buffer) {
    if (slots.size() == 1) return encode_text(cell(batch, slots.front(), row), buffer);
    buffer = "[";
    for (const expr::Slot slot : slots) {
        if (buffer.size() > 1) buffer += ',';
        append_value(cell(batch, slot, row), buffer);
    }
    buffer += ']';
    return buffer;
}

MaybeBytes KeyText::of(std::span<const expr::Slot> slots, const Batch& batch, uint32_t row,
                       std::string& buffer) {
    const auto canonical = [&](expr::Slot slot) {
        Value value = cell(batch, slot, row);
        if (value.type == Type::kText || value.is_null()) return value;
        bytes_.clear();
        append_group_key(value, bytes_);
        ByteReader in(bytes_);
        read_group_key(in, value);
        return value;
    };
    if (slots.size() == 1) return encode_text(canonical(slots.front()), buffer);
    buffer = "[";
    for (const expr::Slot slot : slots) {
        if (buffer.size() > 1) buffer += ',';
        append_value(canonical(slot), buffer);
    }
    buffer += ']';
    return buffer;
}

}  // namespace weir::processor
