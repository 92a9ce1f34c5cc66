#include "state/record.h"

#include <cstring>

#include "base/bytes.h"
#include "base/result.h"
#include "state/crc32c.h"

namespace weir::state {
namespace {

uint32_t record_crc(uint64_t salt, uint64_t offset, uint32_t length, std::string_view data) {
    char context[20];
    std::memcpy(context, &salt, 8);
    std::memcpy(context + 8, &offset, 8);
    std::memcpy(context + 16, &length, 4);
    return crc32c(crc32c(0, {context, sizeof context}), data);
}

uint64_t padded(uint64_t bytes) { return (bytes + 7) & ~uint64_t{7}; }

}  // namespace

uint64_t record_bytes(uint64_t payload_bytes) {
    return padded(kRecordFrameBytes + kRecordDataBytesMin + payload_bytes);
}

uint32_t append_record(std::string& out, uint64_t salt, uint64_t offset, uint64_t number, uint8_t type,
                       std::string_view payload) {
    const uint64_t length = kRecordDataBytesMin + payload.size();
    WEIR_CHECK(length <= UINT32_MAX);
    const size_t start = out.size();
    put_le(out, static_cast<uint32_t>(length));
    put_le(out, uint32_t{0});
    put_le(out, number);
    put_le(out, type);
    out.append(payload);
    const std::string_view data = std::string_view(out).substr(start + kRecordFrameBytes);
    const uint32_t crc = record_crc(salt, offset, static_cast<uint32_t>(length), data);
    std::memcpy(out.data() + start + 4, &crc, sizeof crc);
    out.append(start + record_bytes(payload.size()) - out.size(), '\0');
    return crc;
}

bool parse_record(std::string_view bytes, uint64_t salt, uint64_t offset, uint64_t data_bytes_max,
                  Record& record) {
    ByteReader in(bytes);
    const auto length = in.le<uint32_t>();
    const auto crc = in.le<uint32_t>();
    if (length < kRecordDataBytesMin || length > data_bytes_max || length > in.remaining()) return false;
    const std::string_view data = in.take(length);
    const uint64_t padding = padded(kRecordFrameBytes + length) - kRecordFrameBytes - length;
    for (const char c : in.take(padding))
        if (c != '\0') return false;
    if (in.failed() || record_crc(salt, offset, length, data) != crc) return false;
    ByteReader fields(data);
    record.number = fields.le<uint64_t>();
    record.type = fields.le<uint8_t>();
    record.payload = data.substr(kRecordDataBytesMin);
    record.crc = crc;
    record.bytes = kRecordFrameBytes + length + padding;
    return true;
}

}  // namespace weir::state
