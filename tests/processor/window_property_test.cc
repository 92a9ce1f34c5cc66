// Goal: windows of every kind, with every way to emit, give what a naive model gives, late records too,
// however the input is cut into runs, wherever it is committed or crashes, also when event time ticks on
// silence, and wherever the groups are kept. Method: random disorder, delays, graces and sizes; the model
// looks at one record at a time and keeps every record.
#include <algorithm>
#include <cstdlib>
#include <random>
#include <set>

#include "fixture.h"

namespace weir::processor {
namespace {

constexpr int64_t kIdleMs = 5'000;

struct Event {
    int64_t time = 0;
    std::string key;
    int64_t silence_ms = 0;  // Before the record, with the input known to be at its end.
};

struct Case {
    std::string kind;
    std::string emit;
    int64_t delay_ms = 0;
    int64_t grace_ms = 0;
    int64_t size_ms = 0;
    int64_t step_ms = 0;
    int64_t count = 0;
    bool on_disk = false;
    std::vector<Event> events;

    [[nodiscard]] bool timed() const { return kind != "count" && kind != "none"; }
    [[nodiscard]] std::string window() const {
        const auto ms = [](int64_t value) { return std::to_string(value) + "ms"; };
        if (kind == "none") return "none";
        if (kind == "count") return "{count: " + std::to_string(count) + "}";
        std::string out = "{" + kind + ": ";
        out += step_ms == 0 ? ms(size_ms) : "{size: " + ms(size_ms) + ", step: " + ms(step_ms) + "}";
        return out + ", grace: " + ms(grace_ms) + "}";
    }
};

// What the pipeline should say in the end.
struct Expected {
    std::multiset<std::string> results;  // Final ones.
    std::multiset<std::string> late;
};

class Model {
public:
    explicit Model(const Case& input) : input_(input) {}

    Expected run() {
        int64_t largest = INT64_MIN;
        int64_t stage = INT64_MIN;
        for (const Event& event : input_.events) {
            if (largest != INT64_MIN) stage = std::max(stage, largest - input_.delay_ms);
            if (event.silence_ms > kIdleMs && largest != INT64_MIN) stage += event.silence_ms - kIdleMs;
            if (!take(event, stage)) expected_.late.insert(event.key + "@" + std::to_string(event.time));
            largest = std::max(largest, event.time);
        }
        for (const auto& [window, records] : grid_) {
            const auto& [key, start, end] = window;
            result(key, start, end, records);
        }
        for (const Session& session : sessions_)
            result(session.key, session.first, session.last + input_.size_ms, session.records);
        for (const auto& [key, time] : instants_) sliding_result(key, time);
        const bool shows_open = input_.emit != "on_close";
        for (const auto& [key, times] : filling_)
            if (shows_open) count_result(key, times);
        return expected_;
    }

private:
    struct Session {
        std::string key;
        int64_t first;
        int64_t last;
        int64_t records;
        bool closed = false;
    };
    struct Kept {
        Event event;
        int64_t watermark;
    };

    bool open(int64_t end, int64_t watermark) const { return end + input_.grace_ms > watermark; }

    bool take(const Event& event, int64_t watermark) {
        if (input_.kind == "session") return take_session(event, watermark);
        if (input_.kind == "sliding") return take_sliding(event, watermark);
        if (!input_.timed()) return take_count(event);
        const int64_t size = input_.size_ms;
        const int64_t step = input_.step_ms == 0 ? size : input_.step_ms;
        bool taken = false;
        const auto covers = [&](int64_t start, int64_t end) {
            if (event.time < start || event.time >= end || !open(end, watermark)) return;
            ++grid_[{event.key, start, end}];
            taken = true;
        };
        if (input_.kind == "cumulate") {
            const int64_t start = event.time / size * size;
            for (int64_t end = start + step; end <= start + size; end += step) covers(start, end);
        } else {
            for (int64_t start = event.time / step * step; start > event.time - size; start -= step)
                covers(start, start + size);
        }
        return taken;
    }

    bool take_session(const Event& event, int64_t watermark) {
        const int64_t gap = input_.size_ms;
        Session joined{event.key, event.time, event.time, 1};
        for (Session& session : sessions_)
            if (!open(session.last + gap, watermark)) session.closed = true;
        bool joins = false;
        std::erase_if(sessions_, [&](const Session& session) {
            const bool near = !session.closed && session.key == event.key &&
                              event.time < session.last + gap && session.first < event.time + gap;
            if (!near) return false;
            joins = true;
            joined.first = std::min(joined.first, session.first);
            joined.last = std::max(joined.last, session.last);
            joined.records += session.records;
            return true;
        });
        if (!joins && !open(event.time + gap, watermark)) return false;
        sessions_.push_back(joined);
        return true;
    }

