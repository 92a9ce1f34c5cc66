// A row store and the changes that it does not hold yet: those of the open epoch and, while a shard is
// restored, those of the log. find() sees both. An epoch's changes go into the store when it is known to be
// committed; a crash before that finds them in the log.
//
//   rows = StoredRows(store, base)
//   per epoch of the log that counts: rows.begin_epoch(id)  rows.put() / erase() …;  rows.end_replay()
//   rows.apply(last)              once that part of the log is safe on disk (SlotStore::start)
//   loop:  …put, erase, find…     the epoch is committed     rows.apply(id)
//
// Memory:  the changes since the last apply().
// Thread:  the worker that owns the shard.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "state/row_store.h"
#include "state/slot_store.h"

namespace weir::state {

class StoredRows {
public:
    // `base`: the commit of the shard's snapshot, after which its log begins; empty: before the first.
    StoredRows(std::unique_ptr<RowStore> store, const CommitId& base);

    // The changes that follow are this epoch's: they count unless the store holds them.
    void begin_epoch(const CommitId& epoch);
    // kMismatch: what the store holds is neither `base` nor one of the epochs since; it cannot be completed.
    [[nodiscard]] Result<void> end_replay();

    void replay(const StateOp& op) {
        change(op.key, op.kind == StateOp::Kind::kPut ? std::optional(op.value) : std::nullopt);
    }
    void put(std::string_view key, std::string_view value) { change(key, value); }
    void erase(std::string_view key) { change(key, std::nullopt); }
    // The view lasts until the next call.
    [[nodiscard]] Result<std::optional<std::string_view>> find(std::string_view key);

    // Everything until now belongs to committed epochs, `id` is the last of them. After kNoSpace again.
    [[nodiscard]] Result<void> apply(const CommitId& id);

    [[nodiscard]] RowStore& store() { return *store_; }
    [[nodiscard]] uint64_t rows() const { return store_->rows(); }  // An estimate.
    // In memory, without the changes that the store does not hold yet: those are the open epoch's.
    [[nodiscard]] uint64_t bytes() const { return store_->memory_bytes(); }

private:
    void change(std::string_view key, std::optional<std::string_view> value);

    std::unique_ptr<RowStore> store_;
    const CommitId base_;
    bool lacks_ = false;   // Of the epoch in replay, and …
    bool behind_ = false;  // … of the next one: the store has nothing.
    std::map<std::string, std::optional<std::string>, std::less<>> changes_;  // nullopt: erased.
    std::string found_;
    std::vector<StateOp> batch_;
};

// Brings the stores of a slot's shards to `upto` and writes them out, so that its log is needed for them no
// more. The log's tail must be safe on disk.
[[nodiscard]] Result<void> fill_row_stores(Directory& slot, const SlotImage& image, const CommitId& upto,
                                           std::span<const ShardId> shards,
                                           std::span<const StoredTable> tables, RowStores& stores);

}  // namespace weir::state
