// Tables under the real worker, log and recovery code: they are there before any stream begins, they come
// back after a crash as the commit left them, and every record meets one version of its row, once.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/time.h"
#include "config/load.h"
#include "connectors/memory_broker.h"
#include "processor/plan.h"
#include "processor/worker.h"
#include "state/state_directory.h"
#include "tests/sim/sim_disk.h"

using namespace weir;

namespace {

constexpr const char* kPipeline = R"(
name: sim
kafka: {bootstrap.servers: none}
commit_interval: 100ms
sources:
  orders: {topic: orders, keyed_by: k}
tables:
  users: {topic: users}
  names: {topic: names, global: true}
streams:
  found:
    from: orders
    steps:
      - lookup: {table: users, by: k}
      - lookup: {table: names, by: n}
      - map: {id: id, v: users.v, name: names.name}
    to: found
)";
constexpr int32_t kPartitions = 3;
constexpr int32_t kGlobalPartitions = 2;

// One slot of a deployment on its own disk.
class Deployment {
public:
    explicit Deployment(const std::string& yaml = kPipeline) : clock(1'700'000'000'000), broker(clock) {
        auto loaded = config::load_text("sim.yaml", yaml, config::LoadOptions{});
        plan = processor::compile(loaded.pipeline, loaded.diagnostics);
        INFO(loaded.diagnostics.render("sim.yaml", loaded.source));
        REQUIRE(plan != nullptr);
        std::vector<std::string> inputs;
        for (const auto& input : plan->inputs) {
            inputs.push_back(input.name);
            partition_counts.push_back(input.is_file ? 1 : input.global ? kGlobalPartitions : kPartitions);
            broker.create_topic(input.name, partition_counts.back());
        }
        std::vector<std::string> outputs;
        for (const auto& output : plan->outputs) outputs.push_back(output.name);
        for (const std::string& output : outputs)
            if (std::find(inputs.begin(), inputs.end(), output) == inputs.end())
                broker.create_topic(output, kPartitions);
        connector = std::make_unique<connectors::MemoryConnector>(broker, "sim", inputs, outputs);
    }

    // `workers` slots; slot i owns the shards p with p mod workers = i.
    void start(int32_t workers = 1) {
        while (slots.size() < static_cast<size_t>(workers)) slots.push_back(std::make_unique<Slot>());
        for (int32_t i = 0; i < workers; ++i) {
            processor::WorkerSettings settings;
            settings.identity = {"sim", 0, i};
            settings.host = "test";
            for (int32_t shard = i; shard < kPartitions; shard += workers) settings.shards.push_back(shard);
            settings.partition_counts = partition_counts;
            settings.start_policies.assign(partition_counts.size(), {});
            settings.commit_interval_ms = 100;
            state::SlotOptions options;
            options.segment_bytes = 8'192;
            options.snapshot_after_bytes = 8'192;
            Slot& slot = *slots[static_cast<size_t>(i)];
            slot.worker.reset();
            slot.directory = slot.disk.root();
            slot.worker = std::make_unique<processor::Worker>(settings, *plan, *connector,
                                                              slot.directory.get(), options, clock);
        }
    }

    void crash() {
        for (const auto& slot : slots) {
            slot->worker.reset();
            slot->directory.reset();
            slot->disk.cut_power(random);
        }
        start(static_cast<int32_t>(slots.size()));
    }

