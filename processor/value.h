// One SQL value as the engine passes it: 24 bytes, trivially copyable, no ownership. Texts, jsonb and error
// messages point into the record's payload or a batch's Arena and die with them.
//
//   kNumeric      an exact decimal: mantissa (128-bit two's complement in `low`, `high`) × 10^-scale;
//                 scale is PostgreSQL's display scale (dscale), 0 … 16383.
//   kTimestamptz  `integer` is microseconds since 1970-01-01T00:00:00Z.
//   kInterval     PostgreSQL's three parts: `integer` microseconds, `months` and `days`.
//   kJsonb        the JSON text of the value, as it stood in the record or in canonical form.
//   kError        an expression failed for this row; the message is `data`, `length`. Strict operators
//                 pass it on as they pass NULL on.
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>
#include <vector>

namespace weir::processor {

enum class Type : uint8_t {
    kNull,
    kBool,
    kInt4,
    kInt8,
    kNumeric,
    kFloat8,
    kText,
    kJsonb,
    kTimestamptz,
    kInterval,
    kError,
};

[[nodiscard]] const char* type_name(Type type);  // PostgreSQL's name: "integer", "numeric", …

__extension__ using Int128 = __int128;

struct Value {
    Type type = Type::kNull;
    uint8_t reserved = 0;
    uint16_t scale = 0;   // kNumeric.
    uint32_t length = 0;  // kText, kJsonb, kError: bytes.
    union {
        int64_t integer = 0;  // kInt4, kInt8, kTimestamptz, kInterval (microseconds).
        bool boolean;
        double real;
        const char* data;
        uint64_t low;  // kNumeric.
    };
    union {
        int64_t high = 0;  // kNumeric.
        struct {
            int32_t months;
            int32_t days;
        } interval;
    };

    static Value null() { return {}; }
    static Value of_bool(bool value) {
        Value v;
        v.type = Type::kBool;
        v.boolean = value;
        return v;
    }
    static Value of_int8(int64_t value) {
        Value v;
        v.type = Type::kInt8;
        v.integer = value;
        return v;
    }
    static Value of_int4(int32_t value) {
        Value v;
        v.type = Type::kInt4;
        v.integer = value;
        return v;
    }
    static Value of_float8(double value) {
        Value v;
        v.type = Type::kFloat8;
        v.real = value;
        return v;
    }
    static Value of_numeric(Int128 mantissa, uint16_t scale) {
        Value v;
        v.set_numeric(mantissa, scale);
        return v;
    }
    static Value of_bytes(Type type, std::string_view bytes) {  // kText, kJsonb, kError.
        Value v;
        v.type = type;
        v.length = static_cast<uint32_t>(bytes.size());
        v.data = bytes.data();
        return v;
    }
    static Value of_text(std::string_view text) { return of_bytes(Type::kText, text); }
    static Value of_timestamptz(int64_t microseconds) {
        Value v;
        v.type = Type::kTimestamptz;
        v.integer = microseconds;
        return v;
    }

    // In place, for hot loops: copying a value that was written a moment before in narrower parts stalls.
    void set_bool(bool value) {
        type = Type::kBool;
        boolean = value;
    }
    void set_numeric(Int128 mantissa, uint16_t its_scale) {
        type = Type::kNumeric;
        scale = its_scale;
        length = 0;
        low = static_cast<uint64_t>(mantissa);
        high = static_cast<int64_t>(mantissa >> 64);
    }
    void set_text(std::string_view text) {
        type = Type::kText;
        length = static_cast<uint32_t>(text.size());
        data = text.data();
    }

    [[nodiscard]] bool is_null() const { return type == Type::kNull; }
    [[nodiscard]] bool is_error() const { return type == Type::kError; }
    [[nodiscard]] std::string_view bytes() const { return {data, length}; }
    [[nodiscard]] Int128 mantissa() const { return static_cast<Int128>(high) << 64 | low; }
};

static_assert(sizeof(Value) == 24 && std::is_trivially_copyable_v<Value>);

using Column = std::vector<Value>;  // One value per row of a batch.

}  // namespace weir::processor
