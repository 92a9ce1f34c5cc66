// A snapshot from hostile bytes: eight bytes that choose which records get a checksum that fits, then the
// file. What is accepted to its last byte must survive being written and read again.
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "sealed.h"
#include "state/snapshot.h"
#include "tests/sim/sim_disk.h"

namespace {

using namespace weir;
using namespace weir::state;

constexpr size_t kHeaderBytes = 32;
constexpr size_t kSaltAt = 16;
constexpr size_t kFooterPayloadBytes = 12;  // Entries, and the CRC-32C of all before the footer.

using Entries = std::vector<std::tuple<uint32_t, std::string, std::string>>;

// False: refused, at the latest after its last entry.
bool read(Directory& directory, const std::string& name, SnapshotInfo& info, Entries& entries) {
    auto reader = SnapshotReader::open(directory, name);
    if (!reader.ok()) return false;
    info = reader->info();
    for (SnapshotReader::Entry entry;;) {
        const auto more = reader->next(entry);
        if (!more.ok()) return false;
        if (!*more) return true;
        entries.emplace_back(entry.table, entry.key, entry.value);
    }
}

void check(std::string_view bytes) {
    sim::SimDisk disk;
    const auto root = disk.root();
    {
        auto file = root->create("in");
        WEIR_CHECK(file.ok() && (*file)->write(0, bytes).ok());
    }
    SnapshotInfo info;
    Entries entries;
    if (!read(*root, "in", info, entries)) return;

    auto writer = SnapshotWriter::create(*root, "out", info);
    WEIR_CHECK(writer.ok());
    for (const auto& [table, key, value] : entries) writer->add(table, key, value).value();
    WEIR_CHECK(writer->finish().ok());
    SnapshotInfo info_again;
    Entries entries_again;
    WEIR_CHECK(read(*root, "out", info_again, entries_again));
    WEIR_CHECK(info_again.id == info.id && info_again.progress == info.progress && entries_again == entries);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 8) return 0;
    std::string bytes(reinterpret_cast<const char*>(data), size);
    const auto choice = fuzz::load<uint64_t>(bytes, 0);
    bytes.erase(0, 8);
    check(bytes);
    const uint64_t footer_bytes = record_bytes(kFooterPayloadBytes);
    if (bytes.size() < kHeaderBytes + footer_bytes) return 0;
    const size_t footer_at = bytes.size() - footer_bytes;
    const auto salt = fuzz::load<uint64_t>(bytes, kSaltAt);
    fuzz::seal_header(bytes, kHeaderBytes);
    fuzz::seal_records(bytes, kHeaderBytes, footer_at, salt, choice);
    fuzz::store(bytes, footer_at + kRecordFrameBytes + kRecordDataBytesMin + 8,
                crc32c(0, std::string_view(bytes).substr(0, footer_at)));
    fuzz::seal_records(bytes, footer_at, bytes.size(), salt, 1);
    check(bytes);
    return 0;
}