    void step() {
        for (const auto& slot : slots) {
            const auto turn = slot->worker->step(0);
            INFO((turn.ok() ? std::string() : turn.error().message));
            REQUIRE(turn.ok());
        }
        clock.advance_ms(20);
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

    struct Slot {
        sim::SimDisk disk;
        std::unique_ptr<state::Directory> directory;
        std::unique_ptr<processor::Worker> worker;
    };
    ManualClock clock;
    connectors::MemoryBroker broker;
    std::unique_ptr<const processor::Plan> plan;
    std::unique_ptr<connectors::MemoryConnector> connector;
    std::vector<int32_t> partition_counts;
    std::vector<std::unique_ptr<Slot>> slots;
    std::mt19937_64 random{1};
};

std::string key_of(int32_t partition, int64_t i) {
    return std::to_string(partition) + "-" + std::to_string(i);
}

// Rows of all keys, and orders that lie before them in time: only waiting makes them meet.
void fill(Deployment& world, int64_t rows) {
    for (int32_t partition = 0; partition < kPartitions; ++partition) {
        for (int64_t i = 0; i < 20; ++i)
            world.put("orders", partition, key_of(partition, i),
                      R"({"k":")" + key_of(partition, i) + R"(","n":)" + std::to_string(i % 4) + R"(,"id":)" +
                          std::to_string(partition * 100 + i) + "}");
        for (int64_t i = 0; i < rows; ++i)
            world.put("users", partition, key_of(partition, i % 20), R"({"v":)" + std::to_string(i) + "}");
    }
    for (int64_t i = 0; i < rows; ++i)
        world.put("names", static_cast<int32_t>(i % 4 % kGlobalPartitions), std::to_string(i % 4),
                  R"({"name":"name )" + std::to_string(i) + "\"}");
}

std::vector<std::string> expected_after_fill(int64_t rows) {
    std::vector<std::string> expected;
    for (int32_t partition = 0; partition < kPartitions; ++partition)
        for (int64_t i = 0; i < 20; ++i)
            expected.push_back(key_of(partition, i) + R"( {"id":)" + std::to_string(partition * 100 + i) +
                               R"(,"v":)" + std::to_string(rows - 20 + i) + R"(,"name":"name )" +
                               std::to_string(rows - 4 + i % 4) + "\"}");
    std::sort(expected.begin(), expected.end());
    return expected;
}

}  // namespace

// Goal: no stream is read before the tables are at the ends that they had at the start, and the status says
// how far they are.
TEST_CASE("worker: tables are read to their ends before any stream") {
    Deployment world;
    constexpr int64_t kRows = 6'000;
    fill(world, kRows);
    world.start();
    int64_t loading_turns = 0;
    int64_t last_read = 0;
    for (int turn = 0; turn < 200; ++turn) {
        world.step();
        const auto status = world.slots[0]->worker->status();
        if (status.phase != processor::WorkerPhase::kLoading) continue;
        ++loading_turns;
        CHECK(world.found().empty());
        REQUIRE(status.loading.size() == 2);
        CHECK(status.loading[0].name == "users");
        CHECK(status.loading[0].total == kPartitions * kRows);
        CHECK(status.loading[1].total == kRows);
        CHECK(status.loading[0].read >= last_read);
        last_read = status.loading[0].read;
    }
    CHECK(loading_turns > 0);
    CHECK(world.slots[0]->worker->status().phase == processor::WorkerPhase::kRunning);
    auto found = world.found();
    std::sort(found.begin(), found.end());
    CHECK(found == expected_after_fill(kRows));
}

// Goal: the number of workers, and a power cut in any turn, also while tables load, change nothing.
TEST_CASE("worker: tables with any number of workers, and a power cut after every turn") {
    constexpr int64_t kRows = 1'200;
    const std::vector<std::string> expected = expected_after_fill(kRows);
    for (int32_t workers = 1; workers <= 3; ++workers) {
        CAPTURE(workers);
        for (int at = -1; at < 24; ++at) {
            CAPTURE(at);
            Deployment world;
            fill(world, kRows);
            world.start(workers);
            for (int turn = 0; turn < 60; ++turn) {
                world.step();
                if (turn == at) world.crash();
            }
            auto found = world.found();
            std::sort(found.begin(), found.end());
            REQUIRE(found == expected);
        }
    }
}

