// The rows of one table of a shard: the latest record of every key, as far as lookups use it; with history
// (TablePlan::history_ms) also the records before it, by event time.
//
// Memory:  a row is one piece of a slab: its key and the columns that lookups use, encoded as stored values;
//          a flat hash table finds it. A row that grows is written anew; once more than half of the slab is
//          left behind by such rows and by deleted ones, the live rows move to a new one. So there is no heap
//          object per row, and an update costs amortised one copy.
// History: the versions of a row stand in it one after the other, the newest first. Kept are those from the
//          bound on, which is `history_ms` behind the table's newest event time, and the one that held at the
//          bound. The others go when their row changes, or when the sweep comes by that goes with every
//          change; so a change costs a copy of its row's versions. On disk they go with the sweep, which
//          comes once per epoch.
// Stored:  in the shard's state, table TablePlan::state_table; without history, and with it in memory and on
//          disk:
//            record key                              → format(u8) value
//            record key (bytes) prefix(event time)   → format(u8) deleted(u8) value
//            record key (bytes) prefix(~ event time) → format(u8) deleted(u8) value
//            (empty)                                 → format(u8) newest(i64) where the sweep goes on
//          The value is stored as it came, not its columns: another step may use others after a restart.
//          Global tables are in no state.
// On disk: with TablePlan::on_disk rows are in a row store, as they are stored; a lookup decodes the row that
//          it finds. The log has the same changes either way, but for those of global tables; snapshots have
//          none.
// Views:   what find() gives points into the slab until the table's next change.
// Thread:  the worker that owns the shard.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "processor/arena.h"
#include "processor/decode.h"
#include "processor/graph.h"
#include "processor/slab.h"
#include "state/delta.h"
#include "state/stored_rows.h"

namespace weir::processor {

class Table {
public:
    Table(const Graph& graph, TableId id);

    // `columns` are those of the table's source, of which `row` is this record's. A null value deletes.
    void store(std::string_view key, MaybeBytes value, std::span<const Column> columns, uint32_t row);
    // With history, from `time` on.
    [[nodiscard]] Result<void> store_version(std::string_view key, MaybeBytes value, EventTime time,
                                             std::span<const Column> columns, uint32_t row);
    // The same of a stream's result: `value` is read as a record's. Why it is not readable; empty: it is.
    [[nodiscard]] std::string_view store(std::string_view key, MaybeBytes value);
    // The row's columns in the order of TablePlan::columns, encoded (stored_value.h); nullopt: there is none.
    // With history: of the version with the largest event time.
    [[nodiscard]] std::optional<std::string_view> find(std::string_view key) const;
    // The version that held at `time`; before the bound only if it held at the bound, too. Needs history.
    [[nodiscard]] std::optional<std::string_view> find(std::string_view key, EventTime time) const;

    // On disk: before anything else. `rows` outlives the table.
    void open(state::StoredRows& rows) { stored_ = &rows; }
    // Null: the rows are in memory.
    [[nodiscard]] state::StoredRows* stored() { return stored_; }
    // As find(), of a table on disk; the columns live in the arena.
    [[nodiscard]] Result<std::optional<std::string_view>> find_stored(std::string_view key, Arena& arena);
    [[nodiscard]] Result<std::optional<std::string_view>> find_stored(std::string_view key, EventTime time,
                                                                      Arena& arena);
    // On disk, before the epoch's changes are written: erases versions that nobody asks for any more.
    [[nodiscard]] Result<void> sweep_stored();
    // Whether there is a row, wherever rows are; without a history.
    [[nodiscard]] Result<bool> has(std::string_view key);

    [[nodiscard]] size_t rows() const { return stored_ ? stored_->rows() : rows_; }
    [[nodiscard]] size_t bytes() const;

    // Changes since the last write_changes(), in bytes.
    [[nodiscard]] size_t changed_bytes() const {
        return plan_.global && stored_ ? stored_->changed_bytes() : changes_.size();
    }
    void write_changes(state::DeltaWriter& out);
    [[nodiscard]] Result<void> restore(std::string_view key, std::string_view stored);
    void restore_erased(std::string_view key);
    // On disk instead: when all rows are in the store.
    [[nodiscard]] Result<void> restore_stored();

private:
    struct Row {
        uint32_t key_length;
        uint32_t length;    // Of the columns, or the versions …
        uint32_t capacity;  // … and how long they may become in place.

