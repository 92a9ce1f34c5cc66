#include "processor/group_key.h"

#include <cmath>
#include <limits>

#include "processor/arena.h"
#include "processor/expr/jsonb.h"

namespace weir::processor {
namespace {

enum Tag : uint8_t {
    kTagNull = 0,
    kTagBool = 1,
    kTagInteger = 2,
    kTagNumeric = 3,
    kTagFloat8 = 4,
    kTagText = 5,
    kTagJsonb = 6,
    kTagTimestamptz = 7,
    kTagInterval = 8,
};

char* write_number(Int128 mantissa, uint16_t scale, char* to) {
    while (scale > 0 && mantissa % 10 == 0) {
        mantissa /= 10;
        --scale;
    }
    const auto small = static_cast<int64_t>(mantissa);
    if (scale == 0 && small == mantissa) return write_le(write_le<uint8_t>(to, kTagInteger), small);
    to = write_le(write_le<uint8_t>(to, kTagNumeric), scale);
    return write_le(write_le(to, static_cast<uint64_t>(mantissa)), static_cast<int64_t>(mantissa >> 64));
}

}  // namespace

char* write_short_group_key(const Value& value, char* to) {
    switch (value.type) {
        case Type::kText:
        case Type::kJsonb: return nullptr;
        case Type::kNumeric: return write_number(value.mantissa(), value.scale, to);
        case Type::kInt4:
        case Type::kInt8: return write_number(value.integer, 0, to);
        case Type::kBool: return write_le<uint8_t>(write_le<uint8_t>(to, kTagBool), value.boolean ? 1 : 0);
        case Type::kFloat8: {
            double real = value.real == 0 ? 0 : value.real;
            if (std::isnan(real)) real = std::numeric_limits<double>::quiet_NaN();
            return write_le(write_le<uint8_t>(to, kTagFloat8), real);
        }
        case Type::kTimestamptz: return write_le(write_le<uint8_t>(to, kTagTimestamptz), value.integer);
        case Type::kInterval:
            to = write_le(write_le<uint8_t>(to, kTagInterval), value.integer);
            return write_le(write_le(to, value.interval.months), value.interval.days);
        case Type::kNull:
        case Type::kError: break;
    }
    return write_le<uint8_t>(to, kTagNull);
}

void append_group_key(const Value& value, std::string& out) {
    char bytes[kMostShortGroupKey];
    if (const char* const end = write_short_group_key(value, bytes)) {
        out.append(bytes, static_cast<size_t>(end - bytes));
        return;
    }
    std::string canonical;
    std::string_view text = value.bytes();
    if (value.type == Type::kJsonb) {
        expr::append_canonical_json(text, canonical);
        text = canonical;
    }
    bytes[0] = value.type == Type::kText ? kTagText : kTagJsonb;
    out.append(bytes, static_cast<size_t>(write_varint(bytes + 1, text.size()) - bytes));
    out.append(text);
}

void read_group_key(ByteReader& in, Value& value) {
    switch (in.le<uint8_t>()) {
        case kTagBool: value.set_bool(in.le<uint8_t>() != 0); break;
        case kTagInteger: value.set_numeric(in.le<int64_t>(), 0); break;
        case kTagNumeric: {
            const auto scale = in.le<uint16_t>();
            const auto low = in.le<uint64_t>();
            const auto high = in.le<int64_t>();
            value.set_numeric(static_cast<Int128>(high) << 64 | low, scale);
            break;
        }
        case kTagFloat8: value = Value::of_float8(in.le<double>()); break;
        case kTagText: value.set_text(in.bytes()); break;
        case kTagJsonb: value = Value::of_bytes(Type::kJsonb, in.bytes()); break;
        case kTagTimestamptz: value = Value::of_timestamptz(in.le<int64_t>()); break;
        case kTagInterval: {
            value.type = Type::kInterval;
            value.integer = in.le<int64_t>();
            value.interval.months = in.le<int32_t>();
            value.interval.days = in.le<int32_t>();
            break;
        }
        default: value = Value::null();
    }
}

std::vector<std::string> group_keys_of(std::string_view text, size_t columns) {
    Arena arena;
    std::vector<std::string> keys;
    const bool json = expr::is_valid_json(text);
    const auto kind = json ? expr::json_kind(text) : expr::JsonKind::kString;
    if (columns != 1) {
        if (kind != expr::JsonKind::kArray || expr::json_array_length(text) != static_cast<int64_t>(columns))
            return keys;
        std::string key;
        std::string_view element;
        for (size_t position = 0; expr::json_next_element(text, position, element);) {
            const Value value = expr::json_to_value(element, arena);
            if (value.is_error()) return keys;
            append_group_key(value, key);
        }
        keys.push_back(std::move(key));
        return keys;
    }
    append_group_key(Value::of_text(text), keys.emplace_back());
    if (json && kind != expr::JsonKind::kString) {
        const Value value = expr::json_to_value(text, arena);
        if (!value.is_error()) append_group_key(value, keys.emplace_back());
    }
    return keys;
}

}  // namespace weir::processor
