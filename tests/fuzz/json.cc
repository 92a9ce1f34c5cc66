// One JSON record, decoded with a tree of paths, against RapidJSON: the same verdict, and the same value at
// every path. The record stands between two others, which must not notice.
#include <rapidjson/document.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "processor/decode.h"
#include "processor/expr/jsonb.h"
#include "processor/expr/value_text.h"

namespace {

using namespace weir;
using namespace weir::processor;

constexpr unsigned kFlags = rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag |
                            rapidjson::kParseNumbersAsStringsFlag;

const std::vector<std::vector<std::string>> kPaths = {
    {"a"}, {"b"}, {"a", "b"}, {"a", "b", "c"}, {"c", "a"}, {"\xC3\xA9"}, {""}, {"a\"b"}};

// A number as sign, digits and the power of ten of the last one; no zeros at either end.
struct Number {
    bool negative = false;
    std::string digits;
    int64_t exponent = 0;
    friend bool operator==(const Number&, const Number&) = default;
};

Number number(std::string_view text) {
    Number result;
    result.negative = text.front() == '-';
    if (result.negative) text.remove_prefix(1);
    const size_t e = std::min(text.find_first_of("eE"), text.size());
    if (e < text.size()) {
        int64_t sign = 1;
        for (const char c : text.substr(e + 1)) {
            if (c == '-') sign = -1;
            if (c >= '0' && c <= '9' && result.exponent < 1'000'000'000)
                result.exponent = result.exponent * 10 + (c - '0');
        }
        result.exponent *= sign;
    }
    bool fraction = false;
    for (const char c : text.substr(0, e)) {
        if (c == '.') {
            fraction = true;
            continue;
        }
        result.digits += c;
        result.exponent -= fraction ? 1 : 0;
    }
    result.digits.erase(0, result.digits.find_first_not_of('0'));
    while (!result.digits.empty() && result.digits.back() == '0') {
        result.digits.pop_back();
        ++result.exponent;
    }
    return result.digits.empty() ? Number{} : result;
}

enum class Verdict { kValid, kInvalid, kNone };

// RFC 8259, and what decode.h adds: an object, no byte order mark, a bounded depth.
struct Depth : rapidjson::BaseReaderHandler<rapidjson::UTF8<>, Depth> {
    int open = 0;
    int deepest = 0;
    bool StartObject() { return enter(); }
    bool StartArray() { return enter(); }
    bool EndObject(rapidjson::SizeType) { return --open, true; }
    bool EndArray(rapidjson::SizeType) { return --open, true; }
    bool enter() {
        deepest = std::max(deepest, ++open);
        return true;
    }
};

Verdict judge(std::string_view text) {
    rapidjson::MemoryStream in(text.data(), text.size());
    rapidjson::Reader reader;
    Depth depth;
    const auto result = reader.Parse<kFlags>(in, depth);
    // The grammar permits both; RapidJSON does not.
    if (result.Code() == rapidjson::kParseErrorStringUnicodeSurrogateInvalid ||
        result.Code() == rapidjson::kParseErrorNumberTooBig)
        return Verdict::kNone;
    const size_t first = text.find_first_not_of(" \t\r\n");
    const bool object = first != std::string_view::npos && text[first] == '{';
    const bool whole = in.Tell() == text.size();
    return !result.IsError() && whole && object && depth.deepest <= kMaxDepth ? Verdict::kValid
                                                                              : Verdict::kInvalid;
}

std::string written(const rapidjson::Value& value) {
    rapidjson::StringBuffer buffer;
    rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
    value.Accept(writer);
    return {buffer.GetString(), buffer.GetSize()};
}

rapidjson::Document parsed(std::string_view text) {
    rapidjson::Document document;
    rapidjson::MemoryStream in(text.data(), text.size());
    document.ParseStream<kFlags>(in);
    return document;
}

// Of equal names the last one.
const rapidjson::Value* find(const rapidjson::Value& object, const std::vector<std::string>& path) {
    const rapidjson::Value* at = &object;
    for (const std::string& name : path) {
        if (!at->IsObject()) return nullptr;
        const rapidjson::Value* found = nullptr;
        for (const auto& member : at->GetObject())
            if (name == std::string_view(member.name.GetString(), member.name.GetStringLength()))
                found = &member.value;
        if (found == nullptr) return nullptr;
        at = found;
    }
    return at;
}

void compare(const Value& ours, const rapidjson::Value* theirs) {
    switch (ours.type) {
        case Type::kNull: WEIR_CHECK(theirs == nullptr || theirs->IsNull()); return;
        case Type::kBool: WEIR_CHECK(theirs && theirs->IsBool() && theirs->GetBool() == ours.boolean); return;
        case Type::kJsonb: {
            WEIR_CHECK(theirs && (theirs->IsObject() || theirs->IsArray()));
            WEIR_CHECK(written(parsed(ours.bytes())) == written(*theirs));
            return;
        }
        // Their numbers are strings, too.
        case Type::kText:
            WEIR_CHECK(theirs && theirs->IsString());
            WEIR_CHECK(ours.bytes() == std::string_view(theirs->GetString(), theirs->GetStringLength()));
            return;
        case Type::kNumeric:
            WEIR_CHECK(theirs && theirs->IsString());
            WEIR_CHECK(number(expr::to_text(ours)) ==
                       number({theirs->GetString(), theirs->GetStringLength()}));
            return;
        case Type::kError:  // More than 38 digits, or an exponent beyond numeric's.
            WEIR_CHECK(theirs && theirs->IsString());
            return;
        default: WEIR_CHECK(false, "a type that JSON has not");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static PathTree paths;
    if (paths.root().children.empty())
        for (size_t i = 0; i < kPaths.size(); ++i) paths.node(kPaths[i]).slot = static_cast<expr::Slot>(i);
    static Decoder decoder(config::Format::kJson, paths, PathTree::kNoSlot);

    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (text.data() == nullptr) return 0;  // That would be Kafka's null.
    constexpr std::string_view kNeighbour = R"({"a":{"b":7},"c":"x\n"})";
    InputRecord records[3];
    records[0].value = records[2].value = kNeighbour;
    records[1].value = text;
    Arena arena;
    std::vector<Column> columns(kPaths.size(), Column(3));
    std::vector<uint32_t> good;
    std::vector<DecodeError> errors;
    decoder.decode(records, arena, columns, good, errors);

    WEIR_CHECK(good.size() + errors.size() == 3);
    const bool valid = errors.empty();
    WEIR_CHECK(valid || (errors.size() == 1 && errors[0].row == 1 && !errors[0].message.empty()));
    for (const size_t row : {size_t{0}, size_t{2}}) {
        WEIR_CHECK(columns[0][row].bytes() == R"({"b":7})" && expr::to_text(columns[2][row]) == "7");
        WEIR_CHECK(columns[1][row].is_null() && columns[4][row].is_null());
    }
    const Verdict verdict = judge(text);
    if (verdict == Verdict::kNone) return 0;
    WEIR_CHECK(valid == (verdict == Verdict::kValid), "RapidJSON judges otherwise");
    if (!valid) return 0;
    const rapidjson::Document document = parsed(text);
    for (size_t i = 0; i < kPaths.size(); ++i) compare(columns[i][1], find(document, kPaths[i]));
    return 0;
}
