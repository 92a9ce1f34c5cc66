// Differential test: lookups give what PostgreSQL's left join on the latest version of a row gives, or on the
// version that held at the record's time. Method:
// random changes of a table with deletions, NULL and missing keys and fields; the same records as two tables,
// joined laterally.
//
//   WEIR_TEST_POSTGRES   connection string, e.g. from `tests/postgres/server start DIR`; required
//   WEIR_TEST_SEED       another set of records; 1 by default, so that a run repeats itself
#include <libpq-fe.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <random>

#include "fixture.h"

namespace weir::processor {
namespace {

constexpr const char* kPipeline = R"yaml(
name: p
kafka: {bootstrap.servers: b}
sources:
  reads: {topic: reads}
tables:
  latest: {topic: latest}
  everywhere: {topic: everywhere, global: true}
  versions: {topic: versions, history: 1s}
streams:
  found:
    from: reads
    steps:
      - lookup: {table: latest, by: _key}
      - lookup: {table: everywhere, by: [other, t % 3], as: e}
      - lookup: {table: versions, by: _key, as_of: event_time, as: v}
      - map:
          line: >-
            concat(id, '|', latest.n, '|', latest.s || '!', '|', latest.n * 2, '|', e.n + id,
                   '|', v.n, '|', v.s)
    to: found
)yaml";

class Postgres {
public:
    Postgres() {
        const char* const address = std::getenv("WEIR_TEST_POSTGRES");
        REQUIRE_MESSAGE(address != nullptr, "WEIR_TEST_POSTGRES is not set");
        connection_.reset(PQconnectdb(address));
        REQUIRE_MESSAGE(PQstatus(connection_.get()) == CONNECTION_OK, PQerrorMessage(connection_.get()));
    }
    std::vector<std::string> query(const std::string& text) {
        const std::unique_ptr<PGresult, void (*)(PGresult*)> result(PQexec(connection_.get(), text.c_str()),
                                                                    PQclear);
        const auto status = PQresultStatus(result.get());
        REQUIRE_MESSAGE((status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK),
                        PQerrorMessage(connection_.get()) << text.substr(0, 2000));
        std::vector<std::string> lines;
        for (int row = 0; row < PQntuples(result.get()); ++row)
            lines.emplace_back(PQgetvalue(result.get(), row, 0));
        return lines;
    }

private:
    std::unique_ptr<PGconn, void (*)(PGconn*)> connection_{nullptr, PQfinish};
};

struct Change {
    std::string table;
    std::string key;
    int64_t t = 0;
    bool deleted = false;
    std::string n;  // SQL and JSON literal, or "null".
    std::string s;  // Without quotes, or "null".
};

TEST_CASE("lookups are PostgreSQL's left joins") {
    const char* const given = std::getenv("WEIR_TEST_SEED");
    const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : 1;
    MESSAGE("replay: WEIR_TEST_SEED=" << seed << " lookup_pg_test");
    std::mt19937_64 random(seed);
    const auto below = [&](int64_t n) { return static_cast<int64_t>(random() % static_cast<uint64_t>(n)); };

    World world(kPipeline);
    std::string changes;
    std::string reads;
    for (int64_t seq = 0; seq < 6'000; ++seq) {
        const int64_t t = 100'000 + seq * 10 - below(500);
        if (below(2) == 0) {
            Change change;
            constexpr const char* kTables[] = {"latest", "everywhere", "versions"};
            change.table = kTables[below(3)];
            change.key = std::to_string(below(8));
            if (change.table == "everywhere")
                change.key = "[" + change.key + "," + std::to_string(below(3)) + "]";
            change.t = t;
            change.deleted = below(8) == 0;
            change.n =
                below(9) == 0 ? "null" : std::to_string(below(1000)) + "." + std::to_string(below(100));
            change.s = below(9) == 0 ? "null" : std::string(static_cast<size_t>(below(60)), 'x') + "é";
            Record record{change.key, std::nullopt, change.t, {}};
            const bool text = change.s != "null";
            if (!change.deleted)
                record.value = "{\"t\":" + std::to_string(change.t) + ",\"n\":" + change.n +
                               ",\"s\":" + (text ? "\"" + change.s + "\"" : "null") + "}";
            REQUIRE(world.in(change.table, {record}).ok());
            changes += (changes.empty() ? "(" : ",(") + std::to_string(seq) + ",'" + change.table + "','" +
                       change.key + "'," + std::to_string(change.t) +
                       (change.deleted ? ",true," : ",false,") + change.n + "::numeric," +
                       (text ? "'" + change.s + "'" : "null") + ")";
        } else {
            std::optional<std::string> key;
            if (below(20) > 0) key = std::to_string(below(10));
            const std::string other = below(20) == 0 ? "null" : std::to_string(below(9));
            REQUIRE(world
                        .in("reads", {Record{key, "{\"id\":" + std::to_string(seq) + ",\"t\":" +
                                                      std::to_string(t) + ",\"other\":" + other + "}",
                                             t, {}}})
                        .ok());
            reads += (reads.empty() ? "(" : ",(") + std::to_string(seq) + "," +
                     (key ? "'" + *key + "'" : "null") + "," + std::to_string(t) + "," + other + "::numeric)";
        }
        if (below(100) == 0) world.epoch();
    }

    Postgres postgres;
    postgres.query(
        "CREATE TEMP TABLE c (seq bigint, tab text, k text, t bigint, gone boolean, n numeric, s text)");
    postgres.query("CREATE TEMP TABLE r (id bigint, k text, t bigint, other numeric)");
    postgres.query("INSERT INTO c VALUES " + changes);
    postgres.query("INSERT INTO r VALUES " + reads);
    const auto expected = postgres.query(R"(
SELECT concat(r.id, '|', l.n, '|', l.s || '!', '|', l.n * 2, '|', e.n + r.id, '|', v.n, '|', v.s)
FROM r
LEFT JOIN LATERAL (SELECT * FROM c WHERE tab = 'latest' AND c.k = r.k AND c.seq < r.id
                   ORDER BY seq DESC LIMIT 1) l ON NOT l.gone
LEFT JOIN LATERAL (SELECT * FROM c WHERE tab = 'everywhere'
                   AND c.k = '[' || r.other || ',' || r.t % 3 || ']' AND c.seq < r.id
                   ORDER BY seq DESC LIMIT 1) e ON NOT e.gone
LEFT JOIN LATERAL (SELECT * FROM c WHERE tab = 'versions' AND c.k = r.k AND c.seq < r.id AND c.t <= r.t
                   ORDER BY t DESC, seq DESC LIMIT 1) v ON NOT v.gone
ORDER BY r.id)");
    std::vector<std::pair<int64_t, std::string>> ours;
    for (const Output& output : world.sink.outputs) {
        const std::string line = output.value.substr(9, output.value.size() - 11);  // {"line":"…"}
        ours.emplace_back(std::stoll(line), line);
    }
    std::sort(ours.begin(), ours.end());
    REQUIRE(ours.size() == expected.size());
    size_t with_rows = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
        REQUIRE(ours[i].second == expected[i]);
        if (expected[i].find("||") == std::string::npos) ++with_rows;  // In both tables.
    }
    CHECK(with_rows > 100);
    MESSAGE(expected.size() << " records compared");
}

