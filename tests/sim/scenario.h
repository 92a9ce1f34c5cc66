// What a simulated deployment runs on: a pipeline, what arrives in its input topics and when, and what
// readers of committed data must have seen in the end. Made once, shared by the seeds that draw different
// faults over it.
//
// Results must not depend on when a process lives, so arrivals are such that the clock never decides: a
// silence long enough for event time to tick is followed by records far ahead of it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/pipeline.h"
#include "connectors/memory_broker.h"
#include "processor/plan.h"
#include "processor/worker.h"

namespace weir::sim {

struct Arrival {
    int64_t at_ms = 0;  // After the start.
    std::string topic;
    int32_t partition = 0;
    connectors::MemoryRecord record;
};

// By topic and record key: the values in order. Order between keys is free.
using Outputs = std::map<std::string, std::map<std::string, std::vector<std::string>>>;

struct PipelineCase {
    const char* name;
    std::string yaml;
    processor::Decider decider;
    std::vector<std::string> outputs;
    // Topics share keys, windows or tables: no record is so late that the order of reading decides.
    bool orderly;
    // From the arrivals alone, without any code of the engine; null: an undisturbed run is the model.
    Outputs (*model)(const std::vector<Arrival>& arrivals);
};
[[nodiscard]] const std::vector<PipelineCase>& pipeline_cases();

inline constexpr int32_t kPartitions = 3;

struct Scenario {
    const PipelineCase* pipeline = nullptr;
    std::unique_ptr<const processor::Plan> plan;
    int64_t commit_interval_ms = 0;
    std::vector<Arrival> arrivals;  // In order of time.
    Outputs expected;
};

// `variant` draws the arrivals. `expected` is empty where the model is an undisturbed run.
[[nodiscard]] Scenario make_scenario(const PipelineCase& pipeline, uint64_t variant);

}  // namespace weir::sim
