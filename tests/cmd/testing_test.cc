// What `weir test` is made of: running a test's events, comparing, and rewriting what is expected.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cmd/test_compare.h"
#include "cmd/test_run.h"
#include "cmd/test_update.h"
#include "cmd/verbs.h"
#include "config/load.h"

namespace weir::cmd {
namespace {

constexpr const char* kPipeline = R"(name: sums
kafka: {bootstrap.servers: none}
sources:
  in: {topic: [in, in2], keyed_by: k, timestamp: t, watermark: {max_delay: 2s, idle_timeout: 5s}}
streams:
  sums:
    from: in
    steps: [{aggregate: {by: k, window: {tumbling: 10s}, fields: {n: count(*), total: sum(v)}}}]
    to: sums
  late: {from: sums.late, to: late}
)";

struct Loaded {
    config::Loaded file;
    std::unique_ptr<const processor::Plan> plan;
};

Loaded load(const std::string& tests) {
    Loaded loaded{config::load_text("sums.yaml", kPipeline + tests, {}), nullptr};
    INFO(loaded.file.diagnostics.render("sums.yaml", loaded.file.source));
    REQUIRE_FALSE(loaded.file.diagnostics.has_errors());
    loaded.plan = processor::compile(loaded.file.pipeline, loaded.file.diagnostics);
    REQUIRE(loaded.plan != nullptr);
    return loaded;
}

std::vector<std::string> lines(const Written& written, const std::string& topic) {
    std::vector<std::string> result;
    const auto found = written.find(topic);
    if (found == written.end()) return result;
    for (const auto& record : found->second)
        result.push_back(record.key.value_or("null") + " " + record.value.value_or("null"));
    return result;
}

Written run(const Loaded& loaded, const TestMode& mode = {}, size_t test = 0) {
    auto written = run_test(loaded.file.pipeline, *loaded.plan, loaded.file.pipeline.tests.at(test), mode);
    INFO((written.ok() ? std::string() : written.error().message));
    REQUIRE(written.ok());
    return std::move(written).value();
}

constexpr const char* kFeed = R"(
tests:
  - name: every kind of event
    start: 1970-01-01T00:00:00Z
    feed:
      - {at: 1s, to: in, key: a, value: {k: a, t: 1000, v: 1.10}}
      - {at: 2s, to: in, key: a, value: {k: a, t: 9000, v: 2}}
      - {restart: true}
      - {watermark: 1970-01-01T00:00:10Z}
      - {to: in, key: a, value: {k: a, t: 5000, v: 7}}
      - {to: in, key: b, value: {k: b, t: 12000, v: 4}}
      # Quiet for 5 s: idle; then event time ticks from 10 s on.
      - {advance: 14s}
      - {advance: 1s}
    expect: {}
)";

TEST_CASE("a test's events: records, a restart, a watermark, late records, silence") {
    const Loaded loaded = load(kFeed);
    const Written plain = run(loaded);
    CHECK(lines(plain, "sums") ==
          std::vector<std::string>{R"(a {"k":"a","window_start":0,"window_end":10000,"n":2,"total":3.10})",
                                   R"(b {"k":"b","window_start":10000,"window_end":20000,"n":1,"total":4})"});
    CHECK(lines(plain, "late") == std::vector<std::string>{R"(a {"k":"a","t":5000,"v":7})"});

    TestMode mode;
    mode.restart_everywhere = true;
    const Written restarted = run(loaded, mode);
    CHECK(lines(restarted, "sums") == lines(plain, "sums"));
    CHECK(lines(restarted, "late") == lines(plain, "late"));
}

TEST_CASE("after a rebalance the state is where the partitions are") {
    std::string feed = R"(
tests:
  - name: two partitions
    start: 1970-01-01T00:00:00Z
    partitions: 2
    feed:
      - {at: 1s, to: in, partition: 0, key: a, value: {k: a, t: 1000, v: 1}}
      - {at: 1s, to: in, partition: 1, key: b, value: {k: b, t: 1000, v: 10}}
      - {rebalance: [1]}
      - {at: 2s, to: in, partition: 0, key: a, value: {k: a, t: 2000, v: 2}}
      - {at: 2s, to: in, partition: 1, key: b, value: {k: b, t: 2000, v: 20}}
      - {rebalance: [0, 1]}
      - {at: 3s, to: in, partition: 0, key: a, value: {k: a, t: 3000, v: 4}}
      - {restart: true}
      - {at: 3s, to: in, partition: 1, key: b, value: {k: b, t: 3000, v: 40}}
      - {rebalance: 0}
      - {watermark: 1970-01-01T00:00:10Z}
    expect: {}
)";
    const std::vector<std::string> sums{
        R"(a {"k":"a","window_start":0,"window_end":10000,"n":3,"total":7})",
        R"(b {"k":"b","window_start":0,"window_end":10000,"n":3,"total":70})"};
    const auto sorted = [](std::vector<std::string> written) {
        std::sort(written.begin(), written.end());
        return written;
    };
    const Loaded loaded = load(feed);
    CHECK(sorted(lines(run(loaded), "sums")) == sums);
    TestMode mode;
    mode.restart_everywhere = true;
    CHECK(sorted(lines(run(loaded, mode), "sums")) == sums);
}

