#include "fixture.h"

namespace weir::processor {
namespace {

const std::string kHead = "name: p\nkafka: {bootstrap.servers: \"b:9092\"}\n";

std::string errors_of(const std::string& rest) {
    std::string errors;
    plan_of(kHead + rest, &errors);
    return errors;
}

TEST_CASE("a by that is not the topic's key is refused with the ways out where repartition is forbidden") {
    const std::string errors = errors_of(
        "repartition: never\n"
        "sources: {orders: {topic: orders}}\n"
        "streams: {s: {from: orders, steps: [{aggregate: {by: customer, window: {tumbling: 1m}, fields: {n: "
        "count(*)}}}], "
        "to: out}}\n");
    CHECK(errors.find("keyed_by: customer") != std::string::npos);
    CHECK(errors.find("repartition: auto") != std::string::npos);
}

TEST_CASE("a by that is not the topic's key goes through an internal topic, and explain says why") {
    const auto plan_with = [](const std::string& steps) {
        return plan_of(
            kHead + "sources: {orders: {topic: orders, keyed_by: id}}\nstreams: {s: {from: orders, steps: [" +
            steps + "], to: out}}\n");
    };
    const std::string aggregate =
        "{aggregate: {by: customer, window: {tumbling: 1m}, fields: {n: count(*), total: sum(amount)}}}";
    const auto plan = plan_with("{filter: amount > 1}, " + aggregate);
    REQUIRE(plan->inputs.size() == 2);
    CHECK(plan->inputs[1].name == "p-s-repartition");
    REQUIRE(plan->internal_topics.size() == 1);
    CHECK(plan->internal_topics[0].fed_by == std::vector<TopicId>{TopicId{0}});
    const std::string text = plan->explain(ExplainFormat::kText);
    CHECK(text.find("topic p-s-repartition, keyed by customer, because source 'orders' is keyed by 'id'") !=
          std::string::npos);
    CHECK(text.find("its event time, 2 columns;") != std::string::npos);  // customer, amount
    CHECK(plan_with("{aggregate: {by: [customer, id], window: {tumbling: 1m}, fields: {n: count(*)}}}")
              ->internal_topics.empty());
    // Together by both fields only: a group by one of them needs another topic.
    CHECK(plan_with(
              "{key_by: [customer, country]}, {aggregate: {by: [country, customer], window: {tumbling: 1m}, "
              "fields: {n: count(*)}}}")
              ->internal_topics.size() == 1);
    const auto twice = plan_with("{key_by: [customer, country]}, " + aggregate);
    REQUIRE(twice->internal_topics.size() == 2);
    CHECK(twice->inputs[2].name == "p-s-repartition-2");
    CHECK(plan_with("{key_by: id}, {set: {x: 1}}")->internal_topics.empty());
}

TEST_CASE("what cannot go through an internal topic is refused") {
    const std::string tail = "streams: {s: {from: orders, steps: [{key_by: customer}], to: out}}\n";
    CHECK(errors_of("guarantee: at_least_once\nsources: {orders: {topic: orders}}\n" + tail).find("W0225") !=
          std::string::npos);
    CHECK(errors_of("repartition: never\nsources: {orders: {topic: orders}}\n" + tail).find("W0225") !=
          std::string::npos);
    // A file is one partition: nothing has to go anywhere.
    CHECK(errors_of(
              "guarantee: at_least_once\nsources: {orders: {file: in}}\nstreams: {s: {from: orders, steps: "
              "[{key_by: customer}], to: {file: out}}}\n") == "");
    CHECK(errors_of("sources: {orders: {topic: orders}}\n"
                    "streams: {s: {from: orders, steps: [{key_by: lower(customer)}], to: out}}\n")
              .find("W0207") != std::string::npos);
    CHECK(errors_of("sources: {orders: {topic: orders}}\n"
                    "streams: {s: {from: orders, steps: [{key_by: customer}, {aggregate: {by: _key, window: "
                    "{tumbling: 1m}, fields: {n: count(*)}}}], to: out}}\n")
              .find("W0204") != std::string::npos);
}

TEST_CASE("keyed_by is followed through map, and its loss is named") {
    const std::string source =
        "repartition: never\nsources: {orders: {topic: orders, keyed_by: customer.id}}\n";
    const std::string tail =
        ", {aggregate: {by: c, window: {tumbling: 1m}, fields: {n: count(*)}}}], to: out}}\n";
    CHECK(errors_of(source + "streams: {s: {from: orders, steps: [{map: {c: customer.id}}" + tail).empty());
    const std::string errors =
        errors_of(source + "streams: {s: {from: orders, steps: [{map: {c: lower(customer.id)}}" + tail);
    CHECK(errors.find("the map does not keep field 'customer.id'") != std::string::npos);
}

TEST_CASE(
    "a join whose key is not both topics' key is refused with the ways out where repartition is forbidden") {
    const auto errors = [](const std::string& keys, const std::string& match) {
        return errors_of(
            "repartition: never\nsources:\n  a: {topic: a" + keys + "}\n  b: {topic: b, keyed_by: id}\n" +
            "streams: {j: {join: {left: a, right: b, match: \"" + match + "\", within: 1m}, to: out}}\n");
    };
    CHECK(errors(", keyed_by: k", "a.k = b.id").empty());
    CHECK(errors("", "a._key = b.id AND a.v > b.v").empty());
    const std::string undeclared = errors("", "a.k = b.id");
    CHECK(undeclared.find("W0222") != std::string::npos);
    CHECK(undeclared.find("source 'a' does not say what its topic is keyed by") != std::string::npos);
    CHECK(undeclared.find("declare `keyed_by: k` and `keyed_by: id`") != std::string::npos);
    CHECK(undeclared.find("or let weir bring them together: `repartition: auto`") != std::string::npos);
    CHECK(errors(", keyed_by: k", "a.k = b.other").find("W0222") != std::string::npos);
    CHECK(errors(", keyed_by: k", "lower(a.k) = b.id").find("W0222") != std::string::npos);
    CHECK(errors(", keyed_by: k", "a.k > b.id").find("W0223") != std::string::npos);
    CHECK(errors(", keyed_by: k", "a.k = c.id").find("there is no field 'c' here") != std::string::npos);
    CHECK(errors(", keyed_by: k", "a.k = b.id AND a.v || 'x'").find("boolean") != std::string::npos);
    CHECK(errors(", keyed_by: k", "a.k::text = b.id::int").find("different types, text and integer") !=
          std::string::npos);
}

TEST_CASE(
    "a side of a join that is not at the join key goes through an internal topic, the other one stays") {
    const auto plan = [](const std::string& match, const std::string& head = "",
                         const std::string& keys = "id") {
        return plan_of(kHead + head + "sources:\n  a: {topic: a, keyed_by: k}\n  b: {topic: b, keyed_by: " +
                       keys + "}\nstreams: {j: {join: {left: a, right: b, match: \"" + match +
                       "\", within: 1m}, steps: [{map: {x: a.x, y: b.y}}], to: out}}\n");
    };
    const auto has = [](const Plan& of, const std::string& text) {
        INFO(of.explain(ExplainFormat::kText));
        CHECK(of.explain(ExplainFormat::kText).find(text) != std::string::npos);
    };
    CHECK(plan("a.k = b.id")->internal_topics.empty());
    const auto right = plan("a.k = b.other", "repartition: {partitions: 12}\n");
    REQUIRE(right->internal_topics.size() == 1);
    CHECK(right->inputs[2].name == "p-j-repartition");
    CHECK(right->internal_topics[0].fed_by == std::vector<TopicId>{TopicId{1}});
    // As wide as the topic that stays, whatever the file says of others.
    CHECK(right->internal_topics[0].sized_by == std::vector<TopicId>{TopicId{0}});
    CHECK(right->internal_topics[0].partitions == 0);
    CHECK(right->co_partitioned.at(0).inputs == std::vector<TopicId>{TopicId{0}, TopicId{2}});
    has(*right,
        "records of b are brought to the join key\n       internal   topic p-j-repartition, keyed by other, "
        "because source 'b' is keyed by 'id'\n       partitions as many as topic a;");
    has(*right, "its event time, 2 columns;");  // other, y
    CHECK(right->explain(ExplainFormat::kJson)
              .find(R"("repartitions":[{"side":"b","internal_topic":"p-j-repart)") != std::string::npos);

    const auto left = plan("a.other = b.id AND a.x > b.y");
    REQUIRE(left->internal_topics.size() == 1);
    CHECK(left->internal_topics[0].fed_by == std::vector<TopicId>{TopicId{0}});
    has(*left, "records of a are brought to the join key");
    // Of several equalities those count that the side that stays lies by.
    CHECK(plan("a.v = b.v AND a.k = b.k")->inputs.size() == 3);
    has(*plan("a.v = b.v AND a.k = b.k"), "topic p-j-repartition, keyed by k, because source 'b'");

    const auto both = plan("a.v = b.v AND a.w = b.w", "repartition: {partitions: 12}\n");
    REQUIRE(both->internal_topics.size() == 2);
    for (const InternalTopic& topic : both->internal_topics) {
        CHECK(topic.sized_by == std::vector<TopicId>{TopicId{0}, TopicId{1}});
        CHECK(topic.partitions == 12);
    }
    has(*both, "topic p-j-repartition, keyed by v, w, because source 'a' is keyed by 'k'");
    has(*both, "topic p-j-repartition-2, keyed by v, w, because source 'b' is keyed by 'id'");
    // A value that is no field, too.
    has(*plan("a.k = lower(b.other)"), "keyed by a value computed in `match`");
    CHECK(plan("a.k = b.other")->state_hash != plan("a.k = b.another")->state_hash);
}

TEST_CASE("why a join's results are apart names what they are keyed by, not the key of a source") {
    const auto reason = [](const std::string& join, const std::string& step) {
        const auto plan =
            plan_of(kHead + "sources:\n  a: {topic: a, keyed_by: k}\n  b: {topic: b, keyed_by: id}\n" +
                    "streams: {j: {join: {left: a, right: b, " + join + ", within: 1m}, steps: [" + step +
                    "], to: out}}\n");
        const std::string text = plan->explain(ExplainFormat::kText);
        const size_t from = text.rfind(", because ") + 10;
        return text.substr(from, text.find('\n', from) - from);
    };
    CHECK(reason("match: a.k = b.id", "{key_by: a.v}") == "they are keyed by 'a.k' here");
    CHECK(reason("kind: right, match: a.k = b.id", "{key_by: b.v}") == "they are keyed by 'b.id' here");
    // The side that stays, and the one that travelled.
    CHECK(reason("match: a.k = b.other", "{key_by: b.v}") == "they are keyed by 'a.k' here");
    CHECK(reason("kind: right, match: a.k = b.other", "{key_by: a.v}") == "they are keyed by 'b.other' here");
    CHECK(reason("match: a.v = b.v", "{map: {v: a.v, w: b.w}}, {key_by: w}") ==
          "they are keyed by 'v' here");
}

TEST_CASE("an outer join in hopping windows does not match by the window") {
    const auto errors = [](const std::string& kind) {
        return errors_of(
            "sources: {a: {topic: a, keyed_by: k}, b: {topic: b, keyed_by: k}}\nstreams: {j: {join: {left: "
            "a, right: b, kind: " +
            kind +
            ", match: a.k = b.k AND window_start > 5, window: {hopping: {size: 10s, step: 5s}}}, "
            "to: out}}\n");
    };
    CHECK(errors("inner") == "");
    CHECK(errors("left").find("window_start") != std::string::npos);
}

TEST_CASE("what a join may not bring together is refused") {
    const std::string tail =
        "sources: {a: {topic: a, keyed_by: k}, b: {topic: b}}\nstreams: {j: {join: {left: a, right: b, "
        "match: a.k = "
        "b.k, within: 1m}, to: out}}\n";
    CHECK(errors_of("guarantee: at_least_once\n" + tail).find("W0225") != std::string::npos);
    CHECK(errors_of("repartition: never\n" + tail).find("W0222") != std::string::npos);
    CHECK(errors_of(tail) == "");
}

TEST_CASE("a join reads streams that key_by brought together, each field of it compared with its like") {
    const auto topics = [](const std::string& left, const std::string& right, const std::string& match) {
        return plan_of(kHead +
                       "sources: {a: {topic: a, keyed_by: k}, b: {topic: b, keyed_by: id}}\nstreams:\n"
                       "  l: {from: a, steps: [{key_by: " +
                       left + "}]}\n  r: {from: b, steps: [{key_by: " + right + "}]}\n" +
                       "  j: {join: {left: l, right: r, match: \"" + match + "\", within: 1m}, to: out}\n")
            ->internal_topics.size();
    };
    CHECK(topics("c", "c", "l.c = r.c") == 2);
    CHECK(topics("c", "id", "l.c = r.id AND l.v > r.v") == 1);
    CHECK(topics("[c, d]", "[x, y]", "l.d = r.y AND l.c = r.x") == 2);
    // They are apart once more: both sides, or the right one.
    CHECK(topics("[c, d]", "[x, y]", "l.c = r.x") == 4);
    CHECK(topics("[c, d]", "[x, y]", "l.c = r.y AND l.d = r.x") == 3);
    // The records' own keys are not what they are partitioned by any more.
    CHECK(topics("c", "c", "l._key = r._key") == 4);
}

TEST_CASE("a join keeps what its results use, and only that is part of the state") {
    const auto plan = [](const std::string& steps) {
        return plan_of(kHead + "sources:\n  a: {topic: a, keyed_by: k}\n  b: {topic: b, keyed_by: k}\n" +
                       "streams: {j: {join: {left: a, right: b, match: a.k = b.k AND b.v > 0, within: 1m}, " +
                       "steps: [" + steps + "], to: out}}\n");
    };
    const auto one = plan("{map: {x: a.x, y: b.y}}");
    CHECK(one->explain(ExplainFormat::kText).find("keeps      of a: x, for 1m; of b: v, y, for 1m") !=
          std::string::npos);
    CHECK(one->state_hash == plan("{map: {y: b.y + 1, z: a.x}}")->state_hash);
    CHECK(one->state_hash != plan("{map: {x: a.x, y: b.y, z: a.z}}")->state_hash);
    const auto whole = plan("{filter: a.x > 1}");
    CHECK(whole->explain(ExplainFormat::kText).find("of a: the whole record, x, for") != std::string::npos);
}

TEST_CASE("explain says of a join in sessions when its pairs come, and `match` cannot name the window") {
    const auto join = [](const std::string& match) {
        return std::string("sources:\n  a: {topic: a, keyed_by: k}\n  b: {topic: b, keyed_by: k}\n") +
               "streams: {j: {join: {left: a, right: b, kind: left, match: " + match +
               ", window: {session: 30s, max: 1h}, grace: 5s}, "
               "steps: [{map: {s: window_start}}], to: out}}\n";
    };
    const std::string text = plan_of(kHead + join("a.k = b.k"))->explain(ExplainFormat::kText);
    CAPTURE(text);
    for (const char* const part :
         {"left join of a and b on a.k = b.k, in sessions with gaps of 30s, at most 1h long, grace 5s\n",
          "keeps      of a: nothing but the key, until its session closes; of b: ",
          "emits      a session's pairs when the watermark reaches its end + 5s, then its records of a "
          "without a partner\n",
          "late       a record whose windows have all ended 5s ago goes to j.late\n"})
        CHECK(text.find(part) != std::string::npos);
    CHECK(errors_of(join("a.k = b.k AND window_start > 0")).find("window_start") != std::string::npos);
}

TEST_CASE("a pair whose condition fails goes to the dead letters with what is kept of it") {
    World world(kHead +
                "on_error: {dead_letter: dlq}\n"
                "sources:\n  a: {topic: a, keyed_by: k, timestamp: t}\n  b: {topic: b, keyed_by: k, "
                "timestamp: t}\n"
                "streams: {j: {join: {left: a, right: b, match: a.k = b.k AND a.v / b.v > 1, within: 1s}, "
                "steps: [{map: {v: a.v}}], to: out}}\n");
    // What a join cannot take is refused before it changes anything.
    REQUIRE(world.in("b", "1", R"({"k":1,"t":"1899-12-31T23:59:59Z","v":1})").ok());
    REQUIRE(world.in("a", "1", R"({"k":1,"t":1000,"v":8})").ok());
    REQUIRE(world.in("b", "1", R"({"k":1,"t":1000,"v":0})").ok());
    REQUIRE(world.in("b", "1", R"({"k":1,"t":1000,"v":2})").ok());
    REQUIRE(world.lines().size() == 3);
    CHECK(world.lines()[0] == R"(dlq 1 {"k":1,"t":"1899-12-31T23:59:59Z","v":1})");
    CHECK(world.lines()[1] == R"(dlq <null> {"a.v":8,"b.v":0})");
    CHECK(world.lines()[2] == R"(out 1 {"v":8})");
    CHECK(world.imbalance() == "");
}

TEST_CASE("the record key can always be grouped by") {
    World world(kHead +
                "sources: {orders: {topic: orders, watermark: 0s}}\n"
                "streams: {s: {from: orders, steps: [{aggregate: {by: _key, window: {tumbling: 1s}, fields: "
                "{n: count(*)}}}], "
                "to: out}}\n");
    REQUIRE(world.in("orders", "k", "{}", 500).ok());
    REQUIRE(world.in("orders", "k", "{}", 1500).ok());
    REQUIRE(world.lines().size() == 1);
    CHECK(world.lines()[0] == R"(out k {"_key":"k","window_start":0,"window_end":1000,"n":1})");
    CHECK(world.sink.outputs[0].timestamp_ms == 999);
}

TEST_CASE("the state hash follows aggregates and sources, not routes") {
    const auto hash = [](const std::string& field, const std::string& to) {
        return plan_of(kHead +
                       "sources: {o: {topic: o, keyed_by: k}}\nstreams: {s: {from: o, steps: [{aggregate: "
                       "{by: k, "
                       "window: {tumbling: 1s}, fields: {n: " +
                       field + "}}}], to: " + to + "}}\n")
            ->state_hash;
    };
    CHECK(hash("count(*)", "a") == hash("count(*)", "b"));
    CHECK(hash("count(*)", "a") != hash("count(x)", "a"));
}

TEST_CASE("records that fail go to the dead letters as they came, with the reason beside them") {
    World world(kHead +
                "on_error: {dead_letter: dlq}\n"
                "sources: {o: {topic: o, timestamp: t, watermark: {max_delay: 0s, max_ahead: 10m}}}\n"
                "streams: {s: {from: o, steps: [{map: {x: 1 / v}}], to: out}}\n");
    REQUIRE(
        world.in("o", {Record{"k", "{\"t\":1,\"v\":0}", 7, {{"h", "1"}, {"weir.pipeline", "mine"}}}}).ok());
    REQUIRE(world.in("o", {Record{std::nullopt, "{\"t\":1", 8, {}}}).ok());
    REQUIRE(world.in("o", "k", "{\"v\":1}").ok());
    REQUIRE(world.in("o", "k", "{\"t\":99999999999,\"v\":1}").ok());
    REQUIRE(world.in("o", "k", "{\"t\":1,\"v\":1}").ok());
    REQUIRE(world.sink.outputs.size() == 5);
    const Output& first = world.sink.outputs[0];
    CHECK(first.line() == "dlq k {\"t\":1,\"v\":0}");
    CHECK(first.timestamp_ms == 7);
    CHECK(first.headers.at("h") == "1");
    CHECK(first.headers.at("weir.pipeline") == "mine");
    CHECK(first.headers.at("__streams.errors.exception") == "expression_failed");
    CHECK(first.headers.at("__streams.errors.stacktrace") == "streams.s.steps[0].map");
    CHECK(first.headers.at("__streams.errors.offset") == "0");
    CHECK(world.sink.outputs[1].key == "<null>");
    CHECK(world.sink.outputs[1].headers.at("__streams.errors.exception") == "decode_failed");
    CHECK(world.sink.outputs[2].headers.at("__streams.errors.exception") == "timestamp_unreadable");
    CHECK(world.sink.outputs[3].headers.at("__streams.errors.exception") == "timestamp_ahead");
    CHECK(world.sink.outputs[4].topic == "out");
    CHECK(world.counters.sources[0].ahead == 1);
    CHECK(world.imbalance() == "");
}

TEST_CASE("on_error fail names the record and the step") {
    World world(kHead + "sources: {o: {topic: o}}\nstreams: {s: {from: o, to: out}}\n");
    const auto result = world.in("o", "k", "{\"a\":}");
    REQUIRE(!result.ok());
    CHECK(result.error().code == Code::kRecordFailed);
    CHECK(result.error().message.find("o[0]@0") != std::string::npos);
}

TEST_CASE("set and remove leave the other members' bytes alone; routes take the first match") {
    World world(kHead +
                "sources: {o: {topic: o}}\n"
                "streams: {s: {from: o, steps: [{set: {b: a + 1, z: upper(s)}}, {remove: [c]}], to: [{topic: "
                "big, when: b > 10, "
                "key: s, headers: {n: b}, partition: 3}, {topic: rest, when: b IS NOT NULL}]}}\n");
    REQUIRE(
        world.in("o", "k", R"({"a" : 1.50 , "b":"x", "c":{"b":[1,"}"]}, "s":"q\u0041\"", "e":1e2})", 5).ok());
    REQUIRE(world.in("o", "k", R"({"a":10,"s":"t"})", 6).ok());
    REQUIRE(world.in("o", "k", R"({"s":"t"})", 6).ok());
    REQUIRE(world.lines().size() == 2);
    CHECK(world.lines()[0] == R"(rest k {"a" : 1.50,"b":2.50,"s":"q\u0041\"","e":1e2,"z":"QA\""})");
    CHECK(world.lines()[1] == R"(big t {"a":10,"s":"t","b":11,"z":"T"})");
    CHECK(world.sink.outputs[1].partition == 3);
    CHECK(world.sink.outputs[1].headers.at("n") == "11");
    CHECK(world.counters.streams[0].unrouted == 1);
    CHECK(world.imbalance() == "");
}

TEST_CASE("explode makes a record per element") {
    World world(kHead +
                "sources: {o: {topic: o}}\n"
                "streams: {s: {from: o, steps: [{explode: {field: items, as: item}}, {map: {id: id, sku: "
                "item.sku}}], to: out}}\n");
    REQUIRE(world.in("o", "k", R"({"id":1,"items":[{"sku":"a"},{"sku":"b"}]})").ok());
    REQUIRE(world.in("o", "k", R"({"id":2,"items":[]})").ok());
    REQUIRE(world.lines().size() == 2);
    CHECK(world.lines()[1] == R"(out k {"id":1,"sku":"b"})");
    CHECK(world.imbalance() == "");
}

TEST_CASE("an aggregate reads only results that stay") {
    const auto chain = [](const std::string& first) {
        return errors_of(
            "sources: {o: {topic: o, keyed_by: k}}\nstreams:\n"
            "  a: {from: o, steps: [{aggregate: {by: k, " +
            first +
            ", fields: {n: count(*)}}}, {filter: n > 1}]}\n"
            "  b: {from: a, steps: [{aggregate: {by: k, window: {tumbling: 1h}, fields: {n: sum(n)}}}], to: "
            "out}\n");
    };
    CHECK(chain("window: {session: 1m}").empty());
    CHECK(chain("window: {tumbling: 1m}, emit: on_update").find("W0220") != std::string::npos);
    CHECK(chain("window: {tumbling: 1m}, emit: on_watermark").find("W0220") != std::string::npos);
    CHECK(chain("window: {count: 5}").find("W0220") != std::string::npos);
    CHECK(chain("window: {tumbling: 1m, time: processing}").find("W0220") != std::string::npos);
}

TEST_CASE("a time zone that does not exist is an error") {
    const std::string errors = errors_of(
        "sources: {o: {topic: o, keyed_by: k}}\nstreams: {s: {from: o, steps: [{aggregate: {by: k, window: "
        "{tumbling: 1d, timezone: Europe/Berln}, fields: {n: count(*)}}}], to: out}}\n");
    CHECK(errors.find("W0221") != std::string::npos);
}

TEST_CASE("late records are counted, and so are those of them that nobody reads") {
    const auto counted = [](const std::string& rest) {
        World world(kHead +
                    "sources: {o: {topic: o, keyed_by: k, timestamp: t, watermark: 0s}}\nstreams:\n  s: "
                    "{from: o, steps: [{aggregate: {by: k, window: {tumbling: 1s}, fields: {n: count(*)}}}], "
                    "to: out}\n" +
                    rest);
        for (const char* time : {"500", "2000", "700", "800"})
            REQUIRE(world.in("o", "k", std::string("{\"k\":\"k\",\"t\":") + time + "}").ok());
        CHECK(world.imbalance() == "");
        return std::pair(world.counters.streams[0].late, world.counters.streams[0].late_dropped);
    };
    CHECK(counted("") == std::pair(uint64_t{2}, uint64_t{2}));
    CHECK(counted("  l: {from: s.late, to: late}\n") == std::pair(uint64_t{2}, uint64_t{0}));
}

TEST_CASE("steps that keep state need the topic's key, and results that stay") {
    for (const char* step : {"dedupe: {by: BY, within: 1m}", "dedupe: {by: BY, within: 1m, keep: last}",
                             "throttle: {by: BY, max: 2, per: 1m}",
                             "top_n: {n: 2, by: BY, largest: v, window: {tumbling: 1m}}"}) {
        CAPTURE(step);
        const auto errors = [&](const std::string& by, const std::string& before) {
            std::string text = step;
            text.replace(text.find("BY"), 2, by);
            return errors_of("repartition: never\nsources: {o: {topic: o, keyed_by: k}}\nstreams: {s: {from: "
                             "o, steps: [" +
                             before + "{" + text + "}], to: out}, l: {from: s.late, to: late}}\n");
        };
        CHECK(errors("[k, v]", "") == "");
        CHECK(errors("_key", "") == "");
        CHECK(errors("v", "").find("W0204") != std::string::npos);
        CHECK(errors("k",
                     "{aggregate: {by: k, window: {tumbling: 1m}, emit: changes, fields: {v: count(*)}}}, ")
                  .find("W0220") != std::string::npos);
    }
}

TEST_CASE("what a record that was held back still has") {
    const auto pipeline = [](const std::string& after) {
        return kHead +
               "sources: {o: {topic: o, keyed_by: k, timestamp: t, watermark: 0s}}\nstreams: {s: {from: "
               "o, steps: [{set: {at: '_offset'}}, {remove: gone}, {dedupe: {by: k, within: 1s, keep: "
               "last}}, " +
               after + "], to: {topic: out, headers: {ts: _timestamp, by: _key}}}}\n";
    };
    std::string errors;
    plan_of(pipeline("{filter: _offset > 1}"), &errors);
    CHECK(errors.find("_offset is not kept") != std::string::npos);

    World world(pipeline("{filter: a.b = 'x' AND gone IS NULL}, {set: {c: a.c, s: upper(s)}}, {remove: at}"));
    REQUIRE(world.in("o", "k", R"({"k":"k","t":1000,"a":{"b":"x","c":[1.50]},"gone":1,"s":"b"})", 7).ok());
    world.epoch();
    world.crash();
    REQUIRE(world.shard->advance_watermark(kEndOfTime, 0, world.sink).ok());
    REQUIRE(world.lines().size() == 1);
    CHECK(world.lines()[0] == R"(out k {"k":"k","t":1000,"a":{"b":"x","c":[1.50]},"s":"B","c":[1.50]})");
    CHECK(world.sink.outputs[0].timestamp_ms == 1000);
    CHECK(world.sink.outputs[0].headers.at("by") == "k");
    CHECK(world.sink.outputs[0].headers.at("ts") == "1970-01-01 00:00:00.007+00");
    // Steps after it are free to change.
    const auto hash = [&](const std::string& after) { return plan_of(pipeline(after))->state_hash; };
    CHECK(hash("{filter: v > 1}") == hash("{set: {other: other.path}}"));
}

TEST_CASE("a record that was held back and then fails is dead-lettered as it has become") {
    World world(
        "name: p\nkafka: {bootstrap.servers: x}\non_error: {dead_letter: dlq}\nsources: {o: {topic: o, "
        "keyed_by: k, timestamp: t, watermark: 0s}}\nstreams: {s: {from: o, steps: [{set: {d: v}}, {top_n: "
        "{n: 5, by: k, largest: v, window: {tumbling: 1s}}}, {set: {q: 10 / d}}], to: out}}\n");
    for (const char* v : {"0", "5", "{}"})
        REQUIRE(world.in("o", "k", std::string("{\"k\":\"k\",\"t\":1,\"v\":") + v + "}").ok());
    REQUIRE(world.shard->advance_watermark(kEndOfTime, 0, world.sink).ok());
    const auto lines = world.lines();
    REQUIRE(lines.size() == 3);
    CHECK(lines[0] == R"(dlq k {"k":"k","t":1,"v":{}})");  // No order among objects: the record as it came.
    CHECK(lines[1] == R"(dlq k {"k":"k","t":1,"v":0,"d":0})");
    CHECK(lines[2] == R"(out k {"k":"k","t":1,"v":5,"d":5,"q":2.0000000000000000})");
    CHECK(world.imbalance() == "");
    CHECK(world.counters.streams[0].merged == 2);
    CHECK(world.counters.streams[0].derived == 2);
}

TEST_CASE("a window of many groups is written in the middle of a run") {
    World world(kHead +
                "sources: {o: {topic: o, keyed_by: k, timestamp: t, watermark: 0s}}\nstreams: {s: {from: o, "
                "steps: [{aggregate: {by: k, window: {tumbling: 1s}, fields: {name: min(name)}}}], to: "
                "out}}\n");
    std::vector<Record> run;
    const auto add = [&](int group, int64_t time) {
        const std::string key = std::to_string(group);
        // The escape makes the text live in the batch's memory, which must outlive the results.
        run.push_back(
            {key,
             "{\"k\":\"" + key + "\",\"t\":" + std::to_string(time) + ",\"name\":\"\\u00e9 " + key + "\"}",
             0,
             {}});
    };
    for (int group = 0; group < 3000; ++group) add(group, 0);
    for (int group = 0; group < 900; ++group) add(group, 1000);
    REQUIRE(world.in("o", std::move(run)).ok());
    REQUIRE(world.shard->advance_watermark(kEndOfTime, 0, world.sink).ok());
    const auto lines = world.lines();
    REQUIRE(lines.size() == 3900);
    const auto line = [](int group, const std::string& start, const std::string& end) {
        const std::string key = std::to_string(group);
        return "out " + key + " {\"k\":\"" + key + "\",\"window_start\":" + start + ",\"window_end\":" + end +
               ",\"name\":\"\u00e9 " + key + "\"}";
    };
    for (int group = 0; group < 3000; ++group)
        REQUIRE(lines[static_cast<size_t>(group)] == line(group, "0", "1000"));
    for (int group = 0; group < 900; ++group)
        REQUIRE(lines[static_cast<size_t>(group) + 3000] == line(group, "1000", "2000"));
}

TEST_CASE("records that were held back are written in the middle of a run") {
    World world(kHead +
                "sources: {o: {topic: o, keyed_by: k, timestamp: t, watermark: 0s}}\nstreams: {s: {from: o, "
                "steps: [{dedupe: {by: k, within: 1s, keep: last}}, {map: {k: k, name: name}}], to: out}}\n");
    std::vector<Record> run;
    for (int i = 0; i < 3900; ++i) {
        const std::string key = std::to_string(i % 3000);
        run.push_back({key,
                       "{\"k\":\"" + key + "\",\"t\":" + std::to_string(i / 3000 * 1000) +
                           ",\"name\":\"\\u00e9 " + key + "\"}",
                       0,
                       {}});
    }
    REQUIRE(world.in("o", std::move(run)).ok());
    REQUIRE(world.shard->advance_watermark(kEndOfTime, 0, world.sink).ok());
    const auto lines = world.lines();
    REQUIRE(lines.size() == 3900);
    for (size_t i = 0; i < lines.size(); ++i) {
        const std::string key = std::to_string(i % 3000);
        REQUIRE(lines[i] == "out " + key + " {\"k\":\"" + key + "\",\"name\":\"\u00e9 " + key + "\"}");
    }
}

TEST_CASE("one commit says the latest value of a group once") {
    World world(kHead +
                "sources: {o: {topic: o, keyed_by: k}}\nstreams: {s: {from: o, steps: [{aggregate: {by: k, "
                "window: none, emit: on_update, fields: {n: count(*)}}}], to: out}}\n");
    for (int i = 0; i < 3; ++i) REQUIRE(world.in("o", "k", "{\"k\":\"k\"}", 1000 + i).ok());
    CHECK(world.lines().empty());
    world.epoch();
    REQUIRE(world.lines().size() == 1);
    CHECK(world.lines()[0] == R"(out k {"k":"k","n":3})");
    CHECK(world.sink.outputs[0].timestamp_ms == 1002);
}

TEST_CASE("aggregates chain: minutes of ten-second sums") {
    World world(kHead +
                "sources: {o: {topic: o, keyed_by: k, timestamp: t, watermark: 0s}}\n"
                "streams:\n"
                "  ten: {from: o, steps: [{aggregate: {by: k, window: {tumbling: 10s, grace: 5s}, fields: "
                "{n: count(*)}}}]}\n"
                "  minute: {from: ten, steps: [{aggregate: {by: k, window: {tumbling: 1m}, fields: {n: "
                "sum(n), tens: count(*)}}}], "
                "to: out}\n");
    for (int second = 0; second <= 65; ++second) {
        REQUIRE(world.in("o", "k", "{\"k\":\"k\",\"t\":" + std::to_string(second * 1000) + "}").ok());
    }
    REQUIRE(world.lines().size() == 1);
    CHECK(world.lines()[0] == R"(out k {"k":"k","window_start":0,"window_end":60000,"n":60,"tens":6})");
    CHECK(world.imbalance() == "");
}

TEST_CASE("having: what fails it is filtered, and the ledger says so; a result that fails goes to on_error") {
    World world(kHead +
                "on_error: {dead_letter: dlq}\n"
                "sources: {o: {topic: o, keyed_by: k, timestamp: t, watermark: 0s}}\n"
                "streams: {s: {from: o, steps: [{aggregate: {by: k, window: {tumbling: 1s}, "
                "having: \"max(v) < 100 AND k <> 'b'\", fields: {total: sum(v), each: 6 / min(v)}}}], "
                "to: out}}\n");
    for (const char* const row :
         {R"({"k":"a","t":1,"v":2})", R"({"k":"a","t":2,"v":3})", R"({"k":"b","t":1,"v":2})",
          R"({"k":"c","t":1,"v":200})", R"({"k":"d","t":3,"v":0})"}) {
        REQUIRE(world.in("o", "k", row).ok());
    }
    REQUIRE(world.shard->advance_watermark(kEndOfTime, 0, world.sink).ok());
    REQUIRE(world.lines().size() == 2);
    CHECK(world.sink.outputs[0].topic == "dlq");
    CHECK(world.sink.outputs[0].headers.at("__streams.errors.message") == "division by zero");
    CHECK(world.lines()[1] ==
          R"(out a {"k":"a","window_start":0,"window_end":1000,"total":5,"each":3.0000000000000000})");
    CHECK(world.counters.streams[0].filtered == 2);
    CHECK(world.imbalance() == "");
    std::string errors;
    CHECK(plan_of(kHead +
                      "sources: {o: {topic: o, keyed_by: k}}\n"
                      "streams: {s: {from: o, steps: [{aggregate: {by: k, window: {tumbling: 1s}, having: "
                      "sum(v), fields: {n: stdev(v)}}}], to: out}}\n",
                  &errors) == nullptr);
    INFO(errors);
    CHECK(errors.find("did you mean stddev?") != std::string::npos);
}

}  // namespace
}  // namespace weir::processor
