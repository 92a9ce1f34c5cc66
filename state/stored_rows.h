// A row store and the changes that it does not hold yet: those of the open epoch and, while a shard is
// restored, those of the log. find() and scan() see both. An epoch's changes go into the store when it is
// known to be committed; a crash before that finds them in the log.
//
//   rows = StoredRows(store, tables, base)
//   per epoch of the log that counts: rows.begin_epoch(id)  rows.replay(…) …;  rows.end_replay()
//   rows.apply(last)              once that part of the log is safe on disk (SlotStore::start)
//   loop:  …put, erase, find…     the epoch is committed     rows.apply(id)
//
// Tables:  by their number among the operator's, from 0. A row's key in the store is u8(table + 1) key.
// Memory:  the changes since the last apply().
// Thread:  the worker that owns the shard.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "state/row_store.h"
#include "state/slot_store.h"

namespace weir::state {

class StoredRows {
    using Changes = std::map<std::string, std::optional<std::string>, std::less<>>;  // nullopt: erased.

public:
    // `tables` outlives it. `base`: the commit of the shard's snapshot, after which its log begins; empty:
    // before the first.
    StoredRows(std::unique_ptr<RowStore> store, const StoredTables& tables, const CommitId& base);

    // The changes that follow are this epoch's: they count unless the store holds them.
    void begin_epoch(const CommitId& epoch);
    // kMismatch: what the store holds is neither `base` nor one of the epochs since; it cannot be completed.
    [[nodiscard]] Result<void> end_replay();

    // `op` names its table as the shard's state does.
    void replay(const StateOp& op);
    void put(uint32_t table, std::string_view key, std::string_view value) { change(table, key, value); }
    void erase(uint32_t table, std::string_view key) { change(table, key, std::nullopt); }
    // All rows whose keys begin with it.
    void erase_prefix(uint32_t table, std::string_view prefix);

    // The view lasts until the next call.
    [[nodiscard]] Result<std::optional<std::string_view>> find(uint32_t table, std::string_view key);

    // Rows in the order of their keys. Valid until the rows change; several may be open at once.
    class Cursor {
    public:
        // The first call goes to the first row; false: there is no further one.
        [[nodiscard]] Result<bool> next();
        [[nodiscard]] std::string_view key() const { return key_; }
        [[nodiscard]] std::string_view value() const { return value_; }

    private:
        friend class StoredRows;
        Cursor(const StoredRows& rows, std::string prefix, std::string from);
        [[nodiscard]] Result<void> skip_erased();

        const StoredRows* rows_;
        std::string prefix_;
        std::string from_;
        std::unique_ptr<RowCursor> stored_;
        bool started_ = false;
        bool in_store_ = false;    // stored_ is at a row that was not given …
        bool given_store_ = false;  // … or at the one that was.
        Changes::const_iterator changed_;
        std::string_view key_;
        std::string_view value_;
    };
    // Those of the table whose keys begin with `prefix`, from the key `from` on.
    [[nodiscard]] Cursor scan(uint32_t table, std::string_view prefix, std::string_view from = {}) const;

    // Everything until now belongs to committed epochs, `id` is the last of them. After kNoSpace again.
    [[nodiscard]] Result<void> apply(const CommitId& id);
    // What the next apply() will write, about.
    [[nodiscard]] size_t changed_bytes() const { return changed_bytes_; }

    [[nodiscard]] const StoredTables& tables() const { return tables_; }
    [[nodiscard]] RowStore& store() { return *store_; }
    [[nodiscard]] uint64_t rows() const { return store_->rows(); }  // An estimate.
    // In memory, without the changes that the store does not hold yet: those are the open epoch's.
    [[nodiscard]] uint64_t bytes() const { return store_->memory_bytes(); }

private:
    void change(uint32_t table, std::string_view key, std::optional<std::string_view> value);
    // The erased prefix that a stored row's key begins with; null: there is none.
    [[nodiscard]] const std::string* erased_prefix_of(std::string_view key) const;

    std::unique_ptr<RowStore> store_;
    const StoredTables& tables_;
    const CommitId base_;
    bool lacks_ = false;   // Of the epoch in replay, and …
    bool behind_ = false;  // … of the next one: the store has nothing.
    Changes changes_;
    size_t changed_bytes_ = 0;
    std::set<std::string, std::less<>> erased_;  // Prefixes, none of which begins with another one, of what
                                                 // was erased before `changes_`.
    std::string key_;
    std::string found_;
    std::vector<StateOp> batch_;
};

// Brings the stores of a slot's shards to `upto` and writes them out, so that its log is needed for them no
// more. The log's tail must be safe on disk.
[[nodiscard]] Result<void> fill_row_stores(Directory& slot, const SlotImage& image, const CommitId& upto,
                                           std::span<const ShardId> shards,
                                           std::span<const StoredTables> tables, RowStores& stores);

}  // namespace weir::state
