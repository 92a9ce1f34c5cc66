// What is said about topics before anything is read.
#include "cmd/partition_check.h"

#include <doctest/doctest.h>

#include "tests/worker/two_topics.h"

using namespace weir;

TEST_CASE("start: warns of an input that is kept for less than what is put together lies apart") {
    constexpr int64_t kHour = 3'600'000;
    const auto warnings = [](const sim::TwoTopics& world, processor::TopicInfo info) {
        return cmd::input_warnings(*world.plan, TopicId{1}, info);
    };
    const sim::TwoTopics joined("", "", R"(
    join: {left: fast, right: slow, match: fast.k = slow.k, within: {before: 1m, after: 2h}, grace: 30m}
    steps: [{map: {n: 1}}]
)");
    const auto told = warnings(joined, {1, kHour, false});
    REQUIRE(told.size() == 1);
    CHECK(told[0] ==
          "topic slow keeps records for 1h, but stream 'both' puts together what lies up to 150m apart: a "
          "start from the beginning, or one after an outage, misses what is deleted by then; set "
          "retention.ms to at least 9000000");
    CHECK(warnings(joined, {1, 3 * kHour, false}).empty());
    CHECK(warnings(joined, {1, -1, false}).empty());
    CHECK(warnings(joined, {1, std::nullopt, false}).empty());
    CHECK(warnings(joined, {1, kHour, true}).empty());

    CHECK(warnings(sim::TwoTopics("", "{tumbling: 1d}"), {1, kHour, false}).size() == 1);
    CHECK(warnings(sim::TwoTopics("", "{tumbling: 1m, grace: 2h}"), {1, kHour, false}).size() == 1);
    CHECK(warnings(sim::TwoTopics("", "{tumbling: 1m}"), {1, kHour, false}).empty());
    CHECK(warnings(sim::TwoTopics("", "{tumbling: 1d, time: processing}"), {1, kHour, false}).empty());
}