    bool take_sliding(const Event& event, int64_t watermark) {
        if (!open(event.time + input_.size_ms, watermark)) return false;
        kept_.push_back({event, watermark});
        if (open(event.time + 1, watermark)) instants_.insert({event.key, event.time});
        return true;
    }

    void sliding_result(const std::string& key, int64_t time) {
        int64_t records = 0;
        for (const Kept& kept : kept_) {
            if (kept.event.key == key && kept.event.time <= time && kept.event.time > time - input_.size_ms &&
                open(time + 1, kept.watermark)) {
                ++records;
            }
        }
        result(key, time + 1 - input_.size_ms, time + 1, records);
    }

    bool take_count(const Event& event) {
        auto& times = filling_[event.key];
        times.push_back(event.time);
        if (input_.kind == "count" && times.size() == static_cast<size_t>(input_.count)) {
            count_result(event.key, times);
            filling_.erase(event.key);
        }
        return true;
    }

    void count_result(const std::string& key, const std::vector<int64_t>& times) {
        const auto [first, last] = std::minmax_element(times.begin(), times.end());
        result(key, *first, *last + 1, static_cast<int64_t>(times.size()));
    }

    void result(const std::string& key, int64_t start, int64_t end, int64_t records) {
        std::string line = "{\"k\":\"" + key + "\",";
        if (input_.kind != "none") {
            line += "\"window_start\":" + std::to_string(start) + ",";
            line += "\"window_end\":" + std::to_string(end) + ",";
        }
        expected_.results.insert(line + "\"n\":" + std::to_string(records) + "}");
    }

