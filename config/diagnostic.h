// A user's mistake in a file: where, what, and what to do. All of a run are collected and shown together.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/pipeline.h"

namespace weir::config {

struct Diagnostic {
    std::string code;     // Stable, "W0012"; `docs/errors.md` explains each.
    std::string message;  // One line.
    Mark mark;
    std::string label;  // Under the caret: what is valid here. May be empty.
    std::string help;   // What to do. May be empty.
    bool warning = false;
};

class Diagnostics {
public:
    void error(std::string code, Mark mark, std::string message, std::string label = {},
               std::string help = {});
    void warning(std::string code, Mark mark, std::string message, std::string label = {},
                 std::string help = {});

    [[nodiscard]] bool has_errors() const;
    [[nodiscard]] const std::vector<Diagnostic>& all() const { return all_; }

    // Every diagnostic in file order, each with its source line and a caret, then a closing count.
    // Secrets that came from references never stand in `source`, so nothing needs redaction here.
    [[nodiscard]] std::string render(std::string_view path, std::string_view source) const;

private:
    std::vector<Diagnostic> all_;
};

// The candidate nearest to `name` (optimal string alignment distance of at most 2), or empty.
[[nodiscard]] std::string_view nearest(std::string_view name,
                                       const std::vector<std::string_view>& candidates);

}  // namespace weir::config
