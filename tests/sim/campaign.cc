#include "tests/sim/campaign.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

namespace weir::sim {
namespace {

constexpr uint64_t kVariants = 24;
constexpr uint64_t kChunk = 32;

}  // namespace

Campaign::Campaign(const std::string& pipeline) {
    for (uint64_t variant = 0; variant < kVariants; ++variant)
        for (const PipelineCase& candidate : pipeline_cases()) {
            if (!pipeline.empty() && pipeline != candidate.name) continue;
            Scenario scenario = make_scenario(candidate, variant);
            const Report undisturbed = simulate(scenario, 0, {.faults = false});
            if (undisturbed.check != Check::kNone) {
                std::fprintf(stderr, "%s, variant %lu, undisturbed: %s: %s\n", candidate.name,
                             static_cast<unsigned long>(variant), check_name(undisturbed.check),
                             undisturbed.detail.c_str());
                std::abort();
            }
            scenario.expected = undisturbed.outputs;
            scenarios_.push_back(std::move(scenario));
        }
}

const Scenario& Campaign::scenario(uint64_t seed) const { return scenarios_[seed % scenarios_.size()]; }

CampaignResult Campaign::run(const CampaignOptions& options) const {
    CampaignResult total;
    std::mutex mutex;
    std::atomic<uint64_t> next{options.first_seed};
    std::atomic<bool> failed{false};
    const uint64_t end = options.first_seed + options.seeds;
    const auto work = [&] {
        CampaignResult mine;
        for (uint64_t from = next.fetch_add(kChunk); from < end && !failed; from = next.fetch_add(kChunk))
            for (uint64_t seed = from; seed < std::min(from + kChunk, end); ++seed) {
                Report report = simulate(scenario(seed), seed);
                if (report.check == Check::kNone && options.repeat_every > 0 &&
                    seed % options.repeat_every == 0) {
                    ++mine.repeated;
                    if (simulate(scenario(seed), seed).trace_hash != report.trace_hash)
                        report.check = Check::kNotRepeatable;
                }
                ++mine.seeds;
                mine.turns += report.turns;
                for (size_t i = 0; i < kEventCount; ++i) mine.events[i] += report.events[i];
                if (report.check == Check::kNone) continue;
                if (!mine.failure) mine.failure = Failure{seed, report.check, report.detail};
                if (options.stop_at_failure) failed = true;
                break;
            }
        const std::lock_guard lock(mutex);
        total.seeds += mine.seeds;
        total.repeated += mine.repeated;
        total.turns += mine.turns;
        for (size_t i = 0; i < kEventCount; ++i) total.events[i] += mine.events[i];
        if (mine.failure && (!total.failure || mine.failure->seed < total.failure->seed))
            total.failure = mine.failure;
    };
    std::vector<std::jthread> threads;
    for (unsigned i = 1; i < options.jobs; ++i) threads.emplace_back(work);
    work();
    threads.clear();
    return total;
}

}  // namespace weir::sim
