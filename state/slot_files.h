// What a slot's directory consists of, shared by reading (slot_image.cc), writing (slot_store.cc) and dealing
// anew (state_directory.cc). Not for other folders.
//
//   CURRENT := magic "weircurr" version(u32) crc32c(u32, over what follows) fields
//   fields  := uuid(16 bytes) snapshot_wall_ms(i64) sink_position(bytes)
//              snapshots(varint) {id(24 bytes) shard(u32) progress file(bytes) size(u64)}*
//              segments(varint) {number(u64) salt(u64)}*
#pragma once

#include <atomic>
#include <functional>
#include <span>
#include <string>

#include "base/result.h"
#include "state/slot_store.h"

namespace weir::state {

inline constexpr char kCurrentName[] = "CURRENT";

[[nodiscard]] std::string encode_current(const SlotCurrent& current);
[[nodiscard]] Result<SlotCurrent> decode_current(std::string_view bytes);
// Writes the new content under another name; then makes it the one that counts. A failed switch leaves
// either.
[[nodiscard]] Result<void> stage_current(Directory& directory, const SlotCurrent& current);
[[nodiscard]] Result<void> switch_current(Directory& directory);
[[nodiscard]] Result<void> write_current(Directory& directory, const SlotCurrent& current);  // Both.

// `covered`: the number of the last segment that went into it.
[[nodiscard]] std::string snapshot_name(uint64_t covered, ShardId shard);

// Removes what CURRENT does not name and no run can need any more. Failures only leave files behind.
void remove_unreferenced(Directory& directory, const SlotCurrent& current);

// Visits the first `limit` epochs of the segments in order. Every segment must end clean, but for the last
// one when `last_open` is set: that may be torn.
using EpochVisitor = std::function<Result<void>(const EpochRecord& epoch)>;
[[nodiscard]] Result<void> read_epochs(Directory& directory, std::span<const SegmentRef> segments,
                                       bool last_open, size_t limit, const EpochVisitor& visit);

// A shard's state as a snapshot plus the epochs after it.
struct ShardHistory {
    Directory* directory = nullptr;
    const SnapshotRef* snapshot = nullptr;  // Null: empty.
    std::span<const SegmentRef> segments;
    bool last_open = false;
    size_t epochs = 0;  // So many epochs of the segments count.
    ShardId shard = 0;
    std::span<const StoredTables> stored_tables;  // Left out.
};

// Writes it as one new snapshot. Memory is bounded by the shard's changes in the log, not by its state.
// `stop` (may be null) ends it early with an Error.
[[nodiscard]] Result<SnapshotRef> merge_shard(const ShardHistory& history, Directory& target,
                                              std::string name, const CommitId& id,
                                              const ShardProgress& progress, const std::atomic<bool>* stop);

}  // namespace weir::state
