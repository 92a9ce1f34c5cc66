#include "processor/compact_value.h"

#include <cstring>

namespace weir::processor {
namespace {

enum Tag : uint8_t {
    kTagNull,
    kTagFalse,
    kTagTrue,
    kTagInt4,
    kTagInt8,
    kTagNumeric,
    kTagWideNumeric,
    kTagFloat8,
    kTagText,
    kTagJsonb,
    kTagTimestamptz,
    kTagInterval,
};

char* write_zigzag(char* to, int64_t value) {
    return write_varint(to, static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63));
}

template <class T>
char* write_le(char* to, T value) {
    std::memcpy(to, &value, sizeof(value));
    return to + sizeof(value);
}

int64_t zigzag(ByteReader& in) {
    const uint64_t value = in.varint();
    return static_cast<int64_t>(value >> 1 ^ (~(value & 1) + 1));
}

}  // namespace

char* write_compact_value(const Value& value, char* to) {
    const auto tag = [&](Tag its) { *to++ = static_cast<char>(its); };
    switch (value.type) {
        case Type::kNull:
        case Type::kError: tag(kTagNull); break;
        case Type::kBool: tag(value.boolean ? kTagTrue : kTagFalse); break;
        case Type::kInt4:
            tag(kTagInt4);
            to = write_zigzag(to, value.integer);
            break;
        case Type::kInt8:
            tag(kTagInt8);
            to = write_zigzag(to, value.integer);
            break;
        case Type::kNumeric: {
            const auto small = static_cast<int64_t>(value.low);
            const bool fits = value.high == small >> 63;
            tag(fits ? kTagNumeric : kTagWideNumeric);
            to = write_varint(to, value.scale);
            to = fits ? write_zigzag(to, small) : write_le(write_le(to, value.low), value.high);
            break;
        }
        case Type::kFloat8:
            tag(kTagFloat8);
            to = write_le(to, value.real);
            break;
        case Type::kText:
        case Type::kJsonb:
            tag(value.type == Type::kText ? kTagText : kTagJsonb);
            to = write_varint(to, value.length);
            if (value.length > 0) std::memcpy(to, value.data, value.length);
            to += value.length;
            break;
        case Type::kTimestamptz:
            tag(kTagTimestamptz);
            to = write_zigzag(to, value.integer);
            break;
        case Type::kInterval:
            tag(kTagInterval);
            to = write_le(write_le(write_le(to, value.integer), value.interval.months), value.interval.days);
            break;
    }
    return to;
}

bool read_compact_value(ByteReader& in, Value& value) {
    switch (in.le<uint8_t>()) {
        case kTagNull: value = Value::null(); break;
        case kTagFalse: value = Value::of_bool(false); break;
        case kTagTrue: value = Value::of_bool(true); break;
        case kTagInt4: {
            value = Value::of_int8(zigzag(in));
            value.type = Type::kInt4;
            break;
        }
        case kTagInt8: value = Value::of_int8(zigzag(in)); break;
        case kTagNumeric: {
            const uint64_t scale = in.varint();
            value.set_numeric(zigzag(in), static_cast<uint16_t>(scale));
            break;
        }
        case kTagWideNumeric: {
            const uint64_t scale = in.varint();
            const auto low = in.le<uint64_t>();
            const auto high = in.le<int64_t>();
            value.set_numeric(static_cast<Int128>(high) << 64 | low, static_cast<uint16_t>(scale));
            break;
        }
        case kTagFloat8: value = Value::of_float8(in.le<double>()); break;
        case kTagText: value = Value::of_text(in.bytes()); break;
        case kTagJsonb: value = Value::of_bytes(Type::kJsonb, in.bytes()); break;
        case kTagTimestamptz: value = Value::of_timestamptz(zigzag(in)); break;
        case kTagInterval: {
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

void skip_compact_value(ByteReader& in) {
    switch (in.le<uint8_t>()) {
        case kTagInt4:
        case kTagInt8:
        case kTagTimestamptz: in.skip_varint(); break;
        case kTagNumeric:
            in.skip_varint();
            in.skip_varint();
            break;
        case kTagWideNumeric:
            in.skip_varint();
            in.take(sizeof(Int128));
            break;
        case kTagFloat8: in.take(sizeof(double)); break;
        case kTagText:
        case kTagJsonb: in.bytes(); break;
        case kTagInterval: in.take(sizeof(int64_t) + 2 * sizeof(int32_t)); break;
        default: break;
    }
}

}  // namespace weir::processor
