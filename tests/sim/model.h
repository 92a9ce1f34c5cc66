// The tumbling pipeline computed from its input alone: a few maps, no code of the engine.
#pragma once

#include "tests/sim/scenario.h"

namespace weir::sim {

[[nodiscard]] Outputs tumbling_model(const std::vector<Arrival>& arrivals);

}  // namespace weir::sim
