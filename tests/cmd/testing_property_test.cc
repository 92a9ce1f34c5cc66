// What `weir test --restart-everywhere` and `--shuffle` promise, for random tests over every kind of window
// and every way to emit: kills and other workers change nothing, and the order between partitions no final
// window.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "cmd/test_compare.h"
#include "cmd/test_run.h"
#include "config/load.h"

namespace weir::cmd {
namespace {

constexpr const char* kWindows[] = {"{tumbling: 10s}",
                                    "{tumbling: 10s, grace: 5s}",
                                    "{hopping: {size: 10s, step: 5s}, grace: 3s}",
                                    "{cumulate: {size: 20s, step: 5s}}",
                                    "{session: 4s, max: 15s}",
                                    "{session: 4s, grace: 5s}",
                                    "{sliding: 5s, grace: 2s}",
                                    "{count: 3}",
                                    "none",
                                    "{tumbling: 10s, time: processing}",
                                    "{session: 5s, time: processing}"};
constexpr const char* kEmits[] = {"on_close", "on_watermark", "{every: 3s}", "on_update", "changes"};

bool goes_together(const std::string& window, const std::string& emit) {
    if (window == "none") return emit != "on_close" && emit != "on_watermark";
    return window != "{count: 3}" || emit != "on_watermark";
}

// What fits into a session that has reached its `max` is a matter of which records came first.
bool goes_by_arrival(const std::string& window) {
    return window.find("processing") != std::string::npos || window.find("count") != std::string::npos ||
           window.find("max") != std::string::npos;
}

class Draw {
public:
    explicit Draw(uint64_t seed) : random_(seed) {}
    int operator()(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }

private:
    std::mt19937_64 random_;
};

std::string record(Draw& draw, int at_s, int disorder_ms) {
    const int partition = draw(0, 1);
    return fmt::format(
        "      - {{at: {}s, to: {}, partition: {}, key: k{}, value: {{k: k{}, t: {}, v: {}}}}}\n", at_s,
        draw(0, 9) < 7 ? "in" : "in2", partition, partition, partition,
        std::max(0, at_s * 1000 - draw(0, disorder_ms)), draw(0, 9));
}

// Records with disorder and late ones among silence, crashes, marks and other workers.
std::string everything(Draw& draw) {
    std::string feed;
    int now_s = 0;
    for (int i = draw(5, 25); i > 0; --i) {
        const int kind = draw(0, 99);
        if (kind < 12) {
            const int seconds = draw(1, 12);
            feed += fmt::format("      - {{advance: {}s}}\n", seconds);
            now_s += seconds;
        } else if (kind < 16) {
            feed += "      - {restart: true}\n";
        } else if (kind < 22) {
            feed += fmt::format("      - {{rebalance: [{}]}}\n", draw(0, 1));
        } else if (kind < 25) {
            feed += fmt::format("      - {{watermark: \"1970-01-01T00:00:{:02}Z\"}}\n",
                                std::clamp(now_s - draw(0, 5), 0, 59));
        } else {
            now_s += draw(0, 3);
            feed += record(draw, now_s, 4000);
        }
    }
    return feed;
}

// Nothing is late, whatever comes first; at the end all windows close.
std::string in_time(Draw& draw) {
    std::string feed;
    int now_s = 0;
    for (int i = draw(5, 25); i > 0; --i) {
        now_s += draw(0, 2);
        feed += record(draw, now_s, 1000);
    }
    return feed + "      - {watermark: \"1970-01-02T00:00:00Z\"}\n";
}

// Runs the test in both modes and compares the outputs.
void check_same(const std::string& window, const std::string& emit, const std::string& idle,
                const std::string& feed, const TestMode& mode, bool any_order) {
    const std::string text = fmt::format(R"(name: any
kafka: {{bootstrap.servers: none}}
sources:
  in: {{topic: [in, in2], keyed_by: k, timestamp: t, watermark: {{max_delay: 2s, idle_timeout: {}}}}}
streams:
  s:
    from: in
    steps:
      - aggregate:
          by: k
          window: {}
          emit: {}
          fields: {{n: count(*), total: sum(v), different: count(DISTINCT v), highest: max(v)}}
    to: out
  late: {{from: s.late, to: late}}
tests:
  - name: any
    start: 1970-01-01T00:00:00Z
    partitions: 2
    feed:
{}    expect: {{}}
)",
                                         idle, window, emit, feed);
    INFO(text);
    auto loaded = config::load_text("any.yaml", text, {});
    INFO(loaded.diagnostics.render("any.yaml", loaded.source));
    REQUIRE_FALSE(loaded.diagnostics.has_errors());
    const auto plan = processor::compile(loaded.pipeline, loaded.diagnostics);
    REQUIRE(plan != nullptr);
    const auto plain = run_test(loaded.pipeline, *plan, loaded.pipeline.tests[0], {});
    const auto other = run_test(loaded.pipeline, *plan, loaded.pipeline.tests[0], mode);
    REQUIRE(plain.ok());
    REQUIRE(other.ok());
    for (const char* topic : {"out", "late"}) {
        std::vector<config::ExpectedRecord> expected;
        if (const auto found = plain->find(topic); found != plain->end())
            for (const auto& one : found->second) expected.push_back(exactly(one));
        std::vector<connectors::MemoryRecord> actual;
        if (const auto found = other->find(topic); found != other->end()) actual = found->second;
        if (any_order)
            for (auto& one : expected) one.headers.clear();  // Why a window closes, orders may change.
        for (const Pairing& pairing : compare(expected, actual, any_order)) CHECK(pairing.difference == "");
    }
}

uint64_t drawn_seed() {
    const char* const given = std::getenv("WEIR_SEED");
    const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    MESSAGE("replay: WEIR_SEED=" << seed << " testing_property_test");
    return seed;
}

TEST_CASE("kills around every commit change nothing that is written") {
    Draw draw(drawn_seed());
    TestMode mode;
    mode.restart_everywhere = true;
    for (const std::string window : kWindows)
        for (const std::string emit : kEmits)
            if (goes_together(window, emit)) check_same(window, emit, "4s", everything(draw), mode, false);
}

TEST_CASE("the order between partitions changes no final window") {
    Draw draw(drawn_seed());
    for (const std::string window : kWindows) {
        if (!goes_together(window, "on_close") || goes_by_arrival(window)) continue;
        for (int i = 0; i < 3; ++i) {
            TestMode mode;
            mode.shuffle = static_cast<uint64_t>(draw(0, 1'000'000));
            mode.restart_everywhere = i == 0;
            check_same(window, "on_close", "1h", in_time(draw), mode, true);
        }
    }
}

}  // namespace
}  // namespace weir::cmd
