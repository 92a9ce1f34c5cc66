// JSON texts as PostgreSQL's jsonb sees them. A kJsonb value is a slice of the record or of an arena and is
// read in place: a lookup scans, nothing builds a tree.
//
// Canonical text is jsonb's output: members ordered by key length, then bytes; of equal keys the last one;
// ", " and ": " between parts; numbers written out in full.
//
// Thread:  pure functions.
// Failure: input is expected to be valid JSON. On damaged text a lookup finds nothing and canonical text
//          ends early; no read passes the end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "processor/arena.h"
#include "processor/value.h"

namespace weir::processor::expr {

enum class JsonKind : uint8_t { kNull, kString, kNumber, kBoolean, kArray, kObject };

inline constexpr int kMaxJsonDepth = 1000;

// By the first byte; blanks before it are skipped.
[[nodiscard]] JsonKind json_kind(std::string_view json);
[[nodiscard]] std::string_view json_kind_name(JsonKind kind);  // As jsonb_typeof: "number", "string", …

// Whole text is one JSON value, UTF-8, at most kMaxJsonDepth deep, without \u0000.
[[nodiscard]] bool is_valid_json(std::string_view json);

// The value's text, or nothing when `json` is no object or array or has no such member or element.
[[nodiscard]] std::optional<std::string_view> json_member(std::string_view json, std::string_view key);
[[nodiscard]] std::optional<std::string_view> json_element(std::string_view json,
                                                           int64_t index);  // < 0: from the end.
// −1 when `json` is no array.
[[nodiscard]] int64_t json_array_length(std::string_view json);

// Walks an array: `position` starts at 0; false at its end.
[[nodiscard]] bool json_next_element(std::string_view json, size_t& position, std::string_view& element);

// The SQL value of a JSON value: number → numeric, string → text, true/false → boolean, null → NULL,
// object and array → jsonb. kError for a number beyond 38 digits.
[[nodiscard]] Value json_to_value(std::string_view json, Arena& arena);
// The text of a JSON string with its quotes and escapes removed; a view into `json` when it has none.
[[nodiscard]] std::string_view unescape_json_string(std::string_view quoted, Arena& arena);

void append_canonical_json(std::string_view json, std::string& out);
// jsonb's ordering (Object > Array > Boolean > Number > String > Null); negative, zero, positive.
[[nodiscard]] int compare_json(std::string_view a, std::string_view b);

void append_json_string(std::string_view text, std::string& out);
// A value as JSON text, for output records: numerics keep their digits, timestamps and intervals become
// their text as a string, NaN and infinities a string, jsonb is copied as it stands. kError is written as
// null.
void append_json(const Value& value, std::string& out);
// The same as PostgreSQL's to_jsonb() makes it: timestamps in ISO 8601. Not yet canonical.
void append_json_element(const Value& value, std::string& out);

}  // namespace weir::processor::expr
