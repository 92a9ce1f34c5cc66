#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "processor/expr/expression.h"
#include "scope.h"

namespace weir::processor::expr {
namespace {

struct Case {
    const char* expression;
    const char* expected;
};

constexpr const char* kRecord =
    R"({"status":"PAID","amount":120.50,"Total":3,"n":null,"user":{"id":7,"Name":"Ann"},)"
    R"("ok":true,"items":[{"sku":"a"},{"sku":"b"}],"q":"5"})";

void check(const std::vector<Case>& cases) {
    for (const Case& c : cases) {
        INFO(std::string(c.expression));
        CHECK(test::evaluate(c.expression, kRecord, 1'767'225'600'000'000) == std::string(c.expected));
    }
}

TEST_CASE("fields keep their case and dotted paths reach into objects") {
    check({{"status", "PAID"},
           {"Total", "3"},
           {"total", "NULL"},
           {"user.id", "7"},
           {"user.Name", "Ann"},
           {"user.missing.deeper", "NULL"},
           {"status.x", "NULL"},
           {"\"user\".\"id\" + 1", "8"},
           {"user",
            "COMPILE: user is not supported @0 (\"user\" is a reserved word; a field of that name is written "
            "in "
            "double quotes: \"user\")"},
           {"\"user\"", R"({"id": 7, "Name": "Ann"})"},
           {"items[1].sku", "b"},
           {"items[-1]['sku']", "\"b\""},
           {"1 + order",
            "COMPILE: syntax error at or near \"order\" @4 (\"order\" is a reserved word; a field of that "
            "name is written in double quotes: \"order\")"}});
}

TEST_CASE("comparison, arithmetic and three-valued logic are PostgreSQL's") {
    check({{"status = 'PAID' AND amount > 100", "true"},
           {"status = 'PAID' and amount > 200", "false"},
           {"n > 1", "NULL"},
           {"n > 1 or ok", "true"},
           {"n > 1 and not ok", "false"},
           {"n is null", "true"},
           {"n is not distinct from null", "true"},
           {"amount + 1", "121.50"},
           {"amount * 2.50", "301.2500"},
           {"amount / 7", "17.2142857142857143"},
           {"7 / 2", "3"},
           {"7 / 2.0", "3.5000000000000000"},
           {"'-417701.35500000097'::float8", "-417701.355000001"},  // Near a midpoint, not on it.
           {"-7 % 3", "-1"},
           {"2 ^ 10", "1024"},
           {"2147483647 + 1", "COMPILE: integer out of range @11"},
           {"Total / 0", "ERROR: division by zero"},
           {"1 / 0", "COMPILE: division by zero @2"},
           {"amount = '120.5'", "true"},
           {"q = 5", "ERROR: operator does not exist: text = integer"},
           {"'abc' + 1", "COMPILE: invalid input syntax for type integer: \"abc\" @0"},
           {"1 = 'x'", "COMPILE: invalid input syntax for type integer: \"x\" @4"},
           {"amount between 100 and 120.5", "true"},
           {"amount not between symmetric 200 and 100", "false"},
           {"status in ('NEW', 'PAID')", "true"},
           {"amount in (1, 120.5)", "true"},
           {"Total not in (1, 2, null)", "NULL"}});
}

TEST_CASE("numerics are written with all digits of their scale") {
    const std::string nines(38, '9');
    const auto text = [](const std::string& number) { return test::evaluate(number + " || ''", kRecord, 0); };
    for (const std::string& number :
         {std::string("0"), std::string("0.00"), std::string("-0.05"), std::string("7.50"),
          std::string("18446744073709551616"), std::string("-1844674407370955161.6"), nines, "-" + nines,
          nines.substr(5) + "." + nines.substr(33), nines.substr(21) + "." + nines.substr(17), "0." + nines,
          "-0." + nines, "0." + std::string(38, '0'), "0." + std::string(37, '0') + "1",
          "0." + std::string(40, '0'), "-0." + std::string(30, '0') + nines.substr(20)}) {
        INFO(number);
        CHECK(text(number) == number);
    }
}

TEST_CASE("branches are evaluated for the rows that take them only") {
    check({{"case when Total = 3 then 'three' else 'other' end", "three"},
           {"case Total when 0 then 1 / Total when 3 then 9 / Total end", "3.0000000000000000"},
           {"Total = 0 or 1 / Total > 0", "true"},
           {"coalesce(n, Total, 1 / (Total - 3))", "3"},
           {"nullif(Total, 3)", "NULL"},
           {"greatest(1, n, Total)", "3"},
           {"case when ok then 1 else 2.5 end / 2", "0.50000000000000000000"}});
}

TEST_CASE("mistakes are found at load with their place and the nearest name") {
    check(
        {{"lowr(status)", "COMPILE: function lowr does not exist @0 (did you mean lower?)"},
         {"left(status)", "COMPILE: left does not take 1 argument @0 (left(text, integer))"},
         {"lower(1)", "COMPILE: lower does not take integer as argument 1 @6 (lower(text))"},
         {"sum(amount)",
          "COMPILE: aggregate function sum is not allowed here @0 (aggregates belong into the fields "
          "of an aggregate step)"},
         {"a, b", "COMPILE: one expression is expected, not a list @3"},
         {"a from b",
          "COMPILE: an expression is expected, not a query: FROM, WHERE, GROUP BY and the like do not "
          "belong here @7"},
         {"(select 1)", "COMPILE: subqueries are not supported in expressions @0"},
         {"$1", "COMPILE: there are no parameters here: $1 @0"},
         {"", "COMPILE: empty expression @0"},
         {"a +", "COMPILE: syntax error: the expression ends too early @3"},
         {"x::date",
          "COMPILE: type date is not supported @3 (the types are integer, bigint, numeric, double precision "
          "(float8), text, boolean, jsonb, timestamptz and interval)"}});
}

TEST_CASE("casts, texts and times") {
    check({{"amount::int", "121"},
           {"amount::numeric(5,1)", "120.5"},
           {"'2026-01-01T00:00:00Z'::timestamptz", "2026-01-01 00:00:00+00"},
           {"now() - interval '1 day 02:03:04.5'", "2025-12-30 21:56:55.5+00"},
           {"extract(epoch from now())", "1767225600.000000"},
           {"date_trunc('month', now() + '40 days')", "2026-02-01 00:00:00+00"},
           {"upper(user.Name) || '-' || Total", "ANN-3"},
           {"substring(status from 2 for 2)", "AI"},
           {"status like 'P%D'", "true"},
           {"status ~* '^p'", "true"},
           {"jsonb_build_object('b', 1, 'a', amount)", R"({"a": 120.50, "b": 1})"}});
}

}  // namespace
}  // namespace weir::processor::expr
