// The deterministic simulation as a command.
//
//   simulate [--seeds N] [--seed FIRST] [--jobs N] [--pipeline NAME] [--trace]
//
// Runs N seeds from FIRST on (default: 400 from 1). A violation prints the seed, the check and the command
// that replays it. From 2,000 seeds on, a kind of event that never happened is a failure, too. The last line
// is "ROW R17 pass|fail FIGURES"; the exit code is 0 or 1.
#include "base/log.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

#include <fmt/format.h>

#include "tests/sim/campaign.h"

using namespace weir::sim;

namespace {

constexpr uint64_t kSeedsThatProve = 2'000;

void print_difference(const Outputs& from, const Outputs& other, const char* whose) {
    for (const auto& [topic, keys] : from)
        for (const auto& [key, values] : keys) {
            const auto found = other.find(topic);
            if (found != other.end() && found->second.contains(key) && found->second.at(key) == values)
                continue;
            for (const std::string& value : values)
                std::printf("%s %s %s %s\n", whose, topic.c_str(), key.c_str(), value.c_str());
        }
}

int trace(const Campaign& campaign, uint64_t seed) {
    std::vector<std::string> lines;
    const Report report = simulate(campaign.scenario(seed), seed, {.trace = &lines});
    for (const std::string& line : lines) std::printf("%s\n", line.c_str());
    if (report.check != Check::kNone && !report.outputs.empty()) {
        print_difference(campaign.scenario(seed).expected, report.outputs, "want");
        print_difference(report.outputs, campaign.scenario(seed).expected, "have");
    }
    std::printf("seed %lu pipeline %s turns %lu trace %016lx: %s %s\n", static_cast<unsigned long>(seed),
                campaign.scenario(seed).pipeline->name, static_cast<unsigned long>(report.turns),
                static_cast<unsigned long>(report.trace_hash), check_name(report.check),
                report.detail.c_str());
    return report.check == Check::kNone ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    spdlog::set_level(spdlog::level::off);
    CampaignOptions options;
    options.seeds = 400;
    bool tracing = false;
    for (int i = 1; i < argc; ++i) {
        const std::string name = argv[i];
        if (name == "--trace") {
            tracing = true;
            continue;
        }
        if (i + 1 == argc) {
            std::fprintf(stderr, "simulate: %s needs a value\n", name.c_str());
            return 2;
        }
        const char* const value = argv[++i];
        if (name == "--seeds")
            options.seeds = std::strtoull(value, nullptr, 10);
        else if (name == "--seed")
            options.first_seed = std::strtoull(value, nullptr, 10);
        else if (name == "--jobs")
            options.jobs = static_cast<unsigned>(std::strtoul(value, nullptr, 10));
        else if (name == "--pipeline")
            options.pipeline = value;
        else {
            std::fprintf(stderr, "simulate: unknown option %s\n", name.c_str());
            return 2;
        }
    }
    const auto begun = std::chrono::steady_clock::now();
    const Campaign campaign(options.pipeline);
    if (tracing) return trace(campaign, options.first_seed);
    const CampaignResult result = campaign.run(options);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();

    bool passed = !result.failure;
    for (size_t i = 0; i < kEventCount; ++i) {
        const bool missing = result.events[i] == 0 && options.seeds >= kSeedsThatProve && passed;
        std::printf("%12lu %s%s\n", static_cast<unsigned long>(result.events[i]),
                    event_name(static_cast<Event>(i)), missing ? ": NEVER, so this run proves nothing" : "");
        passed = passed && !missing;
    }
    if (result.failure)
        std::printf("not ok seed %lu: %s: %s\nreplay: simulate --seed %lu --trace%s\n",
                    static_cast<unsigned long>(result.failure->seed), check_name(result.failure->check),
                    result.failure->detail.c_str(), static_cast<unsigned long>(result.failure->seed),
                    options.pipeline.empty() ? "" : (" --pipeline " + options.pipeline).c_str());
    else
        std::printf("%s simulation\n", passed ? "ok" : "not ok");
    // The time that a busy machine does not change is the processor's.
    std::printf(
        "ROW R17 %s %lu seeds, %lu turns, %d violations, %lu replays bit-identical, %.0f s on %u threads "
        "(%.0f s of "
        "CPU)\n",
        passed ? "pass" : "fail", static_cast<unsigned long>(result.seeds),
        static_cast<unsigned long>(result.turns), result.failure ? 1 : 0,
        static_cast<unsigned long>(result.repeated), seconds, options.jobs,
        static_cast<double>(std::clock()) / CLOCKS_PER_SEC);
    return passed ? 0 : 1;
}
