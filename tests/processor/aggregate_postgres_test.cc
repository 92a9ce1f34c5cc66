// Differential test: exact aggregate functions give, window by window and group by group, what a real
// PostgreSQL gives for the same rows. Method: random records through a whole pipeline with tumbling windows;
// the same records as a table, grouped by key and window.
//
//   WEIR_TEST_POSTGRES   connection string, e.g. from `tests/postgres/server start DIR`; required
//   WEIR_TEST_SEED       another set of records; 1 by default, so that a run repeats itself
#include <libpq-fe.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "fixture.h"
#include "processor/expr/jsonb.h"

namespace weir::processor {
namespace {

struct Call {
    std::string ours;
    std::string postgres;  // Empty: the same text.
};

// The columns: t bigint, seq, k, n numeric, w numeric with many digits, i whole, s text, b boolean, j jsonb,
// v interval as text. `m` is ours for what PostgreSQL has no word for.
const std::vector<Call> kCalls = {
    {"count(*)", ""},
    {"count(n)", ""},
    {"count(DISTINCT n)", ""},
    {"count(DISTINCT s) FILTER (WHERE b)", ""},
    {"sum(n)", ""},
    {"sum(i::int)", ""},
    {"sum(i::bigint)", ""},
    {"sum(w)", ""},
    {"sum(DISTINCT i)", ""},
    {"sum(DISTINCT i::int)", ""},
    {"avg(n)", ""},
    {"avg(i::int)", ""},
    {"avg(DISTINCT i)", ""},
    {"avg(n::float8) FILTER (WHERE n = 0)", ""},
    {"min(n)", ""},
    {"max(w)", ""},
    {"min(s)", ""},
    {"max(s)", ""},
    {"max(v::interval)", ""},
    {"stddev(n)", ""},
    {"stddev_samp(w)", ""},
    {"stddev_pop(n)", ""},
    {"stddev(i::int)", ""},
    {"stddev_pop(i::bigint)", ""},
    {"variance(n)", ""},
    {"var_samp(w)", ""},
    {"var_pop(n)", ""},
    {"var_pop(w)", ""},
    {"var_samp(i::int)", ""},
    {"variance(n) FILTER (WHERE b)", ""},
    {"var_pop(n::float8)", ""},
    {"stddev(w::float8)", ""},
    {"stddev_pop(i::float8)", ""},
    {"bool_and(b)", ""},
    {"bool_or(b)", ""},
    {"every(i > 0)", ""},
    {"bool_or(n > 900) FILTER (WHERE s IS NOT NULL)", ""},
    {"percentile_cont(0.5) WITHIN GROUP (ORDER BY n)", ""},
    {"percentile_cont(0.95) WITHIN GROUP (ORDER BY w DESC)", ""},
    {"percentile_cont(0.1) WITHIN GROUP (ORDER BY i::int)", ""},
    {"percentile_cont(0.75) WITHIN GROUP (ORDER BY v::interval)", ""},
    {"percentile_cont(1) WITHIN GROUP (ORDER BY n)", ""},
    {"percentile_disc(0.5) WITHIN GROUP (ORDER BY i)", ""},
    {"percentile_disc(0) WITHIN GROUP (ORDER BY s)", ""},
    {"percentile_disc(0.9) WITHIN GROUP (ORDER BY s DESC) FILTER (WHERE b)", ""},
    {"percentile_disc(0.3) WITHIN GROUP (ORDER BY v::interval)", ""},
    {"percentile_disc(0.6) WITHIN GROUP (ORDER BY b)", ""},
    {"jsonb_agg(j ORDER BY t)", "jsonb_agg(j ORDER BY t, seq)"},
    {"jsonb_agg(n)", "jsonb_agg(n ORDER BY seq)"},
    {"array_agg(s ORDER BY seq DESC)", "jsonb_agg(s ORDER BY seq DESC)"},
    {"array_agg(DISTINCT s)", "jsonb_agg(DISTINCT s)"},
    {"array_agg(seq ORDER BY s)", "jsonb_agg(seq ORDER BY s, seq)"},
    {"array_agg(seq ORDER BY n DESC)", "jsonb_agg(seq ORDER BY n DESC, seq)"},
    {"string_agg(s, '; ')", "string_agg(s, '; ' ORDER BY seq)"},
    {"string_agg(DISTINCT s, '')", ""},
    {"string_agg(s, ',' ORDER BY seq DESC)", ""},
    {"jsonb_object_agg(coalesce(s, 'none'), n)", "jsonb_object_agg(coalesce(s, 'none'), n ORDER BY seq)"},
    {"jsonb_object_agg(i, j) FILTER (WHERE i <> 3)",
     "jsonb_object_agg(i, j ORDER BY seq) FILTER (WHERE i <> 3)"},
    {"first(n)", "(array_agg(n ORDER BY t, seq) FILTER (WHERE n IS NOT NULL))[1]"},
    {"last(s)", "(array_agg(s ORDER BY t DESC, seq DESC) FILTER (WHERE s IS NOT NULL))[1]"},
    {"arg_min(s, n)",
     "(array_agg(s ORDER BY n, t, seq) FILTER (WHERE n IS NOT NULL AND s IS NOT NULL))[1]"},
    {"arg_max(n, i)",
     "(array_agg(n ORDER BY i DESC, t, seq) FILTER (WHERE n IS NOT NULL AND i IS NOT NULL))[1]"},
    {"arg_max(seq, s) FILTER (WHERE b)",
     "(array_agg(seq ORDER BY s DESC, t, seq) FILTER (WHERE b AND s IS NOT NULL))[1]"},
    {"sum(n) / nullif(count(n), 0) + max(i)", ""},
    {"round(stddev(n), 3)", ""},
};

struct TestRecord {
    int64_t time;
    std::string key;
    std::string n, w, i, s, b, j, v;  // JSON, or SQL's literal once quoted; empty: NULL.
};

class Records {
public:
    explicit Records(uint64_t seed) : random_(seed) {}

