#include <absl/strings/ascii.h>
#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "processor/expr/functions.h"
#include "processor/expr/like.h"
#include "processor/expr/value_text.h"

namespace weir::processor::expr {
namespace {

using Arguments = std::span<const Value>;

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

int64_t character_count(std::string_view text) {
    return std::count_if(text.begin(), text.end(), [](char c) { return !is_continuation(c); });
}

// Byte offset of the character at `index`; the text's size when it has fewer.
size_t byte_of_character(std::string_view text, int64_t index) {
    size_t at = 0;
    while (at < text.size() && index > 0) {
        ++at;
        while (at < text.size() && is_continuation(text[at])) ++at;
        --index;
    }
    return at;
}

Value fold_case(CallContext& context, Arguments arguments, char first, char last, int shift) {
    const std::string_view text = arguments[0].bytes();
    char* const to = context.arena.allocate(text.size());
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        to[i] = c >= first && c <= last ? static_cast<char>(c + shift) : c;
    }
    return Value::of_text({to, text.size()});
}
Value lower(CallContext& context, Arguments arguments) { return fold_case(context, arguments, 'A', 'Z', 32); }
Value upper(CallContext& context, Arguments arguments) {
    return fold_case(context, arguments, 'a', 'z', -32);
}

Value length(CallContext&, Arguments arguments) {
    return Value::of_int4(static_cast<int32_t>(character_count(arguments[0].bytes())));
}

// Characters from the 1-based `start`, which may lie before the text, up to `end` exclusive.
Value slice(std::string_view text, int64_t start, int64_t end) {
    const int64_t first = std::max<int64_t>(start, 1);
    if (end <= first) return Value::of_text(text.substr(0, 0));
    const size_t from = byte_of_character(text, first - 1);
    const size_t size = byte_of_character(text.substr(from), end - first);
    return Value::of_text(text.substr(from, size));
}

Value substring(CallContext& context, Arguments arguments) {
    const std::string_view text = arguments[0].bytes();
    const int64_t start = arguments[1].integer;
    if (arguments.size() == 2) return slice(text, start, int64_t{1} << 40);
    if (arguments[2].integer < 0) return error_value(context.arena, "negative substring length not allowed");
    return slice(text, start, start + arguments[2].integer);
}

Value left(CallContext&, Arguments arguments) {
    const std::string_view text = arguments[0].bytes();
    const int64_t count = arguments[1].integer;
    return slice(text, 1, 1 + (count >= 0 ? count : std::max<int64_t>(0, character_count(text) + count)));
}

Value right(CallContext&, Arguments arguments) {
    const std::string_view text = arguments[0].bytes();
    const int64_t count = arguments[1].integer;
    const int64_t total = character_count(text);
    const int64_t skip = count >= 0 ? std::max<int64_t>(0, total - count) : std::min(total, -count);
    return slice(text, 1 + skip, total + 1);
}

size_t character_size(std::string_view text, size_t at) {
    size_t end = at + 1;
    while (end < text.size() && is_continuation(text[end])) ++end;
    return end - at;
}

bool contains_character(std::string_view set, std::string_view character) {
    for (size_t i = 0; i < set.size(); i += character_size(set, i))
        if (set.substr(i, character_size(set, i)) == character) return true;
    return false;
}

Value trim(Arguments arguments, bool at_start, bool at_end) {
    std::string_view text = arguments[0].bytes();
    const std::string_view set = arguments.size() > 1 ? arguments[1].bytes() : " ";
    while (at_start && !text.empty()) {
        const size_t size = character_size(text, 0);
        if (!contains_character(set, text.substr(0, size))) break;
        text.remove_prefix(size);
    }
    while (at_end && !text.empty()) {
        size_t start = text.size() - 1;
        while (start > 0 && is_continuation(text[start])) --start;
        if (!contains_character(set, text.substr(start))) break;
        text.remove_suffix(text.size() - start);
    }
    return Value::of_text(text);
}
Value btrim(CallContext&, Arguments arguments) { return trim(arguments, true, true); }
Value ltrim(CallContext&, Arguments arguments) { return trim(arguments, true, false); }
Value rtrim(CallContext&, Arguments arguments) { return trim(arguments, false, true); }

Value replace(CallContext& context, Arguments arguments) {
    const std::string_view text = arguments[0].bytes();
    const std::string_view from = arguments[1].bytes();
    if (from.empty() || text.find(from) == std::string_view::npos) return arguments[0];
    std::string out;
    size_t at = 0;
    for (size_t found = text.find(from); found != std::string_view::npos; found = text.find(from, at)) {
        out.append(text, at, found - at).append(arguments[2].bytes());
        at = found + from.size();
    }
    out.append(text, at);
    return Value::of_text(context.arena.copy(out));
}

Value split_part(CallContext& context, Arguments arguments) {
    const std::string_view text = arguments[0].bytes();
    const std::string_view delimiter = arguments[1].bytes();
    int64_t part = arguments[2].integer;
    if (part == 0) return error_value(context.arena, "field position must not be zero");
    const Value empty = Value::of_text(text.substr(0, 0));
    if (text.empty()) return empty;
    if (delimiter.empty()) return part == 1 || part == -1 ? arguments[0] : empty;
    if (part < 0) {
        int64_t parts = 1;
        for (size_t at = text.find(delimiter); at != std::string_view::npos;
             at = text.find(delimiter, at + delimiter.size()))
            ++parts;
        part += parts + 1;
        if (part < 1) return empty;
    }
    size_t at = 0;
    while (true) {
        const size_t found = text.find(delimiter, at);
        if (--part == 0)
            return Value::of_text(text.substr(at, found == std::string_view::npos ? found : found - at));
        if (found == std::string_view::npos) return empty;
        at = found + delimiter.size();
    }
}

Value strpos(CallContext&, Arguments arguments) {
    const std::string_view text = arguments[0].bytes();
    const size_t found = text.find(arguments[1].bytes());
    if (found == std::string_view::npos) return Value::of_int4(0);
    return Value::of_int4(static_cast<int32_t>(character_count(text.substr(0, found)) + 1));
}

Value starts_with(CallContext&, Arguments arguments) {
    return Value::of_bool(arguments[0].bytes().starts_with(arguments[1].bytes()));
}

Value concat(CallContext& context, Arguments arguments) {
    std::string out;
    for (const Value& value : arguments) {
        if (value.type == Type::kBool) {
            out.push_back(value.boolean ? 't' : 'f');  // The type's output, not its cast to text.
        } else {
            append_text(value, out);
        }
    }
    return Value::of_text(context.arena.copy(out));
}

Value digest(CallContext& context, std::string_view text, const EVP_MD* algorithm) {
    static constexpr char kHex[] = "0123456789abcdef";
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes;
    unsigned size = 0;
    if (EVP_Digest(text.data(), text.size(), bytes.data(), &size, algorithm, nullptr) != 1)
        return error_value(context.arena, "the digest is not available");
    char* const to = context.arena.allocate(size_t{size} * 2);
    for (size_t i = 0; i < size; ++i) {
        to[2 * i] = kHex[bytes[i] >> 4];
        to[2 * i + 1] = kHex[bytes[i] & 15];
    }
    return Value::of_text({to, size_t{size} * 2});
}
Value md5(CallContext& context, Arguments arguments) {
    return digest(context, arguments[0].bytes(), EVP_md5());
}
Value sha256(CallContext& context, Arguments arguments) {
    return digest(context, arguments[0].bytes(), EVP_sha256());
}

}  // namespace