// The content of a join's compacted topic is PostgreSQL's join of the tables' content.
TEST_CASE("joined tables are PostgreSQL's joins") {
    const char* const given = std::getenv("WEIR_TEST_SEED");
    const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : 1;
    MESSAGE("replay: WEIR_TEST_SEED=" << seed << " lookup_pg_test");
    std::mt19937_64 random(seed);
    const auto below = [&](int64_t n) { return static_cast<int64_t>(random() % static_cast<uint64_t>(n)); };
    constexpr const char* kKinds[] = {"inner", "left", "right", "full"};
    std::string yaml =
        "name: p\nkafka: {bootstrap.servers: b}\ntables:\n  l: {topic: l}\n  r: {topic: r}\nstreams:\n";
    for (const std::string kind : kKinds)
        yaml += "  " + kind + ":\n    join_tables: {left: l, right: r, kind: " + kind +
                "}\n    steps:\n"
                "      - map: {line: \"concat(_key, '|', l.n, '|', r.n * 2, '|', l.n + r.n)\"}\n" +
                "      - filter: line NOT LIKE '%7%'\n    to: " + kind + "\n";
    World world(yaml);
    std::map<std::string, std::map<std::string, std::string>> content;  // By table: key, number.
    for (int change = 0; change < 4'000; ++change) {
        const std::string table = below(2) == 0 ? "l" : "r";
        const std::string key = std::to_string(below(200));
        if (below(3) == 0) {
            content[table].erase(key);
            REQUIRE(world.in(table, {Record{key, std::nullopt, 0, {}}}).ok());
            continue;
        }
        std::string n = std::to_string(below(1000)) + "." + std::to_string(below(9));
        if (below(9) == 0) n = "null";
        content[table][key] = n;
        REQUIRE(world.in(table, {Record{key, "{\"n\":" + n + "}", 0, {}}}).ok());
    }
    Postgres postgres;
    const auto values = [&](const std::string& table) {
        std::string out;
        for (const auto& [key, n] : content[table])
            out += (out.empty() ? "('" : ",('") + key + "'," + n + "::numeric)";
        return table + " AS (SELECT * FROM (VALUES " + out + ") AS v(key, n))";
    };
    for (const std::string kind : kKinds) {
        CAPTURE(kind);
        std::map<std::string, std::string> compacted;
        for (const Output& output : world.sink.outputs) {
            if (output.topic != kind) continue;
            if (output.value == "<null>")
                compacted.erase(output.key);
            else
                compacted[output.key] = output.value;
        }
        std::vector<std::string> lines;
        for (const auto& [key, line] : compacted) lines.push_back(line);
        std::sort(lines.begin(), lines.end());
        const auto expected = postgres.query(
            "WITH " + values("l") + ", " + values("r") +
            ", joined AS (SELECT concat(key, '|', l.n, '|', r.n * 2, '|', l.n + r.n) AS line FROM l " + kind +
            " JOIN r USING (key)) SELECT concat('{\"line\":\"', line, '\"}') AS row FROM joined "
            "WHERE line NOT LIKE '%7%' ORDER BY 1");
        CHECK(expected.size() > 20);
        CHECK(lines == expected);
    }
}

}  // namespace
}  // namespace weir::processor
