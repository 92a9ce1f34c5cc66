#include "processor/compact_value.h"

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

void put_zigzag(std::string& out, int64_t value) {
    put_varint(out, static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63));
}

int64_t zigzag(ByteReader& in) {
    const uint64_t value = in.varint();
    return static_cast<int64_t>(value >> 1 ^ (~(value & 1) + 1));
}

void put_tag(std::string& out, Tag tag) { out.push_back(static_cast<char>(tag)); }

}  // namespace

void append_compact_value(const Value& value, std::string& out) {
    switch (value.type) {
        case Type::kNull:
        case Type::kError: put_tag(out, kTagNull); return;
        case Type::kBool: put_tag(out, value.boolean ? kTagTrue : kTagFalse); return;
        case Type::kInt4:
        case Type::kInt8:
            put_tag(out, value.type == Type::kInt4 ? kTagInt4 : kTagInt8);
            put_zigzag(out, value.integer);
            return;
        case Type::kNumeric: {
            const auto small = static_cast<int64_t>(value.low);
            const bool fits = value.high == small >> 63;
            put_tag(out, fits ? kTagNumeric : kTagWideNumeric);
            put_varint(out, value.scale);
            if (fits) {
                put_zigzag(out, small);
            } else {
                put_le<uint64_t>(out, value.low);
                put_le<int64_t>(out, value.high);
            }
            return;
        }
        case Type::kFloat8:
            put_tag(out, kTagFloat8);
            put_le<double>(out, value.real);
            return;
        case Type::kText:
        case Type::kJsonb:
            put_tag(out, value.type == Type::kText ? kTagText : kTagJsonb);
            put_bytes(out, value.bytes());
            return;
        case Type::kTimestamptz:
            put_tag(out, kTagTimestamptz);
            put_zigzag(out, value.integer);
            return;
        case Type::kInterval:
            put_tag(out, kTagInterval);
            put_le<int64_t>(out, value.integer);
            put_le<int32_t>(out, value.interval.months);
            put_le<int32_t>(out, value.interval.days);
            return;
    }
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

}  // namespace weir::processor
