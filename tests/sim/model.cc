#include "tests/sim/model.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

namespace weir::sim {
namespace {

constexpr int64_t kSizeMs = 2'000;
constexpr int64_t kGraceMs = 500;
constexpr int64_t kMaxDelayMs = 1'000;

struct Totals {
    int64_t count = 0;
    int64_t tenths = 0;
    int64_t largest = 0;
};

std::string decimal(int64_t tenths) { return fmt::format("{}.{}", tenths / 10, tenths % 10); }

}  // namespace

Outputs tumbling_model(const std::vector<Arrival>& arrivals) {
    Outputs outputs;
    std::map<int32_t, int64_t> max_seen;                       // By partition.
    std::map<std::string, std::map<int64_t, Totals>> windows;  // By key and start.
    for (const Arrival& arrival : arrivals) {
        const std::string& key = *arrival.record.key;
        const std::string& value = *arrival.record.value;
        char name[16];
        long long t = 0;
        int whole = 0;
        int tenth = 0;
        if (std::sscanf(value.c_str(), R"({"k":"%15[^"]","t":%lld,"v":%d.%d)", name, &t, &whole, &tenth) !=
            4) {
            outputs["dlq"][key].push_back(value);
            continue;
        }
        const int64_t tenths = whole * 10 + tenth;
        if (tenths > 500) outputs["big"][key].push_back(value);
        const int64_t start = t - t % kSizeMs;
        const auto seen = max_seen.find(arrival.partition);
        const bool late = seen != max_seen.end() && seen->second - kMaxDelayMs >= start + kSizeMs + kGraceMs;
        if (late) {
            outputs["late"][key].push_back(value);
        } else {
            Totals& totals = windows[key][start];
            totals.largest = totals.count == 0 ? tenths : std::max(totals.largest, tenths);
            totals.tenths += tenths;
            ++totals.count;
        }
        max_seen[arrival.partition] = seen == max_seen.end() ? t : std::max<int64_t>(seen->second, t);
    }
    for (const auto& [key, by_start] : windows)
        for (const auto& [start, totals] : by_start)
            outputs["sums"][key].push_back(fmt::format(
                R"({{"k":"{}","window_start":{},"window_end":{},"n":{},"total":{},"largest":{}}})", key,
                start, start + kSizeMs, totals.count, decimal(totals.tenths), decimal(totals.largest)));
    return outputs;
}

}  // namespace weir::sim
