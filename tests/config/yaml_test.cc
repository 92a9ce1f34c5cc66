#include "config/yaml.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <ctime>
#include <string>

namespace weir::config {
namespace {

Node read(const std::string& source) {
    Diagnostics diagnostics;
    auto root = read_yaml(source, diagnostics);
    CAPTURE(source);
    INFO(diagnostics.render("f", source));
    REQUIRE(root);
    REQUIRE_FALSE(diagnostics.has_errors());
    return std::move(*root);
}

// The source byte at the place of each byte of the value of `x`.
std::string found(const std::string& source) {
    const Node root = read(source);
    const Text text = to_text(source, *root.find("x"));
    std::string out;
    for (size_t i = 0; i < text.value.size(); ++i) {
        const Mark mark = text.position(i);
        size_t begin = 0;
        for (int32_t line = 1; line < mark.line; ++line) begin = source.find('\n', begin) + 1;
        out += source.at(begin + static_cast<size_t>(mark.column) - 1);
    }
    return out;
}

TEST_CASE("each byte of a value has its place, in every style of scalar") {
    CHECK(found("x: amount > 1\n") == "amount > 1");
    CHECK(found("{y: 1, x: amount > 1}") == "amount > 1");
    CHECK(found("x: 'it''s'\n") == "it's");
    CHECK(found("x: \"amount > 1\"\n") == "amount > 1");
    CHECK(found("x: \"a\\tb\\x41c\\u00e9d\"\n") == "a\\b\\c\\\\d");  // An escape's place is its backslash.
    CHECK(found("x: |\n  amount\n    > 1\n\n  AND b\n") == "amount\n  > 1\n\nAND b\n");
    CHECK(found("x: |2-  # a comment\n  amount > 1\n") == "amount > 1");
    CHECK(found("x: >\n  amount\n  > 1\n") == "amount\n> 1\n");  // A fold's place is the line's end.
    CHECK(found("x: amount\n  > 1\n") == "amount\n> 1");
    CHECK(found("x: \"amount\n  > 1\"\n") == "amount\n> 1");
    CHECK(found("x: \"amount \\\n  > 1\"\n") == "amount > 1");
    CHECK(found("x: 'größe > 1'\n") == "größe > 1");
}

TEST_CASE("the place of a byte behind quotes and line ends is exact") {
    const std::string source = "a: 1\nx: |\n  status = 'PAID'\n  AND amuont > 1\n";
    const Node root = read(source);
    const Text text = to_text(source, *root.find("x"));
    const Mark mark = text.position(text.value.find("amuont"));
    CHECK(mark.line == 4);
    CHECK(mark.column == 7);
}

TEST_CASE("what a scalar means is left to its field; only its spelling is told") {
    const std::string source =
        "a: 1\nb: 'true'\nc: true\nd: -1.5e3\ne: 1.\nf: yes\ng: null\nh:\ni: ~\nj: 0\nk: 0.5\n";
    const Node root = read(source);
    const auto literal = [&](const char* key) { return to_text(source, *root.find(key)).is_plain_number; };
    CHECK(literal("a"));
    CHECK_FALSE(literal("b"));
    CHECK(literal("c"));
    CHECK(literal("d"));
    CHECK_FALSE(literal("e"));
    CHECK_FALSE(literal("f"));
    CHECK(literal("j"));
    CHECK(literal("k"));
    CHECK(root.find("f")->value == "yes");
    CHECK((root.find("g")->kind == NodeKind::kNull && root.find("g")->value == "null"));
    CHECK((root.find("h")->kind == NodeKind::kNull && root.find("h")->value.empty()));
    CHECK((root.find("i")->kind == NodeKind::kNull && root.find("i")->value == "~"));
}

TEST_CASE("line ends of Windows and a byte order mark change nothing") {
    const std::string source = normalised("\xEF\xBB\xBFx: |\r\n  a\r\n  b\r\ny: 1\r\n");
    CHECK(source == "x: |\n  a\n  b\ny: 1\n");
    CHECK(read(source).find("x")->value == "a\nb\n");
}

#if defined(__SANITIZE_ADDRESS__)
constexpr int64_t kLimitMs = 30'000;  // Sanitizers slow everything; the limit is the release build's.
#else
constexpr int64_t kLimitMs = 1'000;
#endif

TEST_CASE("hostile input is refused within a second of CPU and 100 MB") {
    const auto repeated = [](const std::string& unit, size_t bytes) {
        std::string text;
        while (text.size() + unit.size() <= bytes) text += unit;
        return text;
    };
    std::string staircase;
    for (size_t i = 0; i < 1'400; ++i) staircase += std::string(i, ' ') + "a:\n";
    const std::string hundred_megabytes(100 << 20, '[');
    const std::vector<std::string> inputs{
        hundred_megabytes,
        std::string(10'000, '['),
        repeated("{a: ", 40'000),
        repeated("- ", kMaxFileBytes),
        repeated("? ", kMaxFileBytes),
        repeated("a: ", kMaxFileBytes),
        repeated("- - -\n", kMaxFileBytes),
        repeated("[],", kMaxFileBytes),
        "[" + repeated(",", kMaxFileBytes - 2),
        "[" + repeated("a,", kMaxFileBytes - 2),
        repeated("a: b\n", kMaxFileBytes),
        repeated("---\n", kMaxFileBytes),
        repeated("&a ", kMaxFileBytes),
        repeated("!a ", kMaxFileBytes),
        repeated("'", kMaxFileBytes),
        repeated("\"", kMaxFileBytes),
        repeated("\t\n", kMaxFileBytes),
        repeated("\ta\n", kMaxFileBytes),
        repeated("%a\n", kMaxFileBytes),
        repeated(" \n", kMaxFileBytes),
        repeated("#", kMaxFileBytes),
        repeated("a", kMaxFileBytes),
        repeated("a ", kMaxFileBytes),
        "x: |\n" + repeated("  a\n", kMaxFileBytes - 5),
        staircase,
    };
    rusage before{};
    getrusage(RUSAGE_SELF, &before);
    for (const std::string& input : inputs) {
        const std::clock_t begin = std::clock();  // Of the CPU: what else runs here costs no time.
        Diagnostics diagnostics;
        const std::string source = normalised(input);
        const auto root = read_yaml(source, diagnostics);
        const auto shown = diagnostics.render("f", source);
        const auto took_ms = static_cast<int64_t>((std::clock() - begin) * 1000 / CLOCKS_PER_SEC);
        CAPTURE(input.substr(0, 12));
        CHECK((root.has_value() || diagnostics.has_errors()));
        CHECK(shown.size() < 100'000);
        CHECK(took_ms < kLimitMs);
    }
    rusage after{};
    getrusage(RUSAGE_SELF, &after);
    CHECK(after.ru_maxrss - before.ru_maxrss < 100 * 1024);  // KiB.
}

}  // namespace
}  // namespace weir::config
