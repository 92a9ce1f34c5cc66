// Joins whose sides are brought to the join key through internal topics: several workers over one broker,
// checked against a nested loop over all records.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "cluster.h"
#include "connectors/partitioner.h"

using namespace weir;
using worker::Cluster;
using worker::difference;
using worker::run_to_the_end;

namespace {

constexpr int64_t kBaseMs = 1'690'000'000'000;
constexpr int64_t kDelayMs = 1'000;
constexpr int64_t kReachMs = 3'000;
constexpr int64_t kGapMs = 400;

// A record of either side, l or r; `k` is the join key.
struct Input {
    size_t side;
    int32_t partition;
    int64_t id;
    int64_t time;
    int64_t key;

    // Every third one writes the key as a decimal: 3.0 = 3.
    [[nodiscard]] std::string value() const {
        return "{\"id\":" + std::to_string(id) + ",\"t\":" + std::to_string(time) +
               ",\"k\":" + std::to_string(key) + (id % 3 == 0 ? ".0" : "") + ",\"u\":\"K" +
               std::to_string(key) + "\"}";
    }
    void append_to(connectors::MemoryBroker& broker) const {
        connectors::MemoryRecord record;
        record.key = std::to_string(key);
        record.value = value();
        record.timestamp_ms = time;
        broker.append(side == 0 ? "l" : "r", partition, record);
    }
};

struct Expected {
    std::vector<std::string> results;
    std::vector<std::string> late;
};

// The number of each record's session, by id: none is late, so a session is what lies close enough together.
std::map<int64_t, int64_t> sessions_of(std::vector<Input> inputs) {
    std::sort(inputs.begin(), inputs.end(), [](const Input& a, const Input& b) {
        return std::pair(a.key, a.time) < std::pair(b.key, b.time);
    });
    std::map<int64_t, int64_t> sessions;
    const Input* before = nullptr;
    int64_t session = 0;
    for (const Input& input : inputs) {
        if (before != nullptr && (before->key != input.key || input.time - before->time >= kGapMs)) ++session;
        sessions[input.id] = session;
        before = &input;
    }
    return sessions;
}

// Every pair of records that are not late by their own partitions, and each record without one.
Expected model(const std::vector<Input>& inputs, bool in_sessions) {
    std::map<std::pair<size_t, int32_t>, int64_t> newest;
    std::vector<Input> sides[2];
    Expected expected;
    for (const Input& input : inputs) {
        int64_t& latest = newest.try_emplace({input.side, input.partition}, input.time).first->second;
        if (input.time < latest - kDelayMs) {
            expected.late.push_back("{\"id\":" + std::to_string(input.id) + "}");
            continue;
        }
        latest = std::max(latest, input.time);
        sides[input.side].push_back(input);
    }
    const auto sessions = sessions_of(inputs);
    const auto together = [&](const Input& left, const Input& right) {
        if (left.key != right.key) return false;
        if (in_sessions) return sessions.at(left.id) == sessions.at(right.id);
        return right.time >= left.time && right.time <= left.time + kReachMs;
    };
    std::set<int64_t> paired;
    const auto add = [&](const std::string& left, const std::string& right) {
        expected.results.push_back("{\"l\":" + left + ",\"r\":" + right + "}");
    };
    for (const Input& left : sides[0]) {
        for (const Input& right : sides[1]) {
            if (!together(left, right)) continue;
            add(std::to_string(left.id), std::to_string(right.id));
            paired.insert({left.id, right.id});
        }
    }
    for (size_t side = 0; side < 2; ++side) {
        for (const Input& alone : sides[side]) {
            if (paired.contains(alone.id)) continue;
            const std::string id = std::to_string(alone.id);
            add(side == 0 ? id : "null", side == 1 ? id : "null");
        }
    }
    std::sort(expected.results.begin(), expected.results.end());
    std::sort(expected.late.begin(), expected.late.end());
    return expected;
}

// What the sources say that their topics are keyed by: a side by another field than k travels.
struct Case {
    std::string keyed[2];
    std::string match;
};

std::string pipeline_of(const Case& join, bool in_sessions) {
    const auto source = [&](const std::string& name, const std::string& keyed) {
        return "  " + name + ": {topic: " + name + ", keyed_by: " + keyed +
               ", timestamp: t, watermark: {max_delay: 1s, idle_timeout: 5s}}\n";
    };
    return "name: rp\nkafka: {bootstrap.servers: none}\nsources:\n" + source("l", join.keyed[0]) +
           source("r", join.keyed[1]) +
           "streams:\n  j:\n    join: {left: l, right: r, kind: full, match: " + join.match +
           (in_sessions ? ", window: {session: 400ms}}\n" : ", within: {before: 0s, after: 3s}}\n") +
           "    steps: [{map: {l: l.id, r: r.id}}]\n    to: out\n" +
           "  late: {from: j.late, steps: [{map: {id: id}}], to: late}\n";
}

// A side that travels lies anyhow, and has records that are late by far, if there are to be any; one that
// stays lies by its key.
std::vector<Input> some_inputs(std::mt19937_64& random, const bool (&travels)[2],
                               const int32_t (&partitions)[2], bool with_late, size_t& first) {
    std::vector<Input> inputs;
    // Each partition has a record before anybody starts: an empty one holds nobody.
    for (size_t side = 0; side < 2; ++side) {
        for (int32_t partition = 0; partition < partitions[side]; ++partition) {
            int64_t key = 100;
            while (connectors::partition_for_key(std::to_string(key), partitions[side]) != partition) ++key;
            inputs.push_back({side, partition, static_cast<int64_t>(inputs.size()), kBaseMs, key});
        }
    }
    first = inputs.size();
    std::map<std::pair<size_t, int32_t>, int64_t> clocks;
    while (inputs.size() < 300) {
        const size_t side = random() % 2;
        const int64_t key = static_cast<int64_t>(random() % 11);
        const auto count = static_cast<uint64_t>(partitions[side]);
        const int32_t partition = travels[side]
                                      ? static_cast<int32_t>(random() % count)
                                      : connectors::partition_for_key(std::to_string(key), partitions[side]);
        int64_t& clock = clocks.try_emplace({side, partition}, kBaseMs + kDelayMs).first->second;
        clock += static_cast<int64_t>(random() % (100 + 200 * count));
        int64_t time = clock - static_cast<int64_t>(random() % kDelayMs);
        if (with_late && travels[side] && random() % 19 == 0) time -= 30'000;
        inputs.push_back({side, partition, static_cast<int64_t>(inputs.size()), time, key});
    }
    return inputs;
}

// Without their keys, which the partitioner's tests look at.
std::vector<std::string> values(std::vector<std::string> lines) {
    for (std::string& line : lines) line.erase(0, line.find('{'));
    std::sort(lines.begin(), lines.end());
    return lines;
}

}  // namespace

