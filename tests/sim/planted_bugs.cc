// Proves that the simulation finds bugs: each one of planted_bugs.txt is switched on alone, and seeds run
// until a check fails. A bug that survives is a failure of this test.
//
//   planted_bugs [SEEDS]      at most so many seeds for each bug (default 10,000)
//
// Prints the table of docs/simulation.md. The last line is "ROW R17b pass|fail FIGURES".
#include "base/log.h"

#include <cstdio>
#include <cstdlib>

#include "tests/sim/campaign.h"
#include "tests/sim/planted.h"

namespace {

struct PlantedBug {
    const char* name;
    const char* what;
};
constexpr PlantedBug kBugs[] = {
#include "bugs.inc"
};

int current = -1;

}  // namespace

namespace weir::sim {

bool planted(int bug) { return bug == current; }

}  // namespace weir::sim

int main(int argc, char** argv) {
    using namespace weir::sim;
    spdlog::set_level(spdlog::level::off);
    const Campaign campaign;
    CampaignOptions options;
    options.seeds = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 10'000;
    options.repeat_every = 0;
    int found = 0;
    int bugs = 0;
    std::printf("| bug | name | found by | first seed |\n|---|---|---|---|\n");
    for (const PlantedBug& bug : kBugs) {
        current = bugs++;
        const CampaignResult result = campaign.run(options);
        const bool caught = result.failure.has_value();
        std::printf("| %s | `%s` | %s | %lu |\n", bug.what, bug.name,
                    caught ? check_name(result.failure->check) : "NOTHING",
                    static_cast<unsigned long>(caught ? result.failure->seed : options.seeds));
        std::fflush(stdout);
        if (caught) ++found;
    }
    std::printf("%s planted bugs\n", found == bugs ? "ok" : "not ok");
    std::printf("ROW R17b %s %d of %d planted bugs found\n", found == bugs ? "pass" : "fail", found, bugs);
    return found == bugs ? 0 : 1;
}
