// A group's `by` values as one byte string: equal exactly when PostgreSQL would group the rows together
// (1.0 = 1.00, NULL = NULL), self-delimiting per value, and readable back. It is part of the stored format.
//
//   value := 0x00                                      NULL
//          | 0x01 u8                                   boolean
//          | 0x02 i64                                  integer or numeric without fraction that fits
//          | 0x03 scale(u16) mantissa(i64 low, i64 high)   other numeric, without trailing zeros
//          | 0x04 f64                                  double precision; −0 and NaN in one form each
//          | 0x05 length(varint) bytes                 text
//          | 0x06 length(varint) bytes                 jsonb, canonical
//          | 0x07 i64                                  timestamptz
//          | 0x08 i64 i32 i32                          interval
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "processor/value.h"

namespace weir::processor {

// Only texts and jsonb take more.
inline constexpr size_t kMostShortGroupKey = 1 + sizeof(uint16_t) + sizeof(Int128);

// `value` is no error.
void append_group_key(const Value& value, std::string& out);
// Writes it to `to`, which has room for a short one; the end. Null: it is a text or jsonb.
[[nodiscard]] char* write_short_group_key(const Value& value, char* to);
// Texts are views into the reader's bytes.
void read_group_key(ByteReader& in, Value& value);

// The group keys of `columns` values that an output writes as `text` (the value's text, or a JSON array of
// several): a text, and what else it may stand for, a number or a boolean. Empty: none.
[[nodiscard]] std::vector<std::string> group_keys_of(std::string_view text, size_t columns);

}  // namespace weir::processor
