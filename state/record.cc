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

uint64_t record_padding(uint64_t payload_bytes) {
    return record_bytes(payload_bytes) - kRecordFrameBytes - kRecordDataBytesMin - payload_bytes;
}

RecordHead record_head(uint64_t salt, uint64_t offset, uint64_t number, uint8_t type,
                       std::span<const std::string_view> payload) {
    uint64_t length = kRecordDataBytesMin;
    for (const std::string_view piece : payload) length += piece.size();
    WEIR_CHECK(length <= UINT32_MAX);
    RecordHead head;
    put_le(head.bytes, static_cast<uint32_t>(length));
    put_le(head.bytes, uint32_t{0});
    put_le(head.bytes, number);
    put_le(head.bytes, type);
    head.crc = record_crc(salt, offset, static_cast<uint32_t>(length),
                          std::string_view(head.bytes).substr(kRecordFrameBytes));
    for (const std::string_view piece : payload) head.crc = crc32c(head.crc, piece);
    std::memcpy(head.bytes.data() + 4, &head.crc, sizeof head.crc);
    return head;
}

uint32_t append_record(std::string& out, uint64_t salt, uint64_t offset, uint64_t number, uint8_t type,
                       std::string_view payload) {
    const RecordHead head = record_head(salt, offset, number, type, {&payload, 1});
    out.append(head.bytes);
    out.append(payload);
    out.append(record_padding(payload.size()), '\0');
    return head.crc;
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
