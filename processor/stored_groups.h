// What an aggregate on disk reads of its groups, in the stored form that group_table.h gives them. Windows
// come to a group in the middle of work that cannot fail, so the first failure is kept until the operator
// asks for it; from then on nothing that was read counts.
//
//   StoredGroups    rows by their keys.
//   ScratchGroup    one group at a time that belongs to no table: a row that was read, or a merge.
//   GroupCursor     the groups of one pane in order of their keys, whether in memory or stored.
//
// Thread:  the worker that owns the shard.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "processor/accumulator.h"
#include "processor/graph.h"
#include "processor/group_table.h"
#include "state/stored_rows.h"

namespace weir::processor {

class ScratchGroup {
public:
    explicit ScratchGroup(const Accumulators& accumulators);

    [[nodiscard]] Group& group() { return *group_; }  // Without a key.
    [[nodiscard]] AccumulatorStore& store() { return store_; }
    void clear();

private:
    const Accumulators& accumulators_;
    std::unique_ptr<char[]> memory_;
    Group* group_;
    AccumulatorStore store_;
};

class StoredGroups {
public:
    using Cursor = state::StoredRows::Cursor;

    StoredGroups(const Stage& stage, const Accumulators& accumulators)
        : stage_(stage), accumulators_(accumulators) {}

    // Before anything else; tables 0 … are the stage's. `cache_bytes` of what is stored may stay in memory.
    void open(state::StoredRows& rows, size_t cache_bytes) {
        rows_ = &rows;
        cache_bytes_ = cache_bytes;
    }
    [[nodiscard]] size_t cache_bytes() const { return cache_bytes_; }
    [[nodiscard]] const Result<void>& failure() const { return failure_; }

    // nullopt: there is none. The view lasts until the next call.
    [[nodiscard]] std::optional<std::string_view> find(uint32_t table, std::string_view key);
    [[nodiscard]] std::optional<std::string_view> find(uint32_t table, int64_t prefix, std::string_view key);
    // Those that begin with `prefix`, from the key `from` on.
    [[nodiscard]] Cursor scan(uint32_t table, std::string_view prefix, std::string_view from = {}) {
        return rows_->scan(table, prefix, from);
    }
    // False: there are no more.
    [[nodiscard]] bool next(Cursor& cursor);

    // Fills a new group with the row that is stored under its key; false: none is.
    [[nodiscard]] bool read(int64_t prefix, std::string_view key, Group& group, AccumulatorStore& store);
    // Of a row that was found.
    void read(int64_t prefix, std::string_view key, std::string_view row, Group& group,
              AccumulatorStore& store);
    [[nodiscard]] int64_t records(std::string_view row);
    // A row is in another format.
    void fail_unreadable();

private:
    void fail(Error error);

    const Stage& stage_;
    const Accumulators& accumulators_;
    state::StoredRows* rows_ = nullptr;
    size_t cache_bytes_ = 0;
    Result<void> failure_;
    std::string key_;
};

class GroupCursor {
public:
    // `cached` in order of their keys; they stand for the stored rows of the same keys. `stored`: none where
    // nothing can be; its keys begin with `prefix_bytes` that are not the groups'.
    GroupCursor(StoredGroups& groups, std::vector<Group*> cached,
                std::optional<StoredGroups::Cursor> stored, size_t prefix_bytes);

    // False: there are no more.
    [[nodiscard]] bool next();
    [[nodiscard]] std::string_view key() const { return key_; }
    // Null: it is stored only, as row().
    [[nodiscard]] Group* group() const { return group_; }
    [[nodiscard]] std::string_view row() const { return stored_->value(); }

private:
    void next_stored();

    StoredGroups& groups_;
    std::vector<Group*> cached_;
    std::optional<StoredGroups::Cursor> stored_;  // At a row, or none.
    size_t prefix_bytes_;
    size_t at_ = 0;  // In cached_.
    bool at_stored_ = false;
    std::string_view key_;
    Group* group_ = nullptr;
};

}  // namespace weir::processor
