#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "base/time.h"
#include "state/snapshotter.h"
#include "tests/state/fixture.h"

using namespace weir;
using namespace weir::state;

namespace {

CommitId id(uint64_t sequence, uint64_t boot = 7) { return {{boot, boot}, sequence}; }

struct Slot {
    sim::SimDisk disk;
    std::unique_ptr<Directory> directory = disk.root();
    ManualClock clock;
    SlotOptions options;
    std::unique_ptr<SlotStore> store;
    std::mt19937_64 random{1};
    Contents committed;
    CommitId last;

    SlotImage load() { return load_slot(*directory).value(); }
    void start(const CommitId& upto) {
        store = SlotStore::start(*directory, load(), upto, options, clock).value();
    }
    TestEpoch next(uint64_t sequence) { return make_epoch(id(sequence), last, {0, 1}, random); }
    void commit_epoch(uint64_t sequence) {
        TestEpoch epoch = next(sequence);
        commit(*store, epoch).value();
        apply_epoch(epoch, committed);
        last = id(sequence);
    }
    // Appended and synced, but Kafka never commits it.
    void prepare_epoch(uint64_t sequence) {
        TestEpoch epoch = next(sequence);
        REQUIRE(store->reserve().ok());
        REQUIRE(store->append(epoch.view()).ok());
        REQUIRE(store->sync().ok());
    }
    std::string newest_segment() {
        std::string newest;
        for (const std::string& name : disk.files())
            if (name.ends_with(".seg")) newest = name;
        return newest;
    }
};

}  // namespace

TEST_CASE("slot store: committed epochs come back with their progress and sink position") {
    Slot slot;
    CHECK_FALSE(slot.load().exists);
    slot.start({});
    for (uint64_t i = 1; i <= 20; ++i) slot.commit_epoch(i);
    slot.store.reset();
    const SlotImage image = slot.load();
    CHECK(image.end == WalEnd::kClean);
    REQUIRE(image.epochs.size() == 20);
    CHECK(image.epochs[4].prev == id(4));
    CHECK(read_back(*slot.directory, image, id(20)).value() == slot.committed);
    CHECK(image.progress(1, 20)->partitions[0].next_offset == 200);
    CHECK(image.sink_position(20) == "length 20");
    CHECK(image.epochs_upto(id(21)).error().code == Code::kNotFound);
}

TEST_CASE("slot store: loading changes no byte") {
    Slot slot;
    slot.start({});
    for (uint64_t i = 1; i <= 5; ++i) slot.commit_epoch(i);
    const uint64_t calls = slot.disk.changing_calls();
    (void)read_back(*slot.directory, slot.load(), id(5)).value();
    CHECK(slot.disk.changing_calls() == calls);
}

// LaminarDB replayed writes that no commit covered.
TEST_CASE("slot store: a prepared epoch that does not count is never applied, and gone after the start") {
    Slot slot;
    slot.start({});
    for (uint64_t i = 1; i <= 3; ++i) slot.commit_epoch(i);
    slot.prepare_epoch(4);
    slot.store.reset();
    SlotImage image = slot.load();
    REQUIRE(image.epochs.size() == 4);
    CHECK(read_back(*slot.directory, image, id(3)).value() == slot.committed);
    slot.start(id(3));
    image = slot.load();
    CHECK(image.epochs.size() == 3);
    CHECK(image.epochs_upto(id(4)).error().code == Code::kNotFound);
    // The next epoch follows the committed one.
    slot.commit_epoch(5);
    CHECK(read_back(*slot.directory, slot.load(), id(5)).value() == slot.committed);
}

// LaminarDB appended behind a torn tail, where the next recovery did not look.
TEST_CASE("slot store: epochs after a torn tail are found again") {
    Slot slot;
    slot.start({});
    for (uint64_t i = 1; i <= 3; ++i) slot.commit_epoch(i);
    const SlotImage before = slot.load();
    slot.prepare_epoch(4);
    slot.store.reset();
    // The record of epoch 4 arrived but for one sector's bytes.
    std::string& bytes = slot.disk.bytes(slot.newest_segment());
    bytes[before.segments.back().valid_bytes + 40] ^= 1;
    const SlotImage torn = slot.load();
    CHECK(torn.end == WalEnd::kTorn);
    CHECK(torn.epochs.size() == 3);
    slot.start(id(3));
    for (uint64_t i = 5; i <= 7; ++i) slot.commit_epoch(i);
    const SlotImage after = slot.load();
    CHECK(after.end == WalEnd::kClean);
    CHECK(after.epochs.size() == 6);
    CHECK(read_back(*slot.directory, after, id(7)).value() == slot.committed);
}

