// A log segment from hostile bytes: eight bytes that choose which records get a checksum that fits, then the
// segment. The prefix that is called valid must verify again, alone, to the same end.
#include <cstdint>
#include <string>
#include <vector>

#include "sealed.h"
#include "state/epoch_record.h"
#include "state/wal.h"

namespace {

using namespace weir;
using namespace weir::state;

constexpr size_t kHeaderBytes = 72;
constexpr size_t kSaltAt = 40;

struct Seen {
    SegmentScan scan;
    std::vector<std::string> entries;
};

// Nothing: the header does not verify.
bool read(std::string_view bytes, bool last_of_chain, Seen& seen) {
    uint64_t offset_before = 0;
    auto scan = scan_segment(bytes, last_of_chain,
                             [&](uint64_t, uint64_t offset, std::string_view payload) -> Result<void> {
                                 WEIR_CHECK(offset > offset_before && offset % 8 == 0);
                                 WEIR_CHECK(offset + payload.size() <= bytes.size());
                                 offset_before = offset;
                                 seen.entries.emplace_back(payload);
                                 static_cast<void>(decode_epoch(payload));
                                 return {};
                             });
    if (!scan.ok()) return false;
    seen.scan = std::move(scan).value();
    return true;
}

void check(std::string_view bytes) {
    Seen open;
    if (!read(bytes, true, open)) return;
    const SegmentScan& scan = open.scan;
    WEIR_CHECK(scan.valid_bytes >= kHeaderBytes && scan.valid_bytes <= bytes.size());
    WEIR_CHECK(scan.entries == open.entries.size());
    WEIR_CHECK(scan.last.lsn == scan.header.previous.lsn + scan.entries);
    WEIR_CHECK((scan.end == WalEnd::kClean) == scan.damage.empty());

    Seen closed;
    WEIR_CHECK(read(bytes, false, closed));
    WEIR_CHECK(closed.entries == open.entries && closed.scan.last == scan.last);
    WEIR_CHECK(closed.scan.end == (scan.end == WalEnd::kClean ? WalEnd::kClean : WalEnd::kCorrupt));

    std::string prefix(bytes.substr(0, scan.valid_bytes));
    for (const uint64_t zeros : {0U, 8U, 64U}) {
        Seen again;
        prefix.resize(scan.valid_bytes + zeros);
        WEIR_CHECK(read(prefix, true, again));
        WEIR_CHECK(again.scan.end == WalEnd::kClean && again.scan.valid_bytes == scan.valid_bytes);
        WEIR_CHECK(again.entries == open.entries && again.scan.last == scan.last);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 8) return 0;
    std::string bytes(reinterpret_cast<const char*>(data), size);
    const auto choice = fuzz::load<uint64_t>(bytes, 0);
    bytes.erase(0, 8);
    check(bytes);
    if (bytes.size() < kHeaderBytes) return 0;
    fuzz::seal_header(bytes, kHeaderBytes);
    fuzz::seal_records(bytes, kHeaderBytes, bytes.size(), fuzz::load<uint64_t>(bytes, kSaltAt), choice);
    check(bytes);
    return 0;
}
