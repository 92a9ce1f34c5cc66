// Little-endian cursors with bounds, for every format on disk. Writers append to a std::string that the
// caller owns; a reader never reads past its end: a short or oversized field makes it fail for good.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

namespace weir {

template <class T>
void put_le(std::string& out, T value) {
    static_assert(std::is_trivially_copyable_v<T> && std::is_arithmetic_v<T>);
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value,
                sizeof(T));  // The supported machines are little-endian (base/bytes.h asserts it).
    out.append(bytes, sizeof(T));
}

// Writes it to `to`, which has room; the end.
template <class T>
char* write_le(char* to, T value) {
    static_assert(std::is_trivially_copyable_v<T> && std::is_arithmetic_v<T>);
    std::memcpy(to, &value, sizeof(value));
    return to + sizeof(value);
}

// LEB128, as in protobuf's base 128 varints. A reader takes the shortest form only, so that a value has one
// spelling.
inline constexpr size_t kMostVarintBytes = 10;
inline constexpr uint8_t kLongVarint = 0x80;  // From here on it takes more than one byte.

inline char* write_varint(char* to, uint64_t value) {
    while (value >= 0x80) {
        *to++ = static_cast<char>(value | 0x80);
        value >>= 7;
    }
    *to++ = static_cast<char>(value);
    return to;
}

inline void put_varint(std::string& out, uint64_t value) {
    char bytes[kMostVarintBytes];
    out.append(bytes, static_cast<size_t>(write_varint(bytes, value) - bytes));
}

inline void put_bytes(std::string& out, std::string_view bytes) {
    put_varint(out, bytes.size());
    out.append(bytes);
}

class ByteReader {
public:
    explicit ByteReader(std::string_view data) : at_(data.data()), end_(at_ + data.size()) {}

    [[nodiscard]] bool failed() const { return failed_; }
    [[nodiscard]] bool done() const { return at_ == end_; }
    [[nodiscard]] size_t remaining() const { return static_cast<size_t>(end_ - at_); }

    template <class T>
    T le() {
        T value{};
        if (remaining() < sizeof(T)) return fail<T>();
        std::memcpy(&value, at_, sizeof(T));
        at_ += sizeof(T);
        return value;
    }

    uint64_t varint() {
        uint64_t value = 0;
        const char* at = at_;
        for (unsigned shift = 0; shift < 64 && at != end_; shift += 7) {
            const auto byte = static_cast<uint8_t>(*at++);
            value |= static_cast<uint64_t>(byte & 0x7F) << shift;
            if ((byte & 0x80) != 0) continue;
            if ((shift == 63 && byte > 1) || (shift > 0 && byte == 0)) break;
            at_ = at;
            return value;
        }
        return fail<uint64_t>();
    }

    // Whatever it says.
    void skip_varint() {
        while (at_ != end_ && (*at_++ & 0x80) != 0) continue;
    }

    // A view into the reader's data.
    std::string_view bytes() { return take(varint()); }

    std::string_view take(uint64_t length) {
        if (failed_ || length > remaining()) return fail<std::string_view>();
        const std::string_view result(at_, length);
        at_ += length;
        return result;
    }

private:
    template <class T>
    T fail() {
        failed_ = true;
        at_ = end_;
        return T{};
    }

    const char* at_;
    const char* end_;
    bool failed_ = false;
};

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "the on-disk formats assume a little-endian machine");

}  // namespace weir
