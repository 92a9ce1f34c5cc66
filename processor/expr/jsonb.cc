#include "processor/expr/jsonb.h"

#include <rapidjson/error/error.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "processor/expr/decimal.h"
#include "processor/expr/json_scanner.h"
#include "processor/expr/value_text.h"

namespace weir::processor::expr {
namespace {

void append_utf8(uint32_t code, std::string& out) {
    const auto put = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xC0 | code >> 6);
        put(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        put(0xE0 | code >> 12);
        put(0x80 | (code >> 6 & 0x3F));
        put(0x80 | (code & 0x3F));
    } else {
        put(0xF0 | code >> 18);
        put(0x80 | (code >> 12 & 0x3F));
        put(0x80 | (code >> 6 & 0x3F));
        put(0x80 | (code & 0x3F));
    }
}

uint32_t hex4(std::string_view text) {
    uint32_t code = 0;
    for (const char c : text.substr(0, 4)) {
        const uint32_t digit = c >= '0' && c <= '9'   ? static_cast<uint32_t>(c - '0')
                               : c >= 'a' && c <= 'f' ? static_cast<uint32_t>(c - 'a') + 10
                               : c >= 'A' && c <= 'F' ? static_cast<uint32_t>(c - 'A') + 10
                                                      : 0;
        code = code * 16 + digit;
    }
    return code;
}

// A number that a Decimal cannot hold, written out as PostgreSQL's numeric would.
void append_long_number(std::string_view text, std::string& out) {
    constexpr int64_t kMaxWritten = 20'000;
    const bool negative = text.starts_with('-');
    if (negative) text.remove_prefix(1);
    std::string digits;
    int64_t point = -1;
    int64_t exponent = 0;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '.') {
            point = static_cast<int64_t>(digits.size());
        } else if (text[i] == 'e' || text[i] == 'E') {
            exponent = std::strtoll(std::string(text.substr(i + 1)).c_str(), nullptr, 10);
            break;
        } else {
            digits.push_back(text[i]);
        }
    }
    if (point < 0) point = static_cast<int64_t>(digits.size());
    if (exponent > kMaxWritten || exponent < -kMaxWritten) {
        out.append(negative ? "-" : "").append(text);
        return;
    }
    point += exponent;
    if (point < 1) {
        digits.insert(0, static_cast<size_t>(1 - point), '0');
        point = 1;
    }
    if (point > static_cast<int64_t>(digits.size()))
        digits.append(static_cast<size_t>(point) - digits.size(), '0');
    const size_t leading = std::min(digits.find_first_not_of('0'), static_cast<size_t>(point) - 1);
    if (negative && digits.find_first_not_of('0') != std::string::npos) out.push_back('-');
    out.append(digits, leading, static_cast<size_t>(point) - leading);
    if (static_cast<size_t>(point) < digits.size())
        out.append(".").append(digits, static_cast<size_t>(point));
}

}  // namespace

void append_unescaped_json(std::string_view body, std::string& out) {
    for (size_t i = 0; i < body.size(); ++i) {
        if (body[i] != '\\' || i + 1 == body.size()) {
            out.push_back(body[i]);
            continue;
        }
        const char c = body[++i];
        switch (c) {
            case 'b': out.push_back('\b'); break;
            case 'f': out.push_back('\f'); break;
            case 'n': out.push_back('\n'); break;
            case 'r': out.push_back('\r'); break;
            case 't': out.push_back('\t'); break;
            case 'u': {
                if (i + 4 >= body.size()) return;
                uint32_t code = hex4(body.substr(i + 1));
                i += 4;
                if (code >= 0xD800 && code < 0xDC00 && i + 6 < body.size() && body[i + 1] == '\\' &&
                    body[i + 2] == 'u') {
                    const uint32_t low = hex4(body.substr(i + 3));
                    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                    i += 6;
                }
                append_utf8(code, out);
                break;
            }
            default: out.push_back(c);
        }
    }
}

