// Runs tests/scenarios/*.txt: a pipeline, a line "---", then events and what comes out of them.
//
//   in TOPIC KEY VALUE [@TIMESTAMP]   one record (default timestamp 0)
//   out TOPIC KEY VALUE               the next output
//   header NAME VALUE                 a header of that output ("none": it has no such header)
//   caught_up TOPIC                   the source delivered all there is
//   advance MILLISECONDS              both clocks move, time is advanced
//   epoch | end                       a commit | the bounded input ends
//
// Each file runs whole, then once with a commit and a crash after every line, then with a crash and no
// commit.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "fixture.h"

namespace weir::processor {
namespace {

enum class Mode { kWhole, kCommitAndCrash, kCrash };

struct Line {
    int number;
    std::string text;
};

struct Scenario {
    std::string yaml;
    std::vector<Line> lines;
};

Scenario read(const std::filesystem::path& path) {
    Scenario result;
    std::ifstream file(path);
    std::string line;
    bool in_yaml = true;
    for (int number = 1; std::getline(file, line); ++number) {
        if (in_yaml && line == "---") {
            in_yaml = false;
        } else if (in_yaml) {
            result.yaml += line + "\n";
        } else if (!line.empty() && line[0] != '#') {
            result.lines.push_back({number, line});
        }
    }
    return result;
}

void run(const Scenario& scenario, Mode mode) {
    World world(scenario.yaml);
    size_t seen = 0;
    for (const Line& line : scenario.lines) {
        CAPTURE(line.number);
        CAPTURE(line.text);
        std::istringstream words(line.text);
        std::string verb;
        std::string topic;
        words >> verb >> topic;
        if (verb == "in") {
            std::string key;
            words >> key;
            std::string value;
            std::getline(words >> std::ws, value);
            int64_t timestamp = 0;
            if (const size_t at = value.rfind(" @"); at != std::string::npos) {
                timestamp = std::stoll(value.substr(at + 2));
                value.resize(at);
            }
            REQUIRE(world.in(topic, key, value, timestamp).ok());
        } else if (verb == "out") {
            std::string rest;
            std::getline(words >> std::ws, rest);
            const auto lines = world.lines();
            REQUIRE(lines.size() > seen);
            CHECK(lines[seen] == topic + " " + rest);
            ++seen;
        } else if (verb == "header") {
            std::string value;
            words >> value;
            REQUIRE(seen > 0);
            const auto& headers = world.sink.outputs[seen - 1].headers;
            const auto found = headers.find(topic);
            CHECK((found == headers.end() ? "none" : found->second) == value);
        } else if (verb == "caught_up") {
            world.caught_up(topic);
        } else if (verb == "advance") {
            world.advance(std::stoll(topic));
        } else if (verb == "epoch") {
            world.epoch();
        } else if (verb == "end") {
            REQUIRE(world.shard->advance_watermark(kEndOfTime, world.sink).ok());
        } else {
            FAIL("unknown line");
        }
        CHECK(world.counters.balanced());
        if (verb != "out" && verb != "header" && mode != Mode::kWhole) {
            if (mode == Mode::kCommitAndCrash || verb != "in") world.epoch();
            world.crash();
        }
    }
    CHECK(world.lines().size() == seen);
}

TEST_CASE("scenarios give the same outputs whole, committed and crashed") {
    const std::filesystem::path folder = std::filesystem::path(WEIR_SOURCE_DIR) / "tests/scenarios";
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().extension() != ".txt") continue;
        ++count;
        CAPTURE(entry.path().filename().string());
        const Scenario scenario = read(entry.path());
        for (const Mode mode : {Mode::kWhole, Mode::kCommitAndCrash, Mode::kCrash}) {
            CAPTURE(static_cast<int>(mode));
            run(scenario, mode);
        }
    }
    CHECK(count > 0);
}

}  // namespace
}  // namespace weir::processor
