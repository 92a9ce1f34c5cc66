// Differential test: every generated expression means the same here and in a real PostgreSQL, on every row.
//
//   WEIR_TEST_POSTGRES     connection string, e.g. from `tests/postgres/server start DIR`; required
//   WEIR_TEST_SEED         another set of expressions and rows; 1 by default, so that a run repeats itself
//   WEIR_TEST_EXPRESSIONS  how many, 4000 by default
#include <doctest/doctest.h>
#include <libpq-fe.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "expression_generator.h"
#include "scope.h"

namespace weir::processor::expr::test {
namespace {

struct Outcome {
    bool error = false;
    bool null = false;
    std::string text;
    std::string code;  // SQLSTATE.

    [[nodiscard]] std::string shown() const {
        return error ? "ERROR: " + text : null ? "NULL" : "'" + text + "'";
    }
};

// The intended differences, as docs/expressions.md lists them: how ours shows, and why.
struct Difference {
    const char* ours;      // Part of our error message.
    const char* postgres;  // Part of PostgreSQL's, when it fails as well or alone.
    const char* reason;
};
constexpr std::array<Difference, 3> kDifferences = {{
    {"numeric overflow", "", "numeric has at most 38 digits"},
    {"cannot convert NaN or infinity to numeric", "", "numeric has no NaN and no infinity"},
    {"", "at planning", "PostgreSQL computes constant parts of branches that no row takes"},
}};

const std::vector<std::string> kNames = {"n", "m", "i", "t", "u", "s", "v", "b", "c", "j", "k"};
const std::vector<const char*> kTypes = {"numeric", "numeric", "numeric", "text",  "text", "text",
                                         "text",    "boolean", "boolean", "jsonb", "jsonb"};
constexpr size_t kRowCount = 24;

std::string pick(std::mt19937_64& random, const std::vector<std::string>& choices) {
    return choices[random() % choices.size()];
}

// One row per value of each column, as SQL text; "" is NULL here and '' the empty text.
std::vector<std::vector<std::string>> make_rows(std::mt19937_64& random) {
    static const std::vector<std::string> kNumbers = {"",         "0",
                                                      "1",        "-1",
                                                      "2",        "0.5",
                                                      "-0.5",     "1.5",
                                                      "2.5",      "120.50",
                                                      "100",      "-99.99",
                                                      "0.00",     "3.14159265358979",
                                                      "1000000",  "12345678901234567890",
                                                      "0.000001", "9999999999999.99",
                                                      "-2.50",    "7",
                                                      "1e10",     "1e-7"};
    static const std::vector<std::string> kWhole = {"",           "0",     "1",          "-1",          "2",
                                                    "3",          "7",     "10",         "-5",          "100",
                                                    "1700000000", "86400", "2147483647", "-2147483648", "12"};
    static const std::vector<std::string> kTexts = {"",
                                                    "''",
                                                    "abc",
                                                    "ABC",
                                                    "aBc",
                                                    "a,b,c",
                                                    " padded ",
                                                    "12",
                                                    "12.5",
                                                    "-7",
                                                    "x",
                                                    "true",
                                                    "a%b",
                                                    "\xC3\xA4\xC3\xB6\xC3\xBC",
                                                    "\xE2\x82\xAC"
                                                    "100",
                                                    "ab ab ab",
                                                    "[1, 2]",
                                                    "{\"a\":1}",
                                                    "b"};
    static const std::vector<std::string> kTimes = {"",
                                                    "2026-01-01",
                                                    "2026-03-29 01:30:00+00",
                                                    "2024-02-29T23:59:59.999999Z",
                                                    "1970-01-01 00:00:00+00",
                                                    "1969-12-31 23:59:59.5+00",
                                                    "2026-10-25 00:30:00Z",
                                                    "2000-01-31 12:00:00-05:00",
                                                    "0099-12-31 00:00:00+00",
                                                    "2026-12-31 23:00:00+00",
                                                    "not a time"};
    static const std::vector<std::string> kIntervals = {"",
                                                        "1 day",
                                                        "-1 day",
                                                        "1 mon",
                                                        "2 years 3 mons -4 days",
                                                        "00:00:01.5",
                                                        "-00:10:00",
                                                        "1.5 hours",
                                                        "100 days 25:00:00",
                                                        "0",
                                                        "1 year 1 day",
                                                        "-13 mons",
                                                        "nonsense",
                                                        "3 weeks ago"};
    static const std::vector<std::string> kBooleans = {"", "true", "false"};
    static const std::vector<std::string> kJson = {"",
                                                   "null",
                                                   "1",
                                                   "1.50",
                                                   "\"text\"",
                                                   "true",
                                                   "[]",
                                                   "{}",
                                                   "[1, 2, 3]",
                                                   "{\"a\": {\"b\": [1, \"x\", null]}, \"bb\": 1e2}",
                                                   "{\"b\": \"y\", \"a\": [10, 20.50]}",
                                                   "[{\"a\": 1}, \"s\", null]",
                                                   "{\"a\": null}",
                                                   "\"\\u00e4\\n\\\"q\\\"\"",
                                                   "-7",
                                                   "[[1], {\"c\": false}]",
                                                   "12345678901.5",
                                                   "{\"b\":1,\"b\":2}"};
    std::vector<std::vector<std::string>> rows(kRowCount);
    for (auto& row : rows) {
        row = {pick(random, kNumbers),   pick(random, kNumbers),  pick(random, kWhole),
               pick(random, kTexts),     pick(random, kTexts),    pick(random, kTimes),
               pick(random, kIntervals), pick(random, kBooleans), pick(random, kBooleans),
               pick(random, kJson),      pick(random, kJson)};
        for (std::string& value : row)
            if (value == "''") value = std::string(1, '\0');  // The empty text, told from NULL.
    }
    return rows;
}

class Postgres {
public:
    explicit Postgres(const char* connection) : connection_(PQconnectdb(connection)) {}
    ~Postgres() { PQfinish(connection_); }
    Postgres(const Postgres&) = delete;
    Postgres& operator=(const Postgres&) = delete;

