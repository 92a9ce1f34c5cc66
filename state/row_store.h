// Rows of a shard's state on disk, beside the log: for tables and operators that are larger than memory. The
// log stays the only truth. A store is what the committed epochs up to applied() made of its rows; what it
// lacks comes from the log again, so the log keeps an epoch until the store has flushed it (slot_store.h).
//
// Keys:       ordered as unsigned bytes, never empty.
// Durability: apply() promises nothing. After a crash a store is as one of its apply() calls left it: the
//             latest one before the latest flush(), or a later one.
// Thread:     a store belongs to its shard's worker; flush() may come from one other thread meanwhile.
// Failure:    kNoSpace: the disk is full and nothing of the call counts; kCorrupt: damage, with what to do;
//             kIo. After kIo and kCorrupt the store is finished.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "state/delta.h"

namespace weir::state {

// Tables of the shards' state whose rows are in stores, one store per shard: snapshots have nothing of them.
struct StoredTables {
    uint32_t first = 0;
    uint32_t count = 1;
    std::string name;  // Of the operator whose they are.

    [[nodiscard]] bool has(uint32_t table) const { return table >= first && table - first < count; }
};

// Goes over rows in the order of their keys, as they were when it was made. It ends before its store.
class RowCursor {
public:
    virtual ~RowCursor() = default;
    // To the first row whose key is `key` or greater; false: there is none.
    [[nodiscard]] virtual Result<bool> seek(std::string_view key) = 0;
    [[nodiscard]] virtual Result<bool> next() = 0;
    // Of a row that was found; they live until the next call.
    [[nodiscard]] virtual std::string_view key() const = 0;
    [[nodiscard]] virtual std::string_view value() const = 0;
};

class RowStore {
public:
    virtual ~RowStore() = default;

    // The epoch whose changes it took last; empty: none yet.
    [[nodiscard]] virtual const CommitId& applied() const = 0;
    // False: there is no such row.
    [[nodiscard]] virtual Result<bool> find(std::string_view key, std::string& value) = 0;
    // Over the rows whose keys begin with `prefix`.
    [[nodiscard]] virtual std::unique_ptr<RowCursor> cursor(std::string_view prefix) = 0;
    // Changes in the order in which they happen, of the epochs up to `id`: all of them, or nothing. Their
    // keys say which table they are of (StoredRows), not the operations.
    [[nodiscard]] virtual Result<void> apply(std::span<const StateOp> changes, const CommitId& id) = 0;
    // What was applied before the call survives power loss after it.
    [[nodiscard]] virtual Result<void> flush() = 0;

    [[nodiscard]] virtual uint64_t rows() const = 0;          // An estimate.
    [[nodiscard]] virtual uint64_t memory_bytes() const = 0;  // That belong to this store alone.
    [[nodiscard]] virtual std::string name() const = 0;       // For messages: operator, shard, folder.
};

// Where the stores of a pipeline are. Thread: any.
class RowStores {
public:
    virtual ~RowStores() = default;
    // Opens that of an operator, or makes an empty one. kMismatch: it belongs to something else.
    [[nodiscard]] virtual Result<std::unique_ptr<RowStore>> open(const std::string& name, ShardId shard) = 0;
    // An empty one of a worker, for rows that are read anew at each start: it is gone with its end, or with
    // the next start.
    [[nodiscard]] virtual Result<std::unique_ptr<RowStore>> make_scratch(const std::string& name,
                                                                         int32_t slot) = 0;
};

// The first string that is greater than all those that begin with `prefix`; empty: there is none.
[[nodiscard]] std::string end_of_prefix(std::string_view prefix);

}  // namespace weir::state
