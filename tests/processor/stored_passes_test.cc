// dedupe and throttle whose keys are more than memory holds.

#include "fixture.h"
#include "tests/state/rocksdb_folder.h"

namespace weir::processor {
namespace {

constexpr int64_t kDayMs = 86'400'000;

std::shared_ptr<const Plan> dedupe_within(const std::string& within) {
    return plan_of(
        "name: p\nkafka: {bootstrap.servers: \"b:9092\"}\n"
        "sources: {o: {topic: o, keyed_by: id, timestamp: t, watermark: {max_delay: 1h, max_ahead: 366d}}}\n"
        "streams: {s: {from: o, steps: [{dedupe: {by: id, within: " +
        within + ", state: {backend: rocksdb}}}], to: out}}\n");
}

// Ids first … last - 1, with times that go on from `time`.
void feed(World& world, int64_t first, int64_t last, int64_t time) {
    std::vector<Record> records;
    for (int64_t id = first; id < last; ++id) {
        const std::string key = "order-" + std::to_string(id);
        records.push_back(
            {key, R"({"id":")" + key + R"(","t":)" + std::to_string(time + id - first) + "}", 0, {}});
    }
    REQUIRE(world.in("o", std::move(records)).ok());
}

uint64_t bytes_of(const World& world) {
    std::vector<OperatorUse> use(world.plan->graph->stages.size() + world.plan->graph->tables.size());
    world.shard->add_use(use);
    return use.front().bytes;
}

// Goal: memory is bounded by the cache and by what one epoch touches, whatever the number of keys, also while
// they are forgotten; and no key is forgotten too early.
TEST_CASE("a dedupe on disk keeps no more in memory than its cache and an epoch") {
    constexpr int64_t kPerEpoch = 1'000;
    constexpr int64_t kEpochs = 60;
    constexpr uint64_t kCacheBytes = 64u << 10;
    constexpr uint64_t kEpochBytes = kPerEpoch * 400;
    const auto plan = dedupe_within("7d");
    const_cast<Graph&>(*plan->graph).stages[0].cache_bytes = kCacheBytes;
    World world(plan);
    const int64_t start = 100 * kDayMs;
    uint64_t most = 0;
    for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
        feed(world, epoch * kPerEpoch, (epoch + 1) * kPerEpoch, start + epoch * kDayMs / 12);
        most = std::max(most, bytes_of(world));
        world.epoch();
        world.apply_rows();
        CHECK(bytes_of(world) <= kCacheBytes + 4'096);
    }
    CHECK(most <= kCacheBytes + kEpochBytes);
    CHECK(world.sink.outputs.size() == kEpochs * kPerEpoch);
    CHECK(world.row_stores.open("s.steps[0]", 0).value()->rows() == kEpochs * kPerEpoch + 1);  // And a clock.

    world.crash();
    CHECK(bytes_of(world) <= 4'096);
    for (int64_t epoch = 0; epoch < kEpochs; epoch += 7)
        feed(world, epoch * kPerEpoch, (epoch + 1) * kPerEpoch, start + epoch * kDayMs / 12 + 1);
    CHECK(world.sink.outputs.size() == kEpochs * kPerEpoch);

    feed(world, 0, 1, start + 60 * kDayMs);
    world.epoch();
    world.apply_rows();
    CHECK(world.row_stores.open("s.steps[0]", 0).value()->rows() == 2);
    CHECK(bytes_of(world) <= 4'096);
}

#if WEIR_ROCKSDB
TEST_CASE("a dedupe in RocksDB forgets nothing in restarts, and then all of it") {
    state::RocksDbFolder folder;
    const auto stores = folder.stores();
    const auto plan = dedupe_within("1d");
    without_cache(*plan);
    World world(plan);
    world.stores = stores.get();
    world.crash();
    constexpr int64_t kIds = 5'000;
    const int64_t start = 100 * kDayMs;
    for (int64_t part = 0; part < 5; ++part) {
        // Ids of the part before come again.
        feed(world, std::max<int64_t>(0, part - 1) * kIds, (part + 1) * kIds, start + part * kDayMs / 8);
        world.epoch();
        if (part == 2) {
            world.apply_rows();
            world.crash();
        }
    }
    CHECK(world.sink.outputs.size() == 5 * kIds);
    world.apply_rows();
    world.crash();
    feed(world, 0, 5 * kIds, start + kDayMs / 2);
    CHECK(world.sink.outputs.size() == 5 * kIds);
    feed(world, 0, 1, start + 10 * kDayMs);
    feed(world, 0, 5 * kIds, start + 10 * kDayMs + 1);
    CHECK(world.sink.outputs.size() == 10 * kIds);
    world.epoch();
}
#endif

}  // namespace
}  // namespace weir::processor