// Goal: rows that change while records come, under power cuts all the time: every record is answered once, a
// key's versions never go back, and what is in the table at the end is the last version, deletions too.
TEST_CASE("worker: a table changes under load and power cuts") {
    for (uint64_t seed = 1; seed <= 4; ++seed) {
        CAPTURE(seed);
        Deployment world;
        std::mt19937_64 random(seed);
        world.start();
        int64_t id = 0;
        const auto order = [&](int32_t partition, int64_t i) {
            world.put("orders", partition, key_of(partition, i),
                      R"({"k":")" + key_of(partition, i) + R"(","n":0,"id":)" + std::to_string(id++) + "}");
        };
        for (int turn = 0; turn < 300; ++turn) {
            for (int32_t partition = 0; partition < kPartitions; ++partition)
                for (int i = 0; i < 6; ++i) {
                    world.put("users", partition, key_of(partition, i),
                              R"({"v":)" + std::to_string(turn) + "}");
                    order(partition, static_cast<int64_t>(random() % 6));
                }
            world.step();
            if (random() % 12 == 0) world.crash();
        }
        for (int turn = 0; turn < 40; ++turn) world.step();
        for (int32_t partition = 0; partition < kPartitions; ++partition)
            world.put("users", partition, key_of(partition, 5), std::nullopt);
        for (int turn = 0; turn < 10; ++turn) world.step();
        world.crash();
        const int64_t last = id;
        for (int32_t partition = 0; partition < kPartitions; ++partition)
            for (int64_t i = 0; i < 6; ++i) order(partition, i);
        for (int turn = 0; turn < 40; ++turn) world.step();

        std::map<std::string, int64_t> version;  // By key: the latest one seen.
        std::vector<int64_t> ids;
        for (const std::string& line : world.found()) {
            const std::string key = line.substr(0, line.find(' '));
            const int64_t its_id = std::stoll(line.substr(line.find("\"id\":") + 5));
            const std::string v = line.substr(line.find("\"v\":") + 4);
            ids.push_back(its_id);
            if (its_id >= last) {
                CHECK(v.substr(0, v.find(',')) == (key.ends_with("-5") ? "null" : "299"));
                continue;
            }
            const int64_t seen = v.starts_with("null") ? -1 : std::stoll(v);
            const auto [before, is_new] = version.try_emplace(key, seen);
            CHECK(seen >= before->second);
            before->second = seen;
        }
        std::sort(ids.begin(), ids.end());
        REQUIRE(ids.size() == static_cast<size_t>(id));
        for (int64_t i = 0; i < id; ++i) REQUIRE(ids[static_cast<size_t>(i)] == i);
    }
}

