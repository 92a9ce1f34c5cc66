// The rows of one table of a shard: the latest record of every key, as far as lookups use it.
//
// Memory:  a row is one piece of a slab: its key and the columns that lookups use, encoded as stored values;
//          a flat hash table finds it. A row that grows is written anew; once more than half of the slab is
//          left behind by such rows and by deleted ones, the live rows move to a new one. So there is no heap
//          object per row, and an update costs amortised one copy.
// Stored:  in the shard's state, table TablePlan::state_table
//            record key → format(u8) value
//          The value is stored as it came, not its columns: another step may use others after a restart.
//          Global tables are not stored.
// Views:   what find() gives points into the slab until the table's next change.
// Thread:  the worker that owns the shard.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "processor/arena.h"
#include "processor/decode.h"
#include "processor/graph.h"
#include "processor/slab.h"
#include "state/delta.h"

namespace weir::processor {

class Table {
public:
    Table(const Graph& graph, TableId id);

    // `columns` are those of the table's source, of which `row` is this record's. A null value deletes.
    void store(std::string_view key, MaybeBytes value, std::span<const Column> columns, uint32_t row);
    // The row's columns in the order of TablePlan::columns, encoded (stored_value.h); nullopt: there is none.
    [[nodiscard]] std::optional<std::string_view> find(std::string_view key) const;

    [[nodiscard]] size_t rows() const { return rows_; }
    [[nodiscard]] size_t bytes() const;

    // Changes since the last write_changes(), in bytes.
    [[nodiscard]] size_t changed_bytes() const { return changes_.size(); }
    void write_changes(state::DeltaWriter& out);
    [[nodiscard]] Result<void> restore(std::string_view key, std::string_view stored);
    void restore_erased(std::string_view key) { erase(key); }

private:
    struct Row {
        uint32_t key_length;
        uint32_t length;    // Of the columns …
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
    void encode(std::string_view key, std::string_view value, std::span<const Column> columns, uint32_t row);
    void put(std::string_view key, std::string_view content);
    void erase(std::string_view key);
    [[nodiscard]] static uint64_t hash_of(std::string_view key);
    [[nodiscard]] size_t slot_of(std::string_view key, uint64_t hash) const;
    [[nodiscard]] Row* make_row(std::string_view key, std::string_view encoded);
    void grow();
    void compact();

    const TablePlan& plan_;
    std::vector<Slot> slots_;  // Open addressing, linear probing; a power of two, at most 5/8 full.
    size_t rows_ = 0;
    Slab slab_;
    size_t used_bytes_ = 0;   // Of the slab …
    size_t stale_bytes_ = 0;  // … and how many of them are no row's any more.
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