    const Case& input_;
    Expected expected_;
    std::map<std::tuple<std::string, int64_t, int64_t>, int64_t> grid_;
    std::vector<Session> sessions_;
    std::vector<Kept> kept_;
    std::set<std::pair<std::string, int64_t>> instants_;
    std::map<std::string, std::vector<int64_t>> filling_;
};

// A result without its count: which window of which group it is about.
std::string subject(const std::string& value) { return value.substr(0, value.find(",\"n\"")); }

// What a reader of the outputs ends up with.
std::multiset<std::string> read_results(const Case& input, const World& world) {
    std::multiset<std::string> results;
    std::map<std::string, std::string> latest;
    for (const Output& output : world.sink.outputs) {
        if (output.topic != "out") continue;
        const auto op = output.headers.find("weir.op");
        if (input.emit == "on_close") {
            results.insert(output.value);
        } else if (input.emit == "changes") {
            REQUIRE(op != output.headers.end());
            if (op->second == "insert" || op->second == "update_after") {
                results.insert(output.value);
            } else {
                const auto before = results.find(output.value);
                REQUIRE(before != results.end());
                results.erase(before);
            }
        } else if (input.kind == "count") {
            // The windows of one group follow each other: a full one is final.
            const std::string key = output.key;
            if (output.headers.at("weir.reason") == "count") {
                results.insert(output.value);
                latest.erase(key);
            } else {
                latest[key] = output.value;
            }
        } else if (output.value != "<null>") {
            latest[subject(output.value)] = output.value;
        }
    }
    for (const auto& [window, value] : latest) results.insert(value);
    return results;
}

std::string difference(const std::multiset<std::string>& got, const std::multiset<std::string>& wanted) {
    std::vector<std::string> extra;
    std::vector<std::string> missing;
    std::set_difference(got.begin(), got.end(), wanted.begin(), wanted.end(), std::back_inserter(extra));
    std::set_difference(wanted.begin(), wanted.end(), got.begin(), got.end(), std::back_inserter(missing));
    std::string out;
    for (const std::string& line : extra) out += "\n  + " + line;
    for (const std::string& line : missing) out += "\n  - " + line;
    return out.substr(0, 1000);
}

void check(const Case& input, const World& world) {
    const Expected expected = Model(input).run();
    std::multiset<std::string> late;
    for (const Output& output : world.sink.outputs) {
        if (output.topic != "late") continue;
        std::string time = output.value.substr(output.value.find("\"t\":") + 4);
        time.pop_back();
        late.insert(output.key + "@" + time);
    }
    CHECK(difference(late, expected.late) == "");
    const std::multiset<std::string> results = read_results(input, world);
    const bool growing = input.kind == "session" && input.emit != "on_close" && input.emit != "changes";
    if (growing) {
        // A session's earlier results have other borders; the final one must be among them.
        for (const std::string& line : expected.results) {
            CAPTURE(line);
            CHECK(results.contains(line));
        }
    } else {
        CHECK(difference(results, expected.results) == "");
    }
    CHECK(world.imbalance() == "");
}

TEST_CASE("windows against a naive model") {
    const char* given = std::getenv("WEIR_SEED");
    const unsigned seed = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device{}();
    MESSAGE("replay: WEIR_SEED=" << seed << " processor_test -tc='windows against a naive model'");
    std::mt19937 random(seed);
    const auto draw = [&](int64_t low, int64_t high) {
        return std::uniform_int_distribution<int64_t>(low, high)(random);
    };
    const std::vector<std::string> kinds{"tumbling", "hopping", "cumulate", "session",
                                         "sliding",  "count",   "none"};
    const std::vector<std::string> emits{"on_close", "on_watermark", "{every: 700ms}", "on_update",
                                         "changes"};
    for (int round = 0; round < 210; ++round) {
        Case input;
        input.kind = kinds[static_cast<size_t>(round) % kinds.size()];
        input.emit = emits[static_cast<size_t>(round) / kinds.size() % emits.size()];
        if (input.kind == "none" && input.emit.starts_with("on_c")) input.emit = "on_update";
        if (!input.timed() && input.emit == "on_watermark") input.emit = "changes";
        input.delay_ms = draw(0, 3000);
        input.grace_ms = draw(0, 2) * draw(0, 1500);
        input.size_ms = draw(1, 6) * 500;
        if (input.kind == "hopping") input.step_ms = draw(1, input.size_ms / 250) * 250;
        if (input.kind == "cumulate") input.step_ms = input.size_ms / draw(1, 5);
        if (input.kind == "cumulate") input.size_ms = input.step_ms * draw(1, 5);
        if (input.kind == "session") input.size_ms = draw(20, 400);
        input.count = draw(1, 7);
        input.on_disk = draw(0, 1) == 0;
        CAPTURE(round);
        CAPTURE(input.on_disk);
        CAPTURE(input.kind);
        CAPTURE(input.emit);
        const int64_t disorder = draw(0, 6000);
        for (int64_t i = 0, base = 10'000, n = draw(1, 400); i < n; ++i, base += 40) {
            Event event;
            event.key = std::string(1, static_cast<char>('a' + draw(0, 4)));
            if (draw(0, 150) == 0) {
                event.silence_ms = kIdleMs + draw(1, 4000);
                base += event.silence_ms - kIdleMs;
            }
            event.time = base + draw(-disorder, disorder);
            input.events.push_back(event);
        }
        const auto plan = plan_of(
            "name: p\nkafka: {bootstrap.servers: \"b:9092\"}\nsources: {o: {topic: o, keyed_by: k, "
            "timestamp: t, watermark: {idle_timeout: 5s, max_delay: " +
            std::to_string(input.delay_ms) +
            "ms}}}\nstreams:\n  s: {from: o, steps: [{aggregate: {by: k, window: " + input.window() +
            ", emit: " + input.emit + (input.on_disk ? ", state: {backend: rocksdb}" : "") +
            ", fields: {n: count(*)}}}], to: out}\n  l: {from: s.late, to: late}\n");
        if (draw(0, 1) == 0) without_cache(*plan);
        World world(plan);
        if (draw(0, 1) == 0) {
            world.close_in_slices(static_cast<size_t>(draw(1, 500)), draw(0, 1) == 0);
            world.crash();
        }
        for (size_t next = 0; next < input.events.size();) {
            const auto size = static_cast<size_t>(draw(1, round % 2 == 0 ? 3 : 400));
            std::vector<Record> run;
            if (input.events[next].silence_ms > 0 && next > 0) {
                world.caught_up("o");
                world.advance(kIdleMs);
                world.advance(input.events[next].silence_ms - kIdleMs);
                world.epoch();  // A crash would otherwise undo it.
            }
            do {
                const Event& event = input.events[next];
                const std::string time = std::to_string(event.time);
                run.push_back({event.key, "{\"k\":\"" + event.key + "\",\"t\":" + time + "}", 0, {}});
                ++next;
            } while (run.size() < size && next < input.events.size() && input.events[next].silence_ms == 0);
            REQUIRE(world.in("o", std::move(run)).ok());
            if (draw(0, 5) == 0) world.advance(draw(0, 300));
            if (draw(0, 9) == 0) world.epoch();
            if (draw(0, 19) == 0) world.crash();
        }
        world.end();
        world.epoch();
        check(input, world);
    }
}

TEST_CASE("windows that no time ends are found open after a restart") {
    for (const std::string window : {"none", "{count: 3}"}) {
        World world(
            "name: p\nkafka: {bootstrap.servers: \"b:9092\"}\nsources: {o: {topic: o, keyed_by: k, "
            "timestamp: t}}\nstreams:\n  s: {from: o, steps: [{aggregate: {by: k, window: " +
            window + ", emit: on_update, fields: {n: count(*)}}}], to: out}\n");
        REQUIRE(world.in("o", "a", R"({"k":"a","t":1000})").ok());
        REQUIRE(world.in("o", "a", R"({"k":"a","t":90000})").ok());
        world.epoch();
        world.crash();
        OpenWindows open;
        world.shard->append_open_windows({0, "a"}, open);
        REQUIRE(open.size() == 1);
        CHECK(open[0].window.records == 2);
    }
}

}  // namespace
}  // namespace weir::processor
