// `weir test --update`: puts what was written in the place of what was expected, in the file's text. All that
// agrees stays as it is, byte for byte, as do comments and everything outside of the lists.
//
// Thread: any; pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cmd/test_compare.h"

namespace weir::cmd {

struct Edit {
    config::Span span;  // Bytes of the text.
    std::string text;
};

// The edits that make `topic` expect `actual`. `source` is the normalised text that the spans belong to.
[[nodiscard]] std::vector<Edit> edits_for(std::string_view source, const config::ExpectedTopic& topic,
                                          const std::vector<connectors::MemoryRecord>& actual,
                                          const std::vector<Pairing>& pairings);
// Spans may not overlap.
[[nodiscard]] std::string apply_edits(std::string source, std::vector<Edit> edits);

}  // namespace weir::cmd
