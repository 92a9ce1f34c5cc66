#include "processor/stored_passes.h"

#include <algorithm>

#include "base/bytes.h"
#include "processor/stage_operator.h"

namespace weir::processor {
namespace {

constexpr uint8_t kVersion = 1;
// A pane that is forgotten is a range of keys that the store has to delete: not too often.
constexpr int64_t kShortestPaneMs = 10'000;

}  // namespace

StoredPasses::StoredPasses(const Stage& stage, state::StoredRows& rows, size_t cache_bytes)
    : stage_(stage),
      rows_(rows),
      cache_bytes_(cache_bytes),
      pane_ms_(std::max(stage.limit_ms, kShortestPaneMs)) {}

EventTime StoredPasses::pane_of(EventTime time) const {
    const int64_t behind = time % pane_ms_;
    return time - (behind < 0 ? behind + pane_ms_ : behind);
}

Result<bool> StoredPasses::take(std::string_view key, EventTime time) {
    const EventTime own = pane_of(time);
    int64_t near = 0;
    // Its own pane first: most duplicates are there.
    for (const EventTime begin : {own, own - pane_ms_, own + pane_ms_}) {
        if (begin + pane_ms_ <= time - stage_.limit_ms + 1 || begin >= time + stage_.limit_ms) continue;
        const auto pane = panes_.find(begin);
        if (pane == panes_.end()) continue;
        WEIR_ASSIGN(const auto* const row, row_of(begin, pane->second, key));
        WEIR_TRY(count(begin, row->second, time, near));
        if (near >= stage_.limit) return false;
    }
    Pane& pane = panes_[own];
    WEIR_ASSIGN(auto* const row, row_of(own, pane, key));
    const uint64_t before = row->second.stored.size();
    WEIR_TRY(add(own, row->second, time));
    const uint64_t grown = row->second.stored.size() - before;  // Modulo 2^64, as are the sums.
    pane.bytes += grown;
    bytes_ += grown;
    if (!row->second.dirty) {
        row->second.dirty = true;
        pane.dirty.push_back(row);
    }
    return true;
}

Result<StoredPasses::Rows::value_type*> StoredPasses::row_of(EventTime begin, Pane& pane,
                                                             std::string_view key) {
    if (const auto known = pane.rows.find(key); known != pane.rows.end()) return &*known;
    Row row;
    if (pane.stored) {
        stored_key_.clear();
        append_prefix(begin, stored_key_);
        stored_key_ += key;
        WEIR_ASSIGN(const auto found, rows_.find(0, stored_key_));
        if (found) row.stored = *found;
    }
    const uint64_t bytes = kRowBytes + key.size() + row.stored.size();
    pane.bytes += bytes;
    bytes_ += bytes;
    return &*pane.rows.emplace(std::string(key), std::move(row)).first;
}

Result<void> StoredPasses::read(EventTime begin, const Row& row) {
    times_.clear();
    if (row.stored.empty()) return {};
    ByteReader in(row.stored);
    const auto version = in.le<uint8_t>();
    for (EventTime time = begin; version == kVersion && !in.failed() && !in.done();) {
        time += static_cast<int64_t>(in.varint());
        times_.push_back(time);
    }
    if (version == kVersion && !in.failed()) return {};
    return unreadable_state(stage_);
}

Result<void> StoredPasses::count(EventTime begin, const Row& row, EventTime time, int64_t& near) {
    WEIR_TRY(read(begin, row));
    near += std::count_if(times_.begin(), times_.end(), [&](EventTime known) {
        return known > time - stage_.limit_ms && known < time + stage_.limit_ms;
    });
    return {};
}

Result<void> StoredPasses::add(EventTime begin, Row& row, EventTime time) {
    WEIR_TRY(read(begin, row));
    std::erase_if(times_, [&](EventTime known) { return known + 2 * stage_.limit_ms <= now_; });
    times_.insert(std::upper_bound(times_.begin(), times_.end(), time), time);
    row.stored.clear();
    put_le<uint8_t>(row.stored, kVersion);
    for (EventTime before = begin; const EventTime known : times_) {
        put_varint(row.stored, static_cast<uint64_t>(known - before));
        before = known;
    }
    return {};
}

void StoredPasses::forget(EventTime now) {
    now_ = now;
    while (!panes_.empty()) {
        const auto oldest = panes_.begin();
        if (oldest->first + pane_ms_ + 2 * stage_.limit_ms > now_) return;
        if (oldest->second.stored) erased_.push_back(oldest->first);
        bytes_ -= oldest->second.bytes;
        panes_.erase(oldest);
    }
}

void StoredPasses::write_changes(state::DeltaWriter& out) {
    for (const EventTime begin : erased_) {
        stored_key_.clear();
        append_prefix(begin, stored_key_);
        out.erase_prefix(stage_.table, stored_key_);
    }
    erased_.clear();
    for (auto& [begin, pane] : panes_) {
        for (auto* const row : pane.dirty) {
            stored_key_.clear();
            append_prefix(begin, stored_key_);
            stored_key_ += row->first;
            out.put(stage_.table, stored_key_, row->second.stored);
            row->second.dirty = false;
            pane.stored = true;
        }
        pane.dirty.clear();
    }
    if (bytes_ <= cache_bytes_) return;
    for (auto& [begin, pane] : panes_) {
        pane.rows = {};
        pane.bytes = 0;
    }
    bytes_ = 0;
}

Result<void> StoredPasses::restore() {
    std::string from;
    while (true) {
        auto rows = rows_.scan(0, {}, from);
        WEIR_ASSIGN(const bool found, rows.next());
        if (!found) return {};
        if (rows.key().size() < kPrefixBytes) return unreadable_state(stage_);
        const EventTime begin = read_prefix(rows.key());
        panes_[begin].stored = true;
        from.clear();
        append_prefix(begin + 1, from);  // Behind its last row.
    }
}

}  // namespace weir::processor
