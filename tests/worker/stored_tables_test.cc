// Tables on disk under the real worker, log and recovery code, with row stores that lose what they had not
// flushed: whatever the moment of a crash, the rows are those of the commit that Kafka holds.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/time.h"
#include "config/load.h"
#include "connectors/memory_broker.h"
#include "processor/plan.h"
#include "processor/worker.h"
#include "state/memory_row_stores.h"
#include "state/snapshotter.h"
#include "tests/sim/sim_disk.h"
#include "tests/state/troubled_row_stores.h"

using namespace weir;

namespace {

constexpr const char* kPipeline = R"(
name: sim
kafka: {bootstrap.servers: none}
guarantee: GUARANTEE
commit_interval: 100ms
sources:
  orders: {topic: orders, keyed_by: k}
tables:
  users: {topic: users, GLOBAL state: {backend: rocksdb}}
  notes: {topic: notes, state: {backend: rocksdb}}
streams:
  found:
    from: orders
    steps:
      - lookup: {table: users, by: k}
      - lookup: {table: notes, by: k}
      - map: {id: id, v: users.v, note: notes.v}
    to: found
)";
constexpr int32_t kPartitions = 3;
constexpr int kKeys = 6;  // Of each partition.

struct PowerCut {};

// Makes snapshots where the test says, and one as soon as it can be made.
class Snapshots final : public state::Snapshotter {
public:
    void add(state::SlotStore* store) override {
        stores_.push_back(store);
        if (store->snapshot_due()) static_cast<void>(store->snapshot());
    }
    void remove(state::SlotStore* store) override { std::erase(stores_, store); }
    void wake() override {}
    uint64_t make() {
        uint64_t made = 0;
        for (state::SlotStore* const store : stores_)
            if (store->snapshot_due() && store->snapshot().ok()) ++made;
        return made;
    }

private:
    std::vector<state::SlotStore*> stores_;
};

// One process on its own disk.
class Deployment {
public:
    explicit Deployment(std::string guarantee = "exactly_once", bool global = false)
        : clock(1'700'000'000'000), broker(clock), stores(std::make_unique<state::MemoryRowStores>()) {
        std::string text = kPipeline;
        text.replace(text.find("GUARANTEE"), 9, guarantee);
        text.replace(text.find("GLOBAL"), 6, global ? "global: true," : "");
        auto loaded = config::load_text("sim.yaml", text, config::LoadOptions{});
        plan = processor::compile(loaded.pipeline, loaded.diagnostics);
        INFO(loaded.diagnostics.render("sim.yaml", loaded.source));
        REQUIRE(plan != nullptr);
        exactly_once = guarantee == "exactly_once";
        for (const char* const topic : {"orders", "users", "notes", "found"})
            broker.create_topic(topic, kPartitions);
        std::vector<std::string> inputs;
        for (const auto& input : plan->inputs) inputs.push_back(input.name);
        connector = std::make_unique<connectors::MemoryConnector>(broker, "sim", inputs,
                                                                  std::vector<std::string>{"found"});
    }

    void start(state::RowStores* other = nullptr) {
        processor::WorkerSettings settings;
        settings.identity = {"sim", 0, 0};
        settings.host = "test";
        for (int32_t shard = 0; shard < kPartitions; ++shard) settings.shards.push_back(shard);
        settings.partition_counts.assign(plan->inputs.size(), kPartitions);
        settings.start_policies.resize(plan->inputs.size());
        settings.decider = exactly_once ? processor::Decider::kTransaction : processor::Decider::kWal;
        settings.commit_interval_ms = 100;
        settings.row_stores = other == nullptr ? stores.get() : other;
        state::SlotOptions options;
        options.segment_bytes = options.grow_bytes = 4'096;  // Many snapshots within one test.
        options.snapshot_after_bytes = 4'096;
        options.snapshotter = &snapshots;
        worker.reset();
        directory = disk.root();
        worker = std::make_unique<processor::Worker>(settings, *plan, *connector, directory.get(), options,
                                                     clock);
    }

    // The process dies; in half of the cases the machine does, too.
    void stop() {
        worker.reset();
        directory.reset();
        disk.observe(nullptr);
        if (random() % 2 == 0)
            disk.kill();
        else
            disk.cut_power(random);
        stores->crash(random);
    }
    void crash() {
        stop();
        start();
    }

    // The n-th call of the disk from now on is one too many: false when it came to that.
    template <class Do>
    bool survives(uint64_t calls, Do something) {
        disk.observe([calls](const sim::SimDisk::Call&) mutable {
            if (calls-- == 0) throw PowerCut{};
        });
        try {
            something();
        } catch (const PowerCut&) {
            return false;
        }
        disk.observe(nullptr);
        return true;
    }