    [[nodiscard]] bool connected() const { return PQstatus(connection_) == CONNECTION_OK; }
    [[nodiscard]] std::string message() const { return PQerrorMessage(connection_); }

    void load(const std::vector<std::vector<std::string>>& rows) {
        command(
            "SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET client_min_messages = error;"
            "SET statement_timeout = '60s'; SET standard_conforming_strings = on");
        std::string columns = "CREATE TEMP TABLE r (id int PRIMARY KEY";
        for (size_t i = 0; i < kNames.size(); ++i)
            columns.append(", ").append(kNames[i]).append(" ").append(kTypes[i]);
        command(columns + ")");
        for (size_t id = 0; id < rows.size(); ++id) {
            std::string insert = "INSERT INTO r VALUES (" + std::to_string(id);
            for (size_t i = 0; i < kNames.size(); ++i)
                insert.append(", ").append(quoted(rows[id][i])).append("::").append(kTypes[i]);
            command(insert + ")");
        }
        command(
            "CREATE FUNCTION pg_temp.each_row(expression text) RETURNS TABLE (value text, failed boolean, "
            "code text) AS $$ "
            "DECLARE k int; BEGIN FOR k IN SELECT id FROM r ORDER BY id LOOP BEGIN "
            "EXECUTE 'SELECT (' || expression || ')::text FROM r WHERE id = $1' INTO value USING k; "
            "failed := false; code := ''; "
            "EXCEPTION WHEN OTHERS THEN value := SQLERRM; failed := true; code := SQLSTATE; END; "
            "RETURN NEXT; END LOOP; END $$ LANGUAGE plpgsql");
    }

    std::vector<Outcome> evaluate(const std::string& expression) {
        const std::string all = "SELECT (" + expression + ")::text FROM r ORDER BY id";
        const Answer answer(PQexec(connection_, all.c_str()), PQclear);
        if (PQresultStatus(answer.get()) == PGRES_TUPLES_OK) return outcomes(answer.get(), false);
        const char* const call = "SELECT * FROM pg_temp.each_row($1)";
        const char* const parameter = expression.c_str();
        const Answer rows(PQexecParams(connection_, call, 1, nullptr, &parameter, nullptr, nullptr, 0),
                          PQclear);
        REQUIRE_MESSAGE(PQresultStatus(rows.get()) == PGRES_TUPLES_OK, message());
        return outcomes(rows.get(), true);
    }

