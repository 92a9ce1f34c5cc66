// Tables and lookups: refusals, and random histories against a naive model.
#include <algorithm>
#include <random>

#include "fixture.h"

namespace weir::processor {
namespace {

std::string errors_of(const std::string& lookup, const std::string& source,
                      const std::string& table = "{topic: users}") {
    std::string errors;
    const auto plan = plan_of("name: p\nkafka: {bootstrap.servers: b}\nsources:\n  s: " + source +
                                  "\ntables:\n  users: " + table +
                                  "\nstreams:\n  t:\n    from: s\n    steps:\n      - lookup: " + lookup +
                                  "\n      - set: {x: users.name}\n    to: out\n",
                              &errors);
    CHECK((plan == nullptr) == !errors.empty());
    return errors;
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

TEST_CASE("a lookup by another field than the key is refused, with both ways out") {
    const std::string errors = errors_of("{table: users, by: agent}", "{topic: s, keyed_by: customer}");
    CAPTURE(errors);
    CHECK(contains(errors, "error[W0230]"));
    CHECK(contains(errors, "source 's' is keyed by 'customer', this looks up by 'agent'"));
    CHECK(contains(errors, "set `global: true` on table 'users'"));
    CHECK(contains(errors, "read a topic that is keyed by 'agent'"));
}

TEST_CASE("what a lookup may be by: the declared key, the record's key, anything in a global table") {
    CHECK(contains(errors_of("{table: users, by: customer}", "{topic: s}"), "declare `keyed_by: customer`"));
    CHECK(errors_of("{table: users, by: _key}", "{topic: s}").empty());
    CHECK(errors_of("{table: users, by: customer}", "{topic: s, keyed_by: customer}").empty());
    const std::string global = "{topic: users, global: true}";
    CHECK(errors_of("{table: users, by: lower(agent)}", "{topic: s}", global).empty());
    // An expression over the key is not the key.
    const std::string keyed = "{topic: s, keyed_by: customer}";
    CHECK(contains(errors_of("{table: users, by: lower(customer)}", keyed), "W0230"));
    CHECK(contains(errors_of("{table: users, by: [customer, agent]}", keyed), "W0230"));
}

TEST_CASE("names of tables and rows that would mean two things are refused") {
    CHECK(contains(errors_of("{table: user, by: _key}", "{topic: s}"), "did you mean `users`?"));
    CHECK(contains(errors_of("{table: users, by: customer, as: customer}", "{topic: s, keyed_by: customer}"),
                   "W0231"));
    CHECK(contains(errors_of("{table: users, by: _key}", "{topic: users}"), "read the same topic"));
    CHECK(contains(errors_of("{table: users, by: _key}", "{topic: s}", "{topic: users, format: string}"),
                   "their only field is 'value'"));
}

TEST_CASE("only a table with a history is looked up as of a time") {
    const std::string as_of = "{table: users, by: _key, as_of: event_time}";
    CHECK(contains(errors_of(as_of, "{topic: s}"), "W0093"));
    CHECK(errors_of(as_of, "{topic: s}", "{topic: users, history: 1h}").empty());
    CHECK(errors_of("{table: users, by: _key, as_of: latest}", "{topic: s}").empty());
    CHECK(contains(errors_of("{table: users, by: _key}", "{topic: s}", "{topic: users, timestamp: since}"),
                   "W0093"));
}

constexpr const char* kPipeline = R"(
name: p
kafka: {bootstrap.servers: b}
sources:
  reads: {topic: reads}
tables:
  rows: {topic: rows}
  everywhere: {topic: everywhere, global: true}
streams:
  found:
    from: reads
    steps:
      - lookup: {table: rows, by: _key}
      - lookup: {table: everywhere, by: other, as: e}
      - map: {v: rows.v, t: rows.text, whole: rows, e: e.v}
    to: found
)";

std::string on_disk(std::string yaml) {
    for (size_t at = 0; (at = yaml.find("{topic: ", at)) != std::string::npos; ++at)
        if (const size_t end = yaml.find('}', at); yaml.find("streams:") > at && yaml.find("tables:") < at)
            yaml.insert(end, ", state: {backend: rocksdb}");
    return yaml;
}

// Goal: whatever comes in whatever order, also over commits and restarts, a record meets the latest row of
// its key; rows that grow, shrink, go and come back in a table that is compacted many times stay themselves.
TEST_CASE("lookups agree with a naive model over random histories") {
    for (uint64_t seed = 1; seed <= 24; ++seed) {
        CAPTURE(seed);
        const bool disk = seed > 12;
        const auto plan = plan_of(disk ? on_disk(kPipeline) : kPipeline);
        std::mt19937_64 random(seed);
        const auto below = [&](uint64_t n) { return static_cast<int64_t>(random() % n); };
        const int64_t keys = seed % 2 == 0 ? 5 : 300;
        World world(plan);
        std::map<std::string, std::map<std::string, std::string>> model;  // By table: key → value.
        std::vector<std::string> expected;
        for (int step = 0; step < 3000; ++step) {
            const std::string key = std::to_string(below(static_cast<uint64_t>(keys)));
            const std::string table = below(3) == 0 ? "everywhere" : "rows";
            switch (below(12)) {
                case 0: {
                    REQUIRE(world.in(table, {Record{key, std::nullopt, 0, {}}}).ok());
                    model[table].erase(key);
                    break;
                }
                case 1:
                case 2:
                case 3:
                case 4: {
                    const std::string text(static_cast<size_t>(below(step % 7 == 0 ? 3000 : 40)), 'x');
                    const std::string value =
                        "{\"v\":" + std::to_string(step) + ".50,\"text\":\"" + text + "\"}";
                    REQUIRE(world.in(table, key, value).ok());
                    model[table][key] = value;
                    break;
                }
                case 5:
                    if (below(20) > 0) break;
                    world.epoch();
                    if (below(2) == 0) world.crash();
                    break;
                default: {
                    const std::string other = std::to_string(below(static_cast<uint64_t>(keys)));
                    REQUIRE(world.in("reads", key, "{\"other\":\"" + other + "\"}").ok());
                    const auto member = [&](const std::string& in, const std::string& of, const char* name) {
                        const auto row = model[in].find(of);
                        if (row == model[in].end()) return std::string("null");
                        const std::string& value = row->second;
                        const size_t comma = value.find(',');
                        if (name[0] == 'v') return value.substr(5, comma - 5);
                        return value.substr(comma + 8, value.size() - comma - 9);
                    };
                    const auto row = model["rows"].find(key);
                    expected.push_back("found " + key + " {\"v\":" + member("rows", key, "v") +
                                       ",\"t\":" + member("rows", key, "text") + ",\"whole\":" +
                                       (row == model["rows"].end() ? "null" : row->second) +
                                       ",\"e\":" + member("everywhere", other, "v") + "}");
                }
            }
        }
        REQUIRE(world.lines() == expected);
        CHECK(world.imbalance() == "");
        const ShardStatus status = world.shard->status();
        REQUIRE(status.tables.size() == 1);
        if (disk) continue;  // Their number is an estimate.
        CHECK(status.tables[0].rows == model["rows"].size());
    }
}

// Goal: what is left behind by rows that changed is given back.
TEST_CASE("a table whose rows change for ever keeps its size") {
    World world(kPipeline);
    size_t largest = 0;
    for (int round = 0; round < 200; ++round) {
        for (int key = 0; key < 100; ++key) {
            const std::string text(static_cast<size_t>(10 + (round * 37 + key * 11) % 400), 'y');
            REQUIRE(world.in("rows", std::to_string(key), R"({"v":1,"text":")" + text + "\"}").ok());
        }
        world.epoch();
        if (round == 20) largest = world.shard->status().tables[0].bytes;
    }
    CHECK(largest > 0);
    CHECK(world.shard->status().tables[0].bytes < 4 * largest);
}

constexpr const char* kVersions = R"(
name: p
kafka: {bootstrap.servers: b}
sources:
  reads: {topic: reads}
tables:
  rows: {topic: rows, history: 1s, global: GLOBAL}
streams:
  found:
    from: reads
    steps: [{lookup: {table: rows, by: _key, as_of: event_time}}, {map: {v: rows.v}}]
    to: found
)";

