#include <set>
#include <string_view>

#include <fmt/format.h>

#include "tests/sim/simulation.h"

namespace weir::sim {
namespace {

const std::vector<std::string>& values_of(const Outputs& outputs, const std::string& topic,
                                          const std::string& key) {
    static const std::vector<std::string> none;
    const auto keys = outputs.find(topic);
    if (keys == outputs.end()) return none;
    const auto values = keys->second.find(key);
    return values == keys->second.end() ? none : values->second;
}

Verdict compare_key(const std::string& topic, const std::vector<std::string>& want,
                    const std::vector<std::string>& have, bool once) {
    if (want == have) return {};
    std::map<std::string_view, int64_t> left;
    for (const std::string& value : want) ++left[value];
    for (const std::string& value : have) {
        const auto found = left.find(value);
        if (found == left.end()) return {Check::kWrong, topic + " " + value};
        --found->second;
    }
    for (const auto& [value, times] : left) {
        if (times > 0) return {Check::kLost, fmt::format("{} {}", topic, value)};
        if (times < 0 && once) return {Check::kDoubled, fmt::format("{} {}", topic, value)};
    }
    if (once) return {Check::kOrder, topic + " " + have.front()};
    return {};
}

}  // namespace

Verdict compare(const Outputs& want, const Outputs& have, bool once) {
    std::set<std::pair<std::string, std::string>> places;
    for (const Outputs* const outputs : {&want, &have})
        for (const auto& [topic, keys] : *outputs)
            for (const auto& [key, values] : keys) places.emplace(topic, key);
    for (const auto& [topic, key] : places) {
        Verdict verdict = compare_key(topic, values_of(want, topic, key), values_of(have, topic, key), once);
        if (verdict.check != Check::kNone) return verdict;
    }
    return {};
}

const char* check_name(Check check) {
    switch (check) {
        case Check::kNone: return "none";
        case Check::kLost: return "lost";
        case Check::kDoubled: return "doubled";
        case Check::kWrong: return "wrong";
        case Check::kOrder: return "order";
        case Check::kRefused: return "refused";
        case Check::kStarted: return "started";
        case Check::kDurability: return "durability";
        case Check::kOffsetsBack: return "offsets back";
        case Check::kPartialCommit: return "partial commit";
        case Check::kLedger: return "ledger";
        case Check::kOpenLeft: return "open left";
        case Check::kInternal: return "internal";
        case Check::kStuck: return "stuck";
        case Check::kNotRepeatable: return "not repeatable";
    }
    return "?";
}

const char* event_name(Event event) {
    static constexpr std::array<const char*, kEventCount> names{"kills",
                                                                "power cuts",
                                                                "deaths in recovery",
                                                                "double deaths",
                                                                "triple deaths",
                                                                "roll-forwards",
                                                                "discards",
                                                                "torn tails",
                                                                "snapshots",
                                                                "fences",
                                                                "unknown, was committed",
                                                                "unknown, was aborted",
                                                                "late requests took effect",
                                                                "producers replaced",
                                                                "slow markers",
                                                                "aborted transactions",
                                                                "full disks",
                                                                "failed syncs",
                                                                "bits rotted",
                                                                "rot refused",
                                                                "empty disks refused",
                                                                "old disks refused",
                                                                "clock jumps",
                                                                "deaths while ticking",
                                                                "deaths between slices"};
    return names[static_cast<size_t>(event)];
}

}  // namespace weir::sim
