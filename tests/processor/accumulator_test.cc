// Goal: each aggregate function gives what its documentation says; merging groups gives what accumulating all
// of their rows gives; what is stored in epochs and read back goes on as if nothing had happened.
#include <cmath>
#include <cstdlib>
#include <random>

#include "aggregation.h"

namespace weir::processor {
namespace {

const TestRows kRows = {
    R"({"t":5,"n":1.50,"s":"b","y":true,"iv":"1 day","j":{"a":1},"k":"x"})",
    R"({"t":3,"n":null,"s":"a","y":null,"iv":null,"j":null,"k":"y"})",
    R"({"t":9,"n":4,"s":null,"y":false,"iv":"2 days","j":[2],"k":"z"})",
    R"({"t":3,"n":1.5,"s":"c","y":true,"iv":"4 days","j":7,"k":"x"})",
    R"({"t":7,"n":-2,"s":"a","y":null,"iv":"12:00:00","j":"q","k":null})",
};

struct Expected {
    const char* text;
    const char* result;
    const char* without_rows = "NULL";
};

TEST_CASE("aggregate functions over a few rows, and over none") {
    const Expected cases[] = {
        {"count(*)", "5", "0"},
        {"count(n)", "4", "0"},
        {"count(DISTINCT n)", "3", "0"},
        {"count(*) FILTER (WHERE n > 0)", "3", "0"},
        {"sum(n)", "5.00"},
        {"sum(DISTINCT n)", "3.50"},
        {"sum(n::int)", "6"},
        {"sum(DISTINCT n::int)", "4"},
        {"sum(n::float8)", "5"},
        {"avg(n)", "1.2500000000000000"},
        {"avg(DISTINCT n)", "1.16666666666666666667"},
        {"avg(n) FILTER (WHERE n > 100)", "NULL"},
        {"min(n)", "-2"},
        {"max(s)", "c"},
        {"max(DISTINCT n)", "4"},
        {"min(iv::interval)", "12:00:00"},
        {"stddev(n)", "2.4664414311581237"},
        {"stddev_samp(n)", "2.4664414311581237"},
        {"stddev_pop(n)", "2.1360009363293828"},
        {"variance(n)", "6.0833333333333333"},
        {"var_samp(n)", "6.0833333333333333"},
        {"var_pop(n)", "4.5625000000000000"},
        {"var_samp(n) FILTER (WHERE n > 3)", "NULL"},
        {"var_pop(n) FILTER (WHERE n > 3)", "0"},
        {"var_pop(n::float8)", "4.5625"},
        {"bool_and(y)", "false"},
        {"every(y) FILTER (WHERE s = 'b')", "true"},
        {"bool_or(y)", "true"},
        {"first(n)", "1.5"},
        {"first(s)", "a"},
        {"last(n)", "4"},
        {"last(s)", "a"},
        {"first(j)", "7"},
        {"arg_min(s, n)", "a"},
        {"arg_max(s, n)", "c"},
        {"arg_max(n, s)", "1.5"},
        {"arg_min(k, n) FILTER (WHERE n > 0)", "x"},
        {"percentile_cont(0.5) WITHIN GROUP (ORDER BY n)", "1.5"},
        {"percentile_cont(0.9) WITHIN GROUP (ORDER BY n)", "3.2500000000000004"},
        {"percentile_cont(0.9) WITHIN GROUP (ORDER BY n DESC)", "-0.9500000000000006"},
        {"percentile_cont(0.5) WITHIN GROUP (ORDER BY iv::interval)", "1 day 12:00:00"},
        {"percentile_disc(0.5) WITHIN GROUP (ORDER BY s)", "a"},
        {"percentile_disc(1) WITHIN GROUP (ORDER BY s)", "c"},
        {"percentile_disc(0) WITHIN GROUP (ORDER BY n)", "-2"},
        {"array_agg(s)", R"(["b", "a", null, "c", "a"])"},
        {"array_agg(s ORDER BY n)", R"(["a", "b", "c", null, "a"])"},
        {"array_agg(s ORDER BY n DESC)", R"(["a", null, "b", "c", "a"])"},
        {"array_agg(DISTINCT s)", R"(["a", "b", "c", null])"},
        {"jsonb_agg(j) FILTER (WHERE t > 4)", R"([{"a": 1}, [2], "q"])"},
        {"string_agg(s, ', ')", "b, a, c, a"},
        {"string_agg(DISTINCT s, '')", "abc"},
        {"string_agg(s, '-' ORDER BY t)", "a-c-b-a"},
        {"jsonb_object_agg(k, n)", R"({"x": 1.5, "y": null, "z": 4})"},
        {"jsonb_object_agg(s, t) FILTER (WHERE s IS NOT NULL)", R"({"a": 7, "b": 5, "c": 3})"},
        {"approx_count_distinct(n)", "3", "0"},
        {"approx_percentile(0.5) WITHIN GROUP (ORDER BY n)", "1.5"},
        {"approx_percentile(1) WITHIN GROUP (ORDER BY n)", "4"},
        {"top_k(n, 1)", R"([{"count": 2, "error": 0, "value": 1.5}])"},
        {"sum(n) / count(n) + max(t)", "10.2500000000000000"},
    };
    for (const Expected& expected : cases) {
        INFO(std::string(expected.text));
        Aggregation aggregation(expected.text);
        CHECK(aggregation.result(kRows) == std::string(expected.result));
        CHECK(aggregation.result(TestRows{}) == std::string(expected.without_rows));
    }
}

TEST_CASE("what does not compile says where and what is right") {
    struct Case {
        const char* text;
        const char* message;
        size_t position;
        const char* help;
    };
    const Case cases[] = {
        {"stdev(n)", "function stdev does not exist", 0, "did you mean stddev?"},
        {"1 + arg_min(n)", "arg_min takes two arguments, not 1", 4,
         "arg_min(x, y), y a number, text, timestamptz or interval"},
        {"sum(n, n)", "sum takes one argument, not 2", 0, "sum(number)"},
        {"sum('a'::text)", "function sum(text) does not exist", 4, "sum(number)"},
        {"percentile_cont(0.5)", "WITHIN GROUP is required for percentile_cont", 0,
         "percentile_cont(fraction) WITHIN GROUP (ORDER BY number or interval)"},
        {"percentile_cont(1.5) WITHIN GROUP (ORDER BY n)",
         "percentile_cont takes a constant number from 0 to 1 here", 16,
         "percentile_cont(fraction) WITHIN GROUP (ORDER BY number or interval)"},
        {"percentile_disc(n) WITHIN GROUP (ORDER BY n)",
         "percentile_disc takes a constant number from 0 to 1 here", 16,
         "percentile_disc(fraction) WITHIN GROUP (ORDER BY number, text, boolean, timestamptz or interval)"},
        {"approx_percentile(n, 0.5)", "WITHIN GROUP is required for approx_percentile", 0,
         "approx_percentile(fraction) WITHIN GROUP (ORDER BY number)"},
        {"sum(n) WITHIN GROUP (ORDER BY n)", "sum takes no WITHIN GROUP", 0, "sum(number)"},
        {"sum(n ORDER BY n)", "ORDER BY is not supported in sum", 0, "sum(number)"},
        {"array_agg(n ORDER BY n, t)", "ORDER BY in array_agg takes one expression", 0, ""},
        {"array_agg(n ORDER BY n NULLS FIRST)",
         "ORDER BY in array_agg takes ASC or DESC, no USING and no NULLS", 0, ""},
        {"array_agg(DISTINCT n ORDER BY n)", "array_agg(DISTINCT …) takes no ORDER BY: its values are sorted",
         0, "array_agg(x [ORDER BY y])"},
        {"stddev(DISTINCT n)", "stddev(DISTINCT …) is not supported", 0, "stddev(number)"},
        {"top_k(n, 0)", "top_k takes a constant whole number from 1 to 1000 here", 9, "top_k(x, k)"},
        {"top_k(n, n)", "top_k takes a constant whole number from 1 to 1000 here", 9, "top_k(x, k)"},
        {"string_agg(s, n)", "string_agg takes a constant text here", 14,
         "string_agg(text, 'separator' [ORDER BY y])"},
        {"max(*)", "max(*) does not exist", 0, "max(number, text, timestamptz or interval)"},
        {"sum(max(n))", "aggregate function calls cannot be nested", 4, ""},
    };
    for (const Case& expected : cases) {
        INFO(std::string(expected.text));
        expr::test::NamedScope input;
        expr::test::NamedScope group;
        const auto compiled = expr::compile_aggregate(expected.text, input, group, 0);
        const auto* const error = std::get_if<expr::CompileError>(&compiled);
        REQUIRE(error != nullptr);
        CHECK(error->message == std::string(expected.message));
        CHECK(error->position == expected.position);
        CHECK(error->help == std::string(expected.help));
    }
}

// Those whose result does not depend on how rows are cut into groups that are merged.
const char* const kExact[] = {
    "count(*)",
    "count(s)",
    "count(DISTINCT n)",
    "sum(n)",
    "sum(DISTINCT n)",
    "sum(i::int)",
    "sum(DISTINCT i::int)",
    "sum(DISTINCT i::bigint)",
    "avg(n)",
    "avg(DISTINCT n)",
    "min(n)",
    "max(s)",
    "min(s)",
    "stddev(n)",
    "var_pop(i::int)",
    "bool_and(i > 2)",
    "bool_or(i > 7)",
    "first(s)",
    "last(s)",
    "first(j)",
    "arg_min(s, i)",
    "arg_max(s, n)",
    "arg_max(j, s)",
    "percentile_cont(0.3) WITHIN GROUP (ORDER BY n)",
    "percentile_disc(0.7) WITHIN GROUP (ORDER BY s)",
    "array_agg(n)",
    "array_agg(DISTINCT s)",
    "array_agg(s ORDER BY t)",
    "string_agg(s, ',')",
    "jsonb_object_agg(coalesce(s, '-'), n)",
    "approx_count_distinct(n)",
    "sum(n) FILTER (WHERE i > 4) / count(*)",
};
// Their results depend on it within their bounds, or in the last bits.
const char* const kOrdered[] = {
    "avg(n::float8)",
    "stddev(n::float8)",
    "approx_percentile(0.3) WITHIN GROUP (ORDER BY n)",
    "top_k(n, 3)",
};

class Rows {
public:
    explicit Rows(unsigned seed) : random_(seed) {}

