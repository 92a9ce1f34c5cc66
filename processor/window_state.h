// The state of one aggregate in one shard: open windows, each a flat hash table of groups. A group is one row
// in a slab: header, the cells of its aggregate calls (accumulator.h), the key's bytes. There is no heap
// object per record, and none per group but those of calls whose state has no fixed size.
//
// Stored form (tables T and T + 1 of the shard's state):
//   T      key "w"                     value version(u8) watermark(i64): where the stage stands
//   T      key start group-key         value version(u8) sequence(varint) cells
//   T + 1  key start length(varint) group-key call(varint) part-key           value of the part
//   start is an i64, big-endian, sign bit flipped; cells and parts are accumulator.h's.
// One epoch writes each group it touched once, whole, and the parts that changed; a closed window is one
// erase_prefix per table.
//
// Order:   groups are visited in the order of their first record, also after a restart.
// Thread:  the worker that owns the shard.
// Memory:  counted in bytes(); a closed window's slabs are freed at once.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "processor/accumulator.h"
#include "processor/graph.h"
#include "processor/slab.h"
#include "state/delta.h"

namespace weir::processor {

struct Group {
    uint64_t hash;
    uint32_t sequence;  // Rank by first record.
    uint32_t key_length;
    uint32_t cell_count;
    bool dirty;  // Changed since the last take_delta().

    [[nodiscard]] Accumulator* cells() { return reinterpret_cast<Accumulator*>(this + 1); }
    [[nodiscard]] std::string_view key() {
        return {reinterpret_cast<const char*>(cells() + cell_count), key_length};
    }
};
static_assert(sizeof(Group) % alignof(Accumulator) == 0);

[[nodiscard]] uint64_t hash_group_key(std::string_view key);

class Window {
public:
    Window(EventTime start, const Accumulators& accumulators) : start_(start), accumulators_(accumulators) {}
    Window(const Window&) = delete;
    Window& operator=(const Window&) = delete;

    [[nodiscard]] EventTime start() const { return start_; }
    // Finds the group or makes it.
    [[nodiscard]] Group& group(std::string_view key, uint64_t hash);
    // The caller is about to change the group.
    void touch(Group& group) {
        if (group.dirty) return;
        group.dirty = true;
        dirty_.push_back(&group);
    }
    // What the groups' cells point into.
    [[nodiscard]] AccumulatorStore& store() { return store_; }

    // In the order of their first records.
    [[nodiscard]] const std::vector<Group*>& groups();
    [[nodiscard]] size_t size() const { return groups_.size(); }
    [[nodiscard]] size_t bytes() const;

    [[nodiscard]] bool stored() const { return stored_; }
    void write_changes(uint32_t table, state::DeltaWriter& out);
    // False when the bytes are not what write_changes() writes.
    [[nodiscard]] bool restore_group(std::string_view key, std::string_view value);
    [[nodiscard]] bool restore_part(std::string_view key, std::string_view value);

private:
    struct Cell {
        uint64_t hash = 0;
        Group* group = nullptr;
    };

    void grow();

    const EventTime start_;
    const Accumulators& accumulators_;
    std::vector<Cell> cells_;  // Open addressing, linear probing; a power of two, at most 5/8 full.
    std::vector<Group*> groups_;
    std::vector<Group*> dirty_;
    Slab slab_;  // The groups.
    AccumulatorStore store_;
    uint32_t next_sequence_ = 0;
    bool sorted_ = true;
    bool stored_ = false;  // Something of it is in the stored state.
};

class WindowState {
public:
    explicit WindowState(const Stage& stage) : stage_(stage), accumulators_(stage.calls) {}

    [[nodiscard]] Accumulators& accumulators() { return accumulators_; }

    [[nodiscard]] EventTime start_of(EventTime time) const;
    [[nodiscard]] EventTime end_of(const Window& window) const {
        return window.start() + stage_.window.size_ms;
    }
    // The watermark at which the window closes.
    [[nodiscard]] EventTime closes_at(const Window& window) const {
        return end_of(window) + stage_.window.grace_ms;
    }

    [[nodiscard]] Window& window(EventTime start);
    // The open window that ends first; null: none is open.
    [[nodiscard]] Window* first();
    [[nodiscard]] const Window* first() const;
    void close(Window& window);

    [[nodiscard]] uint64_t open_windows() const { return windows_.size(); }
    [[nodiscard]] uint64_t groups() const;
    [[nodiscard]] uint64_t bytes() const;

    void write_changes(EventTime watermark, state::DeltaWriter& out);
    // `table` is one of the stage's two. Sets `watermark` when the row holds that.
    [[nodiscard]] Result<void> restore(uint32_t table, std::string_view key, std::string_view value,
                                       EventTime& watermark);
    void restore_erased(uint32_t table, std::string_view prefix);

private:
    const Stage& stage_;
    Accumulators accumulators_;
    std::map<EventTime, std::unique_ptr<Window>> windows_;  // By start.
    Window* latest_ = nullptr;                              // The one used last.
    std::vector<EventTime> closed_;                         // Stored windows closed in this epoch.
    EventTime stored_watermark_ = kNoTime;
};

}  // namespace weir::processor
