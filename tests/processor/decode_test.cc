#include <random>

#include "fixture.h"
#include "processor/decode.h"

namespace weir::processor {
namespace {

const std::string kPipeline =
    "name: p\nkafka: {bootstrap.servers: \"b:9092\"}\non_error: {decode: {dead_letter: dlq}, expression: "
    "{dead_letter: bad}}\n"
    "sources: {o: {topic: o}}\n"
    "streams: {s: {from: o, steps: [{map: {a: a, b: n.b, n: n}}], to: out}}\n";

std::string decoded(std::optional<std::string> value) {
    static const auto plan = plan_of(kPipeline);
    World world(plan);
    REQUIRE(world.in("o", {Record{"k", std::move(value), 0, {}}}).ok());
    CHECK(world.imbalance() == "");
    REQUIRE(world.sink.outputs.size() == 1);
    const Output& out = world.sink.outputs[0];
    return out.topic == "out" ? out.value : out.topic;
}

TEST_CASE("values arrive with their digits, escapes undone, objects as they stand") {
    CHECK(decoded(R"({"a":1.500})") == R"({"a":1.500,"b":null,"n":null})");
    CHECK(decoded(R"({"a":-0})") == R"({"a":0,"b":null,"n":null})");
    CHECK(decoded(R"({"a":12345678901234567890123.45})") ==
          R"({"a":12345678901234567890123.45,"b":null,"n":null})");
    CHECK(decoded(R"({"a":1.5e3})") == R"({"a":1500,"b":null,"n":null})");
    CHECK(decoded(R"({"\u0061":"x\n\"é"})") == "{\"a\":\"x\\n\\\"é\",\"b\":null,\"n\":null}");
    CHECK(decoded(R"( { "n" : {"b" : true, "c":[1,{}]} , "a":null } )") ==
          R"({"a":null,"b":true,"n":{"b" : true, "c":[1,{}]}})");
}

TEST_CASE("of equal names the last one counts, with all that is below it") {
    CHECK(decoded(R"({"a":1,"a":2})") == R"({"a":2,"b":null,"n":null})");
    CHECK(decoded(R"({"n":{"b":1},"n":{}})") == R"({"a":null,"b":null,"n":{}})");
    CHECK(decoded(R"({"n":{"b":1},"n":3})") == R"({"a":null,"b":null,"n":3})");
}

TEST_CASE("a null value is a record whose fields are all NULL") {
    CHECK(decoded(std::nullopt) == R"({"a":null,"b":null,"n":null})");
}

TEST_CASE("what is not JSON to the last byte goes to on_error, wherever the damage is") {
    for (const char* bad : {"",
                            " ",
                            "{",
                            "}",
                            "[]",
                            "1",
                            "null",
                            "{\"a\":1",
                            "{\"a\":1}x",
                            "{\"a\":1} {}",
                            "{\"a\":1,}",
                            "{,}",
                            "{\"a\" 1}",
                            "{\"a\":}",
                            "{a:1}",
                            "{\"z\":01}",
                            "{\"z\":1.}",
                            "{\"z\":.5}",
                            "{\"z\":+1}",
                            "{\"z\":1e}",
                            "{\"z\":tru}",
                            "{\"z\":nulll}",
                            "{\"z\":[1,2}}",
                            "{\"z\":[1 2]}",
                            "{\"z\":[,]}",
                            "{\"z\":{\"y\":[}]}",
                            "{\"z\":\"\\x\"}",
                            "{\"z\":\"\\u12g4\"}",
                            "{\"z\":\"a\nb\"}",
                            "{\"z\":\"abc}",
                            "{\"z\":1x}",
                            "{\"z\":\"a\"b}",
                            "{\"z\":\xff}",
                            "{\"z\":\"\xff\"}",
                            "{\"z\":\"\xed\xa0\x80\"}",
                            "\xef\xbb\xbf{}",
                            "{\"z\":-}",
                            "{\"z\":[1]]}"}) {
        CAPTURE(bad);
        CHECK(decoded(bad) == "dlq");
    }
    CHECK(decoded("{}") == R"({"a":null,"b":null,"n":null})");
}

TEST_CASE("depth is bounded, also at 100,000 levels") {
    const auto nested = [](size_t depth) {
        return "{\"z\":" + std::string(depth, '[') + std::string(depth, ']') + "}";
    };
    CHECK(decoded(nested(63)) == R"({"a":null,"b":null,"n":null})");
    CHECK(decoded(nested(64)) == "dlq");
    CHECK(decoded(nested(100'000)) == "dlq");
    CHECK(decoded("{\"z\":" + std::string(100'000, '[')) == "dlq");
}

TEST_CASE("strings of 8 MB pass") {
    const std::string large(8 << 20, 'x');
    CHECK(decoded("{\"a\":\"" + large + "\"}").size() ==
          large.size() + std::string(R"({"a":"","b":null,"n":null})").size());
}

TEST_CASE("a number beyond 38 digits fails only who uses it") {
    const std::string digits(60, '7');
    CHECK(decoded("{\"z\":" + digits + "}") == R"({"a":null,"b":null,"n":null})");
    CHECK(decoded("{\"a\":" + digits + "}") == "bad");
}

// A decoder that knows the shape of its records reads what a fresh one reads, whatever comes.
TEST_CASE("records laid out alike are read as any others") {
    PathTree paths;
    expr::Slot slots = 0;
    for (const std::vector<std::string>& path :
         std::vector<std::vector<std::string>>{{"a"}, {"b"}, {"n", "c"}, {"z"}})
        paths.node(path).slot = slots++;
    const std::vector<std::string> samples = {
        R"({"a":17,"b":"text","n":{"c":-1.50,"d":[1,true,null]},"e":"x y","z":1700000000000})",
        R"({ "a" : null, "b" : "\u00e9", "z" : false, "n" : 3 })",
        R"({"a":123456789012345678901234567890,"b":"é","z":1e3,"n":{}})",
        R"({"b":"1","a":"a long text of more than sixteen bytes, to see where it ends","b":"2"})",
        R"({"b":"q"})",
        R"({"a":5,"name of more than sixteen bytes":7,"b":"the end of the record é"})",
    };
    std::mt19937_64 random(20);
    Decoder learned(config::Format::kJson, paths, PathTree::kNoSlot);
    Arena arena;
    const auto read = [&](Decoder& decoder, const std::string& text) {
        std::vector<Column> columns(static_cast<size_t>(slots), Column(1));
        std::vector<uint32_t> good;
        std::vector<DecodeError> errors;
        InputRecord record;
        record.value = text;
        decoder.decode({&record, 1}, arena, columns, good, errors);
        std::string result = good.empty() ? errors.at(0).message : "good";
        if (good.empty()) return result;
        for (const Column& column : columns) {
            result += " " + std::string(type_name(column[0].type)) + ":";
            if (column[0].type == Type::kNumeric)
                result += std::to_string(column[0].integer) + "e-" + std::to_string(column[0].scale);
            if (column[0].type == Type::kText) result += column[0].bytes();
            if (column[0].type == Type::kBool) result += column[0].boolean ? "t" : "f";
        }
        return result;
    };
    for (int i = 0; i < 20'000; ++i) {
        std::string text = samples[random() % samples.size()];
        // Most stay alike in all but their numbers; some break anywhere.
        for (char& c : text)
            if (c >= '1' && c <= '9' && random() % 4 == 0) c = static_cast<char>('1' + random() % 9);
        if (random() % 4 == 0) {
            const size_t at = random() % text.size();
            constexpr std::string_view kBytes = "\"\\{}[]:,0e-. \n\x01\xc3\xff";
            switch (random() % 3) {
                case 0: text[at] = kBytes[random() % kBytes.size()]; break;
                case 1: text.insert(at, 1, kBytes[random() % kBytes.size()]); break;
                default: text.erase(at, 1 + random() % 3);
            }
        }
        CAPTURE(i);
        CAPTURE(text);
        Decoder fresh(config::Format::kJson, paths, PathTree::kNoSlot);
        REQUIRE(read(learned, text) == read(fresh, text));
        arena.reset();
    }
}

}  // namespace
}  // namespace weir::processor
