// The JSON Schema (draft 7) of a pipeline file, for editors: made from the table of fields. It takes every
// file that weir takes, references included; it does not find every mistake that weir finds.
#pragma once

#include <string>

namespace weir::config {

[[nodiscard]] std::string json_schema();

}  // namespace weir::config
