// What the workers published, as Prometheus text. Names: docs/metrics.md.
#pragma once

#include <string>
#include <vector>

#include "cmd/app.h"

namespace weir::cmd {

[[nodiscard]] std::string render_metrics(const std::vector<AppStatus>& apps,
                                         const std::vector<const processor::Plan*>& plans);

}  // namespace weir::cmd
