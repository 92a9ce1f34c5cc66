#include "processor/group_key.h"

#include <cmath>
#include <cstring>
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

void append_number(Int128 mantissa, uint16_t scale, std::string& out) {
    while (scale > 0 && mantissa % 10 == 0) {
        mantissa /= 10;
        --scale;
    }
    const auto small = static_cast<int64_t>(mantissa);
    if (scale == 0 && small == mantissa) {
        char bytes[1 + sizeof(small)] = {kTagInteger};
        std::memcpy(bytes + 1, &small, sizeof(small));
        out.append(bytes, sizeof(bytes));
        return;
    }
    put_le<uint8_t>(out, kTagNumeric);
    put_le<uint16_t>(out, scale);
    put_le<uint64_t>(out, static_cast<uint64_t>(mantissa));
    put_le<int64_t>(out, static_cast<int64_t>(mantissa >> 64));
}

}  // namespace

void append_group_key(const Value& value, std::string& out) {
    switch (value.type) {
        case Type::kText: {
            char head[1 + kMostVarintBytes] = {kTagText};
            out.append(head, static_cast<size_t>(write_varint(head + 1, value.length) - head));
            out.append(value.bytes());
            return;
        }
        case Type::kNumeric: append_number(value.mantissa(), value.scale, out); return;
        case Type::kInt4:
        case Type::kInt8: append_number(value.integer, 0, out); return;
        case Type::kBool:
            put_le<uint8_t>(out, kTagBool);
            put_le<uint8_t>(out, value.boolean ? 1 : 0);
            return;
        case Type::kFloat8: {
            double real = value.real == 0 ? 0 : value.real;
            if (std::isnan(real)) real = std::numeric_limits<double>::quiet_NaN();
            put_le<uint8_t>(out, kTagFloat8);
            put_le<double>(out, real);
            return;
        }
        case Type::kJsonb: {
            std::string canonical;
            expr::append_canonical_json(value.bytes(), canonical);
            put_le<uint8_t>(out, kTagJsonb);
            put_bytes(out, canonical);
            return;
        }
        case Type::kTimestamptz:
            put_le<uint8_t>(out, kTagTimestamptz);
            put_le<int64_t>(out, value.integer);
            return;
        case Type::kInterval:
            put_le<uint8_t>(out, kTagInterval);
            put_le<int64_t>(out, value.integer);
            put_le<int32_t>(out, value.interval.months);
            put_le<int32_t>(out, value.interval.days);
            return;
        case Type::kNull:
        case Type::kError: put_le<uint8_t>(out, kTagNull); return;
    }
}

Value read_group_key(ByteReader& in) {
    switch (in.le<uint8_t>()) {
        case kTagBool: return Value::of_bool(in.le<uint8_t>() != 0);
        case kTagInteger: return Value::of_numeric(in.le<int64_t>(), 0);
        case kTagNumeric: {
            const auto scale = in.le<uint16_t>();
            const auto low = in.le<uint64_t>();
            const auto high = in.le<int64_t>();
            return Value::of_numeric(static_cast<Int128>(high) << 64 | low, scale);
        }
        case kTagFloat8: return Value::of_float8(in.le<double>());
        case kTagText: return Value::of_text(in.bytes());
        case kTagJsonb: return Value::of_bytes(Type::kJsonb, in.bytes());
        case kTagTimestamptz: return Value::of_timestamptz(in.le<int64_t>());
        case kTagInterval: {
            Value value;
            value.type = Type::kInterval;
            value.integer = in.le<int64_t>();
            value.interval.months = in.le<int32_t>();
            value.interval.days = in.le<int32_t>();
            return value;
        }
        default: return Value::null();
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
