// References in scalars: ${env:NAME}, ${env:NAME:-default}, ${file:/path} and $$ for a dollar sign. They are
// put in after the YAML was read, so a value can never change the shape of the file.
//
// Thread:  any. Failure: Diagnostics W0030 (missing) and W0031 (malformed), at the reference's own place.
#pragma once

#include <string>

#include "config/diagnostic.h"
#include "config/load.h"

namespace weir::config {

struct Substituted {
    std::string value;
    bool secret = false;    // Holds the text of a ${file:}.
    bool resolved = false;  // Held a reference at all.
};

[[nodiscard]] Substituted substitute(const Text& text, const LoadOptions& options, Diagnostics& diagnostics);

}  // namespace weir::config
