// The framing that log and snapshots share:
//
//   record := [len u32][crc32c u32][data: len bytes][zeros up to a multiple of 8]      little-endian
//   data   := number(u64) type(u8) payload
//   crc32c  over (salt u64, offset of the record in its file u64, len u32, data)
//
// The salt and the offset keep zeros, bytes of an older file, and a record in the wrong place from verifying.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace weir::state {

inline constexpr uint64_t kRecordFrameBytes = 8;    // len and crc32c.
inline constexpr uint64_t kRecordDataBytesMin = 9;  // number and type.

struct Record {
    uint64_t number = 0;
    uint8_t type = 0;
    uint32_t crc = 0;
    std::string_view payload;  // A view into the parsed bytes.
    uint64_t bytes = 0;        // Frame, data and padding.
};

// Size on disk of a record with so many payload bytes.
[[nodiscard]] uint64_t record_bytes(uint64_t payload_bytes);

// Of a record that will stand at `offset` what is before its payload. Padding of record_padding() zeros
// follows that.
struct RecordHead {
    std::string bytes;
    uint32_t crc = 0;
};
[[nodiscard]] RecordHead record_head(uint64_t salt, uint64_t offset, uint64_t number, uint8_t type,
                                     std::span<const std::string_view> payload);
[[nodiscard]] uint64_t record_padding(uint64_t payload_bytes);

// Appends the record that will stand at `offset`; returns its CRC.
uint32_t append_record(std::string& out, uint64_t salt, uint64_t offset, uint64_t number, uint8_t type,
                       std::string_view payload);

// False: no record of at most `data_bytes_max` stands at the start of `bytes`, which is `offset` in the file.
[[nodiscard]] bool parse_record(std::string_view bytes, uint64_t salt, uint64_t offset,
                                uint64_t data_bytes_max, Record& record);

}  // namespace weir::state
