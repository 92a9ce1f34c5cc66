#include "processor/stored_value.h"

namespace weir::processor {

void append_stored_value(const Value& value, std::string& out) {
    put_le<uint8_t>(out, static_cast<uint8_t>(value.type));
    switch (value.type) {
        case Type::kNull: return;
        case Type::kBool: put_le<uint8_t>(out, value.boolean ? 1 : 0); return;
        case Type::kInt4:
        case Type::kInt8:
        case Type::kTimestamptz: put_le<int64_t>(out, value.integer); return;
        case Type::kFloat8: put_le<double>(out, value.real); return;
        case Type::kNumeric:
            put_le<uint16_t>(out, value.scale);
            put_le<uint64_t>(out, value.low);
            put_le<int64_t>(out, value.high);
            return;
        case Type::kText:
        case Type::kJsonb:
        case Type::kError: put_bytes(out, value.bytes()); return;
        case Type::kInterval:
            put_le<int64_t>(out, value.integer);
            put_le<int32_t>(out, value.interval.months);
            put_le<int32_t>(out, value.interval.days);
            return;
    }
}

bool read_stored_value(ByteReader& in, Value& value) {
    const auto type = in.le<uint8_t>();
    if (type > static_cast<uint8_t>(Type::kError)) return false;
    value = Value::null();
    value.type = static_cast<Type>(type);
    switch (value.type) {
        case Type::kNull: break;
        case Type::kBool: value.boolean = in.le<uint8_t>() != 0; break;
        case Type::kInt4:
        case Type::kInt8:
        case Type::kTimestamptz: value.integer = in.le<int64_t>(); break;
        case Type::kFloat8: value.real = in.le<double>(); break;
        case Type::kNumeric:
            value.scale = in.le<uint16_t>();
            value.low = in.le<uint64_t>();
            value.high = in.le<int64_t>();
            break;
        case Type::kText:
        case Type::kJsonb:
        case Type::kError: value = Value::of_bytes(value.type, in.bytes()); break;
        case Type::kInterval:
            value.integer = in.le<int64_t>();
            value.interval.months = in.le<int32_t>();
            value.interval.days = in.le<int32_t>();
            break;
    }
    return !in.failed();
}

}  // namespace weir::processor