// Goal: a join finds every pair, and every record without one, each once, whichever side has to be brought to
// the join key, for any numbers of partitions and workers, and whoever crashes when, within a time and in
// sessions. Late are the records that are so by their own partition; of sessions that is not promised.
TEST_CASE("repartition: a join equals the model, whichever side travels, with crashes") {
    const char* const given = std::getenv("WEIR_SEED");
    const uint64_t begin = given != nullptr ? std::strtoull(given, nullptr, 10) : 1;
    const uint64_t end = given != nullptr ? begin : 20;
    const Case cases[] = {{{"k", "id"}, "l.k = r.k"},
                          {{"id", "k"}, "l.k = r.k"},
                          {{"id", "id"}, "l.k = r.k"},
                          {{"id", "id"}, "lower(l.u) = lower(r.u) AND l.k = r.k"}};
    size_t late = 0;
    for (uint64_t seed = begin; seed <= end; ++seed) {
        INFO("WEIR_SEED=" << seed << " worker_test -tc='repartition: a join equals*'");
        std::mt19937_64 random(seed);
        const auto up_to = [&](uint64_t most) { return static_cast<int32_t>(1 + random() % most); };
        const Case& join = cases[seed % 4];
        const bool in_sessions = seed % 5 == 0;
        const bool travels[2] = {join.keyed[0] == "id", join.keyed[1] == "id"};
        const int32_t partitions[2] = {up_to(4), up_to(4)};
        const int32_t workers = up_to(3);
        const int32_t internal = !travels[0] ? partitions[0] : !travels[1] ? partitions[1] : up_to(4);
        size_t first = 0;
        const auto inputs = some_inputs(random, travels, partitions, !in_sessions, first);
        const Expected expected = model(inputs, in_sessions);
        Cluster cluster(pipeline_of(join, in_sessions), 1, internal, workers,
                        {{"l", partitions[0]}, {"r", partitions[1]}});
        const uint64_t crash_every = seed % 3 == 0 ? 0 : seed % 3 == 1 ? 1 : 7;
        run_to_the_end(
            cluster, inputs,
            [&](int64_t turn) {
                if (crash_every != 0 && turn < 100 && static_cast<uint64_t>(turn) % crash_every == 0)
                    cluster.crash(random() % static_cast<uint64_t>(workers));
            },
            first);
        REQUIRE(difference(expected.results, values(cluster.read("out"))) == "");
        REQUIRE(difference(expected.late, values(cluster.read("late"))) == "");
        CHECK(cluster.read("out").size() == expected.results.size());
        CHECK(cluster.broker.open_transactions() == 0);
        late += expected.late.size();
    }
    if (given == nullptr) CHECK(late > 20);
}