// LaminarDB dropped everything behind a damaged record in the middle without a word.
TEST_CASE("slot store: damage in the middle refuses to start") {
    Slot slot;
    slot.start({});
    for (uint64_t i = 1; i <= 5; ++i) slot.commit_epoch(i);
    slot.store.reset();
    slot.disk.bytes(slot.newest_segment())[150] ^= 1;
    const SlotImage image = slot.load();
    CHECK(image.end == WalEnd::kCorrupt);
    CHECK(image.damage.find("byte") != std::string::npos);
    CHECK(SlotStore::start(*slot.directory, image, {}, slot.options, slot.clock).error().code ==
          Code::kCorrupt);
}

// LaminarDB's truncation kept the head of the log and dropped the tail: it could not reclaim space.
TEST_CASE("slot store: snapshots free the log's space and keep the state") {
    Slot slot;
    slot.options.segment_bytes = 2000;
    slot.options.snapshot_after_bytes = 1;
    slot.start({});
    uint64_t sequence = 0;
    for (int round = 0; round < 10; ++round) {
        for (int i = 0; i < 20; ++i) slot.commit_epoch(++sequence);
        CHECK(slot.store->snapshot_due());
        REQUIRE(slot.store->snapshot().ok());
        CHECK_FALSE(slot.store->snapshot_due());
        CHECK(slot.store->stats().segments == 1);
        CHECK(read_back(*slot.directory, slot.load(), slot.last).value() == slot.committed);
    }
    CHECK(slot.disk.files().size() == 4);  // CURRENT, one segment, two shards' snapshots.
    slot.store.reset();
    slot.start(slot.last);
    CHECK(read_back(*slot.directory, slot.load(), slot.last).value() == slot.committed);
}

TEST_CASE("slot store: a closed segment never holds an undecided epoch") {
    Slot slot;
    slot.options.segment_bytes = 1;  // Every epoch fills its segment.
    slot.options.snapshot_after_bytes = 1;
    slot.start({});
    for (uint64_t i = 1; i <= 3; ++i) slot.commit_epoch(i);
    slot.prepare_epoch(4);
    REQUIRE(slot.store->snapshot().ok());
    const SlotImage image = slot.load();
    CHECK(image.snapshots.front().id == id(3));
    CHECK(read_back(*slot.directory, image, id(3)).value() == slot.committed);
}

TEST_CASE("slot store: a cut at a segment's boundary and a missing segment are seen") {
    Slot slot;
    slot.options.segment_bytes = 1;
    slot.start({});
    for (uint64_t i = 1; i <= 5; ++i) slot.commit_epoch(i);
    slot.store.reset();
    const SlotImage image = slot.load();
    const SegmentImage& middle = image.segments[2];
    const std::string name = segment_name(middle.ref.number);
    const std::string bytes = slot.disk.bytes(name);
    slot.disk.bytes(name).resize(72);  // Its only epoch is gone without a trace in it.
    CHECK(slot.load().end == WalEnd::kCorrupt);
    slot.disk.bytes(name) = bytes;
    REQUIRE(slot.directory->remove(name).ok());
    CHECK(load_slot(*slot.directory).error().code == Code::kCorrupt);
}

