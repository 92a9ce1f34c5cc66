// `weir why`: the answers for what a stream may wait for, out of a real worker's published copies.
#include "cmd/waiting.h"

#include <doctest/doctest.h>

#include "cmd/metrics.h"
#include "cmd/pipelines.h"
#include "tests/worker/two_topics.h"

using namespace weir;

namespace {

constexpr int64_t kBase = sim::TwoTopics::base_ms;

cmd::AppStatus status_of(const sim::TwoTopics& world) {
    cmd::AppStatus app;
    app.pipeline = "two";
    app.ready = true;
    app.now_ms = world.clock.wall_ms();
    app.workers.push_back(world.worker->status());
    return app;
}

cmd::Waiting ask(const sim::TwoTopics& world, size_t stream = 0) {
    const auto waiting = cmd::find_waiting(status_of(world), world.pipeline, *world.plan, stream);
    REQUIRE(waiting.size() == 1);
    return waiting[0];
}

using State = cmd::WaitingState;

}  // namespace

TEST_CASE("why: before the start, while recovering, without data, with a full disk") {
    sim::TwoTopics world;
    cmd::AppStatus none;
    none.not_ready_because = "waiting for the brokers";
    const auto before = cmd::find_waiting(none, world.pipeline, *world.plan, 0);
    REQUIRE(before.size() == 1);
    CHECK(before[0].reason == "waiting for the brokers");
    CHECK(ask(world).state == State::kStarting);

    world.broker.set_available(false);
    world.step();
    CHECK(ask(world).state == State::kRecovering);
    world.broker.set_available(true);
    world.run_ms(2'000);
    CHECK(ask(world).state == State::kNoData);

    cmd::AppStatus full = status_of(world);
    full.workers[0].disk_full = true;
    CHECK(cmd::find_waiting(full, world.pipeline, *world.plan, 0)[0].state == State::kDiskFull);
}

TEST_CASE("why: while tables are read") {
    sim::TwoTopics world;
    cmd::AppStatus app = status_of(world);
    app.workers[0].phase = processor::WorkerPhase::kLoading;
    app.workers[0].loading = {{"users", 3, 10}, {"names", 0, 4}};
    const auto waiting = cmd::find_waiting(app, world.pipeline, *world.plan, 0);
    REQUIRE(waiting.size() == 1);
    CHECK(cmd::state_name(waiting[0].state) == std::string("loading"));
    const std::string text = cmd::why_text({app, "both", waiting, {}, {}, false});
    CHECK(text.find("users 3 of 10 records, names 0 of 4 records") != std::string::npos);
    CHECK(cmd::render_pipelines({app}, {world.plan.get()}).find(R"("phase":"loading")") != std::string::npos);
}

TEST_CASE("why: which partition holds, since when, and what releases it") {
    sim::TwoTopics world;
    world.append("fast", 5'000);
    world.append("fast", 30'000);
    world.append("slow", 1'000);
    world.append("slow", 7'000);
    world.append("slow", 6'000);
    world.run_ms(1'020);
    const int64_t read_at_ms = 1'700'000'000'000;
    for (const size_t stream : {size_t{0}, size_t{1}}) {  // The second one reads the first one's windows.
        const cmd::Waiting held = ask(world, stream);
        CHECK(held.state == State::kHeld);
        CHECK(held.topic == "slow");
        CHECK(held.partition == 0);
        CHECK(held.partition_watermark == kBase + 6'000);
        CHECK(held.advanced_by_offset == 1);
        CHECK(held.since_ms == read_at_ms);
        CHECK(held.next_offset == 3);
        CHECK(held.next.start == kBase);
        CHECK(held.next_due == kBase + 10'000);
        // max_delay is 1 s, so the record that closes the window is that much newer.
        CHECK(held.released_by.find("a record of slow/0 with event time 2023-11-03T08:26:51.000Z") == 0);
        CHECK(held.released_at_ms == read_at_ms + 5'000);
    }
    // It is right about silence: slow falls idle, fast has passed the window already and holds the next one.
    world.run_ms(2'000);
    world.append("fast", 31'000);
    world.run_ms(3'600);
    CHECK(world.outputs().size() == 1);
    const cmd::Waiting next = ask(world);
    CHECK(next.state == State::kHeld);
    CHECK(next.topic == "fast");
    // Then fast falls idle, too, and the clock closes the last window when it said.
    world.run_ms(4'000);
    const cmd::Waiting ticking = ask(world);
    CHECK(ticking.state == State::kTicking);
    const int64_t wait_ms = ticking.released_at_ms.value() - world.clock.wall_ms();
    CHECK(wait_ms > 5'000);
    world.run_ms(wait_ms - 40);
    CHECK(world.outputs().size() == 1);
    world.run_ms(1'200);
    CHECK(world.outputs().size() == 2);
    CHECK(ask(world).state == State::kNothingOpen);
}

TEST_CASE("why: a record as it asks for closes the window") {
    sim::TwoTopics world;
    world.append("fast", 30'000);
    world.append("slow", 1'000);
    world.run_ms(1'020);
    REQUIRE(ask(world).state == State::kHeld);
    world.append("slow", 10'999);
    world.run_ms(500);
    CHECK(world.outputs().empty());
    world.append("slow", 11'000);
    world.run_ms(500);
    CHECK(world.outputs().size() == 1);
}

TEST_CASE("why: held back by align") {
    sim::TwoTopics world("align: {max_drift: 1s}\n");
    for (int i = 0; i < 3'000; ++i) world.append("fast", i * 1'000);
    for (int i = 0; i < 3'000; ++i) world.append("slow", i);
    world.step();
    world.step(1'000);
    world.step();
    const cmd::Waiting held = ask(world);
    REQUIRE(held.aligned.size() == 1);
    CHECK(held.aligned[0] == "fast/0 is held back by align until slow/0 comes nearer");
}

TEST_CASE("why: the windows of a key, asked of the worker") {
    sim::TwoTopics world;
    world.append("fast", 5'000, "a");
    world.append("fast", 15'000, "a");
    world.append("slow", 5'000, "b");
    world.run_ms(200);
    const auto windows = [&](const std::string& key) {
        auto answer = world.worker->ask({0, key});
        world.step();
        return answer.get();
    };
    REQUIRE(windows("a").size() == 2);
    CHECK(windows("a")[1].window.start == kBase + 10'000);
    CHECK(windows("a")[1].window.closes_at == kBase + 20'000);
    CHECK(windows("a")[1].stage == "both.steps[0]");
    CHECK(windows("b").size() == 1);
    CHECK(windows("c").empty());

    const auto waiting = cmd::find_waiting(status_of(world), world.pipeline, *world.plan, 0);
    const cmd::AppStatus app = status_of(world);
    const cmd::WhyText why{app, "both", waiting, "b", windows("b"), false};
    CHECK(cmd::why_text(why).find("closes when the watermark reaches 2023-11-03T08:26:50.000Z") !=
          std::string::npos);
    CHECK(cmd::why_json(why).find(R"("windows":[{"shard":0,"stage":"both.steps[0]")") != std::string::npos);
}

TEST_CASE("why: which window waits for what, for every kind of window") {
    struct Case {
        const char* window;
        cmd::WaitingState state;
        std::vector<std::string> lines;  // Of `weir why both k`, times from 2023-11-03T08:26 on.
    };
    const std::vector<Case> cases = {
        {"{tumbling: 10s}",
         State::kHeld,
         {"window     [40.000, 50.000) closes when the watermark reaches 50.000",
          "[40.000, 50.000), 3 records, closes when the watermark reaches 50.000"}},
        {"{tumbling: 10s, grace: 5s}, emit: on_watermark",
         State::kHeld,
         {"window     [40.000, 50.000) gives its result when the watermark reaches 50.000",
          "[40.000, 50.000), 3 records, gives its result when the watermark reaches 50.000, closes when the "
          "watermark reaches 55.000"}},
        {"{tumbling: 10s}, emit: {every: 3s}", State::kHeld, {"emit       what changed is shown at "}},
        {"{hopping: {size: 10s, step: 5s}}",
         State::kHeld,
         {"window     [35.000, 45.000) closes when the watermark reaches 45.000",
          "[35.000, 45.000), 3 records, closes when the watermark reaches 45.000",
          "[40.000, 50.000), 3 records, closes when the watermark reaches 50.000"}},
        {"{cumulate: {size: 20s, step: 10s}}",
         State::kHeld,
         {"[40.000, 50.000), 3 records, closes when",
          "[40.000, 2023-11-03T08:27:00.000), 3 records, closes when"}},
        {"{session: 5s}",
         State::kHeld,
         {"window     [41.000, 49.000) closes when the watermark reaches 49.000",
          "[41.000, 49.000), 3 records, closes when the watermark reaches 49.000"}},
        {"{sliding: 2s}",
         State::kHeld,
         {"window     [39.001, 41.001) closes when the watermark reaches 41.001",
          "[39.001, 41.001), 1 record, closes when the watermark reaches 41.001",
          "[40.001, 42.001), 2 records, closes when the watermark reaches 42.001",
          "[42.001, 44.001), 1 record, closes when the watermark reaches 44.001"}},
        {"{count: 7}",
         State::kRecords,
         {"its windows close with their record number 7, at no time",
          "3 records from 41.000 on, closes with number 7"}},
        {"none, emit: on_update", State::kRecords, {"never close; emit says", "3 records, never closes"}},
        {"{tumbling: 10s, time: processing}",
         State::kClock,
         {"closes when the clock reaches ", "3 records, closes when the clock reaches "}},
    };
    for (const Case& expected : cases) {
        CAPTURE(expected.window);
        sim::TwoTopics world("", expected.window);
        world.append("fast", 1'000);
        world.append("fast", 4'000);
        world.append("slow", 2'000);
        world.run_ms(1'020);
        auto answer = world.worker->ask({0, "k"});
        world.step();
        const cmd::AppStatus app = status_of(world);
        const auto waiting = cmd::find_waiting(app, world.pipeline, *world.plan, 0);
        REQUIRE(waiting.size() == 1);
        CHECK(cmd::state_name(waiting[0].state) == cmd::state_name(expected.state));
        std::string text = cmd::why_text({app, "both", waiting, "k", answer.get(), false});
        const std::string minute = "2023-11-03T08:26:";
        for (size_t at; (at = text.find(minute)) != std::string::npos;) text.erase(at, minute.size());
        std::erase(text, 'Z');
        CAPTURE(text);
        for (std::string line : expected.lines) {
            CAPTURE(line);
            CHECK(text.find(line) != std::string::npos);
        }
    }
}

TEST_CASE("why: what a join waits for, and the records of a key in its buffers") {
    sim::TwoTopics world("", "", sim::kJoined);
    world.append("fast", 1'000, "a");
    world.append("fast", 4'000, "a");
    world.append("slow", 2'000, "b");
    world.run_ms(1'020);
    CHECK(ask(world).state == State::kHeld);
    CHECK(ask(world).topic == "slow");
    const auto text_of = [&](const std::string& key) {
        auto answer = world.worker->ask({0, key});
        world.step();
        const cmd::AppStatus app = status_of(world);
        const auto waiting = cmd::find_waiting(app, world.pipeline, *world.plan, 0);
        std::string text = cmd::why_text({app, "both", waiting, key, answer.get(), false});
        const std::string minute = "2023-11-03T08:26:";
        for (size_t at; (at = text.find(minute)) != std::string::npos;) text.erase(at, minute.size());
        std::erase(text, 'Z');
        return text;
    };
    const auto has = [](const std::string& text, const char* line) {
        CAPTURE(text);
        CAPTURE(line);
        CHECK(text.find(line) != std::string::npos);
    };
    has(text_of("a"), "both.join in shard 0\n");
    has(text_of("a"),
        "buffers    3 records wait for partners; the first leave when the watermark reaches 51.001\n");
    has(text_of("a"), "next       a record of slow/0 with event time 52.001 or later;");
    has(text_of("a"),
        "a record waits for partners in [31.000, 51.001), is given when the watermark reaches 51.001\n");
    has(text_of("a"),
        "a record waits for partners in [34.000, 54.001), is given when the watermark reaches 54.001\n");
    has(text_of("b"),
        "a record waits for partners in [32.000, 52.001), leaves when the watermark reaches 52.001\n");
    has(text_of("c"), "no window is open, no record waits\n");

    // Found: no longer given by itself, and no longer what the watermark is waited for.
    world.append("slow", 3'000, "a");
    world.run_ms(1'020);
    CHECK(world.outputs().size() == 2);
    has(text_of("a"),
        "a record waits for partners in [31.000, 51.001), leaves when the watermark reaches 51.001\n");
    const std::vector<cmd::AppStatus> apps{status_of(world)};
    const std::string json = cmd::render_pipelines(apps, {world.plan.get()});
    has(json, R"("balanced":true)");
    has(json, R"("buffered":4,)");
    has(json, R"("matched":2,"unmatched":0,"expired":0)");
    has(json, R"("open_windows":0,"groups":4,"records":4)");
    // Right about what releases the others: b's record leaves untold, and nothing else does before.
    world.append("fast", 40'000, "z");
    world.append("slow", 40'000, "y");
    world.run_ms(1'020);
    CHECK(world.outputs().size() == 2);
    has(text_of("a"), "no window is open, no record waits\n");
}

TEST_CASE("why: the records of a join in sessions wait for those to close") {
    sim::TwoTopics world("", "", R"(
    join: {left: fast, right: slow, match: fast.k = slow.k, window: {session: 10s}}
    steps: [{map: {n: 1}}]
)");
    world.append("fast", 1'000, "a");
    world.append("slow", 4'000, "a");
    world.run_ms(1'020);
    auto answer = world.worker->ask({0, "a"});
    world.step();
    const cmd::AppStatus app = status_of(world);
    const auto waiting = cmd::find_waiting(app, world.pipeline, *world.plan, 0);
    const std::string text = cmd::why_text({app, "both", waiting, "a", answer.get(), false});
    CAPTURE(text);
    CHECK(text.find("[2023-11-03T08:26:41.000Z, 2023-11-03T08:26:54.000Z), 2 records, closes when the "
                    "watermark reaches 2023-11-03T08:26:54.000Z\n") != std::string::npos);
}

TEST_CASE("/pipelines and /metrics tell the same ledger, and it balances") {
    sim::TwoTopics world;
    world.append("fast", 5'000);
    world.append("slow", 30'000);
    world.append("fast", 30'000);
    world.run_ms(200);
    world.append("fast", 1'000);
    world.run_ms(1'500);
    std::vector<cmd::AppStatus> apps{status_of(world)};
    apps[0].state_bytes = 12;
    apps[0].max_state_bytes = 20;
    const std::string json = cmd::render_pipelines(apps, {world.plan.get()});
    CHECK(json.find(R"("balanced":true)") != std::string::npos);
    CHECK(json.find(R"("records":3,)") != std::string::npos);
    CHECK(json.find(R"("late":1,)") != std::string::npos);
    CHECK(json.find(R"("held_by":{"topic":"fast","partition":0})") != std::string::npos);
    CHECK(json.find(R"("advanced_by_offset":1)") != std::string::npos);
    const std::string metrics = cmd::render_metrics(apps, {world.plan.get()});
    CHECK(metrics.find(R"(weir_stream_records_total{pipeline="two",stream="both",bucket="late"} 1)") !=
          std::string::npos);
    const std::string advances = "weir_partition_watermark_advances_total";
    CHECK(metrics.find(advances + R"({pipeline="two",topic="fast",partition="0"} 2)") != std::string::npos);
    CHECK(metrics.find(R"(weir_state_memory_bytes{pipeline="two"} 12)") != std::string::npos);
    CHECK(metrics.find(R"(weir_state_memory_max_bytes{pipeline="two"} 20)") != std::string::npos);
    const std::string held = "weir_watermark_held_by";
    CHECK(metrics.find(held + R"({pipeline="two",stage="both.steps[0]",shard="0",topic="fast")") !=
          std::string::npos);
}
