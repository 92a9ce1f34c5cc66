// One function per verb of the command line; each returns the process's exit code. Results go to standard
// output, notes and errors to standard error.
#pragma once

#include <string>
#include <vector>

#include "cmd/run.h"

namespace weir::cmd {

[[nodiscard]] int validate(const std::vector<std::string>& files, bool connect, bool allow_missing_references,
                           int64_t timeout_ms);
[[nodiscard]] int explain(const std::string& file, const std::string& format);
[[nodiscard]] int demo(int64_t seconds);
[[nodiscard]] int wal(const std::string& action, const std::string& directory);
[[nodiscard]] int schema();

}  // namespace weir::cmd
