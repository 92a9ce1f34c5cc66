#include "processor/paned_windows.h"

#include <algorithm>

namespace weir::processor {

EventTime PanedWindows::late_from(EventTime time) {
    if (time < span_start_ || time >= span_end_) {
        const Cell cell = grid_.cell_of(time);
        span_start_ = grid_.start_of(cell);
        span_end_ = grid_.start_of(cell + 1);
        span_late_from_ = grid_.window_end(grid_.last_window(cell)) + stage_.window.grace_ms;
    }
    return span_late_from_;
}

PanedWindows::Pane& PanedWindows::pane(Cell cell) {
    auto& slot = panes_[cell];
    if (slot) return *slot;
    slot = std::make_unique<Pane>(accumulators_);
    slot->start = grid_.start_of(cell);
    slot->end = grid_.start_of(cell + 1);
    slot->first_fire = grid_.window_end(grid_.first_window(cell)) + fire_delay_ms();
    slot->late_from = grid_.window_end(grid_.last_window(cell)) + stage_.window.grace_ms;
    due_known_ = false;
    return *slot;
}

void PanedWindows::seek(EventTime time) { latest_ = &pane(grid_.cell_of(time)); }

Place PanedWindows::place(std::string_view key, uint64_t hash, EventTime time, EventTime watermark) {
    now_ = std::max(now_, watermark);  // Nothing is due in between.
    if (latest_ == nullptr || time < latest_->start || time >= latest_->end) seek(time);
    Pane& pane = *latest_;
    return take(pane, pane.groups.group(key, hash));
}

PanedWindows::Cell PanedWindows::first_open(Cell cell, int64_t delay_ms) const {
    if (now_ == kNoTime) return grid_.first_window(cell);
    return grid_.first_window(std::max(cell, grid_.cell_of(now_ - delay_ms)));
}

PanedWindows::Due PanedWindows::next(int64_t delay_ms) const {
    if (now_ == kEndOfTime) return {};
    for (const auto& [cell, pane] : panes_) {
        const Cell last = first_open(cell, delay_ms);
        if (last <= grid_.last_window(cell)) return {grid_.window_end(last) + delay_ms, last};
    }
    return {};
}

EventTime PanedWindows::next_due() {
    if (!due_known_) {
        due_ = next(stage_.window.grace_ms).at;
        if (fires()) due_ = std::min(due_, next(fire_delay_ms()).at);
        due_known_ = true;
    }
    return due_;
}

void PanedWindows::restore_now(EventTime now) {
    Windows::restore_now(now);
    due_known_ = false;
}

EventTime PanedWindows::many_due(size_t few) {
    constexpr size_t kMostLooks = 64;  // Windows of so many panes are as much work to give.
    if (records_ <= few || !fires() || over()) return kEndOfTime;
    const int64_t delay_ms = fire_delay_ms();
    size_t looks = 0;
    size_t due = 0;
    bool any = false;
    Cell looked_at = 0;  // The last window that was.
    for (const auto& [cell, pane] : panes_) {
        Cell last = first_open(cell, delay_ms);
        if (any) last = std::max(last, grid_.next_window(looked_at));
        for (; last <= grid_.last_window(cell); last = grid_.next_window(last)) {
            const auto end = panes_.upper_bound(last);
            auto it = panes_.lower_bound(grid_.first_cell(last));
            for (; it != end && looks <= kMostLooks; ++it, ++looks) due += group_count(*it->second);
            if (due > few || looks > kMostLooks) return grid_.window_end(last) + delay_ms;
            looked_at = last;
            any = true;
        }
    }
    return kEndOfTime;
}

bool PanedWindows::advance_to(EventTime now, Reason reason) {
    while (next_due() <= now && due_ != kEndOfTime) {
        settler_.settle();
        // What changed is said as it stands before anything ends; {every: …} says it with the final result.
        if (emit_ != EmitKind::kEvery) show_changed();
        const Due fire = fires() ? next(fire_delay_ms()) : Due{};
        const Due closing = next(stage_.window.grace_ms);
        const EventTime at = due_;
        results_.because(reason, now);
        if (fire.at == at && !show(fire.last, false)) return false;
        from_.clear();
        if (closing.at == at) close(closing.last);
        now_ = at;
        due_known_ = false;
    }
    now_ = std::max(now_, now);
    return true;
}

void PanedWindows::close(Cell last) {
    ++closed_;
    results_.forget(grid_.window_end(last));
    while (!panes_.empty() && grid_.last_window(panes_.begin()->first) <= last) {
        Pane& pane = *panes_.begin()->second;
        if (pane.stored) erased_.push_back(pane.start);
        if (pane.has_changed()) --changed_panes_;
        if (latest_ == &pane) latest_ = nullptr;
        release(pane.records);
        panes_.erase(panes_.begin());
    }
}

void PanedWindows::add(Cell last, std::string_view key, Group& group, const AccumulatorStore& store) {
    WindowResult result;
    result.key = key;
    result.time = group.last;
    const EventTime end = grid_.window_end(last);
    if (!grid_.endless()) {
        result.start = grid_.window_start(last);
        result.end = end;
        result.time = end - 1;
    }
    result.meta.records = group.records;
    results_.add(end, result, group.cells(), store);
}

void PanedWindows::sort(std::vector<Group*>& groups) const {
    std::sort(groups.begin(), groups.end(),
              [](const Group* a, const Group* b) { return a->sequence < b->sequence; });
}

bool PanedWindows::give(Cell last, GroupTable& table) {
    const std::vector<Group*>& groups = table.groups();
    auto next = groups.begin();
    if (!from_.empty()) {
        const Group* const from = table.find(from_, hash_group_key(from_));
        WEIR_CHECK(from != nullptr, "a window that is given in parts has lost a group");
        next = std::lower_bound(groups.begin(), groups.end(), from,
                                [](const Group* a, const Group* b) { return a->sequence < b->sequence; });
    }
    for (; next != groups.end(); ++next) {
        if (results_.full()) {
            from_ = (*next)->key();
            return false;
        }
        add(last, (*next)->key(), **next, table.store());
    }
    return true;
}

bool PanedWindows::show(Cell last, bool changed_only) {
    const auto first_pane = panes_.lower_bound(grid_.first_cell(last));
    const auto end_pane = panes_.upper_bound(last);
    if (grid_.single()) {
        GroupTable& groups = first_pane->second->groups;
        if (!changed_only) return give(last, groups);
        for (Group* group : first_pane->second->changed) add(last, group->key(), *group, groups.store());
        return true;
    }
    auto merged = changed_only ? nullptr : std::move(in_parts_);
    const bool goes_on = merged != nullptr;
    if (!goes_on) merged = std::make_unique<GroupTable>(accumulators_);
    const auto take = [&](Group& into, Group& from, Pane& pane) {
        accumulators_.merge(into.cells(), merged->store(), from.cells(), pane.groups.store());
        into.records += from.records;
    };
    for (auto it = first_pane; it != end_pane && !goes_on; ++it) {
        Pane& pane = *it->second;
        for (Group* group : changed_only ? pane.changed : pane.groups.groups()) {
            Group& into = merged->group(group->key(), group->hash);
            if (!changed_only) take(into, *group, pane);
        }
    }
    if (!changed_only) {
        if (give(last, *merged)) return true;
        in_parts_ = std::move(merged);
        return false;
    }
    for (Group* into : merged->groups()) {
        for (auto it = first_pane; it != end_pane; ++it) {
            Group* const from = it->second->groups.find(into->key(), into->hash);
            if (from != nullptr) take(*into, *from, *it->second);
        }
    }
    for (Group* group : merged->groups()) add(last, group->key(), *group, merged->store());
    return true;
}

void PanedWindows::show_changed() {
    if (changed_panes_ == 0 || over()) return;
    settler_.settle();
    because_changed();
    bool any = false;
    Cell shown = 0;  // The last window that was.
    for (const auto& [cell, pane] : panes_) sort(pane->changed);
    for (const auto& [cell, pane] : panes_) {
        if (!pane->has_changed()) continue;
        Cell last = first_open(cell, stage_.window.grace_ms);
        if (any) last = std::max(last, grid_.next_window(shown));
        for (; last <= grid_.last_window(cell); last = grid_.next_window(last)) {
            if (emit_ == EmitKind::kOnWatermark && grid_.window_end(last) > now_) break;
            show(last, true);
            shown = last;
            any = true;
        }
    }
    for (const auto& [cell, pane] : panes_) forget_changed(*pane);
    changed_panes_ = 0;
}

void PanedWindows::forget_changed(Pane& pane) {
    for (Group* group : pane.changed) {
        group->changed = false;
        pane.groups.touch(*group);
    }
    pane.changed.clear();
}

std::optional<int64_t> PanedWindows::records_of(const Pane& pane, std::string_view key, uint64_t hash) {
    const Group* const group = pane.groups.find(key, hash);
    return group == nullptr ? std::nullopt : std::optional(group->records);
}

OpenWindow PanedWindows::describe(Cell last, int64_t records) const {
    OpenWindow window{grid_.window_start(last), grid_.window_end(last), records, kEndOfTime, kEndOfTime};
    const EventTime fires_at = window.end + fire_delay_ms();
    if (fires() && fires_at > now_) window.result_at = fires_at;
    window.closes_at = window.end + stage_.window.grace_ms;
    return window;
}

std::optional<OpenWindow> PanedWindows::next_window() {
    const EventTime at = next_due();
    if (at == kEndOfTime) return std::nullopt;
    const Due fire = fires() ? next(fire_delay_ms()) : Due{};
    return describe(fire.at == at ? fire.last : next(stage_.window.grace_ms).last, 0);
}

void PanedWindows::append_open(std::string_view key, std::vector<OpenWindow>& out) {
    if (over()) return;
    const uint64_t hash = hash_group_key(key);
    std::map<Cell, int64_t> records;  // By window.
    for (const auto& [cell, pane] : panes_) {
        const std::optional<int64_t> in_pane = records_of(*pane, key, hash);
        if (!in_pane) continue;
        for (Cell last = first_open(cell, stage_.window.grace_ms); last <= grid_.last_window(cell);
             last = grid_.next_window(last)) {
            if (out.size() + records.size() >= kMostOpenWindows && !records.contains(last)) break;
            records[last] += *in_pane;
        }
    }
    for (const auto& [last, count] : records) out.push_back(describe(last, count));
}

uint64_t PanedWindows::open_windows() const {
    uint64_t total = 0;
    Cell counted = 0;
    if (over()) return 0;
    for (const auto& [cell, pane] : panes_) {
        Cell last = first_open(cell, stage_.window.grace_ms);
        if (total > 0) last = std::max(last, grid_.next_window(counted));
        for (; last <= grid_.last_window(cell); last = grid_.next_window(last)) {
            ++total;
            counted = last;
        }
    }
    return total;
}

uint64_t PanedWindows::count_records() {
    uint64_t total = 0;
    for (const auto& [cell, pane] : panes_)
        for (const Group* group : pane->groups.unordered_groups())
            total += static_cast<uint64_t>(group->records);
    return total;
}

uint64_t PanedWindows::groups() const {
    uint64_t total = 0;
    for (const auto& [cell, pane] : panes_) total += pane->groups.size();
    return total;
}

size_t PanedWindows::bytes() const {
    size_t total = 0;
    for (const auto& [cell, pane] : panes_) total += sizeof(Pane) + pane->groups.bytes();
    return total;
}

void PanedWindows::write_changes(state::DeltaWriter& out) {
    std::string key;
    for (const EventTime start : erased_) {
        key.clear();
        append_prefix(start, key);
        out.erase_prefix(stage_.table, key);
        if (accumulators_.has_objects()) out.erase_prefix(stage_.table + 1, key);
    }
    erased_.clear();
    for (const auto& [cell, pane] : panes_) {
        pane->groups.write_changes(pane->start, stage_.table, out);
        pane->stored = true;
    }
}

bool PanedWindows::restore_group(std::string_view key, std::string_view row) {
    Pane& restored = pane(grid_.cell_of(read_prefix(key)));
    Group* const known =
        restored.groups.find(key.substr(kPrefixBytes), hash_group_key(key.substr(kPrefixBytes)));
    if (known != nullptr && known->changed) {
        std::erase(restored.changed, known);
        if (restored.changed.empty()) --changed_panes_;
    }
    const int64_t records_before = known != nullptr ? known->records : 0;
    Group* const group = restored.groups.restore(key.substr(kPrefixBytes), row);
    if (group == nullptr) return false;
    const auto more = static_cast<uint64_t>(group->records - records_before);
    restored.records += more;
    records_ += more;
    restored.stored = true;
    if (group->changed) {
        if (restored.changed.empty()) ++changed_panes_;
        restored.changed.push_back(group);
    }
    return true;
}

bool PanedWindows::restore_part(std::string_view key, std::string_view value) {
    Pane& restored = pane(grid_.cell_of(read_prefix(key)));
    restored.stored = true;
    return restored.groups.restore_part(key.substr(kPrefixBytes), value);
}

void PanedWindows::restore_erased(std::string_view prefix) {
    if (prefix.size() != kPrefixBytes) return;
    const auto found = panes_.find(grid_.cell_of(read_prefix(prefix)));
    if (found == panes_.end()) return;
    if (!found->second->changed.empty()) --changed_panes_;
    if (latest_ == found->second.get()) latest_ = nullptr;
    records_ -= found->second->records;
    panes_.erase(found);
    due_known_ = false;
}

}  // namespace weir::processor
