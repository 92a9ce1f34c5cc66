// Differential test: joins of every kind, within, in hopping windows and in sessions, give what a real
// PostgreSQL gives for the same rows in two tables, with duplicates, NULL keys, numbers that are equal with
// other digits, and values of every type. Method: random records through a whole pipeline, out of order but
// in time, with commits and crashes on the way.
//
//   WEIR_TEST_POSTGRES   connection string, e.g. from `tests/postgres/server start DIR`; required
//   WEIR_TEST_SEED       another set of records; 1 by default, so that a run repeats itself
#include <libpq-fe.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <random>
#include <set>

#include "fixture.h"
#include "processor/expr/jsonb.h"

namespace weir::processor {
namespace {

struct Row {
    int64_t time = 0;
    std::string n;  // A number, or empty for NULL.
    std::string s;  // A text, or empty for NULL.
    std::string b;
    std::string j;
};

std::vector<Row> make_rows(std::mt19937_64& random, size_t count) {
    const auto draw = [&](int64_t low, int64_t high) {
        return std::uniform_int_distribution<int64_t>(low, high)(random);
    };
    const std::vector<std::string> numbers{
        "", "1", "1.0", "1.00", "2", "-3", "0", "-0.50", "12345678901234567890.5"};
    const std::vector<std::string> texts{"", "a", "b", "it is", "\xC3\xA4\xC3\xB6"};
    const std::vector<std::string> documents{"", R"({"a":1})", R"([1,2,"x"])", R"({"a":{"b":[]}})"};
    std::vector<Row> rows;
    for (size_t i = 0; i < count; ++i) {
        const auto pick = [&](const std::vector<std::string>& list) {
            return list[static_cast<size_t>(draw(0, static_cast<int64_t>(list.size()) - 1))];
        };
        rows.push_back({10'000 + static_cast<int64_t>(i) * 50 + draw(-3000, 3000), pick(numbers), pick(texts),
                        draw(0, 2) == 0   ? ""
                        : draw(0, 1) == 0 ? "true"
                                          : "false",
                        pick(documents)});
    }
    return rows;
}

std::string json_of(const Row& row, size_t id) {
    const auto text = [](const std::string& value, bool quoted) {
        return value.empty() ? "null" : quoted ? "\"" + value + "\"" : value;
    };
    return "{\"id\":" + std::to_string(id) + ",\"t\":" + std::to_string(row.time) +
           ",\"n\":" + text(row.n, false) + ",\"s\":" + text(row.s, true) + ",\"b\":" + text(row.b, false) +
           ",\"j\":" + text(row.j, false) + "}";
}

std::string sql_of(const Row& row, size_t id) {
    const auto literal = [](const std::string& text) { return text.empty() ? "NULL" : "'" + text + "'"; };
    return "(" + std::to_string(id) + "," + std::to_string(row.time) + "," + literal(row.n) + "," +
           literal(row.s) + "," + literal(row.b) + "," + literal(row.j) + ")";
}

// What is compared of a pair: a text, the same in both languages.
constexpr const char* kLine =
    "concat(coalesce(l.id::text, '-'), '|', coalesce(r.id::text, '-'), '|', l.n::text, '|', r.n::text, '|', "
    "l.s, '|', r.s, '|', (l.b AND r.b)::text, '|', l.j::text, '|', r.j->>'a', '|', (l.n + r.n)::text)";

struct Match {
    std::string keyed_by;
    std::string keys;  // The columns that equalities compare, as a list.
    std::string condition;
};

// How the times of a pair go together, in both languages.
struct Times {
    std::string yaml;
    bool windows = false;
    // With `windows` columns window_start, window_end and win, its name; KEYS stands for the join key.
    std::string left_sql = "l";
    std::string right_sql = "r";
    std::string on_sql;
};

Times within() {
    return {"within: {before: 700ms, after: 2500ms}", false, "l", "r",
            "r.t BETWEEN l.t - 700 AND l.t + 2500"};
}

// A row once for each window that it is in.
Times hopping() {
    const auto side = [](const std::string& name) {
        return "(SELECT " + name +
               ".*, w AS win, w AS window_start, w + 1700 AS window_end FROM " + name +
               ", generate_series(t / 500 * 500 - 1500, t, 500) AS w WHERE w + 1700 > t) AS " + name;
    };
    return {"window: {hopping: {size: 1700ms, step: 500ms}}", true, side("l"), side("r"),
            "l.win = r.win"};
}

// The rows of both tables by key and time: one that is 150 ms or more after the one before it begins a
// session; one without a key is a partition, so a session, of its own.
Times sessions() {
    const auto side = [](const std::string& name) {
        const std::string columns = ", *, CASE WHEN (KEYS) IS NOT NULL THEN '' ELSE ";
        const std::string both = "(SELECT 'l' AS side" + columns + "'l' || id END AS alone FROM l UNION ALL "
                                 "SELECT 'r'" + columns + "'r' || id END FROM r) AS e";
        const std::string begins =
            "(SELECT *, CASE WHEN t - lag(t) OVER by_time < 150 THEN 0 ELSE 1 END AS begins FROM " + both +
            " WINDOW by_time AS (PARTITION BY alone, KEYS ORDER BY t, side, id)) AS b";
        const std::string numbered =
            "(SELECT *, sum(begins) OVER (PARTITION BY alone, KEYS ORDER BY t, side, id) AS win FROM " +
            begins + ") AS n";
        return "(SELECT * FROM (SELECT *, min(t) OVER session AS window_start, max(t) OVER session + 150 AS "
               "window_end FROM " + numbered + " WINDOW session AS (PARTITION BY alone, KEYS, win)) AS s "
               "WHERE side = '" + name + "') AS " + name;
    };
    return {"window: {session: 150ms}", true, side("l"), side("r"), "l.win = r.win"};
}

std::string with_keys(std::string sql, const std::string& keys) {
    for (size_t at = sql.find("KEYS"); at != std::string::npos; at = sql.find("KEYS", at + keys.size()))
        sql.replace(at, 4, keys);
    return sql;
}

std::multiset<std::string> of_postgres(const std::array<std::vector<Row>, 2>& rows, const std::string& kind,
                                       const Match& match, const Times& times) {
    const char* const address = std::getenv("WEIR_TEST_POSTGRES");
    REQUIRE_MESSAGE(address != nullptr, "WEIR_TEST_POSTGRES is not set");
    const std::unique_ptr<PGconn, void (*)(PGconn*)> connection(PQconnectdb(address), PQfinish);
    const auto query = [&](const std::string& text) {
        std::unique_ptr<PGresult, void (*)(PGresult*)> result(PQexec(connection.get(), text.c_str()),
                                                              PQclear);
        const auto status = PQresultStatus(result.get());
        REQUIRE_MESSAGE((status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK),
                        PQerrorMessage(connection.get()) << text.substr(0, 2000));
        return result;
    };
    for (size_t side = 0; side < 2; ++side) {
        const std::string name = side == 0 ? "l" : "r";
        query("CREATE TEMP TABLE " + name + " (id numeric, t bigint, n numeric, s text, b boolean, j jsonb)");
        std::string insert = "INSERT INTO " + name + " VALUES ";
        for (size_t i = 0; i < rows[side].size(); ++i)
            insert += (i > 0 ? "," : "") + sql_of(rows[side][i], i);
        query(insert);
    }
    std::string line = kLine;
    if (times.windows)
        line = "concat(" + line + ", '|', coalesce(l.window_start, r.window_start), '|', "
               "coalesce(l.window_end, r.window_end))";
    const auto result = query("SELECT " + line + " FROM " + with_keys(times.left_sql, match.keys) + " " +
                              kind + " JOIN " + with_keys(times.right_sql, match.keys) + " ON " +
                              times.on_sql + " AND " + match.condition);
    std::multiset<std::string> lines;
    for (int row = 0; row < PQntuples(result.get()); ++row) lines.insert(PQgetvalue(result.get(), row, 0));
    return lines;
}

std::multiset<std::string> of_weir(const std::array<std::vector<Row>, 2>& rows, const std::string& kind,
                                   const Match& match, const Times& times) {
    const auto source = [&](const std::string& name) {
        return "  " + name + ": {topic: " + name + ", keyed_by: " + match.keyed_by +
               ", timestamp: t, watermark: 7s}\n";
    };
    std::string line = kLine;
    if (times.windows) line = "concat(" + line + ", '|', window_start, '|', window_end)";
    World world("name: p\nkafka: {bootstrap.servers: \"b:9092\"}\nsources:\n" + source("l") + source("r") +
                "streams:\n  j:\n    join: {left: l, right: r, kind: " + kind + ", " + times.yaml +
                ", match: \"" + match.condition + "\"}\n    steps:\n      - map:\n          line: \"" + line +
                "\"\n    to: out\n");
    std::array<size_t, 2> next{};
    std::mt19937 random(static_cast<unsigned>(rows[0].size()));
    const auto draw = [&](int high) { return std::uniform_int_distribution<int>(0, high)(random); };
    while (next[0] < rows[0].size() || next[1] < rows[1].size()) {
        // Neither side is far ahead of the other, or its records would be late.
        const size_t side = next[0] * rows[1].size() <= next[1] * rows[0].size() ? 0 : 1;
        std::vector<Record> run;
        for (int i = draw(20); i >= 0 && next[side] < rows[side].size(); --i, ++next[side])
            run.push_back({"k", json_of(rows[side][next[side]], next[side]), 0, {}});
        if (!run.empty()) REQUIRE(world.in(side == 0 ? "l" : "r", std::move(run)).ok());
        if (draw(7) == 0) world.epoch();
        if (draw(11) == 0) world.crash();
    }
    REQUIRE(world.shard->advance_watermark(kEndOfTime, 0, world.sink).ok());
    CHECK(world.imbalance() == "");
    CHECK(world.counters.streams[0].late == 0);
    Arena arena;
    std::multiset<std::string> lines;
    for (const Output& output : world.sink.outputs) {
        const auto text = expr::json_member(output.value, "line");
        REQUIRE(text.has_value());
        lines.emplace(expr::json_to_value(*text, arena).bytes());
    }
    return lines;
}

TEST_CASE("joins are PostgreSQL's") {
    const char* const given = std::getenv("WEIR_TEST_SEED");
    const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : 1;
    MESSAGE("replay: WEIR_TEST_SEED=" << seed << " aggregate_pg_test -tc='joins are PostgreSQL*'");
    std::mt19937_64 random(seed);
    const std::vector<Match> matches{{"n", "n", "l.n = r.n"},
                                     {"s", "s", "l.s = r.s AND l.n >= r.n"},
                                     {"s", "n, s", "r.n = l.n AND l.s = r.s AND (l.b OR r.b)"},
                                     {"j", "j", "l.j = r.j AND l.s || 'x' <> r.s"}};
    for (const Times& times : {within(), hopping(), sessions()}) {
        size_t compared = 0;
        for (const Match& match : matches) {
            for (const char* const kind : {"inner", "left", "right", "full"}) {
                CAPTURE(times.yaml);
                CAPTURE(match.condition);
                CAPTURE(kind);
                const std::array<std::vector<Row>, 2> rows = {make_rows(random, 300), make_rows(random, 400)};
                const auto theirs = of_postgres(rows, kind, match, times);
                const auto ours = of_weir(rows, kind, match, times);
                compared += theirs.size();
                std::vector<std::string> different;
                std::set_symmetric_difference(ours.begin(), ours.end(), theirs.begin(), theirs.end(),
                                              std::back_inserter(different));
                CAPTURE((different.empty() ? std::string() : different.front()));
                CHECK(different.empty());
            }
        }
        CHECK(compared > 5'000);
        MESSAGE(compared << " rows compared: " << times.yaml);
    }
}

}  // namespace
}  // namespace weir::processor