    Result<processor::Worker::Turn> try_step() {
        auto turn = worker->step(0);
        clock.advance_ms(20);
        return turn;
    }
    void step() {
        const auto turn = try_step();
        INFO((turn.ok() ? std::string() : turn.error().message));
        REQUIRE(turn.ok());
    }

    void put(const std::string& topic, int32_t partition, const std::string& key,
             std::optional<std::string> value) {
        connectors::MemoryRecord record;
        record.key = key;
        record.value = std::move(value);
        broker.append(topic, partition, record);
    }

    [[nodiscard]] std::vector<std::string> found() {
        std::vector<std::string> all;
        for (int32_t partition = 0; partition < kPartitions; ++partition)
            for (const auto& record : broker.read("found", partition))
                all.push_back(*record.key + " " + *record.value);
        return all;
    }

    ManualClock clock;
    connectors::MemoryBroker broker;
    bool exactly_once = true;
    std::unique_ptr<const processor::Plan> plan;
    std::unique_ptr<connectors::MemoryConnector> connector;
    std::mt19937_64 random{1};
    sim::SimDisk disk;
    std::unique_ptr<state::MemoryRowStores> stores;
    Snapshots snapshots;
    std::unique_ptr<state::Directory> directory;
    std::unique_ptr<processor::Worker> worker;
};

std::string key_of(int32_t partition, int64_t i) {
    return std::to_string(partition) + "-" + std::to_string(i);
}

int64_t number(const std::string& line, const std::string& field) {
    const size_t at = line.find("\"" + field + "\":");
    REQUIRE(at != std::string::npos);
    const std::string text = line.substr(at + field.size() + 3);
    return text.starts_with("null") ? -1 : std::stoll(text);
}

// Rows of two tables that change, and orders that look them up.
class Load {
public:
    Load(Deployment& world, uint64_t seed) : world_(world), random_(seed) {}

    void change(int64_t version) {
        for (int32_t partition = 0; partition < kPartitions; ++partition)
            for (int i = 0; i < kKeys; ++i) {
                if (random_() % 2 == 0) continue;
                const std::string key = key_of(partition, i);
                const bool deleted = random_() % 5 == 0;
                const std::string value = R"({"v":)" + std::to_string(version) + "}";
                for (const char* const table : {"users", "notes"}) {
                    if (random_() % 3 == 0) continue;
                    world_.put(table, partition, key, deleted ? std::nullopt : std::optional(value));
                    written[table][key].push_back(deleted ? -1 : version);
                }
            }
    }
    void order(int32_t partition, int64_t i) {
        world_.put("orders", partition, key_of(partition, i),
                   R"({"k":")" + key_of(partition, i) + R"(","id":)" + std::to_string(orders++) + "}");
    }
    void order_some() {
        for (int32_t partition = 0; partition < kPartitions; ++partition)
            for (int i = 0; i < 4; ++i) order(partition, static_cast<int64_t>(random_() % kKeys));
    }

    // Each line meets a version that was written, none before those that lines before it met; from the order
    // `first_of_last` on it is the last one.
    void check(const std::vector<std::string>& found, int64_t first_of_last) {
        std::map<std::pair<std::string, std::string>, size_t> met;  // How far in `written`.
        for (const std::string& line : found) {
            const std::string key = line.substr(0, line.find(' '));
            for (const auto& [table, field] : {std::pair("users", "v"), std::pair("notes", "note")}) {
                const std::vector<int64_t>& versions = written[table][key];
                const int64_t version = number(line, field);
                size_t& at = met[{table, key}];  // 0: before the first.
                CAPTURE(line);
                if (number(line, "id") >= first_of_last) {
                    CHECK(version == (versions.empty() ? -1 : versions.back()));
                    continue;
                }
                if (at == 0 && version == -1) continue;
                if (at > 0 && versions[at - 1] == version) continue;
                while (at < versions.size() && versions[at] != version) ++at;
                REQUIRE(at < versions.size());
                ++at;
            }
        }
    }

    // By table and key: the versions, -1: deleted.
    std::map<std::string, std::map<std::string, std::vector<int64_t>>> written;
    int64_t orders = 0;

private:
    Deployment& world_;
    std::mt19937_64 random_;
};

}  // namespace

