// The rows of one table of a shard on disk, beside the log: for tables that are larger than memory. The log
// stays the only truth. A store is what the committed epochs up to applied() made of the table; what it lacks
// comes from the log again, so the log keeps an epoch until the store has flushed it (slot_store.h).
//
// Durability: apply() promises nothing. After a crash a store is as one of its apply() calls left it: the
//             latest one before the latest flush(), or a later one.
// Thread:     a store belongs to its shard's worker; flush() may come from one other thread meanwhile.
// Failure:    kNoSpace: the disk is full and nothing of the call counts; kCorrupt: damage, with what to do;
//             kIo. After kIo and kCorrupt the store is finished.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "state/delta.h"

namespace weir::state {

// A table of the shards' state whose rows are in stores: snapshots have nothing of it.
struct StoredTable {
    uint32_t table = 0;
    std::string name;
};

class RowStore {
public:
    virtual ~RowStore() = default;

    // The epoch whose changes it took last; empty: none yet.
    [[nodiscard]] virtual const CommitId& applied() const = 0;
    // False: there is no such row.
    [[nodiscard]] virtual Result<bool> find(std::string_view key, std::string& value) = 0;
    // Puts and erases of different keys, of the epochs up to `id`: all of them, or nothing.
    [[nodiscard]] virtual Result<void> apply(std::span<const StateOp> changes, const CommitId& id) = 0;
    // What was applied before the call survives power loss after it.
    [[nodiscard]] virtual Result<void> flush() = 0;

    [[nodiscard]] virtual uint64_t rows() const = 0;          // An estimate.
    [[nodiscard]] virtual uint64_t memory_bytes() const = 0;  // That belong to this store alone.
    [[nodiscard]] virtual std::string name() const = 0;       // For messages: table, shard, folder.
};

// Where the stores of a pipeline are. Thread: any.
class RowStores {
public:
    virtual ~RowStores() = default;
    // Opens it, or makes an empty one. kMismatch: it belongs to something else.
    [[nodiscard]] virtual Result<std::unique_ptr<RowStore>> open(const std::string& table, ShardId shard) = 0;
};

}  // namespace weir::state
