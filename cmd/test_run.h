// Runs one test of a pipeline: the real worker, operators and log over an in-memory broker, an in-memory disk
// and a clock that only the test moves. Every event is one commit.
//
// Thread:  one; nothing is shared between two runs.
// Failure: an Error where the pipeline itself stopped, as on a failed record under `on_error: fail`.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/pipeline.h"
#include "connectors/memory_broker.h"
#include "processor/plan.h"

namespace weir::cmd {

struct TestMode {
    // At every event the process is killed with all work done and nothing committed, and again after the
    // commit.
    bool restart_everywhere = false;
    // Records of different partitions that come within the sources' `max_delay` change places, drawn by this
    // seed.
    std::optional<uint64_t> shuffle;
};

// By topic (or file): what readers of committed data see. In the order of the events that made them, then by
// partition.
using Written = std::map<std::string, std::vector<connectors::MemoryRecord>>;

[[nodiscard]] Result<Written> run_test(const config::Pipeline& pipeline, const processor::Plan& plan,
                                       const config::TestCase& test, const TestMode& mode);

}  // namespace weir::cmd