std::vector<JsonMember> sorted_json_members(std::string_view json) {
    std::vector<JsonMember> members;
    JsonScanner scanner(json);
    if (!scanner.take('{')) return members;
    std::string_view quoted;
    std::string_view value;
    while (scanner.member(quoted, value)) {
        members.push_back({{}, value});
        append_unescaped_json(json_string_body(quoted), members.back().key);
    }
    std::stable_sort(members.begin(), members.end(), [](const JsonMember& a, const JsonMember& b) {
        return a.key.size() != b.key.size() ? a.key.size() < b.key.size() : a.key < b.key;
    });
    size_t kept = 0;
    for (size_t i = 0; i < members.size(); ++i) {
        if (i + 1 < members.size() && members[i].key == members[i + 1].key) continue;
        if (kept != i) members[kept] = std::move(members[i]);
        ++kept;
    }
    members.resize(kept);
    return members;
}

void append_json_number(std::string_view text, std::string& out) {
    Decimal decimal;
    if (parse_decimal(text, decimal)) {
        append_decimal(decimal, out);
    } else {
        append_long_number(text, out);
    }
}

namespace {

bool key_equals(std::string_view quoted, std::string_view key) {
    const std::string_view body = json_string_body(quoted);
    if (body.find('\\') == std::string_view::npos) return body == key;
    std::string text;
    append_unescaped_json(body, text);
    return text == key;
}

void append_canonical(std::string_view json, std::string& out, int depth) {
    if (depth > kMaxJsonDepth) return;
    JsonScanner scanner(json);
    switch (scanner.peek()) {
        case '{': {
            out.push_back('{');
            bool first = true;
            for (const JsonMember& member : sorted_json_members(json)) {
                if (!first) out.append(", ");
                first = false;
                append_json_string(member.key, out);
                out.append(": ");
                append_canonical(member.value, out, depth + 1);
            }
            out.push_back('}');
            break;
        }
        case '[': {
            out.push_back('[');
            scanner.take('[');
            std::string_view element;
            bool first = true;
            while (scanner.element(element)) {
                if (!first) out.append(", ");
                first = false;
                append_canonical(element, out, depth + 1);
            }
            out.push_back(']');
            break;
        }
        case '"': {
            std::string text;
            append_unescaped_json(json_string_body(scanner.string()), text);
            append_json_string(text, out);
            break;
        }
        case 't':
        case 'f':
        case 'n': out.append(scanner.value()); break;
        default: append_json_number(scanner.value(), out);
    }
}

// Accepts everything that the grammar accepts, except for what jsonb refuses.
struct Validator : rapidjson::BaseReaderHandler<rapidjson::UTF8<>, Validator> {
    int depth = 0;

    bool StartObject() { return ++depth <= kMaxJsonDepth; }
    bool EndObject(rapidjson::SizeType) { return --depth, true; }
    bool StartArray() { return ++depth <= kMaxJsonDepth; }
    bool EndArray(rapidjson::SizeType) { return --depth, true; }
    bool Key(const char* text, rapidjson::SizeType length, bool) {
        return std::memchr(text, '\0', length) == nullptr;
    }
    bool String(const char* text, rapidjson::SizeType length, bool) {
        return std::memchr(text, '\0', length) == nullptr;
    }
};

}  // namespace

JsonKind json_kind(std::string_view json) {
    switch (JsonScanner(json).peek()) {
        case '{': return JsonKind::kObject;
        case '[': return JsonKind::kArray;
        case '"': return JsonKind::kString;
        case 't':
        case 'f': return JsonKind::kBoolean;
        case 'n':
        case '\0': return JsonKind::kNull;
        default: return JsonKind::kNumber;
    }
}

std::string_view json_kind_name(JsonKind kind) {
    switch (kind) {
        case JsonKind::kNull: return "null";
        case JsonKind::kString: return "string";
        case JsonKind::kNumber: return "number";
        case JsonKind::kBoolean: return "boolean";
        case JsonKind::kArray: return "array";
        case JsonKind::kObject: return "object";
    }
    return "";
}

bool is_valid_json(std::string_view json) {
    rapidjson::MemoryStream bytes(json.data(), json.size());
    rapidjson::EncodedInputStream<rapidjson::UTF8<>, rapidjson::MemoryStream> stream(bytes);
    rapidjson::Reader reader;
    Validator validator;
    constexpr unsigned kFlags = rapidjson::kParseIterativeFlag | rapidjson::kParseNumbersAsStringsFlag |
                                rapidjson::kParseValidateEncodingFlag;
    return !reader.Parse<kFlags>(stream, validator).IsError();
}

