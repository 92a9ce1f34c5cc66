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

// LEB128, as in protobuf's base 128 varints. A reader takes the shortest form only, so that a value has one
// spelling.
inline void put_varint(std::string& out, uint64_t value) {
    while (value >= 0x80) {
        out.push_back(static_cast<char>(value | 0x80));
        value >>= 7;
    }
    out.push_back(static_cast<char>(value));
}

inline void put_bytes(std::string& out, std::string_view bytes) {
    put_varint(out, bytes.size());
    out.append(bytes);
}

class ByteReader {
public:
    explicit ByteReader(std::string_view data) : rest_(data) {}

    [[nodiscard]] bool failed() const { return failed_; }
    [[nodiscard]] bool done() const { return failed_ || rest_.empty(); }
    [[nodiscard]] size_t remaining() const { return rest_.size(); }

    template <class T>
    T le() {
        T value{};
        if (rest_.size() < sizeof(T)) return fail<T>();
        std::memcpy(&value, rest_.data(), sizeof(T));
        rest_.remove_prefix(sizeof(T));
        return value;
    }

    uint64_t varint() {
        uint64_t value = 0;
        for (unsigned shift = 0; shift < 64; shift += 7) {
            if (rest_.empty()) return fail<uint64_t>();
            const auto byte = static_cast<uint8_t>(rest_.front());
            rest_.remove_prefix(1);
            if ((shift == 63 && byte > 1) || (shift > 0 && byte == 0)) return fail<uint64_t>();
            value |= static_cast<uint64_t>(byte & 0x7F) << shift;
            if ((byte & 0x80) == 0) return value;
        }
        return fail<uint64_t>();
    }

    // A view into the reader's data.
    std::string_view bytes() { return take(varint()); }

    std::string_view take(uint64_t length) {
        if (failed_ || length > rest_.size()) return fail<std::string_view>();
        const std::string_view result = rest_.substr(0, length);
        rest_.remove_prefix(length);
        return result;
    }

private:
    template <class T>
    T fail() {
        failed_ = true;
        rest_ = {};
        return T{};
    }

    std::string_view rest_;
    bool failed_ = false;
};

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "the on-disk formats assume a little-endian machine");

}  // namespace weir