// Goal: over several segments, snapshots and CURRENT, no flipped bit leads to another state than the model's.
TEST_CASE("slot store: every flipped bit of a whole slot is detected or changes nothing") {
    Slot slot;
    slot.options.segment_bytes = 600;
    slot.options.grow_bytes = 64;
    slot.start({});
    for (uint64_t i = 1; i <= 6; ++i) slot.commit_epoch(i);
    REQUIRE(slot.store->reserve().ok());
    REQUIRE(slot.store->snapshot().ok());
    for (uint64_t i = 7; i <= 12; ++i) slot.commit_epoch(i);
    slot.store.reset();
    for (const std::string& name : slot.disk.files()) {
        std::string& bytes = slot.disk.bytes(name);
        const bool last = name == slot.newest_segment();
        for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
            const auto mask = static_cast<char>(1 << (bit % 8));
            bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ mask);
            const auto image = load_slot(*slot.directory);
            if (image.ok() && image->end != WalEnd::kCorrupt && image->epochs_upto(id(12)).ok()) {
                const auto contents = read_back(*slot.directory, *image, id(12));
                if (contents.ok()) {
                    // Kafka's commit is still there: it is the whole state or nothing.
                    REQUIRE(*contents == slot.committed);
                    REQUIRE(last);  // Only behind the last epoch.
                    REQUIRE(image->end == WalEnd::kTorn);
                }
            } else if (image.ok() && image->end == WalEnd::kTorn) {
                REQUIRE(last);
                REQUIRE(image->epochs.back().id == id(11));
            }
            bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ mask);
        }
    }
}

TEST_CASE("slot store: a full disk stops epochs before they begin, snapshots retry, and both go on") {
    Slot slot;
    slot.options.segment_bytes = 1;
    slot.start({});
    for (uint64_t i = 1; i <= 4; ++i) slot.commit_epoch(i);
    slot.disk.set_capacity(1);
    CHECK(slot.store->reserve().error().code == Code::kNoSpace);
    CHECK(slot.store->snapshot().error().code == Code::kNoSpace);
    CHECK(slot.store->stats().snapshot_failures == 1);
    CHECK_FALSE(slot.store->stats().snapshot_error.empty());
    slot.disk.set_capacity(UINT64_MAX);
    for (uint64_t i = 5; i <= 8; ++i) slot.commit_epoch(i);
    CHECK(slot.store->snapshot().ok());
    CHECK(slot.store->stats().snapshot_error.empty());
    CHECK(read_back(*slot.directory, slot.load(), id(8)).value() == slot.committed);
}

// Goal: two slots share a disk that could not hold their logs up to the first snapshot that is due by size.
// An early snapshot needs a closed segment, and at first there is none.
TEST_CASE("slot store: a disk that is small for the log gets its snapshots earlier, and all go on") {
    sim::SimDisk disk;
    disk.set_capacity(64'000);
    const auto root = disk.root();
    ManualClock clock;
    SlotOptions options;
    options.segment_bytes = 32'000;
    options.snapshot_after_bytes = 64'000;
    options.grow_bytes = 1'024;
    struct Small {
        std::unique_ptr<Directory> directory;
        std::unique_ptr<SlotStore> store;
        std::mt19937_64 random{1};
        CommitId last;
        Contents committed;
    };
    Small slots[2];
    for (int i = 0; i < 2; ++i) {
        Small& slot = slots[i];
        slot.directory = root->subdirectory("slot-" + std::to_string(i), true).value();
        slot.store =
            SlotStore::start(*slot.directory, load_slot(*slot.directory).value(), {}, options, clock).value();
    }
    for (uint64_t sequence = 1; sequence <= 1'000; ++sequence) {
        CAPTURE(sequence);
        for (Small& slot : slots) {
            TestEpoch epoch = make_epoch(id(sequence), slot.last, {0, 1}, slot.random);
            REQUIRE(commit(*slot.store, epoch).ok());
            apply_epoch(epoch, slot.committed);
            slot.last = id(sequence);
            // As the background thread does, a little later than it could.
            if (sequence % 4 == 0 && slot.store->snapshot_due()) REQUIRE(slot.store->snapshot().ok());
        }
    }
    for (Small& slot : slots) {
        CHECK(slot.store->stats().snapshots > 3);
        slot.store.reset();
        CHECK(read_back(*slot.directory, load_slot(*slot.directory).value(), slot.last).value() ==
              slot.committed);
    }
}

TEST_CASE("slot store: the background thread makes snapshots while the worker goes on") {
    Slot slot;
    SnapshotThread snapshotter;
    slot.options.segment_bytes = 2000;
    slot.options.snapshot_after_bytes = 1;
    slot.options.snapshotter = &snapshotter;
    slot.start({});
    uint64_t sequence = 0;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (slot.store->stats().snapshots < 3 && std::chrono::steady_clock::now() < deadline)
        slot.commit_epoch(++sequence);
    CHECK(slot.store->stats().snapshots >= 3);
    slot.store.reset();
    CHECK(read_back(*slot.directory, slot.load(), slot.last).value() == slot.committed);
}
