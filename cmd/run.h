// `weir run`: loads files, starts their pipelines and the admin listener, handles signals, watches.
#pragma once

#include <string>
#include <vector>

#include "cmd/app.h"

namespace weir::cmd {

// Settings of the process that flags or WEIR_* variables put above the file.
struct Overrides {
    std::string admin_listen;
    std::string state_dir;
    std::string workers;
};

struct Prepared {
    config::Pipeline pipeline;
    std::unique_ptr<const processor::Plan> plan;
};

// Loads, checks and plans the files; prints every diagnostic to standard error. nullopt: there were errors.
// allow_missing_references: as config::LoadOptions has it. for_tests: only to run its tests, which must fit
// and have in memory what the file wants in RocksDB.
[[nodiscard]] std::optional<std::vector<Prepared>> prepare(const std::vector<std::string>& files,
                                                           const Overrides& overrides,
                                                           bool allow_missing_references,
                                                           bool for_tests = false);

// Runs until a signal, the end of input or an error; returns the exit code. Blocks SIGTERM and SIGINT in
// this thread, so that every thread started from it inherits the mask.
[[nodiscard]] int run(std::vector<Prepared> prepared, const RunOptions& options);

}  // namespace weir::cmd
