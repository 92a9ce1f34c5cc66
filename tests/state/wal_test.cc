#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "state/crc32c.h"
#include "state/record.h"
#include "state/wal.h"
#include "tests/sim/sim_disk.h"

using namespace weir;
using namespace weir::state;

namespace {

struct Read {
    Result<SegmentScan> scan;
    std::vector<std::string> entries;
};

Read read(std::string_view bytes, bool last = true) {
    std::vector<std::string> entries;
    auto scan = scan_segment(bytes, last, [&](uint64_t, uint64_t, std::string_view payload) -> Result<void> {
        entries.emplace_back(payload);
        return {};
    });
    return {std::move(scan), std::move(entries)};
}

SegmentHeader header() {
    SegmentHeader result;
    result.uuid = {1, 2};
    result.number = 1;
    result.salt = 0x1234'5678'9abc'def0;
    return result;
}

std::string segment_with(const std::vector<std::string>& entries, std::vector<uint64_t>* ends = nullptr) {
    sim::SimDisk disk;
    const auto directory = disk.root();
    WalWriter writer = WalWriter::create(*directory, header()).value();
    for (const std::string& entry : entries) {
        writer.append(entry).value();
        writer.sync().value();
        if (ends != nullptr) ends->push_back(writer.bytes());
    }
    return disk.bytes(segment_name(1)).substr(0, writer.bytes());
}

std::vector<std::string> entries_of(size_t count, size_t bytes) {
    std::vector<std::string> entries;
    for (size_t i = 0; i < count; ++i)
        entries.push_back(std::string(bytes + i, static_cast<char>('a' + i % 26)));
    return entries;
}

}  // namespace

// RFC 3720, appendix B.4.
TEST_CASE("crc32c: known answers") {
    CHECK(crc32c(0, std::string(32, '\0')) == 0x8a9136aa);
    CHECK(crc32c(0, std::string(32, '\xff')) == 0x62a8ab43);
    std::string ascending;
    for (char c = 0; c < 32; ++c) ascending.push_back(c);
    CHECK(crc32c(0, ascending) == 0x46dd794e);
    CHECK(crc32c(0, std::string(ascending.rbegin(), ascending.rend())) == 0x113fdb5c);
    CHECK(crc32c(0, "123456789") == 0xe3069283);
    CHECK(crc32c(crc32c(0, "1234"), "56789") == 0xe3069283);
}

// Goal: whatever the length at which the file ends, exactly the entries that are whole are read.
TEST_CASE("wal: cut at every byte") {
    std::vector<uint64_t> ends;
    const auto entries = entries_of(200, 10);
    const std::string bytes = segment_with(entries, &ends);
    size_t whole = 0;
    for (size_t length = 72; length <= bytes.size(); ++length) {
        while (whole < ends.size() && ends[whole] <= length) ++whole;
        const Read cut = read(std::string_view(bytes).substr(0, length));
        REQUIRE(cut.scan.ok());
        REQUIRE(cut.entries.size() == whole);
        REQUIRE(std::equal(cut.entries.begin(), cut.entries.end(), entries.begin()));
        REQUIRE(cut.scan->end != WalEnd::kCorrupt);
        // The same with the preallocated zeros behind it, as a power cut leaves it.
        const Read zeroed = read(std::string(bytes, 0, length) + std::string(64, '\0'));
        REQUIRE(zeroed.entries.size() >= whole);  // A record that lost only zeros is whole.
        REQUIRE(zeroed.entries.size() <= whole + 1);
        REQUIRE(zeroed.scan->end != WalEnd::kCorrupt);
    }
    for (size_t length = 0; length < 72; ++length)
        CHECK(!read(std::string_view(bytes).substr(0, length)).scan.ok());
}

// Goal: no flipped bit yields another content; in the middle it is corruption, in the last entry torn.
TEST_CASE("wal: every single bit flipped") {
    std::vector<uint64_t> ends;
    const auto entries = entries_of(150, 30);
    std::string bytes = segment_with(entries, &ends) + std::string(64, '\0');
    const uint64_t last_start = ends[ends.size() - 2];
    for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        const auto mask = static_cast<char>(1 << (bit % 8));
        bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ mask);
        const Read flipped = read(bytes);
        if (bit / 8 < 72) {
            REQUIRE(!flipped.scan.ok());
        } else {
            REQUIRE(flipped.scan.ok());
            REQUIRE(std::equal(flipped.entries.begin(), flipped.entries.end(), entries.begin()));
            REQUIRE(flipped.scan->end == (bit / 8 < last_start ? WalEnd::kCorrupt : WalEnd::kTorn));
            REQUIRE(flipped.entries.size() < entries.size() + (bit / 8 >= ends.back() ? 1 : 0));
            // Before the last segment every damage is corruption.
            if (bit % 64 == 0) REQUIRE(read(bytes, false).scan->end == WalEnd::kCorrupt);
        }
        bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ mask);
    }
}

