// tests/scenarios/*.txt: a pipeline, a line "---", then events and what comes out of them.
//
//   in TOPIC KEY VALUE [@TIMESTAMP]   one record (default timestamp 0; VALUE <null>: a tombstone)
//   out TOPIC KEY VALUE               the next output; it comes with the line before
//   header NAME VALUE                 a header of that output ("none": it has no such header)
//   caught_up TOPIC                   the source delivered all there is; a turn
//   advance MILLISECONDS              both clocks move, time is advanced
//   epoch | end                       a commit | the bounded input ends
//
// scenario_test.cc runs each table whole and crashed after every line, tests/worker/scenario_workers_test.cc
// with several workers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace weir::processor {

struct ScenarioLine {
    int number = 0;
    std::string text;
    std::string verb;
    std::string first;  // TOPIC, NAME or MILLISECONDS.
    std::string rest;   // Behind it; of `in` without the timestamp.
    int64_t timestamp_ms = 0;

    [[nodiscard]] bool is_event() const { return verb != "out" && verb != "header"; }
    // All outputs named so far are there, and no other; runs that commit earlier have those of `epoch`, too.
    [[nodiscard]] bool is_next() const { return is_event() && verb != "epoch"; }
    // Of `in`.
    [[nodiscard]] std::string key() const { return rest.substr(0, rest.find(' ')); }
    [[nodiscard]] std::optional<std::string> value() const {
        const std::string written = rest.substr(rest.find_first_not_of(' ', key().size()));
        return written == "<null>" ? std::nullopt : std::optional(written);
    }
};

struct Scenario {
    std::string name;
    std::string yaml;
    std::vector<ScenarioLine> lines;
};

inline Scenario read_scenario(const std::filesystem::path& path) {
    Scenario result;
    result.name = path.filename().string();
    std::ifstream file(path);
    ScenarioLine line;
    bool in_yaml = true;
    for (int number = 1; std::getline(file, line.text); ++number) {
        if (in_yaml && line.text == "---") {
            in_yaml = false;
        } else if (in_yaml) {
            result.yaml += line.text + "\n";
        } else if (!line.text.empty() && line.text[0] != '#') {
            line.number = number;
            std::istringstream words(line.text);
            line.first.clear();
            words >> line.verb >> line.first;
            line.rest.clear();
            std::getline(words >> std::ws, line.rest);
            line.timestamp_ms = 0;
            if (const size_t at = line.rest.rfind(" @"); line.verb == "in" && at != std::string::npos) {
                line.timestamp_ms = std::stoll(line.rest.substr(at + 2));
                line.rest.resize(at);
            }
            result.lines.push_back(line);
        }
    }
    return result;
}

inline std::vector<Scenario> all_scenarios(const std::filesystem::path& folder) {
    std::vector<Scenario> all;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
        if (entry.path().extension() == ".txt") all.push_back(read_scenario(entry.path()));
    return all;
}

}  // namespace weir::processor
