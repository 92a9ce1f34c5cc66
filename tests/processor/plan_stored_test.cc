// Plans with state on disk.
#include "fixture.h"

namespace weir::processor {
namespace {

const std::string kHead =
    "name: p\nkafka: {bootstrap.servers: \"b:9092\"}\nsources:\n  a: {topic: a, keyed_by: k}\n";

TEST_CASE("steps with windows of every kind can be on disk") {
    for (const std::string step :
         {"dedupe: {by: k, within: 1h, keep: last", "top_n: {by: k, n: 1, largest: v, window: {session: 1h}",
          "aggregate: {by: k, fields: {n: count(*)}, window: {sliding: 1h}",
          "aggregate: {by: k, fields: {n: count(*)}, window: {count: 10}",
          "aggregate: {by: k, fields: {n: count(*)}, window: {cumulate: {size: 1d, step: 1h}}"}) {
        const auto plan = plan_of(kHead + "streams: {s: {from: a, steps: [{" + step +
                                  ", state: {backend: rocksdb}}}], to: out}}\n");
        REQUIRE(plan->stored_tables.size() == 1);
        CHECK(plan->explain(ExplainFormat::kText).find("on disk, in RocksDB") != std::string::npos);
    }
}

TEST_CASE("joins of every kind can be on disk") {
    for (const std::string how : {"within: 1h, kind: full", "window: {tumbling: 1h}, kind: left",
                                  "window: {hopping: {size: 1m, step: 10s}}, kind: full",
                                  "window: {session: 1h}, kind: right", "as_of: {tolerance: 1m}"}) {
        const auto plan = plan_of(kHead + "  b: {topic: b, keyed_by: k}\nstreams:\n  s:\n" +
                                  "    join: {left: a, right: b, match: a.k = b.k, " + how +
                                  ", state: {backend: rocksdb}}\n    to: out\n");
        REQUIRE(plan->stored_tables.size() == 1);
        CHECK(plan->stored_tables[0].name == "s.join");
        CHECK(plan->explain(ExplainFormat::kText).find("on disk, in RocksDB") != std::string::npos);
    }
}

TEST_CASE("a step on disk is told in explain, and is other state than in memory") {
    const auto plan_with = [](const std::string& where) {
        return plan_of(kHead +
                       "streams: {s: {from: a, steps: [{dedupe: {by: k, within: 1h}}, {dedupe: {by: k, "
                       "within: 7d" +
                       where + "}}], to: out}}\n");
    };
    const auto memory = plan_with("");
    const auto disk = plan_with(", state: {backend: rocksdb}");
    CHECK(memory->state_hash != disk->state_hash);
    CHECK(memory->state_hash == plan_with(", state: {backend: memory}")->state_hash);
    CHECK(memory->stored_tables.empty());
    REQUIRE(disk->stored_tables.size() == 1);
    CHECK(disk->stored_tables[0].name == "s.steps[1]");
    CHECK(disk->stored_tables[0].first == kTablesPerStage);
    CHECK(disk->stored_tables[0].count == kTablesPerStage);
    const std::string text = disk->explain(ExplainFormat::kText);
    CHECK(text.find("tables 4 to 7, on disk, in RocksDB") != std::string::npos);
    CHECK(disk->explain(ExplainFormat::kJson).find(R"("state_table":4,"on_disk":true)") != std::string::npos);
}

TEST_CASE("tables on disk are told in explain, and are other state than those in memory") {
    const auto plan_with = [](const std::string& where) {
        return plan_of(kHead + "tables: {t: {topic: t" + where + "}, n: {from: s" + where +
                       "}}\n"
                       "streams:\n"
                       "  s: {from: a, steps: [{lookup: {table: t, by: k}}, {aggregate: {by: k, window: "
                       "none, emit: on_update, fields: {n: count(*)}}}], to: out}\n"
                       "  r: {from: a, steps: [{lookup: {table: n, by: k}}], to: found}\n");
    };
    const auto memory = plan_with("");
    const auto disk = plan_with(", state: {backend: rocksdb}");
    CHECK(memory->state_hash != disk->state_hash);
    CHECK(memory->state_hash == plan_with(", state: {backend: memory}")->state_hash);
    CHECK(memory->stored_tables.empty());
    REQUIRE(disk->stored_tables.size() == 2);
    CHECK(disk->stored_tables[0].name == "t");
    CHECK(disk->stored_tables[1].name == "n");
    const std::string text = disk->explain(ExplainFormat::kText);
    CHECK(text.find("on disk, in RocksDB", text.find("on disk, in RocksDB") + 1) != std::string::npos);
    CHECK(disk->explain(ExplainFormat::kJson).find(R"("on_disk":true)") != std::string::npos);
    CHECK(memory->explain(ExplainFormat::kText).find("on disk") == std::string::npos);
}

}  // namespace
}  // namespace weir::processor
