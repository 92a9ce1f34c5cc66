#include "state/wal.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "base/bytes.h"
#include "state/crc32c.h"
#include "state/record.h"

namespace weir::state {
namespace {

constexpr std::string_view kMagic = "weirwal\n";
constexpr uint64_t kHeaderBytes = 72;
constexpr uint64_t kChunkPayloadBytesMax = kWalRecordBytesMax - kRecordDataBytesMin;
constexpr size_t kGatheredBytesMax = 64u << 10;

enum RecordType : uint8_t { kWhole = 1, kFirst = 2, kMiddle = 3, kLast = 4 };

uint64_t entry_bytes(uint64_t payload_bytes) {
    const uint64_t full_chunks = payload_bytes / kChunkPayloadBytesMax;
    return full_chunks * record_bytes(kChunkPayloadBytesMax) +
           record_bytes(payload_bytes % kChunkPayloadBytesMax);
}

bool all_zero(std::string_view bytes) {
    return bytes.empty() ||
           (bytes.front() == '\0' && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

// Whether a valid record of an entry after `lsn` stands anywhere in bytes[from, end).
bool later_entry_verifies(std::string_view bytes, uint64_t from, uint64_t lsn, uint64_t salt) {
    for (uint64_t at = from; at + kRecordFrameBytes + kRecordDataBytesMin <= bytes.size(); at += 8) {
        uint64_t number = 0;
        std::memcpy(&number, bytes.data() + at + kRecordFrameBytes, sizeof number);
        // Cheap first: each entry needs at least 24 bytes, so a number further ahead cannot be one.
        if (number <= lsn || number - lsn > bytes.size() / 24) continue;
        Record record;
        if (parse_record(bytes.substr(at), salt, at, kWalRecordBytesMax, record)) return true;
    }
    return false;
}

}  // namespace

const char* wal_end_name(WalEnd end) {
    switch (end) {
        case WalEnd::kClean: return "clean";
        case WalEnd::kTorn: return "torn";
        case WalEnd::kCorrupt: return "corrupt";
    }
    return "?";
}

std::string encode_segment_header(const SegmentHeader& header) {
    std::string out(kMagic);
    put_le(out, kWalFormatVersion);
    put_le(out, uint32_t{0});
    put_le(out, header.uuid[0]);
    put_le(out, header.uuid[1]);
    put_le(out, header.number);
    put_le(out, header.salt);
    put_le(out, header.first_lsn);
    put_le(out, header.previous.lsn);
    put_le(out, header.previous.crc);
    put_le(out, crc32c(0, out));
    WEIR_CHECK(out.size() == kHeaderBytes);
    return out;
}

Result<SegmentHeader> decode_segment_header(std::string_view bytes) {
    if (bytes.size() < kHeaderBytes) return Error{Code::kCorrupt, "the segment's header is cut off"};
    ByteReader in(bytes.substr(0, kHeaderBytes));
    const bool magic = in.take(kMagic.size()) == kMagic;
    const auto version = in.le<uint32_t>();
    const auto reserved = in.le<uint32_t>();
    SegmentHeader header;
    header.uuid = {in.le<uint64_t>(), in.le<uint64_t>()};
    header.number = in.le<uint64_t>();
    header.salt = in.le<uint64_t>();
    header.first_lsn = in.le<uint64_t>();
    header.previous.lsn = in.le<uint64_t>();
    header.previous.crc = in.le<uint32_t>();
    if (!magic || in.le<uint32_t>() != crc32c(0, bytes.substr(0, kHeaderBytes - 4)))
        return Error{Code::kCorrupt, "the segment's header does not verify"};
    if (version != kWalFormatVersion || reserved != 0)
        return Error{Code::kMismatch,
                     fmt::format("the segment has format version {}, this weir reads {}; use a "
                                 "newer weir",
                                 version, kWalFormatVersion)};
    if (header.first_lsn != header.previous.lsn + 1)
        return Error{Code::kCorrupt, "the segment's header contradicts itself"};
    return header;
}

Result<SegmentScan> scan_segment(std::string_view bytes, bool last_of_chain, const EntryVisitor& visit) {
    SegmentScan scan;
    WEIR_ASSIGN(scan.header, decode_segment_header(bytes));
    scan.last = scan.header.previous;
    uint64_t at = kHeaderBytes;
    std::string joined;
    for (;;) {
        const uint64_t lsn = scan.last.lsn + 1;
        const uint64_t start = at;
        Record record;
        bool whole = parse_record(bytes.substr(at), scan.header.salt, at, kWalRecordBytesMax, record) &&
                     record.number == lsn && (record.type == kWhole || record.type == kFirst);
        std::string_view payload = record.payload;
        if (whole && record.type == kFirst) {
            joined.assign(payload);
            do {
                at += record.bytes;
                whole = parse_record(bytes.substr(at), scan.header.salt, at, kWalRecordBytesMax, record) &&
                        record.number == lsn && (record.type == kMiddle || record.type == kLast) &&
                        joined.size() + record.payload.size() <= kWalEntryBytesMax;
                if (whole) joined += record.payload;
            } while (whole && record.type != kLast);
            payload = joined;
        }
        if (whole) {
            WEIR_TRY(visit(lsn, start, payload));
            scan.last = {lsn, record.crc};
            ++scan.entries;
            at += record.bytes;
            continue;
        }
        scan.valid_bytes = start;
        if (all_zero(bytes.substr(start))) return scan;
        const bool corrupt = !last_of_chain || later_entry_verifies(bytes, start, lsn, scan.header.salt);
        scan.end = corrupt ? WalEnd::kCorrupt : WalEnd::kTorn;
        scan.damage = fmt::format("{} at byte {}: entry {} does not verify{}",
                                  segment_name(scan.header.number), at, lsn,
                                  !last_of_chain ? ", and later segments follow"
                                  : corrupt      ? ", and a later entry does"
                                                 : ", and nothing after it does");
        return scan;
    }
}

WalWriter::WalWriter(std::unique_ptr<File> file, const SegmentHeader& header)
    : file_(std::move(file)),
      header_(header),
      last_(header.previous),
      end_(kHeaderBytes),
      allocated_(kHeaderBytes) {}

Result<WalWriter> WalWriter::create(Directory& directory, const SegmentHeader& header) {
    const std::string name = segment_name(header.number);
    WEIR_ASSIGN(auto file, directory.create(name + ".tmp"));
    WEIR_TRY(file->write(0, encode_segment_header(header)));
    WEIR_TRY(file->sync());
    WEIR_TRY(directory.rename(name + ".tmp", name));
    WEIR_TRY(directory.sync());
    return WalWriter(std::move(file), header);
}

Result<void> WalWriter::reserve(uint64_t payload_bytes, uint64_t grow_bytes) {
    if (poisoned_) return Error{Code::kIo, "the log failed before; recover first"};
    const uint64_t need = end_ + entry_bytes(payload_bytes);
    if (need <= allocated_) return {};
    const uint64_t grow = std::max(need - allocated_, grow_bytes);
    WEIR_TRY(file_->preallocate(allocated_, grow));
    allocated_ += grow;
    return {};
}

Result<void> WalWriter::append(std::span<const std::string_view> payload) {
    if (poisoned_) return Error{Code::kIo, "the log failed before; recover first"};
    uint64_t bytes = 0;
    for (const std::string_view piece : payload) bytes += piece.size();
    if (bytes > kWalEntryBytesMax || end_ + entry_bytes(bytes) > kWalSegmentBytesMax)
        return Error{Code::kInvalid,
                     fmt::format("an epoch of {} bytes does not fit the log ({} at most); commit "
                                 "more often",
                                 bytes, kWalEntryBytesMax)};
    auto appended = append_chunks(payload, bytes);
    poisoned_ = !appended.ok();
    return appended;
}

Result<void> WalWriter::append_chunks(std::span<const std::string_view> payload, uint64_t bytes) {
    const uint64_t lsn = last_.lsn + 1;
    uint32_t crc = 0;
    bool first = true;
    size_t next = 0;   // Piece of the payload …
    size_t taken = 0;  // … and how much of it earlier chunks have.
    std::vector<std::string_view> chunk;
    do {
        const uint64_t chunk_bytes = std::min(bytes, kChunkPayloadBytesMax);
        bytes -= chunk_bytes;
        chunk.clear();
        for (uint64_t left = chunk_bytes; left > 0;) {
            const std::string_view piece = payload[next].substr(taken, left);
            chunk.push_back(piece);
            left -= piece.size();
            taken += piece.size();
            if (taken < payload[next].size()) continue;
            ++next;
            taken = 0;
        }
        const uint8_t type = first ? (bytes == 0 ? kWhole : kFirst) : (bytes == 0 ? kLast : kMiddle);
        const RecordHead head = record_head(header_.salt, end_ + buffer_.size(), lsn, type, chunk);
        WEIR_TRY(put(head.bytes));
        for (const std::string_view piece : chunk) WEIR_TRY(put(piece));
        buffer_.append(record_padding(chunk_bytes), '\0');
        crc = head.crc;
        first = false;
    } while (bytes > 0);
    WEIR_TRY(flush());
    last_ = {lsn, crc};
    return {};
}

// An epoch's small pieces go in one write; a large one is not worth a copy.
Result<void> WalWriter::put(std::string_view bytes) {
    if (bytes.size() < kGatheredBytesMax) {
        buffer_.append(bytes);
        return {};
    }
    WEIR_TRY(flush());
    WEIR_TRY(file_->write(end_, bytes));
    end_ += bytes.size();
    return {};
}

Result<void> WalWriter::flush() {
    if (!buffer_.empty()) WEIR_TRY(file_->write(end_, buffer_));
    end_ += buffer_.size();
    allocated_ = std::max(allocated_, end_);
    buffer_.clear();
    return {};
}

Result<void> WalWriter::sync() {
    if (poisoned_) return Error{Code::kIo, "the log failed before; recover first"};
    auto synced = file_->sync();
    poisoned_ = !synced.ok();
    return synced;
}

std::string segment_name(uint64_t number) { return fmt::format("wal-{:010}.seg", number); }

bool parse_segment_name(std::string_view name, uint64_t& number) {
    if (!name.starts_with("wal-") || !name.ends_with(".seg") || name.size() < 9) return false;
    const char* const last = name.data() + name.size() - 4;
    const auto [end, error] = std::from_chars(name.data() + 4, last, number);
    return error == std::errc{} && end == last && name == segment_name(number);
}

}  // namespace weir::state
