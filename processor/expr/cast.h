// PostgreSQL's explicit casts on single values.
#pragma once

#include <optional>

#include "processor/arena.h"
#include "processor/value.h"

namespace weir::processor::expr {

// numeric(precision, scale); precision 0 means plain numeric.
struct CastTarget {
    Type type;
    int precision = 0;
    int scale = 0;
};

[[nodiscard]] bool can_cast(Type from, Type to);
// `value` is neither NULL nor an error; the result is, or is kError.
[[nodiscard]] Value cast(const Value& value, const CastTarget& target, Arena& arena);

}  // namespace weir::processor::expr