        [[nodiscard]] char* key() { return reinterpret_cast<char*>(this + 1); }
        [[nodiscard]] std::string_view key() const {
            return {reinterpret_cast<const char*>(this + 1), key_length};
        }
        [[nodiscard]] std::string_view content() const {
            return {reinterpret_cast<const char*>(this + 1) + key_length, length};
        }
        [[nodiscard]] size_t bytes() const { return sizeof(Row) + key_length + capacity; }
    };
    struct Slot {
        uint64_t hash = 0;
        Row* row = nullptr;
    };
    // table_history.cc
    struct Version {
        EventTime time;
        bool deleted;
        std::string_view columns;
    };
    // Asked of a row's versions, the newest first: is it still asked for?
    struct Kept {
        EventTime bound;
        bool covered = false;  // A newer version holds at the bound.

        bool keeps(EventTime time, bool deleted) {
            const bool holds = time <= bound;
            // What says that there is no row says nothing once nothing older is kept.
            const bool goes = covered || (deleted && holds);
            covered = covered || holds;
            return !goes;
        }
    };
    // The next of a row's versions; false at the end.
    static bool next(std::string_view& versions, Version& version);
    static void append(const Version& version, std::string& out);
    [[nodiscard]] EventTime bound() const;
    void set_stored_key(std::string_view key, EventTime time);
    [[nodiscard]] std::string_view row_of_stored_key() const;  // What all its versions' keys begin with.
    void put_stored_version(std::string_view key, MaybeBytes value, EventTime time);
    // Into `versions_`: those of the row, and one more.
    void add_version(std::string_view key, const Version& added);
    void replace(std::string_view key, std::string_view versions);
    // Leaves in `kept_` what of the row is still asked for, and erases the rest from the state.
    void prune(std::string_view key, std::string_view versions);
    void sweep();
    // table_history_stored.cc
    [[nodiscard]] Result<void> put_version(std::string_view key, MaybeBytes value, EventTime time);
    [[nodiscard]] Result<bool> prune_stored(std::string_view key, EventTime time);

    // In the log and on disk, wherever the table is.
    void put_stored(std::string_view key, std::string_view value);
    void erase_stored(std::string_view key);
    // Into row 0 of `restored_`; false: not readable, errors_ says why.
    [[nodiscard]] bool decode(MaybeBytes value);
    void encode(std::string_view key, std::string_view value, std::span<const Column> columns, uint32_t row);
    // The same of a value that was stored as it came.
    [[nodiscard]] Result<void> encode_stored(std::string_view key, MaybeBytes value);
    [[nodiscard]] Error other_format() const;
    void put(std::string_view key, std::string_view content);
    void erase(std::string_view key);
    [[nodiscard]] static uint64_t hash_of(std::string_view key);
    [[nodiscard]] size_t slot_of(std::string_view key, uint64_t hash) const;
    [[nodiscard]] Row* make_row(std::string_view key, std::string_view encoded);
    void grow();
    void compact();

    const TablePlan& plan_;
    state::StoredRows* stored_ = nullptr;
    std::vector<Slot> slots_;  // Open addressing, linear probing; a power of two, at most 5/8 full.
    size_t rows_ = 0;
    Slab slab_;
    size_t used_bytes_ = 0;   // Of the slab …
    size_t stale_bytes_ = 0;  // … and how many of them are no row's any more.
    EventTime newest_ = kNoTime;  // With history …
    size_t swept_ = 0;            // … and the slot that the sweep looked at last.
    std::string versions_;  // Of one row; the sweep's key.
    std::string kept_;
    std::string stored_key_;
    std::string swept_row_;  // On disk: what the keys of the row begin with where the sweep goes on …
    size_t changed_versions_ = 0;  // … and what came since it was there.
    std::vector<std::string> erased_;
    std::string encoded_;
    std::string changes_;  // Encoded operations of the open epoch.

    // Stored values become columns as records do.
    Decoder decoder_;
    Arena arena_;
    std::vector<Column> restored_;
    std::vector<uint32_t> good_;
    std::vector<DecodeError> errors_;
};

}  // namespace weir::processor
