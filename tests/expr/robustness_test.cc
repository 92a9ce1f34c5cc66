// Long and deep expressions are answered quickly, with a value or an error; a hot filter is fast. Arbitrary
// text is tests/fuzz/expression.cc's business.
#include <doctest/doctest.h>

#include <chrono>
#include <iostream>
#include <string>
#include <vector>

#include "scope.h"

namespace weir::processor::expr::test {
namespace {

using Clock = std::chrono::steady_clock;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr double kLongest = 30;  // Seconds; sanitizers slow the JSON reader down most.
#else
constexpr double kLongest = 1;
#endif

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

TEST_CASE("long and deep expressions are answered within a second") {
    const auto repeated = [](std::string_view piece, size_t times) {
        std::string out;
        for (size_t i = 0; i < times; ++i) out.append(piece);
        return out;
    };
    const std::vector<std::string> texts = {repeated("(", 30'000) + "1" + repeated(")", 30'000),
                                            repeated("1+", 30'000) + "1",
                                            repeated("NOT ", 15'000) + "true",
                                            repeated("- ", 30'000) + "1",
                                            repeated("lower(", 10'000) + "a" + repeated(")", 10'000),
                                            repeated("a||", 20'000) + "a",
                                            repeated("[", 60'000),
                                            repeated("a.", 30'000) + "a",
                                            "a in (" + repeated("1,", 30'000) + "1)",
                                            repeated("'", 65'000),
                                            repeated("/*", 30'000),
                                            repeated("CASE WHEN a THEN ", 3'000),
                                            "a like '" + repeated("%a", 30'000) + "'",
                                            repeated("a = 1 or ", 7'000) + "b",
                                            std::string(70'000, 'a')};
    for (const std::string& text : texts) {
        INFO(text.substr(0, 40));
        const auto start = Clock::now();
        static_cast<void>(evaluate(text, R"({"a":1})"));
        CHECK(seconds_since(start) < kLongest);
    }
}

TEST_CASE("the hot filter costs a few nanoseconds per row") {
    constexpr size_t kRows = 10'000;
    NamedScope scope;
    auto compiled = Expression::compile("status = 'PAID' AND amount > 100", scope);
    REQUIRE(std::holds_alternative<Expression>(compiled));
    std::vector<Column> columns(2, Column(kRows));
    std::vector<uint32_t> rows(kRows);
    for (uint32_t i = 0; i < kRows; ++i) {
        rows[i] = i;
        columns[0][i] = Value::of_text(i % 3 != 0 ? "PAID" : "OPEN");
        columns[1][i] = Value::of_numeric(i * 7 % 20'000, 2);
    }
    Arena arena;
    EvalContext context{arena, 0, columns};
    Column out;
    double best = 1e9;
    for (int round = 0; round < 50; ++round) {
        const auto start = Clock::now();
        std::get<Expression>(compiled).evaluate(context, rows, kRows, out);
        best = std::min(best, seconds_since(start) * 1e9 / kRows);
    }
    size_t selected = 0;
    for (const Value& value : out) selected += value.type == Type::kBool && value.boolean;
    std::cout << "status = 'PAID' AND amount > 100: " << best << " ns/row\n";
    CHECK(selected > kRows / 4);
    CHECK(best < 200);  // Loose, for sanitizers and busy machines: guards the fast path.
}

}  // namespace
}  // namespace weir::processor::expr::test
