// What a dedupe or throttle on disk remembers of the records that passed: as much as the disk takes.
//
// Event time is cut into panes, none shorter than limit_ms. The times at which records of a key passed in one
// pane are a row: so a record looks at two or three rows by their whole keys, most of which a store's filter
// knows not to be there, and what is too old goes pane by pane, however many keys that are.
//
// Stored:  in the stage's table T, key prefix(beginning of the pane, i64) group-key:
//            version(u8) {how far behind the beginning, then behind the one before (varint)}…
// Memory:  the rows that the open epoch looked at, and after it at most `cache_bytes` of them, else none.
// Thread:  the worker that owns the shard. Failure: what reading a store gives.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <absl/container/node_hash_map.h>

#include "base/result.h"
#include "base/time.h"
#include "processor/graph.h"
#include "processor/group_table.h"
#include "state/delta.h"
#include "state/stored_rows.h"

namespace weir::processor {

class StoredPasses {
public:
    // Both outlive it. `rows` must be complete before the first call.
    StoredPasses(const Stage& stage, state::StoredRows& rows, size_t cache_bytes);

    // Whether a record of the key passes at this time; then it is remembered.
    [[nodiscard]] Result<bool> take(std::string_view key, EventTime time);
    // Nothing that is twice limit_ms behind `now` is asked for any more.
    void forget(EventTime now);
    void write_changes(state::DeltaWriter& out);
    // Finds the panes that there are.
    [[nodiscard]] Result<void> restore();

    [[nodiscard]] uint64_t bytes() const { return bytes_ + panes_.size() * kPaneBytes; }

private:
    struct Row {
        std::string stored;  // As it is stored; empty: no record passed.
        bool dirty = false;
    };
    struct Hash {
        using is_transparent = void;
        size_t operator()(std::string_view key) const { return hash_group_key(key); }
    };
    using Rows = absl::node_hash_map<std::string, Row, Hash, std::equal_to<>>;
    struct Pane {
        bool stored = false;  // Some rows may be in the store alone.
        Rows rows;
        std::vector<Rows::value_type*> dirty;
        uint64_t bytes = 0;  // Of `rows`.
    };
    static constexpr uint64_t kPaneBytes = 160;
    static constexpr uint64_t kRowBytes = 112;  // With its place in the map, without its texts.

    [[nodiscard]] EventTime pane_of(EventTime time) const;
    [[nodiscard]] Result<Rows::value_type*> row_of(EventTime begin, Pane& pane, std::string_view key);
    // Adds those of the row that are too near to `time`.
    [[nodiscard]] Result<void> count(EventTime begin, const Row& row, EventTime time, int64_t& near);
    [[nodiscard]] Result<void> add(EventTime begin, Row& row, EventTime time);
    // Into times_.
    [[nodiscard]] Result<void> read(EventTime begin, const Row& row);

    const Stage& stage_;
    state::StoredRows& rows_;
    const size_t cache_bytes_;
    const int64_t pane_ms_;
    std::map<EventTime, Pane> panes_;  // By their beginnings.
    uint64_t bytes_ = 0;               // Of their rows.
    std::vector<EventTime> erased_;    // Panes, in the open epoch.
    EventTime now_ = kNoTime;

    std::vector<EventTime> times_;
    std::string stored_key_;
};

}  // namespace weir::processor
