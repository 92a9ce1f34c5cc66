// Joined tables: what is refused, and every change against a naive model.
#include <array>
#include <map>
#include <random>

#include "fixture.h"

namespace weir::processor {
namespace {

std::string errors_of(const std::string& rest) {
    std::string errors;
    const auto plan = plan_of("name: p\nkafka: {bootstrap.servers: b}\n" + rest, &errors);
    CHECK((plan == nullptr) == (errors.find("error[") != std::string::npos));
    return plan == nullptr ? errors : "";
}

bool contains(const std::string& text, const std::string& part) {
    CAPTURE(text);
    return text.find(part) != std::string::npos;
}

constexpr const char* kTables = "tables:\n  l: {topic: l}\n  r: {topic: r}\n";

std::string joined(const std::string& more) {
    return std::string(kTables) + "streams:\n  j:\n    join_tables: {left: l, right: r}\n" + more;
}

TEST_CASE("joined tables need no source, and may be filtered, mapped, read and joined again") {
    CHECK(errors_of(joined("    to: out\n")).empty());
    CHECK(errors_of(joined("    steps: [{filter: l.v > 1}, {set: {x: l.v}}, {remove: r}, {map: {x: x}}]\n"
                           "    to: out\n"))
              .empty());
    CHECK(errors_of("tables:\n  l: {topic: l}\n  r: {topic: r}\n  t: {from: j}\nstreams:\n"
                    "  j: {join_tables: {left: l, right: r}}\n"
                    "  k: {join_tables: {left: t, right: r}, to: out}\n")
              .empty());
    CHECK(contains(errors_of("streams:\n  s: {from: x, to: y}\n"), "the pipeline has no `sources`"));
}

TEST_CASE("topics of joined tables, and of lookups in them, need equally many partitions") {
    const auto plan = plan_of(
        "name: p\nkafka: {bootstrap.servers: b}\nsources:\n  s: {topic: s}\n"
        "tables:\n  l: {topic: l}\n  r: {topic: r}\n  t: {from: j}\n"
        "streams:\n  j: {join_tables: {left: l, right: r}}\n"
        "  k: {from: s, steps: [{lookup: {table: t, by: _key}}, {map: {v: t.l.v}}], to: out}\n");
    REQUIRE(plan->co_partitioned.size() == 2);
    CHECK(plan->co_partitioned[0].why == CoPartitioned::Why::kJoins);
    CHECK(plan->co_partitioned[0].inputs == std::vector<TopicId>{TopicId{1}, TopicId{2}});
    CHECK(plan->co_partitioned[1].why == CoPartitioned::Why::kLooksUp);
    CHECK(plan->co_partitioned[1].inputs == std::vector<TopicId>{TopicId{0}, TopicId{1}});
}

TEST_CASE("steps that could not take back what a row came to are refused after joined tables") {
    for (const std::string step :
         {"aggregate: {by: _key, window: none, emit: on_update, fields: {n: count(*)}}",
          "dedupe: {by: _key, within: 1m}", "throttle: {by: _key, max: 1, per: 1m}", "explode: l.list",
          "key_by: l.other", "lookup: {table: l, by: _key}",
          "top_n: {n: 1, largest: l.v, by: _key, window: {tumbling: 1m}}"}) {
        CAPTURE(step);
        const std::string steps = "    steps: [{" + step + "}]\n    to: out\n";
        CHECK(contains(errors_of(joined(steps)), "W0234"));
        // Also in a stream that reads them.
        CHECK(contains(errors_of(joined("  k:\n    from: j\n" + steps)), "W0234"));
    }
    CHECK(contains(errors_of(joined("    to: {topic: out, when: l.v > 1}\n")), "W0234"));
    CHECK(contains(errors_of(joined("    to: {topic: out, key: l.v}\n")), "W0234"));
    CHECK(contains(errors_of(joined("    to: j\n  k:\n    join: {left: j, right: {from: j, as: o}, match: "
                                    "j._key = o._key, within: 1m}\n    to: out\n")),
                   "W0234"));
}

TEST_CASE("which tables can be joined") {
    const auto of = [](const std::string& right, const std::string& join) {
        return errors_of("tables:\n  l: {topic: l}\n  r: " + right + "\nstreams:\n  j: {join_tables: " +
                         join + ", to: out}\n");
    };
    CHECK(contains(of("{topic: r, global: true}", "{left: l, right: r}"), "W0233"));
    CHECK(contains(of("{topic: r, history: 1h}", "{left: l, right: r}"), "W0233"));
    CHECK(contains(of("{topic: r, format: string}", "{left: l, right: r}"), "are not JSON"));
    CHECK(contains(of("{topic: r}", "{left: l, right: l}"), "not joined with itself"));
    CHECK(contains(of("{topic: r}", "{left: l, right: rr}"), "there is no table `rr`"));
    CHECK(contains(of("{from: j}", "{left: l, right: r}"), "W0051"));
    const std::string in_time = "  k: {join: {left: l, right: r, match: l.v = r.v, within: 1m}, to: out}\n";
    CHECK(contains(errors_of(joined("    to: out\n" + in_time)), "joined with another one by `join_tables`"));
}

TEST_CASE("a joined row on which a step fails is a dead letter, and readers keep the one before") {
    World world("name: p\nkafka: {bootstrap.servers: b}\non_error: {dead_letter: dlq}\n" +
                joined("    steps: [{set: {x: 1 / l.v}}, {map: {x: x}}]\n    to: out\n"));
    REQUIRE(world.in("r", "a", "{\"w\":3}").ok());
    REQUIRE(world.in("l", "a", "{\"v\":2}").ok());
    REQUIRE(world.in("l", "a", "{\"v\":0}").ok());
    REQUIRE(world.in("l", {Record{"a", std::nullopt, 0, {}}}).ok());
    CHECK(world.lines() == std::vector<std::string>{"out a {\"x\":0.50000000000000000000}",
                                                    "dlq <null> {\"l\":{\"v\":0},\"r\":{\"w\":3}}",
                                                    "out a <null>"});
}

constexpr std::array<const char*, 4> kKinds = {"inner", "left", "right", "full"};

bool shows(size_t kind, bool left, bool right) {
    const std::array<bool, 4> by_kind = {left && right, left, right, left || right};
    return by_kind[kind];
}

// Goal: whatever changes in whatever order, over commits and crashes, each change that a join shows gives its
// row once, or its deletion, and nothing else does.
TEST_CASE("joined tables agree with a naive model over random histories") {
    std::string yaml = std::string("name: p\nkafka: {bootstrap.servers: b}\n") + kTables + "streams:\n";
    for (const char* const kind : kKinds)
        yaml += std::string("  ") + kind + ":\n    join_tables: {left: l, right: r, kind: " + kind +
                "}\n    steps: [{map: {l: l.v, r: r.v, k: _key}}]\n    to: " + kind + "\n";
    const auto plan = plan_of(yaml);
    for (uint64_t seed = 1; seed <= 12; ++seed) {
        CAPTURE(seed);
        std::mt19937_64 random(seed);
        const auto below = [&](uint64_t n) { return static_cast<int64_t>(random() % n); };
        World world(plan);
        std::array<std::map<std::string, std::string>, 2> model;
        std::vector<std::string> expected;
        const auto change = [&](size_t side, const std::string& key, const std::optional<std::string>& v) {
            const bool was = model[side].contains(key);
            if (v)
                model[side][key] = *v;
            else
                model[side].erase(key);
            if (!was && !v) return;
            const bool other = model[1 - side].contains(key);
            const auto of = [&](size_t which) {
                const auto row = model[which].find(key);
                return row == model[which].end() ? std::string("null") : row->second;
            };
            for (size_t kind = 0; kind < kKinds.size(); ++kind) {
                const auto now = [&](bool mine) {
                    return side == 0 ? shows(kind, mine, other) : shows(kind, other, mine);
                };
                const std::string line = kKinds[kind] + (" " + key + " ");
                if (now(v.has_value()))
                    expected.push_back(line + "{\"l\":" + of(0) + ",\"r\":" + of(1) + ",\"k\":\"" + key +
                                       "\"}");
                else if (now(was))
                    expected.push_back(line + "<null>");
            }
        };
        for (int run = 0; run < 150; ++run) {
            const auto side = static_cast<size_t>(below(2));
            std::vector<Record> records;
            for (int64_t i = below(seed % 2 == 0 ? 2 : 60); i >= 0; --i) {
                const std::string key = "k" + std::to_string(below(seed % 3 == 0 ? 3 : 40));
                std::optional<std::string> v;
                if (below(3) > 0) v = std::to_string(below(1000));
                records.push_back({key, v ? std::optional("{\"v\":" + *v + "}") : std::nullopt, 0, {}});
                change(side, key, v);
            }
            REQUIRE(world.in(side == 0 ? "l" : "r", std::move(records)).ok());
            if (below(4) == 0) world.epoch();
            if (below(6) == 0) world.crash();
        }
        REQUIRE(world.imbalance() == "");
        REQUIRE(world.lines() == expected);
    }
}

}  // namespace
}  // namespace weir::processor
