#include "processor/compact_value.h"

#include <cstring>

namespace weir::processor {
namespace {

char* write_zigzag(char* to, int64_t value) {
    return write_varint(to, static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63));
}

}  // namespace

char* write_compact_value(const Value& value, char* to) {
    const auto tag = [&](CompactTag its) { *to++ = static_cast<char>(its); };
    switch (value.type) {
        case Type::kNull:
        case Type::kError: tag(CompactTag::kNull); break;
        case Type::kBool: tag(value.boolean ? CompactTag::kTrue : CompactTag::kFalse); break;
        case Type::kInt4:
            tag(CompactTag::kInt4);
            to = write_zigzag(to, value.integer);
            break;
        case Type::kInt8:
            tag(CompactTag::kInt8);
            to = write_zigzag(to, value.integer);
            break;
        case Type::kNumeric: {
            const auto small = static_cast<int64_t>(value.low);
            const bool fits = value.high == small >> 63;
            tag(fits ? CompactTag::kNumeric : CompactTag::kWideNumeric);
            to = write_varint(to, value.scale);
            to = fits ? write_zigzag(to, small) : write_le(write_le(to, value.low), value.high);
            break;
        }
        case Type::kFloat8:
            tag(CompactTag::kFloat8);
            to = write_le(to, value.real);
            break;
        case Type::kText:
        case Type::kJsonb:
            tag(value.type == Type::kText ? CompactTag::kText : CompactTag::kJsonb);
            to = write_varint(to, value.length);
            if (value.length > 0) std::memcpy(to, value.data, value.length);
            to += value.length;
            break;
        case Type::kTimestamptz:
            tag(CompactTag::kTimestamptz);
            to = write_zigzag(to, value.integer);
            break;
        case Type::kInterval:
            tag(CompactTag::kInterval);
            to = write_le(write_le(write_le(to, value.integer), value.interval.months), value.interval.days);
            break;
    }
    return to;
}

}  // namespace weir::processor
