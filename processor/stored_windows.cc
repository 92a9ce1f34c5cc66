#include "processor/stored_windows.h"

#include <algorithm>
#include <string>

namespace weir::processor {
namespace {

constexpr uint8_t kPaneVersion = 1;
constexpr char kPaneTag = 'p';
constexpr char kChangedTag = 'c';

std::string tagged(char tag, int64_t prefix) {
    std::string key(1, tag);
    append_prefix(prefix, key);
    return key;
}

// Calls use(key, cursors) for each key in order, with those of the cursors that stand at it, in their order;
// until it says false, and then does so, too.
template <class Use>
bool merge_by_key(std::vector<GroupCursor>& cursors, const Use& use) {
    const auto after = [&](size_t a, size_t b) {
        const int order = cursors[a].key().compare(cursors[b].key());
        return order != 0 ? order > 0 : a > b;
    };
    std::vector<size_t> heap;
    std::vector<size_t> same;
    for (size_t i = 0; i < cursors.size(); ++i) same.push_back(i);
    for (;;) {
        for (const size_t i : same) {
            if (!cursors[i].next()) continue;
            heap.push_back(i);
            std::push_heap(heap.begin(), heap.end(), after);
        }
        if (heap.empty()) return true;
        same.clear();
        do {
            std::pop_heap(heap.begin(), heap.end(), after);
            same.push_back(heap.back());
            heap.pop_back();
        } while (!heap.empty() && cursors[heap.front()].key() == cursors[same.front()].key());
        if (!use(cursors[same.front()].key(), same)) return false;
    }
}

}  // namespace

Place StoredWindows::place(std::string_view key, uint64_t hash, EventTime time, EventTime watermark) {
    now_ = std::max(now_, watermark);  // Nothing is due in between.
    if (latest_ == nullptr || time < latest_->start || time >= latest_->end) seek(time);
    Pane& pane = *latest_;
    Group& group = pane.groups.group(key, hash);
    const bool is_new = group.records == 0;
    if (is_new) pane.by_key.clear();
    if (is_new && !(pane.stored && stored_.read(pane.start, key, group, pane.groups.store())))
        ++pane.group_count;
    if (grid_.endless()) {
        group.first = group.first == kNoTime ? time : std::min(group.first, time);
        group.last = std::max(group.last, time);
    }
    if (!group.dirty) changed_bytes_ += Group::bytes(group.cell_count, key);
    return take(pane, group);
}

void StoredWindows::sort(std::vector<Group*>& groups) const {
    std::sort(groups.begin(), groups.end(), [](Group* a, Group* b) { return a->key() < b->key(); });
}

GroupCursor StoredWindows::groups_of(Pane& pane, std::string_view from) {
    if (pane.by_key.empty()) {
        pane.by_key = pane.groups.unordered_groups();
        sort(pane.by_key);
    }
    const auto first = std::lower_bound(pane.by_key.begin(), pane.by_key.end(), from,
                                        [](Group* a, std::string_view key) { return a->key() < key; });
    std::optional<StoredGroups::Cursor> stored;
    if (pane.stored) {
        std::string prefix;
        append_prefix(pane.start, prefix);
        stored = stored_.scan(0, prefix, prefix + std::string(from));
    }
    return {stored_, {first, pane.by_key.end()}, std::move(stored), kPrefixBytes};
}

GroupCursor StoredWindows::changed_of(Pane& pane) {
    std::optional<StoredGroups::Cursor> stored;
    if (pane.changes_dropped) stored = stored_.scan(kPaneTable, tagged(kChangedTag, pane.start));
    return {stored_, pane.changed, std::move(stored), 1 + kPrefixBytes};
}

Place StoredWindows::read(const Pane& pane, std::string_view key, std::string_view row) {
    read_.clear();
    stored_.read(pane.start, key, row, read_.group(), read_.store());
    return {&read_.group(), &read_.store()};
}

Place StoredWindows::look_up(Pane& pane, std::string_view key) {
    Group* const cached = pane.groups.find(key, hash_group_key(key));
    if (cached != nullptr) return {cached, &pane.groups.store()};
    const auto row = pane.stored ? stored_.find(0, pane.start, key) : std::nullopt;
    return row ? read(pane, key, *row) : Place{};
}

Place StoredWindows::look_at(Pane& pane, const GroupCursor& cursor) {
    if (cursor.group() != nullptr) return {cursor.group(), &pane.groups.store()};
    return read(pane, cursor.key(), cursor.row());
}

void StoredWindows::merge(const Place& from) {
    if (from.group == nullptr) return;
    accumulators_.merge(merged_.group().cells(), merged_.store(), from.group->cells(), *from.store);
    merged_.group().records += from.group->records;
}

bool StoredWindows::show(Cell last, bool changed_only) {
    std::vector<Pane*> panes;
    std::vector<GroupCursor> cursors;
    const auto end = panes_.upper_bound(last);
    for (auto it = panes_.lower_bound(grid_.first_cell(last)); it != end; ++it) {
        panes.push_back(it->second.get());
        cursors.push_back(changed_only ? changed_of(*it->second) : groups_of(*it->second, from_));
    }
    const auto give = [&](std::string_view key, const std::vector<size_t>& at) {
        if (!changed_only && results_.full()) {
            from_ = key;
            return false;
        }
        if (grid_.single()) {
            const Place place = changed_only ? look_up(*panes[0], key) : look_at(*panes[0], cursors[0]);
            if (place.group != nullptr) add(last, key, *place.group, *place.store);
            return true;
        }
        merged_.clear();
        if (changed_only) {
            for (Pane* const pane : panes) merge(look_up(*pane, key));
        } else {
            for (const size_t i : at) merge(look_at(*panes[i], cursors[i]));
        }
        add(last, key, merged_.group(), merged_.store());
        return true;
    };
    if (!merge_by_key(cursors, give)) return false;
    for (Pane* const pane : panes) pane->by_key.clear();
    return true;
}

void StoredWindows::forget_changed(Pane& pane) {
    for (Group* group : pane.changed) group->changed = false;
    changes_shown_ = changes_shown_ || pane.changes_dropped || pane.changes_stored > 0;
    pane.changed.clear();
    pane.changes_stored = 0;
    pane.changes_dropped = false;
}

std::optional<int64_t> StoredWindows::records_of(const Pane& pane, std::string_view key, uint64_t hash) {
    if (const auto cached = PanedWindows::records_of(pane, key, hash)) return cached;
    const auto row = pane.stored ? stored_.find(0, pane.start, key) : std::nullopt;
    return row ? std::optional(stored_.records(*row)) : std::nullopt;
}

uint64_t StoredWindows::count_records() {
    uint64_t total = 0;
    for (const auto& [cell, pane] : panes_) {
        GroupCursor at = groups_of(*pane, {});
        while (at.next()) {
            const int64_t records = at.group() != nullptr ? at.group()->records : stored_.records(at.row());
            total += static_cast<uint64_t>(records);
        }
    }
    return total;
}

uint64_t StoredWindows::open_windows() const {
    return grid_.endless() ? groups() : PanedWindows::open_windows();
}

uint64_t StoredWindows::groups() const {
    uint64_t total = 0;
    for (const auto& [cell, pane] : panes_) total += pane->group_count;
    return total;
}

void StoredWindows::write_changes(state::DeltaWriter& out) {
    const uint32_t pane_table = stage_.table + kPaneTable;
    if (changes_shown_) out.erase_prefix(pane_table, std::string(1, kChangedTag));
    changes_shown_ = false;
    changed_bytes_ = 0;
    for (const EventTime start : erased_) {
        std::string key;
        append_prefix(start, key);
        out.erase_prefix(stage_.table, key);
        if (accumulators_.has_objects()) out.erase_prefix(stage_.table + kPartTable, key);
        out.erase(pane_table, tagged(kPaneTag, start));
        if (emit_ == EmitKind::kEvery) out.erase_prefix(pane_table, tagged(kChangedTag, start));
    }
    erased_.clear();
    for (const auto& [cell, pane] : panes_) write_pane(*pane, out);
    if (bytes() > stored_.cache_bytes()) drop_tables();
}

void StoredWindows::write_pane(Pane& pane, state::DeltaWriter& out) {
    const uint32_t pane_table = stage_.table + kPaneTable;
    pane.groups.write_changes(pane.start, stage_.table, out);
    pane.stored = true;
    for (; pane.changes_stored < pane.changed.size(); ++pane.changes_stored) {
        std::string key = tagged(kChangedTag, pane.start);
        key.append(pane.changed[pane.changes_stored]->key());
        out.put(pane_table, key, {});
    }
    if (pane.records == pane.stored_records) return;
    pane.stored_records = pane.records;
    std::string row;
    put_le<uint8_t>(row, kPaneVersion);
    put_varint(row, pane.records);
    put_varint(row, pane.group_count);
    out.put(pane_table, tagged(kPaneTag, pane.start), row);
}

void StoredWindows::drop_tables() {
    for (const auto& [cell, pane] : panes_) {
        pane->groups = GroupTable(accumulators_);
        pane->by_key.clear();
        pane->changes_dropped = pane->has_changed();
        pane->changed.clear();
        pane->changes_stored = 0;
    }
}

void StoredWindows::restore_stored() {
    StoredGroups::Cursor panes = stored_.scan(kPaneTable, std::string(1, kPaneTag));
    while (stored_.next(panes)) {
        ByteReader in(panes.value());
        const bool known = in.le<uint8_t>() == kPaneVersion && panes.key().size() == 1 + kPrefixBytes;
        const uint64_t records = in.varint();
        const uint64_t groups = in.varint();
        if (!known || in.failed() || !in.done()) {
            stored_.fail_unreadable();
            return;
        }
        Pane& restored = pane(grid_.cell_of(read_prefix(panes.key().substr(1))));
        restored.stored = true;
        restored.records = restored.stored_records = records;
        restored.group_count = groups;
        records_ += records;
    }
    if (emit_ != EmitKind::kEvery) return;
    for (const auto& [cell, pane] : panes_) {
        StoredGroups::Cursor changed = stored_.scan(kPaneTable, tagged(kChangedTag, pane->start));
        pane->changes_dropped = stored_.next(changed);
        if (pane->changes_dropped) ++changed_panes_;
    }
}

}  // namespace weir::processor
