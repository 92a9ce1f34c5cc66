// The admin listener's /pipelines: the ledger and the state of event time as one JSON document. Every
// number is of the workers' published copies; names are in docs/metrics.md.
#pragma once

#include <string>
#include <vector>

#include "cmd/app.h"

namespace weir::cmd {

[[nodiscard]] std::string render_pipelines(const std::vector<AppStatus>& apps,
                                           const std::vector<const processor::Plan*>& plans);

// "starting", "recovering", "loading", "running", "stopped".
[[nodiscard]] const char* phase_name(processor::WorkerPhase phase);

}  // namespace weir::cmd