TEST_CASE("shuffling changes the order between partitions, never within one, and only within max_delay") {
    const Loaded loaded = load(R"(
tests:
  - name: near
    partitions: 1
    feed:
      - {at: 10s, to: in, value: {k: a, t: 10000, v: 1}}
      - {at: 11s, to: in2, value: {k: b, t: 11000, v: 1}}
      - {at: 11s, to: in, value: {k: a, t: 30000, v: 1}}
      - {at: 12s, to: in2, value: {k: b, t: 5000, v: 1}}
    expect: {}
  - name: far
    partitions: 1
    feed:
      - {at: 10s, to: in, value: {k: a, t: 10000, v: 1}}
      - {at: 20s, to: in2, value: {k: b, t: 1000, v: 1}}
      - {at: 30s, to: in, value: {k: a, t: 30000, v: 1}}
    expect: {}
)");
    std::set<std::string> outcomes;
    for (uint64_t seed = 0; seed < 20; ++seed) {
        TestMode mode;
        mode.shuffle = seed;
        std::string all;
        for (const std::string& line : lines(run(loaded, mode), "late")) all += line + "\n";
        outcomes.insert(all);
        CHECK(lines(run(loaded, mode, 1), "late") == lines(run(loaded, {}, 1), "late"));
    }
    CHECK(outcomes.size() > 1);
}

TEST_CASE("tests do not change what the state means") {
    CHECK(load("").plan->state_hash == load(kFeed).plan->state_hash);
}

// `expect` of one topic, and what came.
struct Case {
    Loaded loaded;
    std::string source;
    const config::ExpectedTopic* topic;
    std::vector<connectors::MemoryRecord> actual;

    Case(const std::string& expect, const std::vector<std::string>& values)
        : loaded(load("tests:\n  - name: one\n    feed: []\n    expect:\n" + expect)) {
        source = loaded.file.source;
        topic = &loaded.file.pipeline.tests.at(0).expect.at(0);
        for (const std::string& value : values) {
            connectors::MemoryRecord record;
            record.key = "a";
            record.value = value;
            record.timestamp_ms = 1000;
            actual.push_back(record);
        }
    }
    [[nodiscard]] std::vector<std::string> differences(bool any_order = false) const {
        std::vector<std::string> result;
        for (const Pairing& pairing : compare(topic->records, actual, any_order))
            if (!pairing.difference.empty()) result.push_back(pairing.difference);
        return result;
    }
    // From `expect:` on.
    [[nodiscard]] std::string updated() const {
        const auto text =
            apply_edits(source, edits_for(source, *topic, actual, compare(topic->records, actual, false)));
        return text.substr(text.find("    expect:\n") + 12);
    }
};

TEST_CASE("records are compared as JSON, and a difference names its place") {
    using Lines = std::vector<std::string>;
    const std::string same = "      sums: [{key: a, value: {n: 1, x: {y: [1, two, null]}}}]\n";
    CHECK(Case(same, {R"({"x":{"y":[1.0,"two",null]},"n":1.00})"}).differences() == Lines{});
    CHECK(Case(same, {R"({"x":{"y":[1,"three",null]},"n":1})"}).differences() ==
          Lines{"value.x.y[1]: expected two, got three"});
    CHECK(Case(same, {R"({"n":1})"}).differences() ==
          Lines{"value.x: expected {y: [1, two, null]}, it is missing"});
    CHECK(Case(same, {R"({"n":"1","x":{"y":[1,"two",null]}})"}).differences() ==
          Lines{"value.n: expected 1, got \"1\""});
    CHECK(Case("      sums: [{value: {n: 1}}]\n", {R"({"n":1,"m":2})"}).differences() ==
          Lines{"value.m: nobody expected 2"});
    CHECK(Case("      sums: [{value: {longer: 1, n: 1}}]\n", {R"({"n":2,"longer":2})"}).differences() ==
          Lines{"value.longer: expected 1, got 2"});
    CHECK(Case("      sums: [{value: {n: 1}, partial: true}]\n", {R"({"n":1,"m":2})"}).differences() ==
          Lines{});
    CHECK(Case("      sums: [{key: b}]\n", {"{}"}).differences() == Lines{"key: expected b, got a"});
    CHECK(Case("      sums: [{timestamp: 1970-01-01T00:00:02Z}]\n", {"{}"}).differences() ==
          Lines{"timestamp: expected 1970-01-01T00:00:02Z, got 1970-01-01T00:00:01Z"});
    CHECK(Case("      sums: [{match: \"n > 2 AND _key = 'a'\"}]\n", {R"({"n":3})"}).differences() == Lines{});
    CHECK(Case("      sums: [{match: n > 2}]\n", {R"({"n":2})"}).differences() == Lines{"match is false"});
    CHECK(Case("      sums: [{match: m > 2}]\n", {R"({"n":2})"}).differences() == Lines{"match is NULL"});
    CHECK(Case("      sums: [{value: 1}]\n", {"{broken"}).differences() ==
          Lines{"value: expected 1, got no JSON"});
}

