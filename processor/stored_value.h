// A value as state stores it: with its type, and a numeric with its scale, unlike in a group's key.
//
//   value := type(u8, value.h) then by type: boolean u8 | integer, timestamptz i64 | float8 f64 |
//            numeric scale(u16) i64 i64 | text, jsonb, error length(varint) bytes | interval i64 i32 i32
#pragma once

#include <string>

#include "base/bytes.h"
#include "processor/value.h"

namespace weir::processor {

void append_stored_value(const Value& value, std::string& out);
// False when the bytes are no value. Texts are views into the reader's bytes.
[[nodiscard]] bool read_stored_value(ByteReader& in, Value& value);

}  // namespace weir::processor
