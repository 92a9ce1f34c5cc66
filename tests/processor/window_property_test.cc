// Goal: tumbling sums equal those of a naive model, late records too, however the input is cut into runs and
// wherever it crashes. Method: random disorder, delays and graces; the model looks at one record at a time.
#include <cstdlib>
#include <random>
#include <set>

#include "fixture.h"

namespace weir::processor {
namespace {

struct Case {
    int64_t delay_ms;
    int64_t grace_ms;
    int64_t size_ms;
    std::vector<std::pair<int64_t, std::string>> records;  // Event time, key.
};

std::multiset<std::string> expected(const Case& input) {
    std::multiset<std::string> lines;
    std::map<std::pair<int64_t, std::string>, int> open;
    int64_t largest = INT64_MIN;
    const auto close = [&](int64_t watermark) {
        for (auto it = open.begin(); it != open.end();) {
            const auto& [start, key] = it->first;
            if (start + input.size_ms + input.grace_ms > watermark) {
                ++it;
                continue;
            }
            lines.insert("out " + key + " {\"k\":\"" + key + "\",\"window_start\":" + std::to_string(start) +
                         ",\"window_end\":" + std::to_string(start + input.size_ms) +
                         ",\"n\":" + std::to_string(it->second) + "}");
            it = open.erase(it);
        }
    };
    for (size_t i = 0; i < input.records.size(); ++i) {
        const auto& [time, key] = input.records[i];
        const int64_t start = time / input.size_ms * input.size_ms;
        const bool late =
            largest != INT64_MIN && largest - input.delay_ms >= start + input.size_ms + input.grace_ms;
        if (late) {
            lines.insert("late " + key + " {\"k\":\"" + key + "\",\"t\":" + std::to_string(time) + "}");
        } else {
            ++open[{start, key}];
        }
        largest = std::max(largest, time);
        close(largest - input.delay_ms);
    }
    close(INT64_MAX);
    return lines;
}

TEST_CASE("tumbling windows against a naive model") {
    const char* given = std::getenv("WEIR_SEED");
    const unsigned seed = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device{}();
    MESSAGE("replay: WEIR_SEED=" << seed << " processor_test -tc='tumbling windows against a naive model'");
    std::mt19937 random(seed);
    const auto draw = [&](int64_t low, int64_t high) {
        return std::uniform_int_distribution<int64_t>(low, high)(random);
    };
    for (int round = 0; round < 60; ++round) {
        CAPTURE(round);
        Case input{draw(0, 3000), draw(0, 2000), draw(1, 5) * 1000, {}};
        const int64_t disorder = draw(0, 8000);
        for (int64_t i = 0, n = draw(1, 3000); i < n; ++i) {
            const int64_t time = std::max<int64_t>(0, i * 20 + draw(-disorder, disorder));
            input.records.emplace_back(time, std::string(1, static_cast<char>('a' + draw(0, 4))));
        }
        const auto plan = plan_of(
            "name: p\nkafka: {bootstrap.servers: \"b:9092\"}\nsources: {o: {topic: o, keyed_by: k, "
            "timestamp: t, watermark: {max_delay: " +
            std::to_string(input.delay_ms) +
            "ms}}}\nstreams:\n  s: {from: o, steps: [{aggregate: {by: k, window: {tumbling: " +
            std::to_string(input.size_ms) + "ms, grace: " + std::to_string(input.grace_ms) +
            "ms}, fields: {n: count(*)}}}], to: out}\n  l: {from: s.late, to: late}\n");
        World world(plan);
        for (size_t next = 0; next < input.records.size();) {
            const auto size = static_cast<size_t>(draw(1, round % 2 == 0 ? 3 : 3000));
            std::vector<Record> run;
            for (; run.size() < size && next < input.records.size(); ++next) {
                const auto& [time, key] = input.records[next];
                run.push_back({key, "{\"k\":\"" + key + "\",\"t\":" + std::to_string(time) + "}", 0, {}});
            }
            REQUIRE(world.in("o", std::move(run)).ok());
            if (draw(0, 9) == 0) world.epoch();
            if (draw(0, 19) == 0) world.crash();
        }
        REQUIRE(world.shard->finish_input(world.sink).ok());
        const auto lines = world.lines();
        CHECK(std::multiset<std::string>(lines.begin(), lines.end()) == expected(input));
        CHECK(world.counters.balanced());
    }
}

}  // namespace
}  // namespace weir::processor