void add_text_functions(std::vector<FunctionSpec>& out) {
    constexpr uint16_t kT = kTextArgument;
    constexpr uint16_t kI = kInt4Argument;
    const auto text = [&](std::string_view name, std::string_view signature, uint8_t least, uint8_t most,
                          std::vector<uint16_t> accepts, FunctionCode code, Type result = Type::kText) {
        out.push_back({name, signature, least, most, std::move(accepts), ResultRule::kFixed, result, code});
    };
    text("lower", "lower(text)", 1, 1, {kT}, lower);
    text("upper", "upper(text)", 1, 1, {kT}, upper);
    text("length", "length(text)", 1, 1, {kT}, length, Type::kInt4);
    text("char_length", "char_length(text)", 1, 1, {kT}, length, Type::kInt4);
    text("character_length", "character_length(text)", 1, 1, {kT}, length, Type::kInt4);
    text("substring", "substring(text, start integer [, count integer])", 2, 3, {kT, kI, kI}, substring);
    text("substr", "substr(text, start integer [, count integer])", 2, 3, {kT, kI, kI}, substring);
    text("left", "left(text, integer)", 2, 2, {kT, kI}, left);
    text("right", "right(text, integer)", 2, 2, {kT, kI}, right);
    text("btrim", "btrim(text [, characters text])", 1, 2, {kT, kT}, btrim);
    text("ltrim", "ltrim(text [, characters text])", 1, 2, {kT, kT}, ltrim);
    text("rtrim", "rtrim(text [, characters text])", 1, 2, {kT, kT}, rtrim);
    text("replace", "replace(text, from text, to text)", 3, 3, {kT, kT, kT}, replace);
    text("split_part", "split_part(text, delimiter text, part integer)", 3, 3, {kT, kT, kI}, split_part);
    text("strpos", "strpos(text, substring text)", 2, 2, {kT, kT}, strpos, Type::kInt4);
    text("position", "position(substring text IN text)", 2, 2, {kT, kT}, strpos, Type::kInt4);
    text("starts_with", "starts_with(text, prefix text)", 2, 2, {kT, kT}, starts_with, Type::kBool);
    text("md5", "md5(text)", 1, 1, {kT}, md5);
    text("sha256", "sha256(text)", 1, 1, {kT}, sha256);
    out.push_back({"concat",
                   "concat(any, …)",
                   1,
                   kVariadic,
                   {kAnyArgument},
                   ResultRule::kFixed,
                   Type::kText,
                   concat,
                   false});
    add_pattern_functions(out);
}

}  // namespace weir::processor::expr
