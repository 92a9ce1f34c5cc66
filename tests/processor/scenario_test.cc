// Every table of tests/scenarios whole, then with a commit and a crash after every line, then with a crash
// and no commit, then with what is due given in slices, a crash after each: the same outputs at the same
// lines.
#include "tests/processor/scenario.h"

#include "fixture.h"

namespace weir::processor {
namespace {

enum class Mode { kWhole, kCommitAndCrash, kCrash, kSlices, kSlicesAndCrash };

void run(const Scenario& scenario, Mode mode) {
    World world(scenario.yaml);
    if (mode == Mode::kSlices || mode == Mode::kSlicesAndCrash) {
        world.close_in_slices(1, mode == Mode::kSlicesAndCrash);
        world.crash();
    }
    size_t seen = 0;
    for (const ScenarioLine& line : scenario.lines) {
        CAPTURE(line.number);
        CAPTURE(line.text);
        if (line.is_next()) CHECK(world.lines().size() == seen);
        if (line.verb == "in") {
            REQUIRE(world.in(line.first, {Record{line.key(), line.value(), line.timestamp_ms, {}}}).ok());
        } else if (line.verb == "out") {
            const auto lines = world.lines();
            REQUIRE(lines.size() > seen);
            CHECK(lines[seen] == line.first + " " + line.rest);
            ++seen;
        } else if (line.verb == "header") {
            REQUIRE(seen > 0);
            const auto& headers = world.sink.outputs[seen - 1].headers;
            const auto found = headers.find(line.first);
            CHECK((found == headers.end() ? "none" : found->second) == line.rest);
        } else if (line.verb == "caught_up") {
            world.caught_up(line.first);
            world.advance(0);
        } else if (line.verb == "advance") {
            world.advance(std::stoll(line.first));
        } else if (line.verb == "epoch") {
            world.epoch();
        } else if (line.verb == "end") {
            world.end();
        } else {
            FAIL("unknown line");
        }
        CHECK(world.imbalance() == "");
        if (line.is_event() && (mode == Mode::kCommitAndCrash || mode == Mode::kCrash)) {
            if (mode == Mode::kCommitAndCrash || line.verb != "in") world.epoch();
            world.crash();
        }
    }
    CHECK(world.lines().size() == seen);
}

TEST_CASE("scenarios give the same outputs whole, committed and crashed") {
    const std::vector<Scenario> scenarios = all_scenarios(WEIR_SOURCE_DIR "/tests/scenarios");
    CHECK(!scenarios.empty());
    for (const Scenario& scenario : scenarios) {
        CAPTURE(scenario.name);
        for (const Mode mode : {Mode::kWhole, Mode::kCommitAndCrash, Mode::kCrash, Mode::kSlices,
                                Mode::kSlicesAndCrash}) {
            CAPTURE(static_cast<int>(mode));
            run(scenario, mode);
        }
    }
}

}  // namespace
}  // namespace weir::processor
