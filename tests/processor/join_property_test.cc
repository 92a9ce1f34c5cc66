// Goal: joins of every kind, within, in windows and sessions and as of, give what a naive nested loop gives,
// late records too, however the records of both sides come in turn, are cut into runs, are committed or
// crash. Method: join_model.h.
#include "join_model.h"
#include "processor/expr/jsonb.h"

namespace weir::processor {
namespace {

TEST_CASE("joins against a naive model") {
    Comparison comparison("joins against a naive model");
    const std::vector<std::string> kinds{"inner", "left", "right", "full"};
    const std::vector<std::string> ways{"within",   "window",  "within",  "hopping",
                                        "backward", "session", "forward", "nearest"};
    for (size_t round = 0; round < 192; ++round) {
        const Case input =
            comparison.draw_case(kinds[round % kinds.size()], ways[round / kinds.size() % ways.size()]);
        CAPTURE(round);
        CAPTURE(input.kind);
        CAPTURE(input.by);
        World world(plan_of(input.yaml()), input.events.back().time + 10'000'000);
        comparison.run(input, world, nullptr);
    }
    CHECK(comparison.late > 0);
    CHECK(comparison.unmatched > 0);
}

// Goal: with a greatest length, too, a join's sessions are those of an aggregate over both sides. Method:
// both in one pipeline; an aggregate's result names its records, which are what the join pairs.
TEST_CASE("the sessions of a join are those of an aggregate, with a greatest length") {
    const char* given = std::getenv("WEIR_SEED");
    const unsigned seed = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device{}();
    MESSAGE("replay: WEIR_SEED=" << seed << " processor_test -tc='the sessions of a join*'");
    std::mt19937 random(seed);
    const auto draw = [&](int64_t low, int64_t high) {
        return std::uniform_int_distribution<int64_t>(low, high)(random);
    };
    size_t pairs = 0;
    for (int round = 0; round < 60; ++round) {
        CAPTURE(round);
        const auto ms = [](int64_t value) { return std::to_string(value) + "ms"; };
        const int64_t gap_ms = draw(1, 600);
        const std::string window = "session: " + ms(gap_ms) + ", max: " + ms(gap_ms + draw(0, 3 * gap_ms));
        const std::string grace = "grace: " + ms(draw(0, 1) * draw(0, 1000));
        const std::string source = ", keyed_by: k, timestamp: t, watermark: " + ms(draw(0, 2000)) + "}";
        World world("name: p\nkafka: {bootstrap.servers: \"b:9092\"}\nsources: {l: {topic: l" + source +
                    ", r: {topic: r" + source + "}\nstreams:\n" +
                    "  j:\n    join: {left: l, right: r, kind: full, match: l.k = r.k, window: {" + window +
                    "}, " + grace + "}\n" +
                    "    steps: [{map: {k: _key, s: window_start, e: window_end, l: l.id, r: r.id}}]\n" +
                    "    to: joined\n  a:\n    from: [l, r]\n" +
                    "    steps:\n      - aggregate: {by: k, window: {" + window + ", " + grace +
                    "}, fields: {ids: \"string_agg(id::text, ',')\"}}\n" +
                    "    to: sessions\n");
        std::vector<size_t> sides;
        const int64_t disorder = draw(0, 3000);
        int64_t base = 1'000'000;
        for (int64_t i = 0, n = draw(1, 300); i < n; ++i, base += draw(0, 80)) {
            Event event;
            event.side = static_cast<size_t>(draw(0, 1));
            event.id = i;
            event.time = base + draw(-disorder, disorder);
            event.key = draw(1, 4);
            sides.push_back(event.side);
            REQUIRE(world.in(event.side == 0 ? "l" : "r", std::to_string(*event.key), event.json()).ok());
            if (draw(0, 20) == 0) world.epoch();
            if (draw(0, 30) == 0) world.crash();
        }
        REQUIRE(world.shard->advance_watermark(kEndOfTime, 0, world.sink).ok());
        std::multiset<std::string> joined;
        std::multiset<std::string> expected;
        for (const Output& output : world.sink.outputs) {
            if (output.topic == "joined") {
                joined.insert(output.value);
                continue;
            }
            const auto member = [&](const char* name) {
                return std::string(*expr::json_member(output.value, name));
            };
            std::array<std::vector<std::string>, 2> ids;
            const std::string all = member("ids");
            for (size_t at = 1; at < all.size();) {
                const size_t end = all.find_first_of(",\"", at);
                const std::string id = all.substr(at, end - at);
                ids[sides[static_cast<size_t>(std::stoll(id))]].push_back(id);
                at = end + 1;
            }
            for (auto& of_side : ids)
                if (of_side.empty()) of_side.emplace_back("null");
            for (const std::string& left : ids[0])
                for (const std::string& right : ids[1])
                    expected.insert("{\"k\":" + member("k") + ",\"s\":" + member("window_start") +
                                    ",\"e\":" + member("window_end") + ",\"l\":" + left + ",\"r\":" + right +
                                    "}");
        }
        CHECK(difference(joined, expected) == "");
        CHECK(joined.size() == expected.size());
        pairs += joined.size();
    }
    CHECK(pairs > 1'000);
}

TEST_CASE("a pair whose condition fails is dead-lettered with all that is kept of both records") {
    World world(
        "name: p\nkafka: {bootstrap.servers: x}\non_error: {dead_letter: dlq}\nsources:\n"
        "  l: {topic: l, keyed_by: k, timestamp: t, watermark: 0s}\n"
        "  r: {topic: r, keyed_by: k, timestamp: t, watermark: 0s}\n"
        "streams: {s: {join: {left: l, right: r, match: l.k = r.k AND 10 / r.d > 1, within: 1s}, steps: "
        "[{map: {a: l.a, b: r.b}}], to: out}}\n");
    REQUIRE(world.in("r", "k", R"({"k":"k","t":1,"b":"first","d":0})").ok());
    REQUIRE(world.in("r", "k", R"({"k":"k","t":1,"b":"second","d":2})").ok());
    REQUIRE(world.in("r", "k", R"({"k":"k","t":1,"b":"third","d":20})").ok());
    REQUIRE(world.in("l", "k", R"({"k":"k","t":1,"a":"one"})").ok());
    const auto lines = world.lines();
    REQUIRE(lines.size() == 2);
    CHECK(lines[0] == R"(dlq <null> {"l.a":"one","r.b":"first","r.d":0})");
    CHECK(lines[1] == R"(out k {"a":"one","b":"second"})");
}

TEST_CASE("keys of a join may have any length") {
    World world(
        "name: p\nkafka: {bootstrap.servers: x}\nsources:\n"
        "  l: {topic: l, keyed_by: k, timestamp: t, watermark: 0s}\n"
        "  r: {topic: r, keyed_by: k, timestamp: t, watermark: 0s}\n"
        "streams: {s: {join: {left: l, right: r, match: l.k = r.k AND l.n = r.n, within: 1s}, steps: "
        "[{map: {a: l.a, b: r.b}}], to: out}}\n");
    const std::vector<size_t> lengths = {0, 1, 100, 113, 114, 115, 116, 117, 118, 127, 128, 129, 20'000};
    const auto record = [](size_t length, const char* field) {
        return "{\"k\":\"" + std::string(length, 'k') + "\",\"n\":1,\"t\":1,\"" + field +
               "\":" + std::to_string(length) + "}";
    };
    for (const size_t length : lengths)
        REQUIRE(world.in("r", std::string(length, 'k'), record(length, "b")).ok());
    world.epoch();
    world.crash();
    for (const size_t length : lengths)
        REQUIRE(world.in("l", std::string(length, 'k'), record(length, "a")).ok());
    const auto lines = world.lines();
    REQUIRE(lines.size() == lengths.size());
    for (size_t i = 0; i < lengths.size(); ++i) {
        const std::string n = std::to_string(lengths[i]);
        CHECK(lines[i].ends_with("{\"a\":" + n + ",\"b\":" + n + "}"));
    }
}

TEST_CASE("a join's ledger: what is buffered has matched, been given alone, or expired") {
    Case input;
    input.kind = "left";
    input.after_ms = 5'000;
    World world(input.yaml());
    int64_t time = 10'000;
    for (int64_t i = 0; i < 1'000; ++i) {
        time += 10;
        const Event left{0, i, time, i, 1};
        REQUIRE(world.in("l", std::to_string(i), left.json()).ok());
        const Event right{1, i, time, i % 2 == 0 ? i : -1, 1};
        REQUIRE(world.in("r", std::to_string(i), right.json()).ok());
    }
    const StreamCounters& counters = world.counters.streams[0];
    CHECK(counters.in == 2'000);
    CHECK(counters.buffered == 2'000);
    CHECK(counters.matched == 500);
    CHECK(counters.unmatched == 249);  // Each 2nd of those older than 5 s.
    CHECK(counters.derived == 749);
    // What is kept is what the interval and the panes' width need.
    CHECK(world.shard->status().stages[0].groups == 2'000 - counters.expired);
    CHECK(counters.expired > 1'000);
    REQUIRE(world.shard->advance_watermark(kEndOfTime, 0, world.sink).ok());
    CHECK(counters.expired == 2'000);
    CHECK(counters.unmatched == 500);
    CHECK(world.shard->status().stages[0].groups == 0);
}

}  // namespace
}  // namespace weir::processor
