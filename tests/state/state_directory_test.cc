#include <doctest/doctest.h>

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/time.h"
#include "state/state_directory.h"
#include "state/wal_tool.h"
#include "tests/state/fixture.h"

using namespace weir;
using namespace weir::state;

namespace {

class TemporaryDirectory {
public:
    TemporaryDirectory() {
        std::string pattern = (std::filesystem::temp_directory_path() / "weir-state-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        path = pattern;
    }
    ~TemporaryDirectory() { std::filesystem::remove_all(path); }
    std::string path;
};

Manifest manifest(int32_t slots) { return {"cluster", "orders", "hash", {{"orders", 8}}, 0, 1, slots, 1}; }

CommitId id(uint64_t sequence, uint64_t boot) { return {{boot, boot}, sequence}; }

// Deals eight shards to the slots, commits some epochs in each, and leaves a prepared one behind.
struct Dealt {
    Contents committed;
    std::vector<CommitId> kafka;
};

Dealt run_slots(StateDirectory& state, int32_t slots, uint64_t boot, std::mt19937_64& random,
                const std::vector<std::vector<CommitId>>& starts, Contents committed) {
    ManualClock clock;
    Dealt dealt{std::move(committed), {}};
    SlotOptions options;
    options.segment_bytes = 1500;
    options.grow_bytes = 4096;
    for (int32_t slot = 0; slot < slots; ++slot) {
        std::vector<ShardId> shards;
        for (ShardId shard = slot; shard < 8; shard += slots) shards.push_back(shard);
        const auto image = load_slot(state.slot(slot)).value();
        CommitId last = starts.empty() ? CommitId{} : starts[static_cast<size_t>(slot)].front();
        auto store = SlotStore::start(state.slot(slot), image, last, options, clock).value();
        const uint64_t slot_boot = boot + static_cast<uint64_t>(slot);
        for (uint64_t i = 1; i <= 25; ++i) {
            TestEpoch epoch = make_epoch(id(i, slot_boot), last, shards, random);
            if (i == 25) {  // Prepared only.
                REQUIRE(store->reserve().ok());
                REQUIRE(store->append(epoch.view()).ok());
                REQUIRE(store->sync().ok());
                break;
            }
            commit(*store, epoch).value();
            apply_epoch(epoch, dealt.committed);
            last = epoch.record.id;
            if (i % 10 == 0) REQUIRE(store->snapshot().ok());
        }
        dealt.kafka.push_back(last);
    }
    return dealt;
}

std::vector<std::vector<CommitId>> redeal(StateDirectory& state, int32_t old_slots, int32_t new_slots,
                                          const std::vector<CommitId>& kafka) {
    std::vector<SlotImage> images;
    for (int32_t slot = 0; slot < old_slots; ++slot) images.push_back(load_slot(state.slot(slot)).value());
    std::vector<NewSlot> slots(static_cast<size_t>(new_slots));
    std::vector<std::vector<CommitId>> ids(slots.size());
    for (ShardId shard = 0; shard < 8; ++shard) {
        const auto from = static_cast<size_t>(shard % old_slots);
        const auto to = static_cast<size_t>(shard % new_slots);
        slots[to].shards.push_back({shard, &images[from], static_cast<int32_t>(from), kafka[from]});
        slots[to].sink_position = "cut here";
        ids[to].push_back(kafka[from]);
    }
    state.relayout(manifest(new_slots), slots, 77).value();
    return ids;
}

Contents read_all(StateDirectory& state) {
    Contents all;
    for (int32_t slot = 0; slot < state.slot_count(); ++slot) {
        const auto image = load_slot(state.slot(slot)).value();
        const CommitId upto = image.epochs.empty() ? CommitId{} : image.epochs.back().id;
        all.merge(read_back(state.slot(slot), image, upto).value());
    }
    return all;
}

}  // namespace

TEST_CASE("state directory: one process at a time, files private") {
    const TemporaryDirectory temporary;
    const std::string path = temporary.path + "/state";
    auto state = StateDirectory::open(open_posix_directory(path, true).value()).value();
    CHECK_FALSE(state->manifest());
    REQUIRE(state->create(manifest(2)).ok());
    const auto second = StateDirectory::open(open_posix_directory(path, true).value());
    REQUIRE_FALSE(second.ok());
    CHECK(second.error().code == Code::kFenced);
    CHECK(second.error().message.find(path) != std::string::npos);
    struct stat status {};
    REQUIRE(::stat((path + "/MANIFEST").c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
    REQUIRE(::stat((path + "/slot-1-0").c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0700);
    state.reset();
    CHECK(StateDirectory::open(open_posix_directory(path, true).value()).value()->manifest()->slots == 2);
}

TEST_CASE("state directory: slots without their MANIFEST are not mistaken for a first start") {
    sim::SimDisk disk;
    std::mt19937_64 random(3);
    auto state = StateDirectory::open(disk.root()).value();
    REQUIRE(state->create(manifest(1)).ok());
    (void)run_slots(*state, 1, 100, random, {}, {});
    state.reset();
    REQUIRE(disk.root()->remove("MANIFEST").ok());
    CHECK(StateDirectory::open(disk.root()).error().code == Code::kCorrupt);
}

// Goal: nothing is built on a rename that the disk may still forget. Method: the process dies at each call of
// create(), the next one works on what it finds, and then the power fails.
TEST_CASE("state directory: a MANIFEST that was not synced is made safe before anything relies on it") {
    for (uint64_t n = 1; n < 12; ++n)
        for (uint64_t seed = 1; seed <= 16; ++seed) {
            CAPTURE(n);
            CAPTURE(seed);
            sim::SimDisk disk;
            std::mt19937_64 random(seed);
            auto state = StateDirectory::open(disk.root()).value();
            disk.stop_at(n);
            (void)state->create(manifest(1));
            state.reset();
            disk.kill();
            state = StateDirectory::open(disk.root()).value();
            if (!state->manifest()) REQUIRE(state->create(manifest(1)).ok());
            const Dealt dealt = run_slots(*state, 1, 100, random, {}, {});
            state.reset();
            disk.cut_power(random);
            state = StateDirectory::open(disk.root()).value();
            REQUIRE(state->manifest());
            const auto image = load_slot(state->slot(0)).value();
            REQUIRE(read_back(state->slot(0), image, dealt.kafka[0]).value() == dealt.committed);
        }
}

TEST_CASE("state directory: dealing the shards to another number of slots keeps every shard's state") {
    for (const int32_t new_slots : {1, 2, 5}) {
        CAPTURE(new_slots);
        const TemporaryDirectory temporary;
        std::mt19937_64 random(9);
        auto state = StateDirectory::open(open_posix_directory(temporary.path, true).value()).value();
        REQUIRE(state->create(manifest(3)).ok());
        Dealt dealt = run_slots(*state, 3, 100, random, {}, {});
        const auto starts = redeal(*state, 3, new_slots, dealt.kafka);
        CHECK(state->slot_count() == new_slots);
        CHECK(read_all(*state) == dealt.committed);
        // The new slots work on, and every shard still knows its own last commit.
        const auto image = load_slot(state->slot(0)).value();
        for (size_t i = 0; i < image.snapshots.size(); ++i) CHECK(image.snapshots[i].id == starts[0][i]);
        CHECK(image.sink_position(0) == "cut here");
        dealt = run_slots(*state, new_slots, 200, random, starts, dealt.committed);
        state.reset();
        state = StateDirectory::open(open_posix_directory(temporary.path, true).value()).value();
        CHECK(state->manifest()->layout == 2);
        (void)redeal(*state, new_slots, 4, dealt.kafka);
        CHECK(read_all(*state) == dealt.committed);
    }
}

// Method: stop the machine at every call of the re-dealing; the old or the new layout must be whole.
TEST_CASE("state directory: a crash while dealing leaves either layout whole") {
    for (uint64_t n = 1; n < 400; ++n) {
        CAPTURE(n);
        sim::SimDisk disk;
        std::mt19937_64 random(n);
        auto state = StateDirectory::open(disk.root()).value();
        REQUIRE(state->create(manifest(2)).ok());
        const Dealt dealt = run_slots(*state, 2, 100, random, {}, {});
        std::vector<SlotImage> images;
        for (int32_t slot = 0; slot < 2; ++slot) images.push_back(load_slot(state->slot(slot)).value());
        std::vector<NewSlot> slots(3);
        for (ShardId shard = 0; shard < 8; ++shard)
            slots[static_cast<size_t>(shard % 3)].shards.push_back(
                {shard, &images[static_cast<size_t>(shard % 2)], shard % 2,
                 dealt.kafka[static_cast<size_t>(shard % 2)]});
        disk.stop_at(n);
        const bool finished = state->relayout(manifest(3), slots, 0).ok();
        state.reset();
        disk.cut_power(random);
        state = StateDirectory::open(disk.root()).value();
        REQUIRE(state->manifest());
        if (finished) REQUIRE(state->slot_count() == 3);
        if (state->slot_count() == 3) {
            REQUIRE(read_all(*state) == dealt.committed);
        } else {
            Contents all;
            for (int32_t slot = 0; slot < 2; ++slot) {
                const auto image = load_slot(state->slot(slot)).value();
                all.merge(
                    read_back(state->slot(slot), image, dealt.kafka[static_cast<size_t>(slot)]).value());
            }
            REQUIRE(all == dealt.committed);
        }
        if (finished) break;
        REQUIRE(n < 399);
    }
}

TEST_CASE(
    "wal tool: inspect, dump and verify tell clean, torn and corrupt apart; repair cuts only a torn tail") {
    sim::SimDisk disk;
    std::mt19937_64 random(4);
    auto state = StateDirectory::open(disk.root()).value();
    REQUIRE(state->create(manifest(1)).ok());
    const Dealt dealt = run_slots(*state, 1, 100, random, {}, {});
    const SlotImage image = load_slot(state->slot(0)).value();
    std::string text;
    CHECK(wal_repair(*disk.root(), text).error().code == Code::kFenced);
    state.reset();
    const auto root = disk.root();
    REQUIRE(wal_inspect(*root, text).ok());
    CHECK(text.find(to_string(dealt.kafka[0])) != std::string::npos);
    REQUIRE(wal_dump(*root, 16, text).ok());
    CHECK(text.find("put table") != std::string::npos);
    CHECK(wal_verify(*root, text).value() == WalEnd::kClean);

    const std::string segment = "slot-1-0/" + segment_name(image.segments.back().ref.number);
    const uint64_t end = image.segments.back().valid_bytes;
    disk.bytes(segment)[end - 20] ^= 1;
    CHECK(wal_verify(*root, text).value() == WalEnd::kTorn);
    const std::string torn = disk.bytes(segment);
    REQUIRE(wal_repair(*root, text).ok());
    CHECK(disk.bytes(segment + ".before-repair") == torn);
    CHECK(wal_verify(*root, text).value() == WalEnd::kClean);
    REQUIRE(image.segments.size() > 1);
    const std::string closed = "slot-1-0/" + segment_name(image.segments.front().ref.number);
    disk.bytes(closed)[90] ^= 1;
    CHECK(wal_verify(*root, text).value() == WalEnd::kCorrupt);
    const uint64_t calls = disk.changing_calls();
    CHECK(wal_repair(*root, text).error().code == Code::kCorrupt);
    CHECK(disk.changing_calls() == calls);
}
