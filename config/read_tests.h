// The `tests:` of a pipeline: from YAML to plain structs, and what can be said about them without running
// them.
//
// Thread: any. Failure: Diagnostics W0070-W0073.
#pragma once

#include <string_view>
#include <vector>

#include "config/diagnostic.h"
#include "config/pipeline.h"
#include "config/yaml.h"

namespace weir::config {

// `tests` is checked against the table of fields; what was refused there reads as absent here.
[[nodiscard]] std::vector<TestCase> read_tests(const Node& tests, std::string_view source);

// Names that are given twice, topics that the pipeline does not have (a warning unless they `must_fit`),
// clocks that go back.
void check_tests(const Pipeline& pipeline, const std::vector<TestCase>& tests, bool must_fit,
                 Diagnostics& diagnostics);

}  // namespace weir::config
