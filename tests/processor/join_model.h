// What a join has to give: a naive nested loop that looks at one record at a time, keeps every record and
// pairs them at the end; and cases of random disorder, delays, intervals and graces to compare it with.
#pragma once

#include <cstdlib>
#include <random>
#include <set>
#include <tuple>

#include "fixture.h"

namespace weir::processor {

struct Event {
    size_t side = 0;
    int64_t id = 0;
    int64_t time = 0;
    std::optional<int64_t> key;
    int64_t value = 0;
    int64_t watermark = INT64_MIN;  // Before it; the model's.

    [[nodiscard]] std::string json() const {
        const std::string k = key ? std::to_string(*key) : "null";
        return "{\"k\":" + k + ",\"t\":" + std::to_string(time) + ",\"id\":" + std::to_string(id) +
               ",\"v\":" + std::to_string(value) + ",\"pad\":\"" +
               std::string(static_cast<size_t>(id % 90), 'x') + "\"}";
    }
};

struct Case {
    std::string kind;
    std::string by = "within";  // Or window, hopping, session, backward, forward, nearest.
    int64_t size_ms = 1;        // Of sessions the gap.
    int64_t step_ms = 1;
    std::array<int64_t, 2> delay_ms{};
    int64_t before_ms = 0;
    int64_t after_ms = 0;
    int64_t grace_ms = 0;
    std::vector<Event> events;