    std::vector<TestRecord> make(size_t count) {
        std::vector<TestRecord> records;
        static const std::vector<std::string> kNumbers = {"0",     "1",   "-1",     "2.5",   "2.50", "1000",
                                                          "99.99", "7.0", "-12.75", "0.001", "3"};
        static const std::vector<std::string> kWords = {"a", "b", "B", "abc", "x y", "zz", ""};
        static const std::vector<std::string> kJson = {R"({"a": 1})", "[1, 2]", "\"q\"", "7", "true", "1.50"};
        static const std::vector<std::string> kSpans = {"1 day",   "2 days", "25:00:00", "-1 mons",
                                                        "1 mon",   "0",      "00:00:01.5", "3 days 04:05:06",
                                                        "-2 days", "1 year"};
        for (size_t at = 0; at < count; ++at) {
            TestRecord record;
            record.time = static_cast<int64_t>(draw(60'000));
            record.key = std::string(1, static_cast<char>('a' + draw(6)));
            // Key f has one value only, key e hardly any.
            const bool rare = record.key == "e" && draw(8) > 0;
            const bool constant = record.key == "f";
            const auto maybe = [&](std::string value) {
                return rare || draw(9) == 0 ? std::string() : value;
            };
            record.n = maybe(constant ? "2.50" : draw(2) == 0 ? pick(kNumbers) : number(4, 2));
            record.w = maybe(constant ? "7" : number(1 + draw(8), draw(5)));
            record.i = maybe(std::to_string(static_cast<int>(draw(40)) - 10));
            record.s = maybe(pick(kWords));
            if (rare || draw(9) == 0) record.s = "\x01";  // NULL; the empty text is a text.
            record.b = maybe(draw(3) > 0 ? "true" : "false");
            record.j = maybe(pick(kJson));
            record.v = maybe(pick(kSpans));
            records.push_back(std::move(record));
        }
        return records;
    }

private:
    uint64_t draw(uint64_t below) { return random_() % below; }
    std::string pick(const std::vector<std::string>& choices) { return choices[draw(choices.size())]; }
    std::string number(uint64_t digits, uint64_t scale) {
        std::string text = draw(3) == 0 ? "-" : "";
        text += std::to_string(1 + draw(9));
        for (uint64_t i = 1; i < digits; ++i) text += std::to_string(draw(10));
        if (scale > 0) text += ".";
        for (uint64_t i = 0; i < scale; ++i) text += std::to_string(draw(10));
        return text;
    }

    std::mt19937_64 random_;
};

std::string or_null(const std::string& text, bool quoted) {
    if (text.empty()) return "null";
    return quoted ? "\"" + text + "\"" : text;
}

std::string json_of(const TestRecord& record, size_t sequence) {
    return "{\"t\":" + std::to_string(record.time) + ",\"seq\":" + std::to_string(sequence) + ",\"k\":\"" +
           record.key + "\",\"n\":" + or_null(record.n, false) + ",\"w\":" + or_null(record.w, false) +
           ",\"i\":" + or_null(record.i, false) +
           ",\"s\":" + (record.s == "\x01" ? "null" : "\"" + record.s + "\"") +
           ",\"b\":" + or_null(record.b, false) + ",\"j\":" + or_null(record.j, false) +
           ",\"v\":" + or_null(record.v, true) + "}";
}

std::string sql_of(const TestRecord& record, size_t sequence) {
    const auto literal = [](const std::string& text) { return text.empty() ? "NULL" : "'" + text + "'"; };
    return "(" + std::to_string(record.time) + "," + std::to_string(sequence) + ",'" + record.key + "'," +
           literal(record.n) + "," + literal(record.w) + "," + literal(record.i) + "," +
           (record.s == "\x01" ? "NULL" : "'" + record.s + "'") + "," + literal(record.b) + "," +
           literal(record.j) + "," + literal(record.v) + ")";
}

using Table = std::map<std::pair<int64_t, std::string>, std::vector<std::string>>;  // Window, key: results.

class Postgres {
public:
    Postgres() {
        const char* const address = std::getenv("WEIR_TEST_POSTGRES");
        REQUIRE_MESSAGE(address != nullptr, "WEIR_TEST_POSTGRES is not set");
        connection_.reset(PQconnectdb(address));
        REQUIRE_MESSAGE(PQstatus(connection_.get()) == CONNECTION_OK, PQerrorMessage(connection_.get()));
    }

    std::unique_ptr<PGresult, void (*)(PGresult*)> query(const std::string& text) {
        std::unique_ptr<PGresult, void (*)(PGresult*)> result(PQexec(connection_.get(), text.c_str()),
                                                              PQclear);
        const auto status = PQresultStatus(result.get());
        REQUIRE_MESSAGE((status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK),
                        PQerrorMessage(connection_.get()) << text.substr(0, 2000));
        return result;
    }

private:
    std::unique_ptr<PGconn, void (*)(PGconn*)> connection_{nullptr, PQfinish};
};

std::string having() { return "count(*) > 1 AND k <> 'd' AND coalesce(sum(n), 1) <> 0"; }

Table of_postgres(const std::vector<TestRecord>& records, int64_t window_ms) {
    Postgres postgres;
    postgres.query(
        "CREATE TEMP TABLE rows (t bigint, seq numeric, k text, n numeric, w numeric, i numeric, s text, "
        "b boolean, j jsonb, v text)");
    std::string insert = "INSERT INTO rows VALUES ";
    for (size_t i = 0; i < records.size(); ++i) insert += (i > 0 ? "," : "") + sql_of(records[i], i);
    postgres.query(insert);
    const std::string size = std::to_string(window_ms);
    std::string select = "SELECT t / " + size + " * " + size + ", k";
    for (const Call& call : kCalls) {
        select += ", (" + (call.postgres.empty() ? call.ours : call.postgres) + ")::text";
    }
    const auto result = postgres.query(select + " FROM rows GROUP BY 1, k HAVING " + having());
    Table table;
    for (int row = 0; row < PQntuples(result.get()); ++row) {
        const auto cell = [&](int column) {
            const bool null = PQgetisnull(result.get(), row, column) != 0;
            return std::string(null ? "NULL" : PQgetvalue(result.get(), row, column));
        };
        auto& values = table[{std::stoll(cell(0)), cell(1)}];
        for (int column = 2; column < PQnfields(result.get()); ++column) values.push_back(cell(column));
    }
    return table;
}

std::string yaml(int64_t window_ms) {
    std::string fields;
    for (size_t i = 0; i < kCalls.size(); ++i) {
        // As text, as PostgreSQL's are.
        fields += "            f" + std::to_string(i) + ": (" + kCalls[i].ours + ")::text\n";
    }
    return "name: p\nkafka: {bootstrap.servers: \"b:9092\"}\n"
           "sources: {o: {topic: o, keyed_by: k, timestamp: t, watermark: {max_delay: 1h}}}\n"
           "streams:\n  s:\n    from: o\n    steps:\n      - aggregate:\n          by: k\n"
           "          window: {tumbling: " +
           std::to_string(window_ms) + "ms}\n          having: " + having() + "\n          fields:\n" +
           fields + "    to: out\n";
}

Table of_weir(const std::vector<TestRecord>& records, int64_t window_ms, bool crashes) {
    World world(yaml(window_ms));
    for (size_t first = 0; first < records.size();) {
        std::vector<Record> run;
        const size_t end = std::min(records.size(), first + 97);
        for (; first < end; ++first) {
            run.push_back({records[first].key, json_of(records[first], first), 0, {}});
        }
        const Result<void> taken = world.in("o", std::move(run));
        REQUIRE_MESSAGE(taken.ok(), (taken.ok() ? "" : taken.error().message));
        if (crashes && first % 5 == 0) world.epoch();
        if (crashes && first % 7 == 0) world.crash();
    }
    const Result<void> finished = world.shard->advance_watermark(kEndOfTime, 0, world.sink);
    REQUIRE_MESSAGE(finished.ok(), (finished.ok() ? "" : finished.error().message));
    CHECK(world.imbalance() == "");
    Table table;
    Arena arena;
    for (const Output& output : world.sink.outputs) {
        const auto start = expr::json_member(output.value, "window_start");
        REQUIRE(start.has_value());
        auto& values = table[{std::stoll(std::string(*start)), output.key}];
        for (size_t i = 0; i < kCalls.size(); ++i) {
            const auto text = expr::json_member(output.value, "f" + std::to_string(i));
            REQUIRE(text.has_value());
            const Value value = expr::json_to_value(*text, arena);
            values.emplace_back(value.is_null() ? "NULL" : std::string(value.bytes()));
        }
    }
    return table;
}

// Of double precision the last bits depend on the order of additions; of equal numbers 2.5 and 2.50
// PostgreSQL's min and max give the one that came last, ours the one with more digits.
bool same(const std::string& call, const std::string& ours, const std::string& theirs) {
    if (ours == theirs) return true;
    const bool is_float = call.find("float8") != std::string::npos;
    const bool is_extreme = call == "min(n)" || call == "max(w)";
    if ((!is_float && !is_extreme) || ours == "NULL" || theirs == "NULL") return false;
    const double a = std::stod(ours);
    const double b = std::stod(theirs);
    return std::abs(a - b) <= (is_float ? 1e-9 * std::max({std::abs(a), std::abs(b), 1.0}) : 0);
}

TEST_CASE("aggregates over windows are PostgreSQL's") {
    const char* const given = std::getenv("WEIR_TEST_SEED");
    const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : 1;
    MESSAGE("replay: WEIR_TEST_SEED=" << seed << " aggregate_pg_test");
    Records random(seed);
    size_t compared = 0;
    for (const int64_t window_ms : {500, 5000, 60'000}) {
        CAPTURE(window_ms);
        const auto records = random.make(3000);
        const Table theirs = of_postgres(records, window_ms);
        const Table ours = of_weir(records, window_ms, window_ms == 5000);
        CHECK(theirs.size() == ours.size());
        for (const auto& [group, values] : theirs) {
            CAPTURE(group.first);
            CAPTURE(group.second);
            const auto found = ours.find(group);
            REQUIRE(found != ours.end());
            for (size_t i = 0; i < kCalls.size(); ++i) {
                ++compared;
                if (same(kCalls[i].ours, found->second[i], values[i])) continue;
                CAPTURE(kCalls[i].ours);
                CHECK(found->second[i] == values[i]);
            }
        }
    }
    CHECK(compared > 20'000);
    MESSAGE(compared << " values compared");
}

}  // namespace
}  // namespace weir::processor
