// The switch of planted_bugs.txt: which of its bugs is in the program just now.
#pragma once

namespace weir::sim {

[[nodiscard]] bool planted(int bug);

}  // namespace weir::sim
