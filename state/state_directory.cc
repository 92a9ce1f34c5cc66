#include "state/state_directory.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/entropy.h"
#include "state/slot_files.h"

namespace weir::state {
namespace {

constexpr char kManifestName[] = "MANIFEST";
constexpr uint64_t kManifestBytesMax = 16u << 20;
constexpr char kSlotPrefix[] = "slot-";

}  // namespace

std::string slot_directory_name(uint64_t layout, int32_t slot) {
    return fmt::format("{}{}-{}", kSlotPrefix, layout, slot);
}

Result<std::optional<Manifest>> read_manifest(Directory& root) {
    const auto bytes = read_file(root, kManifestName, kManifestBytesMax);
    if (!bytes.ok() && bytes.error().code == Code::kNotFound) return std::optional<Manifest>();
    if (!bytes.ok()) return bytes.error();
    WEIR_ASSIGN(Manifest manifest, decode_manifest(*bytes));
    return std::optional<Manifest>(std::move(manifest));
}

StateDirectory::StateDirectory(std::unique_ptr<Directory> root, std::unique_ptr<DirectoryLock> lock)
    : root_(std::move(root)), lock_(std::move(lock)) {}

Result<std::unique_ptr<StateDirectory>> StateDirectory::open(std::unique_ptr<Directory> root) {
    WEIR_ASSIGN(auto lock, root->lock("LOCK"));
    std::unique_ptr<StateDirectory> state(new StateDirectory(std::move(root), std::move(lock)));
    WEIR_ASSIGN(state->manifest_, read_manifest(*state->root_));
    // A predecessor may have died between the rename and the sync: what can be read now must still be there
    // after a power cut, before anything is written or removed because of it.
    if (state->manifest_) WEIR_TRY(state->root_->sync());
    WEIR_TRY(state->remove_other_layouts());
    if (state->manifest_) WEIR_TRY(state->open_slots());
    return state;
}

Result<void> StateDirectory::open_slots() {
    slots_.clear();
    for (int32_t i = 0; i < manifest_->slots; ++i) {
        WEIR_ASSIGN(auto slot, root_->subdirectory(slot_directory_name(manifest_->layout, i), false));
        slots_.push_back(std::move(slot));
    }
    return {};
}

Result<void> StateDirectory::remove_other_layouts() {
    WEIR_ASSIGN(const auto names, root_->list());
    for (const std::string& name : names) {
        if (!name.starts_with(kSlotPrefix)) continue;
        if (manifest_ && name.starts_with(fmt::format("{}{}-", kSlotPrefix, manifest_->layout))) continue;
        if (!manifest_) {
            // Slots without a MANIFEST are what an interrupted create() leaves, and those are empty.
            WEIR_ASSIGN(const auto slot, root_->subdirectory(name, false));
            WEIR_ASSIGN(const auto files, slot->list());
            if (!files.empty())
                return Error{Code::kCorrupt,
                             fmt::format("{} holds state but no MANIFEST; restore it from a copy, or "
                                         "remove the directory to start anew",
                                         root_->path())};
        }
        WEIR_TRY(root_->remove_subdirectory(name));
    }
    return {};
}

Result<void> StateDirectory::create(Manifest manifest) {
    WEIR_CHECK(!manifest_);
    manifest.layout = 1;
    for (int32_t i = 0; i < manifest.slots; ++i) {
        const auto slot = root_->subdirectory(slot_directory_name(manifest.layout, i), true);
        if (!slot.ok()) return slot.error();
    }
    WEIR_TRY(root_->sync());
    WEIR_TRY(replace_file(*root_, kManifestName, encode_manifest(manifest)));
    manifest_ = std::move(manifest);
    return open_slots();
}

Result<void> StateDirectory::relayout(Manifest manifest, std::span<const NewSlot> slots, int64_t wall_ms,
                                      std::span<const StoredTables> stored_tables) {
    WEIR_CHECK(manifest_ && !slots.empty());
    manifest.layout = manifest_->layout + 1;
    manifest.slots = static_cast<int32_t>(slots.size());
    for (size_t i = 0; i < slots.size(); ++i) {
        const std::string name = slot_directory_name(manifest.layout, static_cast<int32_t>(i));
        WEIR_ASSIGN(const auto target, root_->subdirectory(name, true));
        WEIR_TRY(write_slot(*target, slots[i], wall_ms, stored_tables));
    }
    WEIR_TRY(root_->sync());
    WEIR_TRY(replace_file(*root_, kManifestName, encode_manifest(manifest)));
    manifest_ = std::move(manifest);
    WEIR_TRY(open_slots());
    return remove_other_layouts();
}

Result<void> StateDirectory::write_slot(Directory& target, const NewSlot& slot, int64_t wall_ms,
                                        std::span<const StoredTables> stored_tables) {
    SlotCurrent current;
    current.uuid = {random_u64(), random_u64()};
    current.sink_position = slot.sink_position;
    current.snapshot_wall_ms = wall_ms;
    for (const ShardSource& source : slot.shards) {
        WEIR_ASSIGN(const size_t kept, source.image->epochs_upto(source.upto));
        const SnapshotRef* const old = source.image->snapshot(source.shard);
        const ShardProgress* const progress = source.image->progress(source.shard, kept);
        if (progress == nullptr) continue;  // Never committed: nothing to move.
        // With epochs kept the slot stands at the last of them; else every shard stands at its own snapshot.
        const CommitId id = kept > 0 ? source.upto : old->id;
        std::vector<SegmentRef> segments;
        for (const SegmentImage& segment : source.image->segments) segments.push_back(segment.ref);
        const ShardHistory history{&this->slot(source.old_slot), old, segments, true, kept, source.shard,
                                   stored_tables};
        WEIR_ASSIGN(SnapshotRef snapshot,
                    merge_shard(history, target, snapshot_name(0, source.shard), id, *progress, nullptr));
        current.snapshots.push_back(std::move(snapshot));
    }
    SegmentHeader header;
    header.uuid = current.uuid;
    header.number = 1;
    header.salt = random_u64();
    if (const auto segment = WalWriter::create(target, header); !segment.ok()) return segment.error();
    current.segments.push_back({header.number, header.salt});
    return write_current(target, current);
}

Directory& StateDirectory::slot(int32_t index) {
    WEIR_CHECK(index >= 0 && index < slot_count());
    return *slots_[static_cast<size_t>(index)];
}

}  // namespace weir::state
