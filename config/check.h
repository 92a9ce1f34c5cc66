// Checks a document against the table of fields: keys, types, required keys, words, ranges, Kafka property
// names. References are put into the scalars on the way. Finds everything that one place can tell; what needs
// two places of the file is in config/topology.h.
//
// Thread: any. Failure: Diagnostics W0012-W0023, W0030-W0032, W0040-W0042.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "config/diagnostic.h"
#include "config/load.h"
#include "config/yaml.h"

namespace weir::config {

// Where secrets stand literally in the source, in bytes: whoever shows the source must hide them.
using SecretOffsets = std::vector<size_t>;

[[nodiscard]] SecretOffsets check_fields(Node& root, std::string_view source, const LoadOptions& options,
                                         Diagnostics& diagnostics);

// The same for a file whose only key is `tests`.
void check_tests_file(Node& root, std::string_view source, const LoadOptions& options,
                      Diagnostics& diagnostics);

}  // namespace weir::config