    int draw(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }

    // Event times differ, so that first, last and ORDER BY have one answer however rows are cut.
    TestRows make(int count) {
        TestRows rows;
        std::vector<int> times(static_cast<size_t>(count));
        for (int i = 0; i < count; ++i) times[static_cast<size_t>(i)] = i - count / 2;
        std::shuffle(times.begin(), times.end(), random_);
        for (const int time : times) {
            std::string row = "{\"t\":" + std::to_string(time) + ",\"i\":" + std::to_string(draw(0, 9));
            if (draw(0, 5) > 0) {
                const char* const scales[] = {"", ".5", ".50", ".125"};
                row += ",\"n\":" + std::to_string(draw(-20, 20)) + scales[draw(0, 3)];
            }
            if (draw(0, 5) > 0) {
                row += ",\"s\":\"" + std::string(static_cast<size_t>(draw(0, 40)), 'x') +
                       std::to_string(draw(0, 9)) + "\"";
            }
            rows.push_back(row + ",\"j\":[" + std::to_string(time) + "]}");
        }
        return rows;
    }

private:
    std::mt19937 random_;
};

unsigned seed_of(const char* test) {
    const char* const given = std::getenv("WEIR_SEED");
    const unsigned seed = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device{}();
    MESSAGE("replay: WEIR_SEED=" << seed << " accumulator_test -tc='" << std::string(test) << "'");
    return seed;
}

TEST_CASE("merging groups gives what all their rows give") {
    Rows rows(seed_of("merging groups gives what all their rows give"));
    for (const char* const text : kExact) {
        INFO(std::string(text));
        Aggregation aggregation(text);
        for (int round = 0; round < 12; ++round) {
            const TestRows all = rows.make(rows.draw(0, 60));
            TestGroup merged = aggregation.group();
            for (size_t next = 0; next < all.size();) {
                const size_t end = std::min(all.size(), next + static_cast<size_t>(rows.draw(0, 20)));
                TestGroup piece = aggregation.group();
                aggregation.take(piece, {all.begin() + static_cast<ptrdiff_t>(next),
                                         all.begin() + static_cast<ptrdiff_t>(end)});
                const std::string before = aggregation.result(piece);
                aggregation.merge(merged, piece);
                CHECK(aggregation.result(piece) == before);  // The merged one stays as it is.
                next = end;
            }
            CHECK(aggregation.result(merged) == aggregation.result(all));
        }
    }
}

TEST_CASE("a group that is stored in epochs and read back goes on as if nothing had happened") {
    Rows rows(seed_of("a group that is stored in epochs and read back goes on as if nothing had happened"));
    std::vector<const char*> texts(std::begin(kExact), std::end(kExact));
    texts.insert(texts.end(), std::begin(kOrdered), std::end(kOrdered));
    for (const char* const text : texts) {
        INFO(std::string(text));
        Aggregation aggregation(text);
        for (int round = 0; round < 12; ++round) {
            const int count = round == 0 ? 3000 : rows.draw(0, 60);  // Enough for sketches to be full.
            const TestRows all = rows.make(count);
            TestGroup straight = aggregation.group();
            TestGroup restored = aggregation.group();
            StoredGroup stored;
            aggregation.write(restored, stored);
            for (size_t next = 0; next < all.size();) {
                const size_t end = std::min(all.size(), next + static_cast<size_t>(rows.draw(1, count)));
                const TestRows piece(all.begin() + static_cast<ptrdiff_t>(next),
                                     all.begin() + static_cast<ptrdiff_t>(end));
                aggregation.take(straight, piece);
                aggregation.take(restored, piece);
                aggregation.write(restored, stored);
                if (rows.draw(0, 1) == 0) restored = aggregation.read(stored, rows.draw(0, 1) == 0);
                next = end;
            }
            CHECK(aggregation.result(restored) == aggregation.result(straight));
            StoredGroup whole;  // As a group that moves is written under its new name.
            aggregation.write(restored, whole, true);
            CHECK(aggregation.result(aggregation.read(whole)) == aggregation.result(straight));
        }
    }
}

TEST_CASE("stored bytes that are cut or of another version are refused") {
    for (const char* const text :
         {"array_agg(n)", "approx_count_distinct(n)", "approx_percentile(0.5) WITHIN GROUP (ORDER BY n)",
          "top_k(n, 3)", "jsonb_object_agg(k, n) FILTER (WHERE k IS NOT NULL)"}) {
        INFO(std::string(text));
        Aggregation aggregation(text);
        TestGroup group = aggregation.group();
        aggregation.take(group, kRows);
        StoredGroup stored;
        aggregation.write(group, stored);
        REQUIRE(!stored.parts.empty());
        for (const auto& [key, value] : stored.parts) {
            const auto accepted = [&](std::string_view bytes) {
                TestGroup other = aggregation.group();
                return aggregation.accumulators->read_part(key.first, key.second, bytes, other.cells.data(),
                                                           other.store);
            };
            CHECK(accepted(value));
            std::string changed = value;
            ++changed[0];
            CHECK_FALSE(accepted(changed));
            CHECK_FALSE(accepted({}));
            const bool json = std::string_view(text).starts_with("jsonb_object");  // Its value is any text.
            for (size_t cut = 1; !json && cut < value.size(); ++cut) {
                const bool some = accepted(std::string_view(value).substr(0, cut));
                if (std::string_view(text) != "array_agg(n)") CHECK_FALSE(some);
            }
        }
    }
}

TEST_CASE("a call that fails for good stays failed: merged, stored, with more rows") {
    const TestRows huge = {R"({"n":99999999999999999999999999999999999999})",
                           R"({"n":99999999999999999999999999999999999999})"};
    for (const char* const text : {"sum(n)", "avg(n)", "stddev(n)", "sum(n) + count(*)"}) {
        INFO(std::string(text));
        Aggregation aggregation(text);
        TestGroup failed = aggregation.group();
        aggregation.take(failed, huge);
        const std::string message = aggregation.result(failed);
        CHECK(message.starts_with("ERROR: "));
        aggregation.take(failed, kRows);
        CHECK(aggregation.result(failed) == message);
        StoredGroup stored;
        aggregation.write(failed, stored);
        CHECK(aggregation.result(aggregation.read(stored)) == message);
        TestGroup good = aggregation.group();
        aggregation.take(good, kRows);
        aggregation.merge(good, failed);
        CHECK(aggregation.result(good) == message);
    }
    Aggregation mixed("max(CASE WHEN i > 1 THEN s ELSE n END)");
    CHECK(mixed.result({R"({"i":1,"n":4})", R"({"i":2,"s":"a"})", R"({"i":1,"n":4})"}) ==
          "ERROR: min() and max() over values of different types");
}

TEST_CASE("state without a fixed size has a bound, and says so") {
    const std::string text(1000, 'x');
    TestRows rows;
    for (int i = 0; i < 1100; ++i) {
        rows.push_back("{\"n\":" + std::to_string(i) + ",\"s\":\"" + text + std::to_string(i) + "\"}");
    }
    const std::pair<const char*, const char*> cases[] = {
        {"array_agg(s)", "ERROR: array_agg or string_agg holds more than 1 MiB"},
        {"string_agg(s, ',')", "ERROR: array_agg or string_agg holds more than 1 MiB"},
        {"jsonb_object_agg(n, s)", "ERROR: jsonb_object_agg holds more than 1 MiB"},
        {"count(DISTINCT s)", "1100"},
        {"jsonb_object_agg(n % 10, s)::text IS NULL", "false"},
    };
    for (const auto& [expression, result] : cases) {
        INFO(std::string(expression));
        Aggregation aggregation(expression);
        TestGroup group = aggregation.group();
        aggregation.take(group, rows);
        CHECK(aggregation.result(group) == std::string(result));
        if (std::string_view(result).starts_with("ERROR")) CHECK(group.store.bytes() < 8192);
    }
}

TEST_CASE("a group that ends gives its memory back") {
    Aggregation aggregation("array_agg(s)::text || max(s)");
    TestGroup group = aggregation.group();
    const TestRows rows = {R"({"s":"some text that has a home of its own"})"};
    size_t once = 0;
    for (int round = 0; round < 1000; ++round) {
        aggregation.take(group, rows);
        CHECK(group.store.bytes() > 0);
        aggregation.accumulators->release(group.cells.data(), group.store);
        CHECK(aggregation.result(group) == "NULL");
        if (round == 10) once = group.store.bytes();
    }
    CHECK(group.store.bytes() == once);
}

}  // namespace
}  // namespace weir::processor
