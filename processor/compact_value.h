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

#include <cstddef>

#include "base/bytes.h"
#include "processor/value.h"

namespace weir::processor {

// No number takes more.
inline constexpr size_t kMostCompactBytes = 1 + 2 * kMostVarintBytes;

// It takes at most so many bytes.
[[nodiscard]] inline size_t compact_bytes_at_most(const Value& value) {
    return value.type == Type::kText || value.type == Type::kJsonb ? kMostCompactBytes + value.length
                                                                   : kMostCompactBytes;
}

// Writes it to `to`, which has room for that; the end. `value` is no error.
[[nodiscard]] char* write_compact_value(const Value& value, char* to);
// False when the bytes are no value. Texts are views into the reader's bytes.
[[nodiscard]] bool read_compact_value(ByteReader& in, Value& value);
// Past one that read_compact_value() takes.
void skip_compact_value(ByteReader& in);

}  // namespace weir::processor