TEST_CASE("missing and surplus records are told, in order or in any") {
    using Lines = std::vector<std::string>;
    const std::string two = "      sums: [{value: {n: 1}}, {value: {n: 2}}]\n";
    CHECK(Case(two, {R"({"n":2})"}).differences() == Lines{"the record is missing"});
    CHECK(Case(two, {R"({"n":1})", R"({"n":7})", R"({"n":2})"}).differences() ==
          Lines{"nobody expected this record"});
    const Case swapped(two, {R"({"n":2})", R"({"n":1})"});
    CHECK(swapped.differences().size() == 2);
    CHECK(swapped.differences(true) == Lines{});
    // The loose expectation leaves to the strict one the only record that it takes.
    CHECK(Case("      sums: [{match: n > 0}, {value: {n: 1}}]\n", {R"({"n":1})", R"({"n":2})"})
              .differences(true) == Lines{});
}

TEST_CASE("--update rewrites what differs and keeps the rest, comments too") {
    const std::string block =
        "      sums:\n"
        "        # The first.\n"
        "        - {key: a,   value: {n: 1}}  # as it should be\n"
        "        - key: a\n"
        "          value: {n: 2}\n"
        "        - {key: a, value: {n: 3}}\n"
        "      late: []  # none\n";
    CHECK(Case(block, {R"({"n":1})", R"({"n":5, "s": "x y"})"}).updated() ==
          "      sums:\n"
          "        # The first.\n"
          "        - {key: a,   value: {n: 1}}  # as it should be\n"
          "        - {key: a, value: {n: 5, s: \"x y\"}}\n"
          "      late: []  # none\n");
    CHECK(Case(block, {R"({"n":0})", R"({"n":1})", R"({"n":2})", R"({"n":3})", R"({"n":4})"}).updated() ==
          "      sums:\n"
          "        # The first.\n"
          "        - {key: a, value: {n: 0}}\n"
          "        - {key: a,   value: {n: 1}}  # as it should be\n"
          "        - key: a\n"
          "          value: {n: 2}\n"
          "        - {key: a, value: {n: 3}}\n"
          "        - {key: a, value: {n: 4}}\n"
          "      late: []  # none\n");
    CHECK(Case("      sums: []\n", {R"({"n":1})", R"({"n":2})"}).updated() ==
          "      sums: [{key: a, value: {n: 1}},\n"
          "        {key: a, value: {n: 2}}]\n");
    CHECK(Case("      sums:\n        - {value: {n: 1}}\n      late: []\n", {}).updated() ==
          "      sums:\n        []\n      late: []\n");
    const std::string good = "      sums: [ {value: {n: 1.00}} ]\n";
    CHECK(Case(good, {R"({"n":1})"}).updated() == good);
}

TEST_CASE("topics that a reference names otherwise stop weir test, and nothing else") {
    const std::string text =
        std::string(kPipeline) + "tests: [{name: one, feed: [{to: inn, value: 1}], expect: {sums: []}}]\n";
    config::LoadOptions options;
    CHECK(config::load_text("sums.yaml", text, options).diagnostics.has_errors());
    options.tests_must_fit = false;
    const auto loaded = config::load_text("sums.yaml", text, options);
    CHECK_FALSE(loaded.diagnostics.has_errors());
    REQUIRE(loaded.diagnostics.all().size() == 1);
    CHECK(loaded.diagnostics.all()[0].code == "W0071");
}

TEST_CASE("a test's condition that is none is a diagnostic with its place") {
    const Loaded loaded = load(
        "tests:\n"
        "  - name: one\n"
        "    feed: []\n"
        "    expect: {sums: [{match: lenght(k) > 1}]}\n");
    config::Diagnostics diagnostics;
    check_conditions(loaded.file.pipeline.tests, diagnostics);
    REQUIRE(diagnostics.all().size() == 1);
    CHECK(diagnostics.all()[0].code == "W0201");
    CHECK((diagnostics.all()[0].mark.line == 14 && diagnostics.all()[0].mark.column == 29));
}

}  // namespace
}  // namespace weir::cmd
