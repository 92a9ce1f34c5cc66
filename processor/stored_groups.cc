#include "processor/stored_groups.h"

#include "processor/stage_operator.h"

namespace weir::processor {

ScratchGroup::ScratchGroup(const Accumulators& accumulators)
    : accumulators_(accumulators),
      memory_(std::make_unique<char[]>(Group::bytes(accumulators.cell_count(), {}))),
      group_(&Group::make(memory_.get(), {}, 0, accumulators.cell_count())) {}

void ScratchGroup::clear() {
    accumulators_.release(group_->cells(), store_);
    group_ = &Group::make(memory_.get(), {}, 0, accumulators_.cell_count());
}

void StoredGroups::fail(Error error) {
    if (failure_.ok()) failure_ = std::move(error);
}

void StoredGroups::fail_unreadable() {
    fail(unreadable_state(stage_));
}

std::optional<std::string_view> StoredGroups::find(uint32_t table, std::string_view key) {
    auto found = rows_->find(table, key);
    if (found.ok()) return *found;
    fail(found.error());
    return std::nullopt;
}

std::optional<std::string_view> StoredGroups::find(uint32_t table, int64_t prefix, std::string_view key) {
    key_.clear();
    append_prefix(prefix, key_);
    key_.append(key);
    return find(table, key_);
}

bool StoredGroups::next(Cursor& cursor) {
    const auto more = cursor.next();
    if (more.ok()) return *more;
    fail(more.error());
    return false;
}

bool StoredGroups::read(int64_t prefix, std::string_view key, Group& group, AccumulatorStore& store) {
    const auto row = find(0, prefix, key);
    if (!row) return false;
    read(prefix, key, *row, group, store);
    return true;
}

void StoredGroups::read(int64_t prefix, std::string_view key, std::string_view row, Group& group,
                        AccumulatorStore& store) {
    if (!read_group(row, accumulators_, store, group)) fail_unreadable();
    group.changed = false;  // On disk that is not the row's to say (stored_windows.h).
    if (!accumulators_.has_objects()) return;
    key_.clear();
    append_prefix(prefix, key_);
    put_bytes(key_, key);
    Cursor parts = scan(kPartTable, key_);
    while (next(parts)) {
        std::string_view group_key;
        std::string_view part_key;
        uint64_t call = 0;
        if (!split_part_key(parts.key().substr(kPrefixBytes), group_key, call, part_key) ||
            !accumulators_.read_part(call, part_key, parts.value(), group.cells(), store))
            fail_unreadable();
    }
}

int64_t StoredGroups::records(std::string_view row) {
    const auto records = read_records(row);
    if (!records) fail_unreadable();
    return records.value_or(0);
}

GroupCursor::GroupCursor(StoredGroups& groups, std::vector<Group*> cached,
                         std::optional<StoredGroups::Cursor> stored, size_t prefix_bytes)
    : groups_(groups), cached_(std::move(cached)), stored_(std::move(stored)), prefix_bytes_(prefix_bytes) {
    next_stored();
}

void GroupCursor::next_stored() {
    if (stored_ && !groups_.next(*stored_)) stored_.reset();
}

bool GroupCursor::next() {
    if (at_stored_) next_stored();
    at_stored_ = false;
    group_ = at_ < cached_.size() ? cached_[at_] : nullptr;
    if (stored_) {
        key_ = stored_->key().substr(prefix_bytes_);
        at_stored_ = group_ == nullptr || key_ <= group_->key();
        if (group_ != nullptr && key_ < group_->key()) group_ = nullptr;
    }
    if (group_ != nullptr) {
        key_ = group_->key();
        ++at_;
    }
    return group_ != nullptr || at_stored_;
}

}  // namespace weir::processor