// Goal: kills and power cuts at any call of the disk, also while snapshots are made and in recoveries; each
// store then holds the epochs that it flushed and any number of those since. Every order is answered once,
// the versions of a row that orders meet never go back, the last ones meet the last, and the log does not
// grow. So with one that every worker holds whole, which each start reads anew.
TEST_CASE("worker: tables on disk change under load and power cuts at any call") {
    uint64_t snapshots = 0;
    uint64_t cuts = 0;
    for (uint64_t seed = 1; seed <= 40; ++seed) {
        CAPTURE(seed);
        Deployment world("exactly_once", seed % 4 == 0);
        world.random.seed(seed);
        std::mt19937_64 random(seed * 7919);
        Load load(world, seed);
        world.start();
        const auto run = [&](bool calm) {
            const uint64_t calls = calm || random() % 6 != 0 ? UINT64_MAX : random() % 24;
            const bool snapshot = random() % 3 == 0;
            const bool survived = world.survives(calls, [&] {
                const auto turn = world.try_step();
                if (!turn.ok()) FAIL(turn.error().message);
                if (snapshot) snapshots += world.snapshots.make();
            });
            cuts += survived ? 0 : 1;
            if (!survived || (!calm && random() % 20 == 0)) world.crash();
        };
        for (int64_t turn = 0; turn < 300; ++turn) {
            load.change(turn);
            load.order_some();
            run(false);
        }
        for (int turn = 0; turn < 60; ++turn) run(true);
        world.crash();
        const int64_t first_of_last = load.orders;
        for (int32_t partition = 0; partition < kPartitions; ++partition)
            for (int64_t i = 0; i < kKeys; ++i) load.order(partition, i);
        for (int turn = 0; turn < 40; ++turn) run(true);
        CHECK(world.worker->status().wal_bytes < 60'000);

        std::vector<int64_t> ids;
        for (const std::string& line : world.found()) ids.push_back(number(line, "id"));
        load.check(world.found(), first_of_last);
        std::sort(ids.begin(), ids.end());
        REQUIRE(ids.size() == static_cast<size_t>(load.orders));
        for (int64_t i = 0; i < load.orders; ++i) REQUIRE(ids[static_cast<size_t>(i)] == i);
    }
    CHECK(snapshots > 500);
    CHECK(cuts > 200);
}

// Goal: the same where the log decides: an epoch that is in it counts, also when the process died before it
// was synced and read it back; outputs may repeat, rows may not differ.
TEST_CASE("worker: tables on disk, at least once, under power cuts") {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        Deployment world("at_least_once");
        world.random.seed(seed);
        std::mt19937_64 random(seed * 104'729);
        Load load(world, seed);
        world.start();
        bool survived = true;
        for (int64_t turn = 0; turn < 200; ++turn) {
            load.change(turn);
            load.order_some();
            // Most often it dies again in the recovery, before what it read back is on the disk.
            const uint64_t calls = random() % (survived ? 4 : 2) != 0 ? UINT64_MAX : random() % 12;
            survived = world.survives(calls, [&] {
                world.step();
                if (random() % 3 == 0) world.snapshots.make();
            });
            if (!survived) world.crash();
        }
        for (int turn = 0; turn < 60; ++turn) world.step();
        const int64_t first_of_last = load.orders;
        for (int32_t partition = 0; partition < kPartitions; ++partition)
            for (int64_t i = 0; i < kKeys; ++i) load.order(partition, i);
        world.crash();
        for (int turn = 0; turn < 40; ++turn) world.step();
        std::vector<std::string> last_ones = world.found();
        std::erase_if(last_ones, [&](const std::string& line) { return number(line, "id") < first_of_last; });
        CHECK(last_ones.size() >= static_cast<size_t>(kPartitions * kKeys));
        load.check(last_ones, first_of_last);
    }
}

// Goal: a folder of rows that was lost, or that is older than the log reaches back, is refused, never read as
// a table without rows.
TEST_CASE("worker: a table's store that the log cannot complete is refused") {
    Deployment world;
    Load load(world, 1);
    world.start();
    for (int64_t turn = 0; turn < 200; ++turn) {
        load.change(turn);
        world.step();
        world.snapshots.make();
    }
    world.stop();
    world.stores = std::make_unique<state::MemoryRowStores>();
    world.start();
    const auto refused = world.try_step();
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code == Code::kMismatch);
    CHECK(refused.error().message.find("store 'users' of shard 0 is empty") != std::string::npos);
    CHECK(refused.error().message.find("new pipeline name") != std::string::npos);
}

