// Rules of watermarks that a scenario cannot show: headers, counters, what is committed when, old formats.
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <sstream>

#include "fixture.h"
#include "processor/group_key.h"

namespace weir::processor {
namespace {

std::string pipeline(const std::string& watermark) {
    return "name: p\nkafka: {bootstrap.servers: \"b:9092\"}\non_error: skip\n"
           "sources: {o: {topic: o, keyed_by: k, timestamp: t, watermark: " +
           watermark +
           "}}\nstreams:\n  s: {from: o, steps: [{aggregate: {by: k, window: {tumbling: 10s}, fields: {n: "
           "count(*)}}}], to: out}\n";
}

std::string at(int64_t time) { return R"({"k":"a","t":)" + std::to_string(time) + "}"; }

Record with_header(int64_t time, const std::string& name, const std::string& value) {
    return {"a", at(time), 0, {{name, value}}};
}

TEST_CASE("a watermark in a header") {
    World world(pipeline(R"({strategy: source_provided, from: "(_headers->>'wm')::bigint"})"));
    REQUIRE(world.in("o", {with_header(1000, "other", "x"), with_header(2000, "wm", "10000")}).ok());
    CHECK(world.lines() == std::vector<std::string>{
                               R"(out a {"k":"a","window_start":0,"window_end":10000,"n":2})"});
}

TEST_CASE("a watermark that is no timestamp, and a marker's condition that fails, go to on_error") {
    World world(pipeline("{strategy: punctuated, when: w, markers: 1 / (t - 5) > 0}"));
    REQUIRE(world.in("o", "a", R"({"k":"a","t":1,"w":"soon"})").ok());
    REQUIRE(world.in("o", "a", R"({"k":"a","t":5})").ok());
    // TRUE means the record's own time, and this marker has none.
    World other(pipeline("{strategy: punctuated, when: true, markers: m}"));
    REQUIRE(other.in("o", "a", R"({"m":true})").ok());
    CHECK(world.counters.sources[0].timestamp_errors == 2);
    CHECK(world.counters.sources[0].skipped == 2);
    CHECK(other.counters.sources[0].skipped == 1);
    CHECK(world.imbalance() == "");
}

TEST_CASE("markers, records behind the watermark and watermarks too far ahead are counted") {
    World world(pipeline("{strategy: source_provided, from: w, markers: m}"));
    REQUIRE(world.in("o", "a", R"({"m":true,"w":5000})").ok());
    REQUIRE(world.in("o", "a", R"({"k":"a","t":4999})").ok());
    REQUIRE(world.in("o", "a", R"({"k":"a","t":5000,"w":99999999})").ok());
    const SourceCounters& counters = world.counters.sources[0];
    CHECK(counters.markers == 1);
    CHECK(counters.behind == 1);
    CHECK(counters.marks_ahead == 1);
    CHECK(counters.delivered == 2);
    CHECK(world.imbalance() == "");
    const PartitionStatus partition = world.shard->status().partitions.at(0);
    CHECK(partition.watermark == 5000);
    CHECK(partition.advances == 1);
    CHECK(partition.advanced_offset == 0);
    CHECK(partition.advanced_wall_ms == 1'000'000);
}

TEST_CASE("lateness is tested before the record, and before its batch, moves the watermark") {
    World world(pipeline("{strategy: ascending}"));
    // As one run: each record sees only what stood before it.
    REQUIRE(world.in("o", {{"a", at(9000), 0, {}}, {"a", at(20000), 0, {}}, {"a", at(9001), 0, {}}}).ok());
    CHECK(world.counters.streams[0].late == 1);
    CHECK(world.counters.streams[0].merged == 2);
}

TEST_CASE("of late records one a minute is logged, by the wall clock") {
    std::ostringstream log;
    const auto logger = spdlog::default_logger();
    spdlog::set_default_logger(
        std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)));
    spdlog::set_pattern("%v");
    World world(pipeline("{strategy: ascending}"));
    REQUIRE(world.in("o", {{"a", at(30000), 0, {}}, {"a", at(1), 0, {}}, {"a", at(2), 0, {}}}).ok());
    world.clock.advance_ms(59'999);
    REQUIRE(world.in("o", "a", at(3)).ok());
    world.clock.advance_ms(1);
    REQUIRE(world.in("o", "a", at(4)).ok());
    spdlog::set_default_logger(logger);
    const std::string_view start = "records are too late: step=streams.s.steps[0].aggregate event_time=";
    CHECK(log.str() == std::string(start) + "1 late_by_ms=29999 dropped\n" + std::string(start) +
                           "4 late_by_ms=29996 dropped\n");
    CHECK(world.counters.streams[0].late == 4);
}

// What the clock brings a ticking stage is committed every emit_every, and only while a window waits for it.
TEST_CASE("a ticking watermark is committed every emit_every, and a crash sets it back by no more") {
    World world(pipeline("{max_delay: 0s, idle_timeout: 1s, emit_every: 2s}"));
    REQUIRE(world.in("o", "a", at(1000)).ok());
    world.caught_up("o");
    world.epoch();
    world.advance(1000);
    REQUIRE(world.shard->changed());  // It fell idle.
    world.epoch();
    world.advance(1999);
    CHECK_FALSE(world.shard->changed());
    CHECK(world.shard->next_deadline_us() == world.clock.monotonic_us() + 1000);
    world.advance(1);
    REQUIRE(world.shard->changed());
    world.epoch();
    world.advance(1500);
    CHECK_FALSE(world.shard->changed());
    world.crash();
    CHECK(world.shard->status().stages.at(0).watermark == 3000);
    // From there it goes on: 7 s later the window closes.
    world.advance(6999);
    CHECK(world.lines().empty());
    world.advance(1);
    CHECK(world.lines().size() == 1);
    world.epoch();
    // Nothing is open: the clock has nothing to do.
    CHECK(world.shard->next_deadline_us() == INT64_MAX);
}

// A process that restarts more often than idle_timeout still finds its partitions idle.
TEST_CASE("how long a partition has been quiet survives a crash") {
    World world(pipeline("{max_delay: 0s, idle_timeout: 30s}"));
    REQUIRE(world.in("o", "a", at(1000)).ok());
    world.caught_up("o");
    world.epoch();
    for (int i = 0; i < 4; ++i) {
        world.clock.advance_ms(7400);
        world.crash();
        CHECK_FALSE(world.shard->status().partitions.at(0).idle);
    }
    world.advance(400);
    CHECK(world.shard->status().partitions.at(0).idle);
}

TEST_CASE("a wall clock that is set forward before a recovery makes no partition idle") {
    World world(pipeline("{max_delay: 0s, idle_timeout: 30s}"));
    REQUIRE(world.in("o", "a", at(1000)).ok());
    world.caught_up("o");
    world.epoch();
    world.clock.advance_ms(10'000);
    world.clock.jump_wall_ms(3'600'000);
    world.crash();
    world.advance(19'999);
    CHECK_FALSE(world.shard->status().partitions.at(0).idle);
    world.advance(1);
    CHECK(world.shard->status().partitions.at(0).idle);
}

// Idle is idle: it does not begin anew when the wall clock was set back meanwhile.
TEST_CASE("that a partition is idle survives a crash, whatever the wall clock says after it") {
    World world(pipeline("{max_delay: 0s, idle_timeout: 30s}"));
    REQUIRE(world.in("o", "a", at(1000)).ok());
    world.caught_up("o");
    world.advance(30'000);
    REQUIRE(world.shard->status().partitions.at(0).idle);
    world.epoch();
    world.clock.jump_wall_ms(-3'600'000);
    world.crash();
    CHECK(world.shard->status().partitions.at(0).idle);
    world.advance(9'000);
    CHECK(world.lines().size() == 1);
}

// `weir why` tells the same after a restart: which record set the watermark, and when.
TEST_CASE("which record set the watermark survives a crash") {
    World world(pipeline("{max_delay: 0s}"));
    REQUIRE(world.in("o", "a", at(1000)).ok());
    REQUIRE(world.in("o", "a", at(3000)).ok());
    REQUIRE(world.in("o", "a", at(2000)).ok());
    world.epoch();
    world.clock.advance_ms(5'000);
    world.crash();
    const PartitionStatus partition = world.shard->status().partitions.at(0);
    CHECK(partition.advanced_offset == 1);
    CHECK(partition.advanced_wall_ms == 1'000'000);
}

TEST_CASE("progress as version 0.1 first stored it is still read") {
    World world(pipeline("{max_delay: 2s}"));
    std::string blob;
    put_le<uint8_t>(blob, 1);
    put_le<uint8_t>(blob, 1);
    put_le<int64_t>(blob, 7000);
    REQUIRE(world.shard->restore_progress({{TopicId{0}, 0}, 5, kNoTime, blob}).ok());
    const PartitionStatus partition = world.shard->status().partitions.at(0);
    CHECK(partition.watermark == 5000);
    CHECK(partition.idle);
    CHECK_FALSE(world.shard->restore_progress({{TopicId{0}, 0}, 5, kNoTime, blob + "x"}).ok());
}

TEST_CASE("expressions of watermarks are checked when the file is loaded") {
    std::string errors;
    plan_of(pipeline("{strategy: punctuated, when: \"3.5 > t\", markers: 5}"), &errors);
    CHECK(errors.find("a condition is boolean, this is") != std::string::npos);
    plan_of(pipeline("{strategy: source_provided, from: t > 1}"), &errors);
    CHECK(errors.find("a watermark is a timestamp, this is boolean") != std::string::npos);
    plan_of(pipeline("{strategy: punctuated, when: t::float8}"), &errors);
    CHECK(errors.find("a punctuation is boolean or a timestamp") != std::string::npos);
}

TEST_CASE("align is a warning where no windowed step reads two topics") {
    std::string text;
    plan_of("align: {max_drift: 1m}\n" + pipeline("5s"), &text);
    CHECK(text.find("W0211") != std::string::npos);
    std::string two = "align: {max_drift: 1m}\n" + pipeline("5s");
    two.replace(two.find("topic: o,"), 8, "topic: [o, p]");
    const auto plan = plan_of(two, &text);
    CHECK(text.empty());
    CHECK(plan->max_drift_ms == 60'000);
}

// As an output's key has it: a text that may also be a number or a boolean, an array of several.
TEST_CASE("a group is found by the text of its key") {
    const auto keys_of = [](std::vector<Value> values) {
        std::string key;
        for (const Value& value : values) append_group_key(value, key);
        return key;
    };
    const auto has = [&](const std::string& text, size_t columns, const std::string& key) {
        const auto keys = group_keys_of(text, columns);
        return std::find(keys.begin(), keys.end(), key) != keys.end();
    };
    CHECK(has("7", 1, keys_of({Value::of_text("7")})));
    CHECK(has("7", 1, keys_of({Value::of_int8(7)})));
    CHECK(has("true", 1, keys_of({Value::of_bool(true)})));
    CHECK(has("customer-7", 1, keys_of({Value::of_text("customer-7")})));
    CHECK(has(R"(["a", 7])", 2, keys_of({Value::of_text("a"), Value::of_int8(7)})));
    CHECK(group_keys_of("a", 2).empty());
    CHECK(group_keys_of(R"(["a"])", 2).empty());
}

TEST_CASE("a strategy is part of what stored state means") {
    const auto hash = [](const std::string& watermark) { return plan_of(pipeline(watermark))->state_hash; };
    CHECK(hash("5s") == hash("{idle_timeout: 1m, emit_every: 5s}"));
    CHECK(hash("{strategy: punctuated, when: a}") != hash("{strategy: punctuated, when: b}"));
    CHECK(hash("{strategy: source_provided, from: a}") !=
          hash("{strategy: source_provided, from: a, prefer_source: false}"));
}

}  // namespace
}  // namespace weir::processor
