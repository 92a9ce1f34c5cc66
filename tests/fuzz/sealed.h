// Makes checksums fit, so that a fuzzer gets past them. `choice` tells, bit by bit, which of a file's records
// are made valid; where records end is decided by the input itself.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "state/crc32c.h"
#include "state/record.h"

namespace weir::fuzz {

template <class T>
void store(std::string& bytes, size_t at, T value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
}
template <class T>
T load(const std::string& bytes, size_t at) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
}

// The header's last four bytes are the CRC-32C of those before it.
inline void seal_header(std::string& bytes, size_t header_bytes) {
    store(bytes, header_bytes - 4,
          state::crc32c(0, std::string_view(bytes).substr(0, header_bytes - 4)));
}

// Record after record from `at`, as far as their lengths make sense.
inline void seal_records(std::string& bytes, size_t at, size_t end, uint64_t salt, uint64_t choice) {
    for (; at + state::kRecordFrameBytes + state::kRecordDataBytesMin <= end; choice >>= 1) {
        const uint64_t length = load<uint32_t>(bytes, at);
        if (length < state::kRecordDataBytesMin || length > end - at - state::kRecordFrameBytes) break;
        const uint64_t payload_bytes = length - state::kRecordDataBytesMin;
        const uint64_t record_bytes = state::record_bytes(payload_bytes);
        if (record_bytes > end - at) break;
        if ((choice & 1) != 0) {
            const size_t data = at + state::kRecordFrameBytes;
            std::string record;
            state::append_record(record, salt, at, load<uint64_t>(bytes, data),
                                 static_cast<uint8_t>(bytes[data + 8]),
                                 std::string_view(bytes).substr(data + 9, payload_bytes));
            bytes.replace(at, record.size(), record);
        }
        at += record_bytes;
    }
}

}  // namespace weir::fuzz