// A table with a history, as docs/tables.md says it.
struct VersionsModel {
    static constexpr int64_t kHistoryMs = 1'000;

    void put(const std::string& key, int64_t time, const std::string& value) {  // "": deleted.
        newest = std::max(newest, time);
        std::map<int64_t, std::string>& row = versions[key];
        const auto after = row.upper_bound(newest - kHistoryMs);
        if (time <= newest - kHistoryMs && after != row.begin()) {
            const auto holds = std::prev(after);
            if (holds->second.empty())
                row.erase(row.begin(), after);
            else if (holds->first > time)
                return;
        }
        row[time] = value;
    }
    [[nodiscard]] std::string at(const std::string& key, int64_t time) {
        const std::map<int64_t, std::string>& row = versions[key];
        const auto after = row.upper_bound(std::max(time, newest - kHistoryMs));
        if (after == row.begin()) return "";
        return std::prev(after)->first > time ? "" : std::prev(after)->second;
    }

    std::map<std::string, std::map<int64_t, std::string>> versions;
    int64_t newest = -1'000'000;  // Before all times of the test.
};

// Goal: a lookup as of a time finds the version that held then, from the bound of the history on; before it
// the one that holds at the bound, or none. Method: versions out of order within the history and before it,
// tombstones, times that meet, commits and restarts, a global table too, in memory and on disk.
TEST_CASE("lookups as of event time agree with a naive model over random histories") {
    for (uint64_t seed = 1; seed <= 24; ++seed) {
        CAPTURE(seed);
        std::mt19937_64 random(seed);
        const auto below = [&](int64_t n) {
            return static_cast<int64_t>(random() % static_cast<uint64_t>(n));
        };
        std::string yaml = kVersions;
        yaml.replace(yaml.find("GLOBAL"), 6, seed % 3 == 0 ? "true" : "false");
        World world(seed > 12 ? on_disk(yaml) : yaml);
        const int64_t keys = seed % 2 == 0 ? 3 : 60;
        VersionsModel model;
        size_t outputs = 0;
        size_t beyond = 0;
        for (int step = 0; step < 4'000; ++step) {
            CAPTURE(step);
            const int64_t now = std::max<int64_t>(10'000, model.newest);
            const std::string key = std::to_string(below(keys));
            if (below(40) == 0) world.epoch();
            if (below(400) == 0) {
                world.epoch();
                world.crash();
            }
            if (below(2) == 0) {
                const int64_t reach = below(20) == 0 ? 3 * VersionsModel::kHistoryMs : 999;
                const int64_t time = now + below(60) - (below(2) == 0 ? below(reach) : 0);
                Record record{key, std::nullopt, time, {}};
                if (below(5) > 0)
                    record.value = "{\"v\":\"" + std::string(static_cast<size_t>(below(30)), 'x') +
                                   std::to_string(step) + "\"}";
                model.put(key, time, record.value.value_or(""));
                REQUIRE(world.in("rows", {record}).ok());
                continue;
            }
            const int64_t time = now + 50 - below(3 * VersionsModel::kHistoryMs / 2);
            REQUIRE(world.in("reads", key, "{}", time).ok());
            REQUIRE(world.sink.outputs.size() == ++outputs);
            const std::string expected = model.at(key, time);
            REQUIRE(world.sink.outputs.back().value == (expected.empty() ? "{\"v\":null}" : expected));
            if (time < model.newest - VersionsModel::kHistoryMs && expected.empty()) ++beyond;
        }
        CHECK(beyond > 0);
        CHECK(world.imbalance() == "");
    }
}

void keeps_its_span(const std::string& yaml, bool disk) {
    CAPTURE(disk);
    World world(yaml);
    size_t largest = 0;
    for (int round = 0; round < 300; ++round) {
        // Each key changes for a while, then never again; half of them end deleted.
        for (int i = 0; i < 20; ++i) {
            const int key = round / 10 * 20 + i;
            const bool ends = round % 10 == 9 && key % 2 == 0;
            REQUIRE(world.in("rows", {Record{std::to_string(key),
                                             ends ? std::nullopt : std::optional<std::string>(R"({"v":1})"),
                                             round * 1'000, {}}})
                        .ok());
        }
        world.epoch();
        if (round == 50) largest = world.shard->status().tables[0].bytes;
    }
    // 600 keys came: 300 were deleted, all but some of the last 20 s. Of the others one version each, and the
    // changes of the last 10 s, and what the sweep has yet to see.
    CHECK(world.stored_entries() < 1'200);
    if (!disk) {
        CHECK(world.shard->status().tables[0].rows < 450);
        CHECK(world.shard->status().tables[0].rows >= 300);
        CHECK(world.shard->status().tables[0].bytes < 10 * largest);
    }
    world.crash();
    if (!disk) CHECK(world.shard->status().tables[0].rows < 450);
    REQUIRE(world.in("reads", "1", "{}", 299'000).ok());
    CHECK(world.lines().back() == R"(found 1 {"v":1})");
}

// Goal: versions that no lookup can ask for any more are given back, in memory and in the stored state, of
// rows that change and of rows that do not.
TEST_CASE("a table with a history keeps as much as its time span needs") {
    std::string yaml = kVersions;
    yaml.replace(yaml.find("1s, global: GLOBAL"), 18, "10s");
    for (const bool disk : {false, true}) keeps_its_span(disk ? on_disk(yaml) : yaml, disk);
}

// Goal: a stream reads of another what that one would write, no matter whether there is a topic between them.
TEST_CASE("a row is seen by the stream that looked it up, and by no other") {
    World world(R"(
name: p
kafka: {bootstrap.servers: b}
sources:
  reads: {topic: reads}
tables:
  rows: {topic: rows}
streams:
  found:
    from: reads
    steps: [{lookup: {table: rows, by: _key}}, {explode: {field: list, as: e}}, {set: {v: rows.v}}]
    to: found
  after: {from: found, steps: [{map: {e: e, v: v, rows: rows.v}}], to: after}
)");
    REQUIRE(world.in("rows", "k", R"({"v":1})").ok());
    REQUIRE(world.in("reads", "k", R"({"list":[7],"rows":{"v":2}})").ok());
    const auto lines = world.lines();
    REQUIRE(lines.size() == 2);
    const bool found_first = lines[0].starts_with("found ");
    CHECK(contains(lines[found_first ? 0 : 1], R"("v":1)"));
    CHECK(lines[found_first ? 1 : 0] == R"(after k {"e":7,"v":1,"rows":2})");
}

// Goal: nothing waits where no stream is read.
TEST_CASE("global tables have a shard without steps") {
    const auto plan = plan_of(R"(
name: p
kafka: {bootstrap.servers: b}
sources:
  reads: {topic: reads}
tables:
  all: {topic: all, global: true}
streams:
  found:
    from: reads
    steps:
      - lookup: {table: all, by: k}
      - set: {v: all.v}
      - aggregate: {by: _key, window: {session: 1m}, fields: {v: max(v)}, state: {backend: rocksdb}}
    to: found
)");
    World world(plan);
    REQUIRE(world.in("all", "k", R"({"v":1})").ok());
    Counters counters(*plan);
    const std::vector<TopicPartition> partitions{{static_cast<TopicId>(1), 0}};
    const std::vector<int32_t> counts(plan->inputs.size(), 1);
    Shard globals(*plan, kGlobalTables, partitions, counts, world.clock, counters);
    CHECK(globals.status().stages.empty());
    CHECK(globals.status().tables.size() == 1);
    CHECK(world.shard->status().stages.size() == 1);
    CHECK(world.shard->status().tables.empty());
}

TEST_CASE("a table's record without a key goes to on_error") {
    World world(plan_of(std::string(kPipeline) + "on_error: {dead_letter: dlq}\n"));
    REQUIRE(world.in("rows", {Record{std::nullopt, "{}", 0, {}}}).ok());
    REQUIRE(world.sink.outputs.size() == 1);
    CHECK(world.sink.outputs[0].topic == "dlq");
    CHECK(world.sink.outputs[0].headers.at("weir.step") == "tables.rows.topic");
    // A global table's is counted only: every worker reads it, at every start.
    REQUIRE(world.in("everywhere", {Record{std::nullopt, "{}", 0, {}}}).ok());
    CHECK(world.sink.outputs.size() == 1);
    CHECK(world.counters.sources[2].skipped == 1);
    CHECK(world.imbalance() == "");
}

// Goal: a later version of the pipeline may use other fields of the rows; they are stored whole.
TEST_CASE("state stays valid when lookups use other fields, and not when the table changes") {
    const auto hash = [](const std::string& from, const std::string& to) {
        std::string yaml = kPipeline;
        if (!from.empty()) yaml.replace(yaml.find(from), from.size(), to);
        return plan_of(yaml)->state_hash;
    };
    CHECK(hash("", "") == hash("rows.text", "rows.name"));
    CHECK(hash("", "") == hash("{topic: everywhere", "{topic: elsewhere"));
    CHECK(hash("", "") != hash("{topic: rows}", "{topic: rows2}"));
    const std::string history = "{topic: rows, history: 1h}";
    CHECK(hash("", "") != hash("{topic: rows}", history));
    CHECK(hash("{topic: rows}", history) == hash("{topic: rows}", "{topic: rows, history: 2h}"));
}

}  // namespace
}  // namespace weir::processor
