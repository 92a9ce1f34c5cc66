// Random bits for what must never repeat: commit ids, the log's salts and ids. From the system's entropy; a
// simulation links its own definition, so that a run can be repeated bit by bit.
//
// Thread:  any.
// Failure: none; a system without entropy stops the process.
#pragma once

#include <cstdint>

namespace weir {

[[nodiscard]] uint64_t random_u64();

}  // namespace weir
