#include <doctest/doctest.h>

#include <set>

#include "tests/worker/world.h"

using namespace weir;

namespace {

constexpr int64_t kRecords = 2'000;  // Per partition; out of order, some late, some broken.

sim::Outputs run(bool all_at_once, const std::set<int64_t>& restarts) {
    sim::World world;
    world.feed(kRecords);
    if (all_at_once)
        while (world.fed < world.to_feed) world.feed_some();
    world.start();
    size_t restarted = 0;
    world.run_to_the_end([&](int64_t turn) {
        if (!restarts.contains(turn)) return;
        world.crash();
        ++restarted;
    });
    CHECK(restarted == restarts.size());
    return world.outputs();
}

}  // namespace

// Goal: windows, and which records are late, do not depend on how fast the input is read nor on restarts.
TEST_CASE("backfill: as fast as possible, a few records at a time, with ten restarts: the same windows") {
    const sim::Outputs fast = run(true, {});
    CHECK(fast.at("sums").size() > 900);
    CHECK(fast.at("late").size() > 100);
    const sim::Outputs slow = run(false, {});
    CHECK(sim::difference(fast, slow) == "");
    const sim::Outputs restarted = run(false, {5, 40, 77, 120, 166, 210, 287, 333, 401, 480});
    CHECK(sim::difference(fast, restarted) == "");
    const sim::Outputs fast_restarted = run(true, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
    CHECK(sim::difference(fast, fast_restarted) == "");
}