std::optional<std::string_view> json_member(std::string_view json, std::string_view key) {
    JsonScanner scanner(json);
    if (!scanner.take('{')) return std::nullopt;
    std::optional<std::string_view> found;
    std::string_view quoted;
    std::string_view value;
    while (scanner.member(quoted, value))
        if (key_equals(quoted, key)) found = value;
    return found;
}

std::optional<std::string_view> json_element(std::string_view json, int64_t index) {
    if (json_kind(json) != JsonKind::kArray) return std::nullopt;
    if (index < 0) index += json_array_length(json);
    if (index < 0) return std::nullopt;
    JsonScanner scanner(json);
    scanner.take('[');
    std::string_view value;
    while (scanner.element(value))
        if (index-- == 0) return value;
    return std::nullopt;
}

int64_t json_array_length(std::string_view json) {
    JsonScanner scanner(json);
    if (!scanner.take('[')) return -1;
    int64_t count = 0;
    std::string_view value;
    while (scanner.element(value)) ++count;
    return count;
}

bool json_next_element(std::string_view json, size_t& position, std::string_view& element) {
    JsonScanner scanner(json.substr(std::min(position, json.size())));
    if (position == 0 && !scanner.take('[')) return false;
    if (!scanner.element(element)) return false;
    position = static_cast<size_t>(scanner.position() - json.data());
    return true;
}

std::string_view unescape_json_string(std::string_view quoted, Arena& arena) {
    const std::string_view body = json_string_body(quoted);
    if (body.find('\\') == std::string_view::npos) return body;
    std::string text;
    append_unescaped_json(body, text);
    return arena.copy(text);
}

Value json_to_value(std::string_view json, Arena& arena) {
    JsonScanner scanner(json);
    switch (scanner.peek()) {
        case '{':
        case '[': return Value::of_bytes(Type::kJsonb, json);
        case '"': return Value::of_text(unescape_json_string(scanner.string(), arena));
        case 't': return Value::of_bool(true);
        case 'f': return Value::of_bool(false);
        case 'n':
        case '\0': return Value::null();
        default: {
            Decimal decimal;
            if (parse_decimal(scanner.value(), decimal)) return decimal.value();
            return Value::of_bytes(Type::kError, "numeric overflow: a JSON number has more than 38 digits");
        }
    }
}

void append_canonical_json(std::string_view json, std::string& out) { append_canonical(json, out, 0); }

void append_json_string(std::string_view text, std::string& out) {
    static constexpr char kHex[] = "0123456789abcdef";
    out.push_back('"');
    size_t plain = 0;  // Start of the bytes that need no escape and are not written yet.
    for (size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c >= 0x20 && c != '"' && c != '\\') [[likely]]
            continue;
        out.append(text, plain, i - plain);
        plain = i + 1;
        switch (c) {
            case '"': out.append("\\\""); break;
            case '\\': out.append("\\\\"); break;
            case '\b': out.append("\\b"); break;
            case '\f': out.append("\\f"); break;
            case '\n': out.append("\\n"); break;
            case '\r': out.append("\\r"); break;
            case '\t': out.append("\\t"); break;
            default: out.append("\\u00").append(1, kHex[c >> 4]).append(1, kHex[c & 15]);
        }
    }
    out.append(text, plain);
    out.push_back('"');
}

void append_json(const Value& value, std::string& out) {
    switch (value.type) {
        case Type::kNull:
        case Type::kError: out.append("null"); break;
        case Type::kText: append_json_string(value.bytes(), out); break;
        case Type::kJsonb: out.append(value.bytes()); break;
        case Type::kTimestamptz:
        case Type::kInterval:
            out.push_back('"');
            append_text(value, out);
            out.push_back('"');
            break;
        case Type::kFloat8:
            if (value.real - value.real != 0) {  // NaN and infinities are not JSON numbers.
                out.push_back('"');
                append_text(value, out);
                out.push_back('"');
                break;
            }
            append_text(value, out);
            break;
        case Type::kBool: out.append(value.boolean ? "true" : "false"); break;
        default: append_text(value, out);
    }
}

}  // namespace weir::processor::expr