    // Whether the expression fails before any row is read.
    bool fails_at_planning(const std::string& expression) {
        const Answer answer(PQexec(connection_, ("EXPLAIN SELECT (" + expression + ")::text FROM r").c_str()),
                            PQclear);
        return PQresultStatus(answer.get()) != PGRES_TUPLES_OK;
    }

private:
    using Answer = std::unique_ptr<PGresult, void (*)(PGresult*)>;

    static std::string quoted(const std::string& value) {
        if (value.empty()) return "NULL";
        if (value[0] == '\0') return "''";
        std::string out = "'";
        for (const char c : value) out.append(c == '\'' ? "''" : std::string(1, c));
        return out + "'";
    }
    static std::vector<Outcome> outcomes(const PGresult* result, bool with_errors) {
        std::vector<Outcome> out;
        for (int row = 0; row < PQntuples(result); ++row) {
            Outcome outcome;
            outcome.null = PQgetisnull(result, row, 0) != 0;
            outcome.text = PQgetvalue(result, row, 0);
            if (with_errors) {
                outcome.error = *PQgetvalue(result, row, 1) == 't';
                outcome.code = PQgetvalue(result, row, 2);
            }
            out.push_back(outcome);
        }
        return out;
    }
    void command(const std::string& sql) {
        const Answer answer(PQexec(connection_, sql.c_str()), PQclear);
        REQUIRE_MESSAGE(PQresultStatus(answer.get()) == PGRES_COMMAND_OK, sql, ": ", message());
    }

    PGconn* connection_;
};

Type column_type(size_t column) {
    const std::string_view name = kTypes[column];
    return name == "numeric"   ? Type::kNumeric
           : name == "text"    ? Type::kText
           : name == "boolean" ? Type::kBool
                               : Type::kJsonb;
}

class Weir {
public:
    explicit Weir(const std::vector<std::vector<std::string>>& rows) {
        for (size_t i = 0; i < kNames.size(); ++i) {
            columns_.emplace_back();
            for (const auto& row : rows) {
                const std::string_view text = row[i];
                if (text.empty()) {
                    columns_.back().push_back(Value::null());
                } else {
                    columns_.back().push_back(
                        column_type(i) == Type::kJsonb
                            ? Value::of_bytes(Type::kJsonb, data_.copy(text))
                            : parse_text_as(column_type(i), data_.copy(text[0] == '\0' ? "" : text), data_));
                }
            }
        }
        for (uint32_t i = 0; i < rows.size(); ++i) selected_.push_back(i);
    }

