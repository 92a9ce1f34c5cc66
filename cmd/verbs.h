// One function per verb of the command line; each returns the process's exit code. Results go to standard
// output, notes and errors to standard error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cmd/run.h"
#include "config/diagnostic.h"

namespace weir::cmd {

[[nodiscard]] int validate(const std::vector<std::string>& files, bool connect, bool allow_missing_references,
                           int64_t timeout_ms);
[[nodiscard]] int explain(const std::string& file, const std::string& format);
[[nodiscard]] int demo(int64_t seconds);
[[nodiscard]] int wal(const std::string& action, const std::string& directory);
[[nodiscard]] int schema();

struct TestOptions {
    bool restart_everywhere = false;
    std::optional<uint64_t> shuffle;
    std::string junit;  // A file; empty: none.
    bool update = false;
    std::string filter;  // Only tests whose name contains it.
};
[[nodiscard]] int test(const std::vector<std::string>& files, const TestOptions& options);
// The `match` conditions of tests, which config/ cannot read.
void check_conditions(const std::vector<config::TestCase>& tests, config::Diagnostics& diagnostics);

// Asks a running weir what a stream waits for, by its admin listener.
struct WhyOptions {
    std::string stream;
    std::string key;
    bool with_key = false;
    std::string pipeline;
    std::string admin;  // host:port
    bool json = false;
};
[[nodiscard]] int why(const WhyOptions& options);

}  // namespace weir::cmd