TEST_CASE("wal: an entry above 16 MiB is cut into chunks and counts only whole") {
    std::string large(40u << 20, 'x');
    for (size_t i = 0; i < large.size(); i += 4096) large[i] = static_cast<char>(i >> 12);
    const std::string bytes = segment_with({"before", large, "after"});
    const Read whole = read(bytes);
    CHECK(whole.entries == std::vector<std::string>{"before", large, "after"});
    CHECK(whole.scan->end == WalEnd::kClean);

    const std::string last = segment_with({"before", large});
    // The first chunk is lost, the later ones arrived: one write, so it is torn, not corrupt.
    std::string torn = last;
    std::fill(torn.begin() + 104, torn.begin() + 5000, '\0');
    const Read lost = read(torn);
    CHECK(lost.entries == std::vector<std::string>{"before"});
    CHECK(lost.scan->end == WalEnd::kTorn);
    // The same damage with an entry after it was synced once.
    std::string rotten = bytes;
    std::fill(rotten.begin() + 104, rotten.begin() + 5000, '\0');
    CHECK(read(rotten).scan->end == WalEnd::kCorrupt);
    for (const size_t length : {last.size() - 1, last.size() / 2, size_t{200}})
        CHECK(read(std::string_view(last).substr(0, length)).entries == std::vector<std::string>{"before"});
}

TEST_CASE("wal: zeros, a foreign segment's bytes and a misplaced record never verify") {
    const std::string bytes = segment_with({"one", "two", "three"});
    const std::string head = bytes.substr(0, 72);
    CHECK(read(head + std::string(4096, '\0')).entries.empty());
    SegmentHeader other = header();
    other.salt += 1;
    CHECK(read(encode_segment_header(other) + bytes.substr(72)).entries.empty());
    // The second record where the first belongs, with its own LSN made to fit.
    SegmentHeader later = header();
    later.previous.lsn = 1;
    later.first_lsn = 2;
    CHECK(read(encode_segment_header(later) + bytes.substr(72 + 24)).entries.empty());
}

TEST_CASE("wal: a length is bounded before anything is allocated") {
    Record record;
    std::string bytes(64, '\xff');
    CHECK_FALSE(parse_record(bytes, 1, 0, kWalRecordBytesMax, record));
    CHECK_FALSE(parse_record({}, 1, 0, kWalRecordBytesMax, record));
}

TEST_CASE("wal: an entry in pieces is on disk as one in one piece, over the borders of records") {
    const std::string large(70'000, 'l');
    const std::string larger(kWalRecordBytesMax + 100, 'g');
    const std::vector<std::string_view> pieces = {"head", large, "", "between", larger, "end", ""};
    std::string whole;
    for (const std::string_view piece : pieces) whole.append(piece);
    const auto written = [](const auto& entry) {
        sim::SimDisk disk;
        const auto directory = disk.root();
        WalWriter writer = WalWriter::create(*directory, header()).value();
        writer.append(entry).value();
        writer.append(std::string_view("next")).value();
        return disk.bytes(segment_name(1));
    };
    const std::string bytes = written(std::span<const std::string_view>(pieces));
    CHECK(bytes == written(std::string_view(whole)));
    CHECK(read(bytes).entries == std::vector<std::string>{whole, "next"});
}

TEST_CASE("wal: a full disk is reported before an entry is written, and passes") {
    sim::SimDisk disk;
    const auto directory = disk.root();
    WalWriter writer = WalWriter::create(*directory, header()).value();
    disk.set_capacity(100'000);
    CHECK(writer.reserve(100).error().code == Code::kNoSpace);
    disk.set_capacity(10u << 20);
    CHECK(writer.reserve(100).ok());
    CHECK(writer.append("one").ok());
    CHECK(writer.sync().ok());
    CHECK(read(disk.bytes(segment_name(1))).entries == std::vector<std::string>{"one"});
}

TEST_CASE("wal: after a failed write or sync nothing is written any more") {
    for (const bool fail_sync : {false, true}) {
        CAPTURE(fail_sync);
        sim::SimDisk disk;
        const auto directory = disk.root();
        WalWriter writer = WalWriter::create(*directory, header()).value();
        disk.fail_at(fail_sync ? 2 : 1, Code::kIo);
        CHECK(writer.append("one").ok() == fail_sync);
        CHECK_FALSE(writer.sync().ok());
        CHECK_FALSE(writer.reserve(1).ok());
        CHECK_FALSE(writer.append("two").ok());
        CHECK_FALSE(writer.sync().ok());
    }
}
