#include <doctest/doctest.h>

#include <string>

#include "state/snapshot.h"
#include "state/state_directory.h"
#include "tests/state/fixture.h"

using namespace weir;
using namespace weir::state;

namespace {

const SnapshotInfo kInfo{{{1, 2}, 3}, {4, {{{TopicId{0}, 4}, 100, 200, "c"}}}};

using Entries = std::vector<std::pair<std::pair<uint32_t, std::string>, std::string>>;

Entries some_entries(size_t count, size_t value_bytes) {
    Entries entries;
    for (uint32_t i = 0; i < count; ++i)
        entries.push_back({{i / 100, "key" + std::to_string(1000 + i % 100)}, std::string(value_bytes, 'v')});
    return entries;
}

void write(Directory& directory, const Entries& entries) {
    SnapshotWriter writer = SnapshotWriter::create(directory, "s", kInfo).value();
    for (const auto& [key, value] : entries) writer.add(key.first, key.second, value).value();
    REQUIRE(writer.finish().ok());
}

Result<Entries> read(Directory& directory) {
    WEIR_ASSIGN(SnapshotReader reader, SnapshotReader::open(directory, "s"));
    if (reader.info().id != kInfo.id || reader.info().progress != kInfo.progress)
        return Error{Code::kMismatch, "another snapshot"};
    Entries entries;
    SnapshotReader::Entry entry;
    for (;;) {
        WEIR_ASSIGN(const bool more, reader.next(entry));
        if (!more) return entries;
        entries.push_back({{entry.table, std::string(entry.key)}, std::string(entry.value)});
    }
}

}  // namespace

TEST_CASE("snapshot: entries come back in order, over several blocks") {
    for (const size_t count : {size_t{0}, size_t{1}, size_t{1000}}) {
        sim::SimDisk disk;
        const auto directory = disk.root();
        write(*directory, some_entries(count, 300));
        CHECK(read(*directory).value() == some_entries(count, 300));
    }
    sim::SimDisk disk;
    const auto directory = disk.root();
    const Entries large{{{1, "k"}, std::string(20u << 20, 'x')}, {{1, "l"}, ""}};
    write(*directory, large);
    CHECK(read(*directory).value() == large);
}

TEST_CASE("snapshot: every flipped bit and every cut is detected") {
    sim::SimDisk disk;
    const auto directory = disk.root();
    write(*directory, some_entries(300, 10));
    std::string& bytes = disk.bytes("s");
    for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        const auto mask = static_cast<char>(1 << (bit % 8));
        bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ mask);
        REQUIRE_FALSE(read(*directory).ok());
        bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ mask);
    }
    const std::string whole = bytes;
    for (size_t length = 0; length < whole.size(); ++length) {
        bytes = whole.substr(0, length);
        REQUIRE_FALSE(read(*directory).ok());
    }
}

TEST_CASE("manifest: round trip; every flipped bit and every cut is detected") {
    const Manifest manifest{"cluster", "orders", "hash", {{"a", 4}, {"b", 8}}, 1, 3, 2, 5};
    std::string bytes = encode_manifest(manifest);
    CHECK(decode_manifest(bytes).value() == manifest);
    for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        const auto mask = static_cast<char>(1 << (bit % 8));
        bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ mask);
        REQUIRE_FALSE(decode_manifest(bytes).ok());
        bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ mask);
    }
    for (size_t length = 0; length < bytes.size(); ++length)
        REQUIRE_FALSE(decode_manifest(bytes.substr(0, length)).ok());
}

TEST_CASE("manifest: another world is refused and the message says what differs") {
    const Manifest disk{"cluster", "orders", "hash", {{"a", 4}, {"b", 8}}, 0, 2, 2, 5};
    const auto refused = [&](auto change, const char* word) {
        Manifest now = disk;
        change(now);
        const auto result = compare_manifest(disk, now);
        REQUIRE_FALSE(result.ok());
        CHECK(result.error().code == Code::kMismatch);
        CHECK(result.error().message.find(word) != std::string::npos);
    };
    CHECK(compare_manifest(disk, disk).ok());
    refused([](Manifest& now) { now.cluster_id = "other"; }, "other");
    refused([](Manifest& now) { now.pipeline = "sales"; }, "sales");
    refused([](Manifest& now) { now.state_hash = "x"; }, "stateful steps");
    refused([](Manifest& now) { now.inputs[1].partition_count = 9; }, "partitions");
    refused([](Manifest& now) { now.inputs[1].name = "c"; }, "\"c\"");
    refused([](Manifest& now) { now.inputs.pop_back(); }, "topics");
    refused([](Manifest& now) { now.instances = 3; }, "instance");
    Manifest redealt = disk;
    redealt.slots = 7;
    redealt.layout = 9;
    CHECK(compare_manifest(disk, redealt).ok());
}

TEST_CASE("epoch record: decodes to what was encoded, and to nothing when a byte is missing or added") {
    std::mt19937_64 random(5);
    TestEpoch epoch = make_epoch({{1, 1}, 2}, {{1, 1}, 1}, {0, 3, 5}, random, 20);
    std::string bytes;
    encode_epoch(epoch.view(), bytes);
    const EpochRecord decoded = decode_epoch(bytes).value();
    CHECK(decoded.id == epoch.record.id);
    CHECK(decoded.prev == epoch.record.prev);
    CHECK(decoded.sink_position == epoch.record.sink_position);
    REQUIRE(decoded.shards.size() == 3);
    for (size_t i = 0; i < 3; ++i) {
        CHECK(decoded.shards[i].progress == epoch.record.shards[i].progress);
        CHECK(decoded.shards[i].delta == epoch.deltas[i]);
    }
    for (size_t length = 0; length < bytes.size(); ++length)
        CHECK_FALSE(decode_epoch(bytes.substr(0, length)).ok());
    CHECK_FALSE(decode_epoch(bytes + "x").ok());
}
