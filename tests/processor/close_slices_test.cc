// A close that is larger than an epoch may be: it is given in slices, of several epochs, and nothing else
// shows that.
#include <algorithm>
#include <functional>

#include "fixture.h"

namespace weir::processor {
namespace {

constexpr size_t kBudget = 16 << 10;
constexpr int64_t kGroups = 5'000;

std::string pipeline(const std::string& window, bool on_disk) {
    return "name: p\nkafka: {bootstrap.servers: \"b:9092\"}\n"
           "sources: {o: {topic: o, keyed_by: k, timestamp: t}}\nstreams:\n"
           "  s: {from: o, steps: [{aggregate: {by: k, window: " +
           window + (on_disk ? ", state: {backend: rocksdb}" : "") +
           ", fields: {n: count(*), w: last(w)}}}], to: out}\n"
           "  l: {from: s.late, to: late}\n";
}

Record record(int64_t key, int64_t time) {
    const std::string name = "k" + std::to_string(100'000 + key * 7919 % kGroups);
    return {name, R"({"k":")" + name + R"(","t":)" + std::to_string(time) + R"(,"w":"word"})", 0, {}};
}

// Fills a window, then all of it is due in the middle of a run: by a record far ahead of others.
void fill_and_jump(World& world) {
    std::vector<Record> run;
    for (int64_t key = 0; key < kGroups; ++key) run.push_back(record(key, 1'000 + key % 5'000));
    REQUIRE(world.in("o", run).ok());
    world.epoch();
    run.clear();
    for (int64_t key = 0; key < 300; ++key) run.push_back(record(key, key < 100 ? 7'000 : 60'000 + key));
    run.push_back(record(1, 8'000));  // Late for all that closed.
    REQUIRE(world.in("o", run).ok());
    world.epoch();
}

// The order of both together depends on how the input is cut.
std::vector<std::string> results(const World& world) {
    std::vector<std::string> lines = world.lines();
    std::erase_if(lines, [](const std::string& line) { return line.starts_with("late "); });
    return lines;
}
std::vector<std::string> late(const World& world) {
    std::vector<std::string> lines = world.lines();
    std::erase_if(lines, [](const std::string& line) { return !line.starts_with("late "); });
    return lines;
}

}  // namespace

TEST_CASE("a window that is larger than an epoch may be is given in several, in the same order") {
    for (const bool on_disk : {false, true})
        for (const char* const window :
             {"{tumbling: 10s}", "{hopping: {size: 10s, step: 5s}}", "{session: 10s}"})
            for (const bool crashing : {false, true}) {
                CAPTURE(on_disk);
                CAPTURE(window);
                CAPTURE(crashing);
                World whole(pipeline(window, on_disk));
                fill_and_jump(whole);
                REQUIRE(results(whole).size() >= kGroups);
                CHECK(late(whole).size() == 1);

                const auto plan = plan_of(pipeline(window, on_disk));
                if (on_disk) without_cache(*plan);
                World world(plan);
                world.close_in_slices(kBudget, crashing);
                world.crash();
                fill_and_jump(world);
                CHECK((results(world) == results(whole)));
                CHECK((late(world) == late(whole)));
                // A result counts for a hundred bytes or two, and few groups need no epoch of their own.
                CHECK(world.slices() > 30);
                CHECK(world.most_in_a_slice() < kBudget / 64);
                CHECK(world.imbalance() == "");
            }
}

TEST_CASE("what is due at once is given in several epochs, whatever made it due") {
    const auto in_many_windows = [](World& world) {
        std::vector<Record> run;
        for (int64_t i = 0; i < kGroups; ++i) run.push_back(record(i, 1'000 + i * 100));
        REQUIRE(world.in("o", run).ok());
        world.epoch();
    };
    struct Cause {
        const char* name;
        const char* window;
        std::function<void(World&)> act;
    };
    const std::vector<Cause> causes{
        {"the end of the input", "{tumbling: 1s, grace: 1h}",
         [&](World& world) {
             in_many_windows(world);
             world.end();
         }},
        {"the end of the input, of sessions", "{session: 50ms, grace: 1h}",
         [&](World& world) {
             in_many_windows(world);
             world.end();
         }},
        {"silence", "{tumbling: 1s, grace: 1h}",
         [&](World& world) {
             in_many_windows(world);
             world.caught_up("o");
             world.advance(60'000);
             world.advance(4'000'000);
         }},
        {"the wall clock, seen with a record", "{tumbling: 10s, time: processing}",
         [&](World& world) {
             in_many_windows(world);
             world.clock.advance_ms(20'000);
             REQUIRE(world.in("o", {record(1, 1'000)}).ok());
         }},
        {"the wall clock", "{tumbling: 10s, time: processing}", [&](World& world) {
             in_many_windows(world);
             world.advance(20'000);
         }}};
    for (const auto& [name, window, act] : causes)
        for (const bool on_disk : {false, true}) {
            CAPTURE(name);
            CAPTURE(on_disk);
            World whole(pipeline(window, on_disk));
            act(whole);
            CHECK(whole.lines().size() == kGroups);
            World world(pipeline(window, on_disk));
            world.close_in_slices(kBudget, true);
            world.crash();
            act(world);
            CHECK((results(world) == results(whole)));
            CHECK(world.slices() > 30);
            CHECK(world.most_in_a_slice() < kBudget / 64);
        }
}

// Silence closes a window while the stage before still holds a record of the next one, which it gives later.
TEST_CASE("a stage that takes long to give what is due is not ahead of those before it then") {
    const std::string yaml =
        "name: p\nkafka: {bootstrap.servers: \"b:9092\"}\n"
        "sources: {o: {topic: o, keyed_by: k, timestamp: t, watermark: {max_delay: 5s, idle_timeout: 1s}}}\n"
        "streams:\n"
        "  s: {from: o, steps: [{dedupe: {by: k, within: 1s, keep: last}}, "
        "{aggregate: {by: k, window: {tumbling: 10s}, fields: {n: count(*)}}}], to: out}\n";
    const auto act = [](World& world) {
        std::vector<Record> run;
        for (int64_t key = 0; key < kGroups; ++key) run.push_back(record(key, 1'000));
        run.push_back(record(1, 12'000));
        REQUIRE(world.in("o", run).ok());
        world.epoch();
        world.caught_up("o");
        for (const int64_t wait_ms : {1'000, 5'000, 60'000}) world.advance(wait_ms);
    };
    World whole(yaml);
    act(whole);
    CHECK(whole.lines().size() == kGroups + 1);
    for (const bool crashing : {false, true}) {
        CAPTURE(crashing);
        World world(yaml);
        world.close_in_slices(kBudget, crashing);
        world.slice_takes_ms = 1'000;
        world.crash();
        act(world);
        CHECK((world.lines() == whole.lines()));
        CHECK(world.slices() > 20);
    }
}

namespace {

std::string join(const std::string& rule, bool on_disk, const std::string& before = "") {
    return "name: p\nkafka: {bootstrap.servers: \"b:9092\"}\n"
           "sources:\n"
           "  l: {topic: l, keyed_by: k, timestamp: t, watermark: 0s}\n"
           "  r: {topic: r, keyed_by: k, timestamp: t, watermark: 0s}\n"
           "streams:\n" + before +
           "  j: {join: {left: l, right: r, match: l.k = r.k, " + rule +
           (on_disk ? ", state: {backend: rocksdb}" : "") +
           "}, steps: [{map: {k: _key, l: l.t, r: r.t}}], to: out}\n";
}

}  // namespace

TEST_CASE("records that leave a join, more than an epoch may give, are given in several, in the same order") {
    constexpr size_t kInMemory = SIZE_MAX;
    for (const size_t cache : {kInMemory, size_t{0}, size_t{128 << 10}})
        for (const char* const rule :
             {"kind: full, within: 10s", "kind: full, window: {tumbling: 10s}",
              "kind: full, window: {hopping: {size: 10s, step: 5s}}",
              "kind: left, as_of: {direction: nearest, tolerance: 3s}"})
            for (const bool crashing : {false, true}) {
                const bool on_disk = cache != kInMemory;
                CAPTURE(cache);
                CAPTURE(rule);
                CAPTURE(crashing);
                const auto fill_and_jump = [](World& world) {
                    std::vector<Record> left;
                    std::vector<Record> right;
                    for (int64_t key = 0; key < kGroups; ++key) {  // Many of one time.
                        left.push_back(record(key, 1'000 + key % 5));
                        if (key % 3 == 0) right.push_back(record(key % 6 == 0 ? key : key + kGroups, 2'000));
                    }
                    REQUIRE(world.in("l", left).ok());
                    world.epoch();
                    REQUIRE(world.in("r", right).ok());
                    world.epoch();
                    for (const char* const topic : {"l", "r"})
                        REQUIRE(world.in(topic, {record(1, 60'000)}).ok());
                    world.epoch();
                    world.end();
                    world.epoch();
                };
                World whole(join(rule, on_disk));
                fill_and_jump(whole);
                REQUIRE(results(whole).size() >= kGroups);

                const auto plan = plan_of(join(rule, on_disk));
                if (on_disk) with_cache(*plan, cache);
                World world(plan);
                world.close_in_slices(kBudget / 4, crashing);
                world.crash();
                fill_and_jump(world);
                CHECK((results(world) == results(whole)));
                CHECK(world.slices() > 50);
                CHECK(world.most_in_a_slice() < kBudget / 128);
                CHECK(world.imbalance() == "");
            }
}

// The watermark passes the window 0 s to 30 s, in which a left record is alone, and then a right one
// finds it in the next window, before the stage in front of the join is done giving its results.
TEST_CASE("a record that leaves a window is given, whatever comes between that and the commit") {
    const std::string before =
        "  s: {from: r, steps: [{aggregate: {by: k, window: {tumbling: 36s}, fields: {w: last(w)}}}], "
        "to: sums}\n";
    const std::string rule = "kind: left, window: {hopping: {size: 30s, step: 10s}}";
    const auto large = [](int64_t key, int64_t time) {
        Record padded = record(key, time);
        padded.value->insert(padded.value->size() - 2, std::string(2'000, 'x'));
        return padded;
    };
    for (const bool on_disk : {false, true})
        for (const bool cached : {false, true})
            for (const bool committed : {false, true}) {
                CAPTURE(on_disk);
                CAPTURE(cached);
                CAPTURE(committed);
                const auto plan = plan_of(join(rule, on_disk, before));
                if (on_disk && !cached) without_cache(*plan);
                const auto act = [&](World& world) {
                    REQUIRE(world.in("l", {record(1, 25'000), record(2, 100'000)}).ok());
                    if (committed) world.epoch();
                    std::vector<Record> right;
                    for (int64_t key = 10; key < 30; ++key) right.push_back(large(key, 20'000));
                    right.push_back(record(3, 31'000));
                    right.push_back(record(1, 12'000));
                    right.push_back(record(3, 40'000));
                    REQUIRE(world.in("r", right).ok());
                    world.epoch();
                };
                World whole(plan);
                act(whole);
                World world(plan);
                world.close_in_slices(kBudget, true);
                world.crash();
                act(world);
                CHECK(world.slices() > 1);
                std::vector<std::string> expected = whole.lines();
                std::vector<std::string> given = world.lines();
                std::sort(expected.begin(), expected.end());
                std::sort(given.begin(), given.end());
                CHECK(given == expected);
                CHECK(given.size() == 24);
            }
}

}  // namespace weir::processor
