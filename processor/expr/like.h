// LIKE and ILIKE patterns: % any characters, _ one character, a backslash takes the next one literally.
//
// Thread:  pure functions.
#pragma once

#include <string_view>
#include <vector>

#include "processor/expr/functions.h"

namespace weir::processor::expr {

enum class LikeMatch : uint8_t { kNo, kYes, kBadPattern };  // Bad: ends with its escape character.

// Time is bounded by text × pattern; with `fold_case` ASCII letters match either case.
[[nodiscard]] LikeMatch like(std::string_view text, std::string_view pattern, bool fold_case);

// ~~ ~~* !~~ !~~* like_escape ~ ~* !~ !~*
void add_pattern_functions(std::vector<FunctionSpec>& out);

}  // namespace weir::processor::expr