    [[nodiscard]] bool keeps(size_t side) const {
        return kind == "full" || kind == (side == 0 ? "left" : "right");
    }
    [[nodiscard]] bool as_of() const { return by == "backward" || by == "forward" || by == "nearest"; }
    // The starts of the windows that hold both.
    [[nodiscard]] std::vector<int64_t> windows(int64_t one, int64_t other) const {
        std::vector<int64_t> starts;
        for (int64_t start = std::min(one, other) / step_ms * step_ms;
             start + size_ms > std::max(one, other); start -= step_ms)
            starts.push_back(start);
        return starts;
    }
    // Those that had not closed when the last of them came.
    [[nodiscard]] std::vector<int64_t> open_windows(const Event& one, const Event& last) const {
        std::vector<int64_t> starts = windows(one.time, last.time);
        std::erase_if(starts, [&](int64_t start) {
            return last.watermark != INT64_MIN && start + size_ms + grace_ms <= last.watermark;
        });
        return starts;
    }
    [[nodiscard]] int64_t back_ms() const { return by == "forward" ? 0 : before_ms; }
    [[nodiscard]] int64_t ahead_ms() const { return by == "backward" ? 0 : as_of() ? before_ms : after_ms; }
    [[nodiscard]] bool reaches(const Event& left, const Event& right) const {
        if (!left.key || left.key != right.key) return false;
        if (by == "window") return left.time / size_ms == right.time / size_ms;
        if (by == "hopping") return true;
        return right.time >= left.time - back_ms() && right.time <= left.time + ahead_ms();
    }
    [[nodiscard]] bool is_late(const Event& event, int64_t watermark) const {
        const int64_t until = by == "window"    ? (event.time / size_ms + 1) * size_ms - 1
                              : by == "hopping" ? event.time / step_ms * step_ms + size_ms - 1
                                                : event.time;
        return until + grace_ms < watermark;
    }
    [[nodiscard]] std::string yaml(bool on_disk = false) const {
        const auto ms = [](int64_t value) { return std::to_string(value) + "ms"; };
        const auto source = [&](const char* name, size_t side) {
            return std::string("  ") + name + ": {topic: " + name +
                   ", keyed_by: k, timestamp: t, watermark: " + ms(delay_ms[side]) + "}\n";
        };
        return "name: p\nkafka: {bootstrap.servers: \"b:9092\"}\nsources:\n" + source("l", 0) +
               source("r", 1) + "streams:\n  j:\n    join: {left: l, right: r, kind: " + kind +
               ", match: l.k = r.k" + (as_of() ? "" : " AND (l.v + r.v) % 3 > 0") + ", " +
               (by == "within"   ? "within: {before: " + ms(before_ms) + ", after: " + ms(after_ms) + "}"
                : by == "window" ? "window: {tumbling: " + ms(size_ms) + "}"
                : by == "hopping"
                    ? "window: {hopping: {size: " + ms(size_ms) + ", step: " + ms(step_ms) + "}}"
                : by == "session" ? "window: {session: " + ms(size_ms) + "}"
                                 : "as_of: {direction: " + by + ", tolerance: " + ms(before_ms) + "}") +
               ", grace: " + ms(grace_ms) + (on_disk ? ", state: {backend: rocksdb}" : "") +
               "}\n    steps: [{map: {l: l.id, r: r.id, pad: \"concat(l.pad, r.pad)\"" +
               (by == "hopping" ? ", start: window_start" : "") +
               (by == "session" ? ", start: window_start, end: window_end" : "") + "}}]\n    to: out\n"
               "  late: {from: j.late, steps: [{map: {id: id}}], to: late}\n";
    }
};

struct Expected {
    std::multiset<std::string> results;
    std::multiset<std::string> late;
    uint64_t matched = 0;
    uint64_t unmatched = 0;
    uint64_t buffered = 0;
};

inline std::string result_line(const Event* left, const Event* right, int64_t start = -1) {
    const auto id = [](const Event* event) { return event == nullptr ? "null" : std::to_string(event->id); };
    const auto pad = [](const Event* event) {
        return std::string(event == nullptr ? 0 : static_cast<size_t>(event->id % 90), 'x');
    };
    const int64_t time =
        std::max(left == nullptr ? INT64_MIN : left->time, right == nullptr ? INT64_MIN : right->time);
    return "{\"l\":" + id(left) + ",\"r\":" + id(right) + ",\"pad\":\"" + pad(left) + pad(right) + "\"" +
           (start < 0 ? "" : ",\"start\":" + std::to_string(start)) + "} @" +
           std::to_string(time);
}

// The records of one key that are together, or one without a key.
struct Session {
    std::optional<int64_t> key;
    int64_t first = 0;
    int64_t last = 0;
    bool closed = false;
    std::array<std::vector<Event>, 2> records;
};

// False: the record is late.
inline bool take_session(const Case& input, const Event& event, int64_t watermark,
                         std::vector<Session>& sessions) {
    const auto ended = [&](int64_t last) {
        return watermark != INT64_MIN && last + input.size_ms + input.grace_ms <= watermark;
    };
    for (Session& session : sessions) session.closed = session.closed || ended(session.last);
    Session joined{event.key, event.time, event.time, false, {}};
    joined.records[event.side].push_back(event);
    const size_t before = sessions.size();
    std::erase_if(sessions, [&](const Session& session) {
        const bool near = !session.closed && event.key && session.key == event.key &&
                          event.time < session.last + input.size_ms &&
                          session.first < event.time + input.size_ms;
        if (!near) return false;
        joined.first = std::min(joined.first, session.first);
        joined.last = std::max(joined.last, session.last);
        for (size_t side = 0; side < 2; ++side)
            joined.records[side].insert(joined.records[side].end(), session.records[side].begin(),
                                        session.records[side].end());
        return true;
    });
    if (sessions.size() == before && ended(event.time)) return false;
    sessions.push_back(std::move(joined));
    return true;
}

inline void pair_sessions(const Case& input, const std::vector<Session>& sessions, Expected& expected) {
    for (const Session& session : sessions) {
        const int64_t end = session.last + input.size_ms;
        const auto line = [&](const Event* left, const Event* right) {
            const std::string text = result_line(left, right, session.first);
            return text.substr(0, text.find('}')) + ",\"end\":" + std::to_string(end) + "} @" +
                   std::to_string(end - 1);
        };
        std::array<std::set<int64_t>, 2> paired;
        for (const Event& left : session.records[0]) {
            for (const Event& right : session.records[1]) {
                if ((left.value + right.value) % 3 == 0) continue;
                expected.results.insert(line(&left, &right));
                paired[0].insert(left.id);
                paired[1].insert(right.id);
                ++expected.matched;
            }
        }
        for (size_t side = 0; side < 2; ++side) {
            for (const Event& event : session.records[side]) {
                if (!input.keeps(side) || paired[side].contains(event.id)) continue;
                expected.results.insert(side == 0 ? line(&event, nullptr) : line(nullptr, &event));
                ++expected.unmatched;
            }
        }
    }
}

inline Expected model(const Case& input) {
    Expected expected;
    std::vector<Session> sessions;
    std::array<int64_t, 2> largest = {INT64_MIN, INT64_MIN};
    std::array<std::vector<Event>, 2> kept;
    for (const Event& event : input.events) {
        int64_t stage = INT64_MIN;
        if (largest[0] != INT64_MIN && largest[1] != INT64_MIN)
            stage = std::min(largest[0] - input.delay_ms[0], largest[1] - input.delay_ms[1]);
        if (input.by == "session" ? !take_session(input, event, stage, sessions)
                                  : stage != INT64_MIN && input.is_late(event, stage)) {
            expected.late.insert("{\"id\":" + std::to_string(event.id) + "}");
        } else if (input.by != "session") {
            kept[event.side].push_back(event);
            kept[event.side].back().watermark = stage;
        }
        largest[event.side] = std::max(largest[event.side], event.time);
    }
    pair_sessions(input, sessions, expected);
    std::array<std::set<int64_t>, 2> paired;
    std::array<std::set<std::pair<int64_t, int64_t>>, 2> paired_in;  // With the window's start.
    for (const Event& left : kept[0]) {
        const Event* nearest = nullptr;
        for (const Event& right : kept[1]) {
            if (!input.reaches(left, right)) continue;
            if (input.as_of()) {
                const auto rank = [&](const Event& event) {
                    // Nearer, then earlier, then what came last.
                    return std::tuple(std::abs(event.time - left.time), event.time, -event.id);
                };
                if (nearest == nullptr || rank(right) < rank(*nearest)) nearest = &right;
                continue;
            }
            if ((left.value + right.value) % 3 == 0) continue;
            if (input.by == "hopping") {
                const Event& last = left.id > right.id ? left : right;
                for (const int64_t start : input.open_windows(&last == &left ? right : left, last)) {
                    expected.results.insert(result_line(&left, &right, start));
                    paired_in[0].insert({left.id, start});
                    paired_in[1].insert({right.id, start});
                    ++expected.matched;
                }
                continue;
            }
            expected.results.insert(result_line(&left, &right));
            paired[0].insert(left.id);
            paired[1].insert(right.id);
            ++expected.matched;
        }
        if (nearest == nullptr) continue;
        expected.results.insert(result_line(&left, nearest));
        paired[0].insert(left.id);
        ++expected.matched;
    }
    for (size_t side = 0; side < 2; ++side) {
        expected.buffered += kept[side].size();
        for (const Event& event : kept[side]) {
            if (!input.keeps(side)) continue;
            if (input.by == "hopping") {
                for (const int64_t start : input.open_windows(event, event)) {
                    if (paired_in[side].contains({event.id, start})) continue;
                    expected.results.insert(side == 0 ? result_line(&event, nullptr, start)
                                                      : result_line(nullptr, &event, start));
                    ++expected.unmatched;
                }
                continue;
            }
            if (paired[side].contains(event.id)) continue;
            expected.results.insert(side == 0 ? result_line(&event, nullptr) : result_line(nullptr, &event));
            ++expected.unmatched;
        }
    }
    return expected;
}

inline std::string difference(std::multiset<std::string> got, std::multiset<std::string> wanted) {
    std::string out;
    for (const std::string& line : got) {
        const auto found = wanted.find(line);
        if (found == wanted.end()) {
            out += "\n  + " + line;
        } else {
            wanted.erase(found);
        }
    }
    for (const std::string& line : wanted) out += "\n  - " + line;
    return out.substr(0, 1000);
}

class Comparison {
public:
    explicit Comparison(const char* test) {
        const char* given = std::getenv("WEIR_SEED");
        const unsigned seed =
            given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device{}();
        MESSAGE("replay: WEIR_SEED=" << seed << " processor_test -tc='" << std::string(test) << "'");
        random_.seed(seed);
    }

