// A value as PostgreSQL prints it, and values read from PostgreSQL's text input.
//
// Thread:  pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "processor/arena.h"
#include "processor/value.h"

namespace weir::processor::expr {

// NULL appends nothing; kError its message; booleans are true and false, as a cast to text gives them.
void append_text(const Value& value, std::string& out);
[[nodiscard]] std::string to_text(const Value& value);

[[nodiscard]] std::optional<double> parse_float8(std::string_view text);
[[nodiscard]] std::optional<bool> parse_boolean(std::string_view text);

// An error value whose message is copied into the arena.
[[nodiscard]] Value error_value(Arena& arena, std::string_view message);

// The text input of `type` (what 'text'::type reads): the value, or kError with PostgreSQL's message.
[[nodiscard]] Value parse_text_as(Type type, std::string_view text, Arena& arena);

}  // namespace weir::processor::expr
