// A stream of the file: its join, its steps, where it goes; from YAML to plain structs.
//
// Thread: any. Failure: none; the tree is checked against the table of fields, and what was refused there
// reads as absent here.
#pragma once

#include <string_view>

#include "config/pipeline.h"
#include "config/yaml.h"

namespace weir::config {

// `key` names the stream, `node` is what stands behind it.
[[nodiscard]] Stream read_stream(const Node& key, const Node& node, std::string_view source);

}  // namespace weir::config