namespace {

void check_trouble(bool global) {
    CAPTURE(global);
    Deployment world("exactly_once", global);
    state::TroubledRowStores trouble(*world.stores);
    Load load(world, 1);
    world.start(&trouble);
    for (int64_t turn = 0; turn < 40; ++turn) {
        load.change(turn);
        load.order_some();
        world.step();
    }
    trouble.applying = Code::kNoSpace;
    for (int turn = 0; turn < 20; ++turn) world.step();
    const uint64_t epochs = world.worker->status().epochs_committed;
    load.change(40);
    load.order_some();
    for (int turn = 0; turn < 100; ++turn) world.step();
    CHECK(world.worker->status().disk_full);
    CHECK(world.worker->status().epochs_committed == epochs);
    CHECK(world.found().size() < static_cast<size_t>(load.orders));
    trouble.applying.reset();
    for (int turn = 0; turn < 100; ++turn) world.step();
    CHECK_FALSE(world.worker->status().disk_full);
    CHECK(world.found().size() == static_cast<size_t>(load.orders));
    load.check(world.found(), load.orders);

    trouble.finding = Code::kCorrupt;
    load.order_some();
    std::optional<Error> stopped;
    for (int turn = 0; turn < 20 && !stopped; ++turn)
        if (const auto done = world.try_step(); !done.ok()) stopped = done.error();
    REQUIRE(stopped);
    CHECK(stopped->code == Code::kCorrupt);
    world.worker.reset();
}

}  // namespace

// Goal: a full disk of the rows pauses reading between epochs, as a full log does; damage stops at once.
TEST_CASE("worker: trouble with the disk of the rows") {
    for (const bool global : {false, true}) check_trouble(global);
}

// Goal: a pipeline without state needs no log for a global table on disk, and a full disk pauses it, too.
TEST_CASE("worker: a global table on disk beside no state") {
    ManualClock clock(1'700'000'000'000);
    connectors::MemoryBroker broker(clock);
    auto loaded = config::load_text("p.yaml", R"(
name: p
kafka: {bootstrap.servers: none}
sources: {orders: {topic: orders}}
tables: {users: {topic: users, global: true, state: {backend: rocksdb}}}
streams: {found: {from: orders, steps: [{lookup: {table: users, by: k}}, {map: {v: users.v}}], to: found}}
)",
                                    config::LoadOptions{});
    const auto plan = processor::compile(loaded.pipeline, loaded.diagnostics);
    REQUIRE(plan != nullptr);
    CHECK_FALSE(plan->stateful);
    for (const char* const topic : {"orders", "users", "found"}) broker.create_topic(topic, 2);
    connectors::MemoryConnector connector(broker, "p", {"orders", "users"}, {"found"});
    const auto put = [&](const std::string& topic, const std::string& key, const std::string& value) {
        connectors::MemoryRecord record;
        record.key = key;
        record.value = value;
        broker.append(topic, static_cast<int32_t>(key.size() % 2), record);
    };
    for (int i = 0; i < 3'000; ++i) put("users", std::to_string(i), R"({"v":)" + std::to_string(i) + "}");

    state::MemoryRowStores rows;
    state::TroubledRowStores trouble(rows);
    trouble.applying = Code::kNoSpace;
    std::unique_ptr<processor::Worker> worker;
    const auto start = [&] {
        processor::WorkerSettings settings;
        settings.identity = {"p", 0, 0};
        settings.shards = {0, 1};
        settings.partition_counts = {2, 2};
        settings.start_policies.resize(2);
        settings.row_stores = &trouble;
        worker = std::make_unique<processor::Worker>(settings, *plan, connector, nullptr,
                                                     state::SlotOptions{}, clock);
    };
    const auto turn = [&](int times) {
        for (int i = 0; i < times; ++i) {
            REQUIRE(worker->step(0).ok());
            clock.advance_ms(100);
        }
    };
    const auto last = [&] {
        std::string value;
        for (int32_t partition = 0; partition < 2; ++partition)
            for (const auto& record : broker.read("found", partition)) value = *record.value;
        return value;
    };
    start();
    put("orders", "o", R"({"k":"2999"})");
    turn(30);
    CHECK(worker->status().disk_full);
    CHECK(last().empty());
    trouble.applying.reset();
    turn(30);
    CHECK_FALSE(worker->status().disk_full);
    CHECK(last() == R"({"v":2999})");

    // Nothing of it is there after a restart but what is read anew.
    put("users", "2999", R"({"v":"new"})");
    start();
    put("orders", "o", R"({"k":"2999"})");
    turn(30);
    CHECK(last() == R"({"v":"new"})");
}
