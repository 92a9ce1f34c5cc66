// What the file's parts must be to each other: names that exist, no cycles, results that go somewhere,
// sources and outputs that one transaction can hold. Looks at the structs only.
//
// Thread: any. Failure: Diagnostics W0023, W0043, W0050-W0060.
#pragma once

#include "config/diagnostic.h"
#include "config/pipeline.h"

namespace weir::config {

void check_topology(const Pipeline& pipeline, Diagnostics& diagnostics);

}  // namespace weir::config