    int64_t draw(int64_t low, int64_t high) {
        return std::uniform_int_distribution<int64_t>(low, high)(random_);
    }
    // Records and times of a case whose kind is given.
    Case draw_case(std::string kind, std::string by);
    // `world` is of the case's plan; `twin`, if any, lives through the same and gives the same, in order.
    void run(const Case& input, World& world, World* twin);

    uint64_t late = 0;
    uint64_t unmatched = 0;

private:
    std::mt19937 random_;
};

inline Case Comparison::draw_case(std::string kind, std::string by) {
    Case input;
    input.kind = std::move(kind);
    input.by = std::move(by);
    if (input.as_of() && input.keeps(1)) input.kind = "left";
    for (int64_t& delay : input.delay_ms) delay = draw(0, 1) * draw(0, 3000);
    // From a few milliseconds, all in one pane, to many panes.
    const int64_t scale = draw(0, 1) == 0 ? 1 : 50;
    input.before_ms = draw(0, 1) * draw(0, 2000) * scale;
    input.after_ms = draw(0, 1) * draw(0, 2000) * scale;
    input.size_ms = draw(1, 3000) * scale;
    if (input.by == "hopping") {
        input.step_ms = draw(1, 300) * scale;
        input.size_ms = input.step_ms * draw(1, 6) + draw(0, 1) * (input.step_ms / 2 / scale) * scale;
    }
    if (input.by == "session") input.size_ms = draw(1, 600) * scale;
    input.grace_ms = draw(0, 2) * draw(0, 1500);
    const int64_t disorder = draw(0, 4000);
    const int64_t keys = draw(1, 12);
    const int64_t turns = draw(0, 1) == 0 ? 1 : 12;  // The sides mixed, or long runs of each.
    size_t side = 0;
    int64_t base = 1'000'000;
    for (int64_t i = 0, n = draw(1, 500); i < n; ++i, base += draw(0, 80) * scale) {
        Event event;
        if (draw(0, turns) == 0) side = 1 - side;
        event.side = side;
        event.id = i;
        event.time = base + draw(-disorder, disorder);
        if (draw(0, 20) > 0) event.key = draw(1, keys);
        event.value = draw(0, 9);
        input.events.push_back(event);
    }
    return input;
}

inline void Comparison::run(const Case& input, World& world, World* twin) {
    std::vector<World*> worlds{&world};
    if (twin != nullptr) worlds.push_back(twin);
    const int64_t between_commits = draw(0, 1) == 0 ? 9 : 1;
    for (size_t next = 0; next < input.events.size();) {
        // Records of one side in a row may come in one run.
        const auto most = static_cast<size_t>(draw(1, 30));
        const size_t side = input.events[next].side;
        std::vector<Record> run;
        for (; run.size() < most && next < input.events.size() && input.events[next].side == side; ++next) {
            const Event& event = input.events[next];
            run.push_back({event.key ? std::to_string(*event.key) : "", event.json(), 0, {}});
        }
        const bool commits = draw(0, between_commits) == 0;
        const bool crashes = draw(0, 14) == 0;
        for (World* const each : worlds) {
            REQUIRE(each->in(side == 0 ? "l" : "r", run).ok());
            if (commits) each->epoch();
            if (crashes) each->crash();
            CHECK(each->imbalance() == "");
        }
    }
    const bool whole = draw(0, 1) == 0;
    for (World* const each : worlds) {
        if (whole) each->epoch();
        if (whole) each->crash();
        REQUIRE(each->shard->advance_watermark(kEndOfTime, 0, each->sink).ok());
        each->epoch();
    }
    const Expected expected = model(input);
    std::multiset<std::string> results;
    std::multiset<std::string> late_results;
    for (const Output& output : world.sink.outputs) {
        if (output.topic == "late") {
            late_results.insert(output.value);
        } else {
            results.insert(output.value + " @" + std::to_string(output.timestamp_ms));
        }
    }
    CHECK(difference(results, expected.results) == "");
    CHECK(difference(late_results, expected.late) == "");
    CHECK(results.size() == expected.matched + expected.unmatched);
    CHECK(world.shard->status().stages[0].groups == 0);
    if (twin != nullptr) CHECK(world.lines() == twin->lines());
    late += expected.late.size();
    unmatched += expected.unmatched;
}

}  // namespace weir::processor
