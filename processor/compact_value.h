// A value as a join's buffers hold it: as short as possible, with its type and a numeric's scale.
//
//   value := 0x00                                  NULL
//          | 0x01 | 0x02                           false, true
//          | 0x03 zigzag | 0x04 zigzag             integer, bigint
//          | 0x05 scale(varint) zigzag             numeric whose digits fit in 64 bits
//          | 0x06 scale(varint) i64 low, i64 high  other numeric
//          | 0x07 f64                              double precision
//          | 0x08 length(varint) bytes             text
//          | 0x09 length(varint) bytes             jsonb
//          | 0x0a zigzag                           timestamptz, microseconds
//          | 0x0b i64 i32 i32                      interval
#pragma once

#include <string>

#include "base/bytes.h"
#include "processor/value.h"

namespace weir::processor {

// `value` is no error.
void append_compact_value(const Value& value, std::string& out);
// False when the bytes are no value. Texts are views into the reader's bytes.
[[nodiscard]] bool read_compact_value(ByteReader& in, Value& value);

}  // namespace weir::processor
