// Tables of a stream's results: what is refused, and that a lookup finds what the records before it, and its
// own, came to, however they are cut into runs.
#include <map>
#include <random>

#include "fixture.h"

namespace weir::processor {
namespace {

std::string errors_of(const std::string& from, const std::string& by,
                      const std::string& reader = "{topic: r, keyed_by: who}") {
    std::string errors;
    const auto plan =
        plan_of("name: p\nkafka: {bootstrap.servers: b}\nsources:\n  s: {topic: s, keyed_by: who}\n  u: "
                "{topic: u}\n  w: {topic: w, format: string}\n  r: " +
                    reader + "\ntables:\n  rows: {from: x}\nstreams:\n  x: " + from +
                    "\n  y:\n    from: r\n    steps: [{lookup: {table: rows, by: " + by +
                    "}}, {map: {n: rows.n}}]\n    to: out\n",
                &errors);
    CHECK((plan == nullptr) == (errors.find("error[") != std::string::npos));
    return plan == nullptr ? errors : "";  // Sources that this one leaves unread are warned of.
}

bool contains(const std::string& text, const std::string& part) {
    CAPTURE(text);
    return text.find(part) != std::string::npos;
}

std::string grouped(const std::string& by) {
    return "{from: s, steps: [{aggregate: {by: " + by + ", window: {tumbling: 1m}, fields: {n: count(*)}}}]}";
}

TEST_CASE("a stream's table is looked up by the key of its results") {
    CHECK(errors_of("{from: s}", "who").empty());
    CHECK(errors_of("{from: s}", "_key").empty());
    CHECK(errors_of("{from: u}", "who").empty());  // By the records' key.
    CHECK(errors_of(grouped("who"), "who").empty());
    CHECK(errors_of(grouped("who"), "_key").empty());
    CHECK(errors_of("{from: s, steps: [{map: {n: 1}}]}", "who").empty());
    // Of several values those that the topic is keyed by decide where a row is.
    CHECK(errors_of(grouped("[kind, who]"), "[kind, who]").empty());
    CHECK(errors_of(grouped("[kind, who]"), "[lower(kind), who]").empty());
    CHECK(contains(errors_of(grouped("[kind, who]"), "[who, kind]"), "W0230"));
    CHECK(contains(errors_of(grouped("[kind, who]"), "who"), "is found by 2 values, this looks up by 1"));
}

TEST_CASE("a lookup in a stream's table by anything else is refused, with both ways out") {
    const std::string errors = errors_of(grouped("who"), "agent");
    CHECK(contains(errors, "error[W0230]"));
    CHECK(contains(errors, "source 'r' is keyed by 'who', the rows lie by 'agent'"));
    CHECK(contains(errors, "put a `key_by: agent` before"));
    CHECK(contains(errors, "write the stream of 'rows' to a topic"));
    CHECK(contains(errors_of(grouped("who"), "who", "{topic: r}"), "W0230"));
    CHECK(contains(errors_of(grouped("who"), "lower(who)"), "W0230"));
}

TEST_CASE("results that cannot be found by their key are no table") {
    CHECK(contains(errors_of("{from: w}", "who"), "they are not JSON"));
    CHECK(contains(errors_of("{from: [s, u], steps: [{dedupe: {by: other, within: 1m}}]}", "who"),
                   "they have the key of their record, and lie elsewhere"));
    CHECK(contains(errors_of("{from: [s, x2]}\n  x2: " + grouped("[who, kind]"), "who"),
                   "its inputs have different keys"));
}

TEST_CASE("records that a step holds back are rows when they are given") {
    World world(R"(
name: p
kafka: {bootstrap.servers: b}
sources:
  s: {topic: s, keyed_by: who, timestamp: t, watermark: 0s}
  r: {topic: r, keyed_by: who}
tables:
  rows: {from: x}
streams:
  x: {from: s, steps: [{dedupe: {by: who, within: 10s, keep: last}}]}
  y: {from: r, steps: [{lookup: {table: rows, by: who}}, {map: {n: rows.n, row: rows}}], to: out}
)");
    const auto in = [&](const std::string& who, int64_t t, int64_t n) {
        const std::string value = R"({"who":")" + who + R"(","t":)" + std::to_string(t) + R"(,"n":)" +
                                  std::to_string(n) + "}";
        REQUIRE(world.in("s", who, value).ok());
    };
    const auto look = [&] { REQUIRE(world.in("r", "a", R"({"who":"a"})").ok()); };
    in("a", 1000, 1);
    in("a", 2000, 2);
    look();
    in("b", 30000, 3);
    look();
    world.epoch();
    world.crash();
    look();
    const std::string row = R"(out a {"n":2,"row":{"who":"a","t":2000,"n":2}})";
    CHECK(world.lines() == std::vector<std::string>{R"(out a {"n":null,"row":null})", row, row});
}

// As if it had been written to a topic: what cannot be read from there is no row.
TEST_CASE("a result without a key, or that is no JSON, goes to on_error") {
    World world(R"(
name: p
kafka: {bootstrap.servers: b}
on_error: {dead_letter: dlq}
sources:
  s: {topic: s, keyed_by: who}
tables:
  rows: {from: x}
streams:
  x: {from: s, steps: [{map: {k: _key, n: n}}]}
  y: {from: s, steps: [{lookup: {table: rows, by: _key}}, {map: {n: rows.n}}], to: out}
)");
    REQUIRE(world.in("s", "a", R"({"n":1})").ok());
    REQUIRE(world.in("s", "\xff", R"({"n":2})").ok());
    REQUIRE(world.in("s", {Record{std::nullopt, R"({"n":3})", 0, {}}}).ok());
    CHECK(world.lines() == std::vector<std::string>{"out a {\"n\":1}", "dlq \xff {\"n\":2}",
                                                    "out \xff {\"n\":null}", "dlq <null> {\"n\":3}",
                                                    "out <null> {\"n\":null}"});
    CHECK(world.sink.outputs[1].headers.at("weir.step") == "tables.rows");
    CHECK(world.counters.sources[1].dead_lettered == 2);
    CHECK(world.imbalance() == "");
}

// What the pipeline below gives, record by record.
class Model {
public:
    // The line of `found`, and what closes after it.
    std::string take(int64_t id, const std::string& key, int64_t t, int64_t v) {
        if (v >= 50) last_[key] = id;
        const int64_t end = t / 10'000 * 10'000 + 10'000;
        if (end > watermark_) open_[end][key] += v;
        const auto text = [](const auto& rows, const std::string& of) {
            const auto row = rows.find(of);
            return row == rows.end() ? std::string("null") : std::to_string(row->second);
        };
        std::string line = "found " + key + " {\"id\":" + std::to_string(id) +
                           ",\"last\":" + text(last_, key) + ",\"total\":" + text(totals_, key) +
                           ",\"ends\":" + text(ends_, key) + "}";
        watermark_ = std::max(watermark_, t);
        while (!open_.empty() && open_.begin()->first <= watermark_) {
            for (const auto& [of, total] : open_.begin()->second) {
                totals_[of] = total;
                ends_[of] = open_.begin()->first;
            }
            open_.erase(open_.begin());
        }
        return line;
    }

private:
    int64_t watermark_ = 0;
    std::map<std::string, int64_t> last_;
    std::map<std::string, int64_t> totals_;
    std::map<std::string, int64_t> ends_;
    std::map<int64_t, std::map<std::string, int64_t>> open_;
};

TEST_CASE("what a lookup finds depends on the order of the records alone") {
    const auto plan = plan_of(R"(
name: p
kafka: {bootstrap.servers: b}
sources:
  events: {topic: events, keyed_by: k, timestamp: t, watermark: 0s}
tables:
  last: {from: large}
  sums: {from: per_10s}
streams:
  found:
    from: events
    steps:
      - lookup: {table: last, by: k}
      - lookup: {table: sums, by: k}
      - map: {id: id, last: last.id, total: sums.total, ends: sums.window_end}
    to: found
  large: {from: events, steps: [{filter: v >= 50}]}
  per_10s:
    from: events
    steps: [{aggregate: {by: k, window: {tumbling: 10s}, fields: {total: sum(v)}}}]
)");
    for (uint64_t seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        std::mt19937_64 random(seed);
        const auto below = [&](uint64_t n) { return static_cast<int64_t>(random() % n); };
        World world(plan);
        Model model;
        std::vector<std::string> expected;
        int64_t id = 0;
        for (int run = 0; run < 60; ++run) {
            std::vector<Record> records;
            for (int64_t i = below(seed % 2 == 0 ? 3 : 200); i >= 0; --i) {
                const std::string key = std::to_string(below(4));
                const int64_t t = std::max<int64_t>(0, id * 100 - below(12'000)) / 10 * 10 + 3;
                const int64_t v = below(100);
                records.push_back({key,
                                   R"({"k":")" + key + R"(","id":)" + std::to_string(id) + R"(,"t":)" +
                                       std::to_string(t) + R"(,"v":)" + std::to_string(v) + "}",
                                   0,
                                   {}});
                expected.push_back(model.take(id++, key, t, v));
            }
            REQUIRE(world.in("events", std::move(records)).ok());
            if (below(4) == 0) world.epoch();
            if (below(6) == 0) world.crash();
        }
        REQUIRE(world.imbalance() == "");
        REQUIRE(world.lines() == expected);
    }
}

}  // namespace
}  // namespace weir::processor