// Goal: an epoch is cut short before its changes become too large, so that a first start over a large table
// writes records of bounded size.
TEST_CASE("worker: a large table is committed in parts while it loads") {
    Deployment world;
    const std::string text(1'000, 'x');
    for (int64_t i = 0; i < 24'000; ++i)
        world.put("users", 0, std::to_string(i), R"({"v":1,"text":")" + text + "\"}");
    world.start();
    // The clock stands still: no commit is due by time.
    uint64_t committed = 0;
    for (int turn = 0; turn < 40; ++turn) {
        const auto done = world.slots[0]->worker->step(0);
        REQUIRE(done.ok());
        committed = world.slots[0]->worker->status().epochs_committed;
    }
    CHECK(committed >= 3);  // The genesis epoch, and two of 8 MiB.
}

// Goal: a file is read whole before any stream, by every worker; a field is the key, the later line counts, a
// line without one goes to on_error; what is appended is seen by the next start, and by no recovery within
// the process.
TEST_CASE("worker: a table from a file") {
    for (int32_t workers = 1; workers <= 2; ++workers) {
        CAPTURE(workers);
        Deployment world(R"(
name: sim
kafka: {bootstrap.servers: none}
commit_interval: 100ms
on_error: skip
sources:
  orders: {topic: orders, keyed_by: k}
tables:
  names: {file: names.jsonl, keyed_by: code}
streams:
  found:
    from: orders
    steps:
      - lookup: {table: names, by: n}
      - map: {id: id, name: names.name, code: names._key}
    to: found
)");
        const auto line = [&](const std::string& text) {
            connectors::MemoryRecord record;
            record.value = text;
            world.broker.append("names.jsonl", 0, record);
        };
        const auto order = [&](int64_t id, int64_t n) {
            world.put("orders", static_cast<int32_t>(id) % kPartitions, "k",
                      R"({"k":"k","n":)" + std::to_string(n) + R"(,"id":)" + std::to_string(id) + "}");
        };
        const auto found = [&] {
            auto all = world.found();
            std::sort(all.begin(), all.end());
            return all;
        };
        order(0, 1);
        order(1, 2);
        order(2, 3);
        for (int i = 0; i < 3'000; ++i) line(R"({"code":1,"name":")" + std::to_string(i) + "\"}");
        line(R"({"code":"2","name":"two"})");
        line(R"({"name":"of nothing"})");
        line(R"({"code":null,"name":"of nothing"})");
        line("no JSON");
        world.start(workers);
        bool loaded = false;
        for (int turn = 0; turn < 40; ++turn) {
            world.step();
            const auto status = world.slots[0]->worker->status();
            loaded = loaded || status.phase == processor::WorkerPhase::kLoading;
        }
        CHECK(loaded);
        std::vector<std::string> expected{R"(k {"id":0,"name":"2999","code":"1"})",
                                          R"(k {"id":1,"name":"two","code":"2"})",
                                          R"(k {"id":2,"name":null,"code":null})"};
        CHECK(found() == expected);
        const auto counters = world.slots[0]->worker->status().counters.sources[1];
        CHECK(counters.records == 3'004);
        CHECK(counters.skipped == 3);

        line(R"({"code":3,"name":"three"})");
        world.broker.inject(connectors::Api::kPoll, 1, {});
        order(3, 3);
        for (int turn = 0; turn < 40; ++turn) world.step();
        expected.emplace_back(R"(k {"id":3,"name":null,"code":null})");
        CHECK(found() == expected);

        world.crash();
        order(4, 3);
        for (int turn = 0; turn < 40; ++turn) world.step();
        expected.emplace_back(R"(k {"id":4,"name":"three","code":"3"})");
        CHECK(found() == expected);
    }
}

// Goal: under power cuts all the time every record finds, once, the latest of the results that records before
// it and itself came to, also where both travelled through an internal topic.
TEST_CASE("worker: a stream's results as a table, under power cuts") {
    const std::string head = R"(
name: sim
kafka: {bootstrap.servers: none}
commit_interval: 100ms
)";
    const std::string keyed = head + R"(
sources:
  orders: {topic: orders, keyed_by: k}
tables:
  last: {from: large}
streams:
  found:
    from: orders
    steps: [{lookup: {table: last, by: k}}, {map: {id: id, last: last.id}}]
    to: found
  large: {from: orders, steps: [{filter: v >= 50}]}
)";
    const std::string travelling = head + R"(
sources:
  orders: {topic: orders}
tables:
  last: {from: large}
streams:
  by_k: {from: orders, steps: [{key_by: k}]}
  found:
    from: by_k
    steps: [{lookup: {table: last, by: k}}, {map: {id: id, last: last.id}}]
    to: found
  large: {from: by_k, steps: [{filter: v >= 50}]}
)";
    for (const std::string& yaml : {keyed, travelling}) {
        for (uint64_t seed = 1; seed <= 4; ++seed) {
            CAPTURE(yaml);
            CAPTURE(seed);
            std::mt19937_64 random(seed);
            Deployment world(yaml);
            world.start(static_cast<int32_t>(1 + seed % 3));
            std::map<std::string, std::string> last;
            std::vector<std::string> expected;
            int64_t id = 0;
            for (int turn = 0; turn < 250; ++turn) {
                for (uint64_t i = random() % 12; i > 0; --i) {
                    const auto partition = static_cast<int32_t>(random() % kPartitions);
                    const std::string key = key_of(partition, static_cast<int64_t>(random() % 3));
                    const uint64_t v = random() % 100;
                    world.put("orders", partition, key,
                              R"({"k":")" + key + R"(","v":)" + std::to_string(v) + R"(,"id":)" +
                                  std::to_string(id) + "}");
                    if (v >= 50) last[key] = std::to_string(id);
                    const std::string& its_last = last.try_emplace(key, "null").first->second;
                    expected.push_back(key + R"( {"id":)" + std::to_string(id++) + R"(,"last":)" + its_last +
                                       "}");
                }
                world.step();
                if (random() % 10 == 0) world.crash();
            }
            for (int turn = 0; turn < 60; ++turn) world.step();
            auto found = world.found();
            std::sort(found.begin(), found.end());
            std::sort(expected.begin(), expected.end());
            REQUIRE(found.size() == expected.size());
            CHECK(found == expected);
        }
    }
}

