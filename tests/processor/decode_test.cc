#include "fixture.h"

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
    CHECK(world.counters.balanced());
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

}  // namespace
}  // namespace weir::processor
