// Write-ahead log: numbered segments of framed records, one record (or one run of chunks) per epoch. Bytes:
// docs/wal_format.md.
//
//   segment := header(72 bytes) record* zeros
//   record  := [len u32][crc32c u32][data: len bytes][zeros up to a multiple of 8]        little-endian
//   data    := lsn(u64) type(u8: 1 whole, 2 first, 3 middle, 4 last) payload
//   crc32c  over (the segment's salt, the record's offset in the file, len, data)
//
// An entry is written only after the sync of the entry before it returned. Therefore damage that is followed
// by a valid record of a later entry is corruption, and damage that is not is a torn tail: at most the last
// entry is lost, and state/recovery.h checks that Kafka does not hold it.
//
// Thread:  a writer belongs to one thread; reading is pure.
// Failure: a failed write or sync poisons the writer: every later call is an Error. The caller must abort()
//          the process after a failed sync, because the kernel may have dropped the bytes and a retry that
//          succeeds proves nothing.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "state/file.h"

namespace weir::state {

inline constexpr uint32_t kWalRecordBytesMax = 16u << 20;  // Longer entries are cut into chunks.
inline constexpr uint64_t kWalEntryBytesMax = 1ull << 30;  // One epoch.
inline constexpr uint64_t kWalSegmentBytesMax = 4ull << 30;
inline constexpr uint64_t kWalGrowBytes = 1u << 20;
inline constexpr uint32_t kWalFormatVersion = 1;

// Drawn anew by every run that opens the log, so that a left-over segment is never taken for a successor.
using LogUuid = std::array<uint64_t, 2>;

// Why reading stopped.
enum class WalEnd : uint8_t {
    kClean,    // Every byte is accounted for.
    kTorn,     // Damage at the very end; a crash while writing the last entry explains it.
    kCorrupt,  // Damage, and something valid after it: bytes that were promised are gone.
};
[[nodiscard]] const char* wal_end_name(WalEnd end);

// Position in the chain of entries, stored in the next segment's header.
struct WalLink {
    uint64_t lsn = 0;  // Of the last entry; the first entry ever has LSN 1.
    uint32_t crc = 0;  // Of the last record; 0 when there is none.

    friend bool operator==(const WalLink&, const WalLink&) = default;
};

struct SegmentHeader {
    LogUuid uuid{};
    uint64_t number = 0;
    uint64_t salt = 0;
    uint64_t first_lsn = 1;
    WalLink previous;
};

struct SegmentScan {
    SegmentHeader header;
    WalEnd end = WalEnd::kClean;
    uint64_t valid_bytes = 0;  // Length of the prefix in which every whole entry verifies.
    WalLink last;
    uint64_t entries = 0;
    std::string damage;  // Where and what; empty when clean.
};

// `payload` dies when the visitor returns. An Error from it ends the scan.
using EntryVisitor = std::function<Result<void>(uint64_t lsn, uint64_t offset, std::string_view payload)>;

// kCorrupt: the header does not verify. Damage after it is told by the scan, not by an Error. In a segment
// that is not the last of its chain every damage is corruption.
[[nodiscard]] Result<SegmentScan> scan_segment(std::string_view bytes, bool last_of_chain,
                                               const EntryVisitor& visit);

[[nodiscard]] std::string encode_segment_header(const SegmentHeader& header);
[[nodiscard]] Result<SegmentHeader> decode_segment_header(std::string_view bytes);

class WalWriter {
public:
    // Creates the segment: temporary file, header, sync, rename, directory sync.
    [[nodiscard]] static Result<WalWriter> create(Directory& directory, const SegmentHeader& header);

    // Makes room, zero-filled, for an entry of `payload_bytes`, growing the file by at least `grow_bytes`
    // when it grows. kNoSpace leaves the writer usable.
    [[nodiscard]] Result<void> reserve(uint64_t payload_bytes, uint64_t grow_bytes = kWalGrowBytes);
    // Writes one entry; nothing is durable before sync(). Large pieces are written from where they are.
    [[nodiscard]] Result<void> append(std::span<const std::string_view> payload);
    [[nodiscard]] Result<void> append(std::string_view payload) { return append({&payload, 1}); }
    [[nodiscard]] Result<void> sync();

    [[nodiscard]] const SegmentHeader& header() const { return header_; }
    [[nodiscard]] const WalLink& last() const { return last_; }
    [[nodiscard]] uint64_t bytes() const { return end_; }  // Used by the header and whole entries.
    [[nodiscard]] uint64_t allocated_bytes() const { return allocated_; }

private:
    WalWriter(std::unique_ptr<File> file, const SegmentHeader& header);
    [[nodiscard]] Result<void> append_chunks(std::span<const std::string_view> payload, uint64_t bytes);
    // At end_, which goes on.
    [[nodiscard]] Result<void> put(std::string_view bytes);
    [[nodiscard]] Result<void> flush();

    std::unique_ptr<File> file_;
    SegmentHeader header_;
    WalLink last_;
    std::string buffer_;  // What was gathered for the next write.
    uint64_t end_;
    uint64_t allocated_;
    bool poisoned_ = false;
};

[[nodiscard]] std::string segment_name(uint64_t number);
// False: not the name of a segment.
[[nodiscard]] bool parse_segment_name(std::string_view name, uint64_t& number);

}  // namespace weir::state
