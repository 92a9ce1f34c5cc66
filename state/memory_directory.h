// A directory in memory, for workers whose state has to outlive them but not the process (`weir test`). It
// keeps every write as a killed process's page cache would; power loss is simulated by tests/sim.
//
// Thread: one.
#pragma once

#include <memory>
#include <string>

#include "state/file.h"

namespace weir::state {

// `path` is for messages only. Handles share the content; it lives as long as one of them.
[[nodiscard]] std::unique_ptr<Directory> make_memory_directory(std::string path);

}  // namespace weir::state