// Goal: under power cuts all the time, with any number of workers, the compacted topic of a join is the
// joined table: neither a row nor a deletion is lost, whichever side changed last.
TEST_CASE("worker: joined tables, under power cuts") {
    constexpr const char* kKinds[] = {"inner", "left", "right", "full"};
    std::string yaml = R"(
name: sim
kafka: {bootstrap.servers: none}
commit_interval: 100ms
tables:
  users: {topic: users}
  accounts: {topic: accounts}
streams:
)";
    for (const std::string kind : kKinds)
        yaml += "  " + kind + ": {join_tables: {left: users, right: accounts, kind: " + kind +
                "}, steps: [{map: {u: users.v, a: accounts.v}}], to: " + kind + "}\n";
    for (uint64_t seed = 1; seed <= 4; ++seed) {
        CAPTURE(seed);
        std::mt19937_64 random(seed);
        Deployment world(yaml);
        std::map<std::string, std::string> users;
        std::map<std::string, std::string> accounts;
        const auto change = [&](const std::string& topic, std::map<std::string, std::string>& rows) {
            const auto partition = static_cast<int32_t>(random() % kPartitions);
            const std::string key = key_of(partition, static_cast<int64_t>(random() % 8));
            if (random() % 3 == 0) {
                rows.erase(key);
                world.put(topic, partition, key, std::nullopt);
                return;
            }
            rows[key] = std::to_string(random() % 1'000);
            world.put(topic, partition, key, R"({"v":)" + rows[key] + "}");
        };
        // What is there before the first start is joined, too.
        for (int i = 0; i < 500; ++i) change("users", users);
        for (int i = 0; i < 500; ++i) change("accounts", accounts);
        world.start(static_cast<int32_t>(1 + seed % 3));
        for (int turn = 0; turn < 200; ++turn) {
            for (uint64_t i = random() % 6; i > 0; --i) change("users", users);
            for (uint64_t i = random() % 6; i > 0; --i) change("accounts", accounts);
            world.step();
            if (random() % 10 == 0) world.crash();
        }
        for (int turn = 0; turn < 60; ++turn) world.step();
        for (const std::string kind : kKinds) {
            CAPTURE(kind);
            std::map<std::string, std::string> compacted;
            for (int32_t partition = 0; partition < kPartitions; ++partition)
                for (const auto& record : world.broker.read(kind, partition)) {
                    if (record.value)
                        compacted[*record.key] = *record.value;
                    else
                        compacted.erase(*record.key);
                }
            std::map<std::string, std::string> expected;
            for (int32_t partition = 0; partition < kPartitions; ++partition)
                for (int64_t i = 0; i < 8; ++i) {
                    const std::string key = key_of(partition, i);
                    const bool left = users.contains(key);
                    const bool right = accounts.contains(key);
                    const bool is_shown = kind == "inner"   ? left && right
                                          : kind == "left"  ? left
                                          : kind == "right" ? right
                                                            : left || right;
                    if (is_shown)
                        expected[key] = R"({"u":)" + (left ? users[key] : "null") + R"(,"a":)" +
                                        (right ? accounts[key] : "null") + "}";
                }
            CHECK(compacted == expected);
        }
    }
}
