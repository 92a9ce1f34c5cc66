// The state directory of a process: one process at a time, one MANIFEST, one directory per slot.
//
//   LOCK  MANIFEST  slot-<layout>-<slot>/{CURRENT, wal-<number>.seg, snap-<number>-<shard>.snap}
//   rocksdb/…  scratch/…             of row stores (rocksdb_stores.h)
//
//   dir = StateDirectory::open(…)          kFenced when another process uses it
//   if (!dir.manifest())                   first start: dir.create(now)
//   else compare_manifest(…); when the number of slots changed: load every slot, decide, then dir.relayout(…)
//   workers use dir.slot(0 … slots − 1)
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "state/file.h"
#include "state/manifest.h"
#include "state/slot_store.h"

namespace weir::state {

// Where a shard of a new slot comes from.
struct ShardSource {
    ShardId shard = 0;
    const SlotImage* image = nullptr;  // The old slot's.
    int32_t old_slot = 0;
    CommitId upto;  // The old slot's last epoch that counts.
};

struct NewSlot {
    std::vector<ShardSource> shards;  // Ascending; shards without any state are left out.
    std::string sink_position;
};

class StateDirectory {
public:
    // Locks, reads MANIFEST, and removes what an interrupted relayout() left behind.
    [[nodiscard]] static Result<std::unique_ptr<StateDirectory>> open(std::unique_ptr<Directory> root);

    // nullopt: nothing was ever stored here.
    [[nodiscard]] const std::optional<Manifest>& manifest() const { return manifest_; }

    // First start: empty slots, then MANIFEST. manifest.layout is set to 1.
    [[nodiscard]] Result<void> create(Manifest manifest);

    // Writes every shard's decided state into the slots of a new layout, then switches MANIFEST (layout + 1,
    // slots = size of `slots`) and removes the old slots. A crash inside leaves either layout whole.
    // `stored_tables`: what the row stores hold of the slots, up to the same epochs, is left out.
    [[nodiscard]] Result<void> relayout(Manifest manifest, std::span<const NewSlot> slots, int64_t wall_ms,
                                        std::span<const StoredTables> stored_tables = {});

    // For row stores.
    [[nodiscard]] Directory& root() { return *root_; }
    // The directory of a slot of the present layout; lives as long as this.
    [[nodiscard]] Directory& slot(int32_t index);
    [[nodiscard]] int32_t slot_count() const { return static_cast<int32_t>(slots_.size()); }

private:
    StateDirectory(std::unique_ptr<Directory> root, std::unique_ptr<DirectoryLock> lock);
    [[nodiscard]] Result<void> open_slots();
    [[nodiscard]] Result<void> remove_other_layouts();
    [[nodiscard]] Result<void> write_slot(Directory& target, const NewSlot& slot, int64_t wall_ms,
                                          std::span<const StoredTables> stored_tables);

    std::unique_ptr<Directory> root_;
    std::unique_ptr<DirectoryLock> lock_;
    std::optional<Manifest> manifest_;
    std::vector<std::unique_ptr<Directory>> slots_;
};

[[nodiscard]] std::string slot_directory_name(uint64_t layout, int32_t slot);
// Without taking the lock, for reading tools; nullopt: there is none.
[[nodiscard]] Result<std::optional<Manifest>> read_manifest(Directory& root);

}  // namespace weir::state
