// Goal: dedupe, throttle and top_n give what a naive model gives, late records too, however the input is cut
// into runs and wherever it is committed or crashes, in memory and on disk; and sessions with a greatest
// length lose no record.
// Method: random disorder, delays, times and limits; the model looks at one record at a time and keeps every
// record.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>

#include "fixture.h"

namespace weir::processor {
namespace {

struct Event {
    int64_t time = 0;
    int64_t value = 0;
    std::string key;

    [[nodiscard]] std::string json() const {
        return "{\"k\":\"" + key + "\",\"t\":" + std::to_string(time) + ",\"v\":" + std::to_string(value) +
               "}";
    }
};

struct Case {
    int64_t delay_ms = 0;
    int64_t size_ms = 0;
    int64_t grace_ms = 0;
    int64_t count = 0;
    std::vector<Event> events;
};

class Draw {
public:
    explicit Draw(const std::string& test) {
        const char* given = std::getenv("WEIR_SEED");
        const unsigned seed =
            given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device{}();
        MESSAGE("replay: WEIR_SEED=" << seed << " processor_test -tc='" << test << "'");
        random_.seed(seed);
    }
    int64_t operator()(int64_t low, int64_t high) {
        return std::uniform_int_distribution<int64_t>(low, high)(random_);
    }
    Case draw_case(bool ordered) {
        Case result;
        result.delay_ms = (*this)(0, 3000);
        result.size_ms = (*this)(1, 3000);
        result.grace_ms = (*this)(0, 1) * (*this)(0, 2000);
        result.count = (*this)(1, 4);
        const int64_t disorder = ordered ? 0 : (*this)(0, 6000);
        for (int64_t i = 0, base = 10'000, n = (*this)(1, 300); i < n; ++i, base += (*this)(0, 80)) {
            result.events.push_back({base + (*this)(-disorder, disorder), (*this)(-5, 5),
                                     std::string(1, static_cast<char>('a' + (*this)(0, 3)))});
        }
        return result;
    }

private:
    std::mt19937 random_;
};

std::string ms(int64_t value) { return std::to_string(value) + "ms"; }

// Runs the events through one step, with commits and crashes; then the input ends.
std::unique_ptr<World> run(const Case& input, const std::string& step, Draw& draw) {
    const auto plan = plan_of(
        "name: p\nkafka: {bootstrap.servers: \"b:9092\"}\nsources: {o: {topic: o, keyed_by: k, timestamp: t, "
        "watermark: " +
        ms(input.delay_ms) + "}}\nstreams:\n  s: {from: o, steps: [{" + step +
        "}], to: out}\n  l: {from: s.late, to: late}\n");
    if (draw(0, 1) == 0) without_cache(*plan);
    auto world = std::make_unique<World>(plan);
    const int64_t longest = draw(0, 1) == 0 ? 3 : 300;
    for (size_t next = 0; next < input.events.size();) {
        std::vector<Record> records;
        for (int64_t left = draw(1, longest); left > 0 && next < input.events.size(); --left, ++next)
            records.push_back({input.events[next].key, input.events[next].json(), 0, {}});
        REQUIRE(world->in("o", std::move(records)).ok());
        if (draw(0, 9) == 0) world->epoch();
        if (draw(0, 19) == 0) world->crash();
    }
    REQUIRE(world->shard->advance_watermark(kEndOfTime, 0, world->sink).ok());
    world->epoch();
    CHECK(world->imbalance() == "");
    return world;
}

std::vector<std::string> values(const World& world, const std::string& topic) {
    std::vector<std::string> result;
    for (const Output& output : world.sink.outputs)
        if (output.topic == topic) result.push_back(output.value);
    return result;
}

std::vector<std::string> sorted(std::vector<std::string> list) {
    std::sort(list.begin(), list.end());
    return list;
}

// Calls take(event, watermark before it).
template <class Take>
void each(const Case& input, const Take& take) {
    int64_t largest = INT64_MIN;
    for (const Event& event : input.events) {
        take(event, largest == INT64_MIN ? INT64_MIN : largest - input.delay_ms);
        largest = std::max(largest, event.time);
    }
}

TEST_CASE("dedupe and throttle against a naive model") {
    Draw draw("dedupe and throttle against a naive model");
    for (int round = 0; round < 120; ++round) {
        CAPTURE(round);
        Case input = draw.draw_case(false);
        const bool dedupe = round % 2 == 0;
        const std::string state = round % 4 < 2 ? "" : ", state: {backend: rocksdb}";
        if (dedupe) input.count = 1;
        if (draw(0, 3) == 0) input.size_ms *= 5;
        std::vector<std::string> passed;
        std::vector<std::string> late;
        std::map<std::string, std::vector<int64_t>> times;
        each(input, [&](const Event& event, int64_t watermark) {
            if (watermark >= event.time + input.size_ms) return late.push_back(event.json());
            auto& known = times[event.key];
            const auto near = std::count_if(known.begin(), known.end(), [&](int64_t time) {
                return std::abs(time - event.time) < input.size_ms;
            });
            if (near >= input.count) return;
            known.push_back(event.time);
            passed.push_back(event.json());
        });
        const auto world = run(input,
                               dedupe ? "dedupe: {by: k, within: " + ms(input.size_ms) + state + "}"
                                      : "throttle: {by: k, max: " + std::to_string(input.count) +
                                            ", per: " + ms(input.size_ms) + state + "}",
                               draw);
        CHECK(world->stored_entries() == 1);  // The clock: all that passed is forgotten.
        CHECK(values(*world, "out") == passed);
        CHECK(values(*world, "late") == late);
        for (auto& [key, list] : times) {
            std::sort(list.begin(), list.end());
            for (size_t i = static_cast<size_t>(input.count); i < list.size(); ++i)
                CHECK(list[i] - list[i - static_cast<size_t>(input.count)] >= input.size_ms);
        }
    }
}

TEST_CASE("dedupe that keeps the last against a naive model") {
    Draw draw("dedupe that keeps the last against a naive model");
    for (int round = 0; round < 30; ++round) {
        CAPTURE(round);
        const Case input = draw.draw_case(true);
        std::vector<std::string> kept;
        std::map<std::string, std::pair<int64_t, std::string>> open;  // Since when, and the latest.
        for (const Event& event : input.events) {
            auto& [since, latest] = open[event.key];
            if (!latest.empty() && event.time - since >= input.size_ms)
                kept.push_back(std::exchange(latest, ""));
            if (latest.empty()) since = event.time;
            latest = event.json();
        }
        for (const auto& [key, period] : open) kept.push_back(period.second);
        const std::string state = round % 2 == 0 ? "" : ", state: {backend: rocksdb}";
        const auto world =
            run(input, "dedupe: {by: k, keep: last, within: " + ms(input.size_ms) + state + "}", draw);
        CHECK(sorted(values(*world, "out")) == sorted(kept));
        CHECK(values(*world, "late").empty());
    }
}

TEST_CASE("top_n against a naive model") {
    Draw draw("top_n against a naive model");
    for (int round = 0; round < 40; ++round) {
        CAPTURE(round);
        const Case input = draw.draw_case(false);
        const bool hopping = round % 2 == 1;
        const int64_t size = hopping ? input.size_ms * 2 : input.size_ms;
        std::map<std::pair<int64_t, std::string>, std::vector<Event>> windows;
        std::vector<std::string> late;
        each(input, [&](const Event& event, int64_t watermark) {
            bool taken = false;
            for (int64_t start = event.time / input.size_ms * input.size_ms; start > event.time - size;
                 start -= input.size_ms) {
                if (start + size + input.grace_ms <= watermark) continue;
                windows[{start, event.key}].push_back(event);
                taken = true;
            }
            if (!taken) late.push_back(event.json());
        });
        std::vector<std::string> wanted;
        for (auto& [window, events] : windows) {
            // Of equal ones the first, pane by pane.
            std::stable_sort(events.begin(), events.end(), [&](const Event& a, const Event& b) {
                return a.value != b.value ? a.value > b.value
                                          : a.time / input.size_ms < b.time / input.size_ms;
            });
            const size_t count = std::min(events.size(), static_cast<size_t>(input.count));
            for (size_t i = 0; i < count; ++i) {
                std::string line = events[i].json();
                line.pop_back();
                wanted.push_back(line + ",\"rank\":" + std::to_string(i + 1) + "}");
            }
        }
        const std::string window = hopping
                                       ? "{hopping: {size: " + ms(size) + ", step: " + ms(input.size_ms) + "}"
                                       : "{tumbling: " + ms(size);
        const std::string where = round % 4 < 2 ? "" : ", state: {backend: rocksdb}";
        const auto world = run(input,
                               "top_n: {by: k, largest: v, as: rank, n: " + std::to_string(input.count) +
                                   ", window: " + window + ", grace: " + ms(input.grace_ms) + "}" + where +
                                   "}",
                               draw);
        CHECK(sorted(values(*world, "out")) == sorted(wanted));
        CHECK(values(*world, "late") == late);
    }
}

TEST_CASE("sessions with a greatest length lose no record") {
    Draw draw("sessions with a greatest length lose no record");
    for (int round = 0; round < 60; ++round) {
        CAPTURE(round);
        const Case input = draw.draw_case(false);
        const int64_t longest = input.size_ms + draw(0, 2 * input.size_ms);
        const std::string state = round % 2 == 0 ? "" : ", state: {backend: rocksdb}";
        const auto world =
            run(input,
                "aggregate: {by: k, window: {session: " + ms(input.size_ms) + ", max: " + ms(longest) +
                    ", grace: " + ms(input.grace_ms) + "}" + state +
                    ", fields: {n: count(*), long: max(t) - min(t)}}",
                draw);
        int64_t records = 0;
        for (const Output& output : world->sink.outputs) {
            if (output.topic != "out") continue;
            const auto number = [&](const std::string& name) {
                return std::stoll(
                    output.value.substr(output.value.find("\"" + name + "\":") + name.size() + 3));
            };
            records += number("n");
            CHECK(number("long") < longest);
            CHECK(number("window_end") - number("window_start") <= longest);
        }
        CHECK(records + static_cast<int64_t>(values(*world, "late").size()) ==
              static_cast<int64_t>(input.events.size()));
    }
}

}  // namespace
}  // namespace weir::processor