    // `typed`: the columns' types are known when compiling, else per row only.
    std::vector<Outcome> evaluate(const std::string& expression, bool typed) {
        NamedScope scope;
        for (size_t i = 0; i < kNames.size(); ++i) {
            scope.add(kNames[i]);
            if (typed) scope.set_type(static_cast<Slot>(i), column_type(i));
        }
        auto compiled = Expression::compile(expression, scope);
        if (const auto* const error = std::get_if<CompileError>(&compiled))
            return std::vector<Outcome>(selected_.size(), Outcome{true, false, error->message, "compile"});
        Arena arena;
        EvalContext context{arena, 0, columns_};
        Column values;
        std::get<Expression>(compiled).evaluate(context, selected_, selected_.size(), values);
        std::vector<Outcome> out;
        for (const Value& value : values)
            out.push_back({value.is_error(), value.is_null(), to_text(value), ""});
        return out;
    }

private:
    Arena data_;
    std::vector<Column> columns_;
    std::vector<uint32_t> selected_;
};

// Timestamp text with a year that has more than four digits, or before Christ.
bool is_far_timestamp(const std::string& message) {
    const std::string_view prefix = "invalid input syntax for type timestamp with time zone: \"";
    if (!message.starts_with(prefix)) return false;
    const size_t digits = message.find_first_not_of("0123456789", prefix.size()) - prefix.size();
    return digits > 4 || message.ends_with(" BC\"");
}

// Results of roots, logarithms and powers that agree in the 33 digits that are computed.
bool agrees_in_computed_digits(const std::string& expression, const std::string& ours,
                               const std::string& theirs) {
    const bool computed =
        expression.find("log(") != std::string::npos || expression.find("ln(") != std::string::npos ||
        expression.find("power(") != std::string::npos || expression.find(" ^ ") != std::string::npos ||
        expression.find("sqrt(") != std::string::npos;
    return computed && ours.size() == theirs.size() && ours.size() > 33 &&
           ours.compare(0, 33, theirs, 0, 33) == 0;
}

// Why this difference is intended, or nothing.
const char* intended(const std::string& expression, const Outcome& ours, const Outcome& theirs,
                     bool theirs_at_planning) {
    if (!ours.error && !theirs.error && agrees_in_computed_digits(expression, ours.text, theirs.text))
        return "roots, logarithms and powers are computed with 33 digits";
    if (ours.error && is_far_timestamp(ours.text)) return "timestamps are read from year 1 to 9999";
    for (const Difference& difference : kDifferences) {
        if (*difference.ours != '\0' && ours.error && ours.text.find(difference.ours) != std::string::npos)
            return difference.reason;
        if (*difference.ours == '\0' && theirs.error && theirs_at_planning && theirs.code.starts_with("22"))
            return difference.reason;
    }
    return nullptr;
}

TEST_CASE("generated expressions mean what PostgreSQL makes of them") {
    const char* const connection = std::getenv("WEIR_TEST_POSTGRES");
    REQUIRE_MESSAGE(connection != nullptr,
                    "set WEIR_TEST_POSTGRES, e.g. to what `tests/postgres/server start DIR` prints");
    const char* const seed_text = std::getenv("WEIR_TEST_SEED");
    const char* const count_text = std::getenv("WEIR_TEST_EXPRESSIONS");
    const uint64_t seed = seed_text != nullptr ? std::strtoull(seed_text, nullptr, 10) : 1;
    const size_t count = count_text != nullptr ? std::strtoull(count_text, nullptr, 10) : 4'000;
    std::cout << "replay: WEIR_TEST_SEED=" << seed << " WEIR_TEST_EXPRESSIONS=" << count << " expr_pg_test\n";

    std::mt19937_64 random(seed);
    const auto rows = make_rows(random);
    Postgres postgres(connection);
    REQUIRE_MESSAGE(postgres.connected(), postgres.message());
    postgres.load(rows);
    Weir weir(rows);
    ExpressionGenerator generator(seed);

    size_t compared = 0;
    size_t errors = 0;
    size_t nulls = 0;
    size_t mismatches = 0;
    std::map<std::string, size_t> differences;
    for (size_t i = 0; i < count; ++i) {
        const std::string expression = generator.next();
        const std::vector<Outcome> expected = postgres.evaluate(expression);
        for (const bool typed : {true, false}) {
            const std::vector<Outcome> actual = weir.evaluate(expression, typed);
            std::optional<bool> at_planning;
            for (size_t row = 0; row < expected.size(); ++row) {
                const Outcome& theirs = expected[row];
                const Outcome& ours = actual[row];
                ++compared;
                errors += theirs.error;
                nulls += theirs.null;
                if (theirs.error && ours.error) continue;
                if (theirs.error == ours.error && theirs.null == ours.null && theirs.text == ours.text)
                    continue;
                if (!at_planning) at_planning = theirs.error && postgres.fails_at_planning(expression);
                if (const char* const reason = intended(expression, ours, theirs, *at_planning)) {
                    ++differences[reason];
                    continue;
                }
                if (++mismatches <= 40)
                    std::cout << expression << "\n  row " << row << (typed ? ", typed" : ", untyped")
                              << "\n  PostgreSQL " << theirs.shown() << "\n  weir       " << ours.shown()
                              << "\n";
                break;
            }
        }
    }
    std::cout << count << " expressions, " << compared << " values compared, of them " << errors
              << " errors and " << nulls << " NULLs in PostgreSQL; intended differences:";
    for (const auto& [reason, number] : differences) std::cout << "\n  " << number << "  " << reason;
    std::cout << "\n";
    CHECK(mismatches == 0);
}

}  // namespace
}  // namespace weir::processor::expr::test
