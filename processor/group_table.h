// Groups of an aggregate: a group is one row in a slab, with header, the cells of its aggregate calls
// (accumulator.h) and the key's bytes; a table finds groups by key. There is no heap object per record, and
// none per group but those of calls whose state has no fixed size.
//
// Stored form of a group, whatever holds it (tables T and T + 1 of the shard's state):
//   T      key prefix group-key                                        value row
//   T + 1  key prefix length(varint) group-key call(varint) part-key   value of the part
//   prefix := i64, big-endian, sign bit flipped: which pane or span the group is in
//   row := version(u8) flags(u8; 1: changed since last shown) sequence(varint) records(varint) first(i64)
//          last(i64) cells; first and last only when the owner uses them (flag 2)
//
// Thread:  the worker that owns the shard.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "processor/accumulator.h"
#include "processor/slab.h"
#include "state/delta.h"

namespace weir::processor {

struct Group {
    uint64_t hash = 0;
    uint64_t sequence = 0;  // Rank by first record.
    uint32_t key_length = 0;
    uint32_t cell_count = 0;
    bool dirty = false;    // Changed since the last take_delta().
    bool changed = false;  // Changed since it was last shown; kept only for early results.
    int64_t records = 0;
    EventTime first = kNoTime;  // Of its records' event times, where the owner keeps them.
    EventTime last = kNoTime;

    [[nodiscard]] Accumulator* cells() { return reinterpret_cast<Accumulator*>(this + 1); }
    [[nodiscard]] std::string_view key() {
        return {reinterpret_cast<const char*>(cells() + cell_count), key_length};
    }

    [[nodiscard]] static size_t bytes(size_t cell_count, std::string_view key) {
        return sizeof(Group) + cell_count * sizeof(Accumulator) + key.size();
    }
    // Makes a group in memory of bytes() bytes.
    static Group& make(char* memory, std::string_view key, uint64_t hash, size_t cell_count);
};
static_assert(sizeof(Group) % alignof(Accumulator) == 0);

[[nodiscard]] uint64_t hash_group_key(std::string_view key);

inline constexpr size_t kPrefixBytes = 8;
void append_prefix(int64_t number, std::string& out);  // Sorts as the number does.
[[nodiscard]] int64_t read_prefix(std::string_view key);

// Writes a group that changed, and its changed parts.
void write_group(Group& group, int64_t prefix, const Accumulators& accumulators, AccumulatorStore& store,
                 uint32_t table, state::DeltaWriter& out);
// The same in two, for owners whose rows have other keys.
void append_row(Group& group, const Accumulators& accumulators, std::string& out);
void write_parts(Group& group, int64_t prefix, const Accumulators& accumulators, AccumulatorStore& store,
                 uint32_t table, state::DeltaWriter& out);
// `group` is new. False when the bytes are not what write_group() writes.
[[nodiscard]] bool read_group(std::string_view row, const Accumulators& accumulators, AccumulatorStore& store,
                              Group& group);
// How many records a row of write_group() counts; none: it is not readable.
[[nodiscard]] std::optional<int64_t> read_records(std::string_view row);
// Group key, call and key of a part; false when they are not what write_group() writes.
[[nodiscard]] bool split_part_key(std::string_view key, std::string_view& group_key, uint64_t& call,
                                  std::string_view& part_key);
// Erases one group's row and parts, by its key behind the prefix.
void erase_group(int64_t prefix, std::string_view key, const Accumulators& accumulators, uint32_t table,
                 state::DeltaWriter& out);
void erase_parts(int64_t prefix, std::string_view key, const Accumulators& accumulators, uint32_t table,
                 state::DeltaWriter& out);

// A flat hash table of groups that are freed together.
class GroupTable {
public:
    explicit GroupTable(const Accumulators& accumulators) : accumulators_(&accumulators) {}

    // Finds the group or makes it.
    [[nodiscard]] Group& group(std::string_view key, uint64_t hash);
    [[nodiscard]] Group* find(std::string_view key, uint64_t hash) const;
    // What the groups' cells point into.
    [[nodiscard]] AccumulatorStore& store() { return store_; }

    // In the order of their first records, also after a restart.
    [[nodiscard]] const std::vector<Group*>& groups();
    [[nodiscard]] const std::vector<Group*>& unordered_groups() const { return groups_; }
    [[nodiscard]] size_t size() const { return groups_.size(); }
    [[nodiscard]] size_t bytes() const;

    // The caller is about to change the group.
    void touch(Group& group) {
        if (group.dirty) return;
        group.dirty = true;
        dirty_.push_back(&group);
    }
    void write_changes(int64_t prefix, uint32_t table, state::DeltaWriter& out);
    // Null: not what write_changes() writes.
    [[nodiscard]] Group* restore(std::string_view key, std::string_view row);
    [[nodiscard]] bool restore_part(std::string_view key, std::string_view value);

private:
    struct Slot {
        uint64_t hash = 0;
        Group* group = nullptr;
    };

    void grow();

    const Accumulators* accumulators_;
    std::vector<Slot> slots_;  // Open addressing, linear probing; a power of two, at most 5/8 full.
    std::vector<Group*> groups_;
    std::vector<Group*> dirty_;
    Slab slab_;  // The groups.
    AccumulatorStore store_;
    uint64_t next_sequence_ = 0;
    bool sorted_ = true;
};

}  // namespace weir::processor
