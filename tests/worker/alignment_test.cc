#include "tests/worker/two_topics.h"

#include <algorithm>

using namespace weir;

namespace {

// Both topics hold 2,000 s of event time, all there at the start; the fast one in a tenth of the records.
constexpr int64_t kFastRecords = 4'000;
constexpr int64_t kFastStepMs = 500;
constexpr int64_t kSlowRecords = 40'000;
constexpr int64_t kSlowStepMs = 50;
constexpr int64_t kBoundMs = 30'000 + 1'024 * kFastStepMs;  // max_drift, and what one poll hands out.

struct Run {
    std::vector<std::string> outputs;
    int64_t largest_drift_ms = 0;
    uint64_t most_open_windows = 0;
    uint64_t most_records = 0;
};

Run run(sim::TwoTopics& world, bool crashes) {
    Run result;
    for (int64_t turn = 0; turn < 150; ++turn) {
        world.step(1'000);  // The status is published once a second.
        const processor::WorkerStatus status = world.worker->status();
        if (crashes && turn % 7 == 6) world.crash();
        if (status.shards.empty()) continue;
        const processor::ShardStatus& shard = status.shards[0];
        const auto& fast = shard.partitions[0];
        const auto& slow = shard.partitions[1];
        if (slow.next_offset < kSlowRecords && fast.watermark != kNoTime)
            result.largest_drift_ms =
                std::max(result.largest_drift_ms,
                         fast.watermark - std::max(slow.watermark, sim::TwoTopics::base_ms));
        result.most_open_windows = std::max(result.most_open_windows, shard.stages[0].open_windows);
        result.most_records = std::max(result.most_records, shard.stages[0].records);
    }
    result.outputs = world.outputs();
    CHECK(processor::Ledger(*world.plan).imbalance(world.worker->status().counters) == "");
    CHECK(world.worker->status().ledger_imbalances == 0);
    return result;
}

Run count(const std::string& align, bool crashes) {
    sim::TwoTopics world(align);
    for (int64_t i = 0; i < kFastRecords; ++i) world.append("fast", i * kFastStepMs);
    for (int64_t i = 0; i < kSlowRecords; ++i) world.append("slow", i * kSlowStepMs);
    return run(world, crashes);
}

// Every record of the fast topic has one partner, at its own time.
Run join(const std::string& align, bool crashes) {
    sim::TwoTopics world(align, "", sim::kJoined);
    constexpr int64_t kRatio = kSlowRecords / kFastRecords;
    for (int64_t i = 0; i < kFastRecords; ++i) world.append("fast", i * kFastStepMs, std::to_string(i));
    for (int64_t i = 0; i < kSlowRecords; ++i)
        world.append("slow", i * kSlowStepMs, i % kRatio == 0 ? std::to_string(i / kRatio) : "none");
    Run result = run(world, crashes);
    // Which of two completes the pair depends on how far each topic was read.
    std::sort(result.outputs.begin(), result.outputs.end());
    return result;
}

}  // namespace

// Goal: the source that runs ahead is held back, and results do not depend on it.
TEST_CASE("alignment: a fast topic stays within max_drift and one poll of a slow one") {
    const Run free = count("", false);
    const Run aligned = count("align: {max_drift: 30s}\n", false);
    CHECK(free.outputs.size() == 200);
    CHECK(aligned.outputs == free.outputs);
    CHECK(free.largest_drift_ms > 2 * kBoundMs);
    CHECK(aligned.largest_drift_ms <= kBoundMs);
    CHECK(aligned.largest_drift_ms > 30'000);
    CHECK(free.most_open_windows > 2 * kBoundMs / 10'000);
    CHECK(aligned.most_open_windows <= kBoundMs / 10'000 + 2);
}

TEST_CASE("alignment: the two sides of a join") {
    const Run free = join("", false);
    CHECK(free.outputs.size() == kFastRecords);
    CHECK(free.largest_drift_ms > 2 * kBoundMs);
    for (const bool crashes : {false, true}) {
        const Run aligned = join("align: {max_drift: 30s}\n", crashes);
        CHECK(aligned.outputs == free.outputs);
        CHECK(aligned.largest_drift_ms <= kBoundMs);
        CHECK(aligned.most_records < free.most_records);
    }
}

TEST_CASE("alignment: crashes while a topic is held back change nothing") {
    const Run free = count("", false);
    const Run aligned = count("align: {max_drift: 30s}\n", true);
    CHECK(aligned.outputs == free.outputs);
    CHECK(aligned.largest_drift_ms <= kBoundMs);
}

// What is read to its end holds nobody back, nor does a topic that is empty.
TEST_CASE("alignment: a topic read to its end lets the others go on") {
    sim::TwoTopics world("align: {max_drift: 1s}\n");
    for (int64_t i = 0; i < 5'000; ++i) world.append("fast", i * 100);
    world.run_ms(1'100);
    CHECK(world.worker->status().shards[0].partitions[0].next_offset == 5'000);
    world.append("slow", 0);
    world.run_ms(30'000);
    CHECK(world.worker->status().shards[0].partitions[1].next_offset == 1);
    CHECK(world.outputs().size() == 50);
}
