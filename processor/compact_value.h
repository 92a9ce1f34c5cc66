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
#include <cstdint>

#include "base/bytes.h"
#include "processor/value.h"

namespace weir::processor {

enum class CompactTag : uint8_t {
    kNull,
    kFalse,
    kTrue,
    kInt4,
    kInt8,
    kNumeric,
    kWideNumeric,
    kFloat8,
    kText,
    kJsonb,
    kTimestamptz,
    kInterval,
};

// No number takes more.
inline constexpr size_t kMostCompactBytes = 1 + 2 * kMostVarintBytes;

// It takes at most so many bytes.
[[nodiscard]] inline size_t compact_bytes_at_most(const Value& value) {
    return value.type == Type::kText || value.type == Type::kJsonb ? kMostCompactBytes + value.length
                                                                   : kMostCompactBytes;
}

// Writes it to `to`, which has room for that; the end. `value` is no error.
[[nodiscard]] char* write_compact_value(const Value& value, char* to);

[[nodiscard]] inline int64_t read_zigzag(ByteReader& in) {
    const uint64_t value = in.varint();
    return static_cast<int64_t>(value >> 1 ^ (~(value & 1) + 1));
}
// False when the bytes are no value. Texts are views into the reader's bytes.
[[nodiscard, gnu::always_inline]] inline bool read_compact_value(ByteReader& in, Value& value) {
    switch (static_cast<CompactTag>(in.le<uint8_t>())) {
        case CompactTag::kNull: value = Value::null(); break;
        case CompactTag::kFalse: value = Value::of_bool(false); break;
        case CompactTag::kTrue: value = Value::of_bool(true); break;
        case CompactTag::kInt4: {
            value = Value::of_int8(read_zigzag(in));
            value.type = Type::kInt4;
            break;
        }
        case CompactTag::kInt8: value = Value::of_int8(read_zigzag(in)); break;
        case CompactTag::kNumeric: {
            const uint64_t scale = in.varint();
            value.set_numeric(read_zigzag(in), static_cast<uint16_t>(scale));
            break;
        }
        case CompactTag::kWideNumeric: {
            const uint64_t scale = in.varint();
            const auto low = in.le<uint64_t>();
            const auto high = in.le<int64_t>();
            value.set_numeric(static_cast<Int128>(high) << 64 | low, static_cast<uint16_t>(scale));
            break;
        }
        case CompactTag::kFloat8: value = Value::of_float8(in.le<double>()); break;
        case CompactTag::kText: value = Value::of_text(in.bytes()); break;
        case CompactTag::kJsonb: value = Value::of_bytes(Type::kJsonb, in.bytes()); break;
        case CompactTag::kTimestamptz: value = Value::of_timestamptz(read_zigzag(in)); break;
        case CompactTag::kInterval: {
            value = Value::null();
            value.type = Type::kInterval;
            value.integer = in.le<int64_t>();
            value.interval.months = in.le<int32_t>();
            value.interval.days = in.le<int32_t>();
            break;
        }
        default: return false;
    }
    return !in.failed();
}

// Past one that read_compact_value() takes.
[[gnu::always_inline]] inline void skip_compact_value(ByteReader& in) {
    switch (static_cast<CompactTag>(in.le<uint8_t>())) {
        case CompactTag::kInt4:
        case CompactTag::kInt8:
        case CompactTag::kTimestamptz: in.skip_varint(); break;
        case CompactTag::kNumeric:
            in.skip_varint();
            in.skip_varint();
            break;
        case CompactTag::kWideNumeric:
            in.skip_varint();
            in.take(sizeof(Int128));
            break;
        case CompactTag::kFloat8: in.take(sizeof(double)); break;
        case CompactTag::kText:
        case CompactTag::kJsonb: in.bytes(); break;
        case CompactTag::kInterval: in.take(sizeof(int64_t) + 2 * sizeof(int32_t)); break;
        default: break;
    }
}

}  // namespace weir::processor
