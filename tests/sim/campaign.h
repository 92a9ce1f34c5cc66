// Many seeds over a fixed set of scenarios, on several threads.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/simulation.h"

namespace weir::sim {

struct Failure {
    uint64_t seed = 0;
    Check check = Check::kNone;
    std::string detail;
};

struct CampaignOptions {
    uint64_t first_seed = 1;
    uint64_t seeds = 1;
    unsigned jobs = 1;
    uint64_t repeat_every = 16;  // So often a seed runs twice and must leave the same trace.
    std::string pipeline;        // Empty: all of them.
    bool stop_at_failure = true;
};

struct CampaignResult {
    uint64_t seeds = 0;
    uint64_t repeated = 0;
    uint64_t turns = 0;
    Events events{};
    std::optional<Failure> failure;  // Of the smallest seed.
};

class Campaign {
public:
    // Builds the scenarios, and checks that an undisturbed run of each gives what its model says.
    explicit Campaign(const std::string& pipeline = {});

    [[nodiscard]] const Scenario& scenario(uint64_t seed) const;
    [[nodiscard]] CampaignResult run(const CampaignOptions& options) const;

private:
    std::vector<Scenario> scenarios_;
};

}  // namespace weir::sim
