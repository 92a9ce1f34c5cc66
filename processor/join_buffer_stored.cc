// A side whose rows are on disk: what of it is in memory, and how the rest is found.
#include <algorithm>
#include <new>
#include <utility>

#include "base/bytes.h"
#include "processor/arena.h"
#include "processor/group_table.h"
#include "processor/join_buffer.h"
#include "processor/join_index.h"

namespace weir::processor {
Error JoinBuffer::unreadable_rows() const {
    return {Code::kCorrupt,
            stored_->rows.store().name() + " has rows in a format that this version does not read"};
}

void JoinBuffer::append_place(uint32_t after_start, uint32_t sequence, std::string& out) {
    append_big_endian(after_start, out);
    append_big_endian(sequence, out);
}

uint32_t JoinBuffer::read_after_start(std::string_view key) {
    return read_big_endian(key.substr(key.size() - kPlaceBytes, sizeof(uint32_t)));
}

uint32_t JoinBuffer::read_sequence(std::string_view key) {
    return read_big_endian(key.substr(key.size() - sizeof(uint32_t)));
}

void JoinBuffer::open(state::StoredRows& rows, uint32_t table, size_t cache_bytes) {
    stored_ = std::make_unique<Stored>(rows, table, cache_bytes);
}

Result<void> JoinBuffer::restore_stored() {
    Stored& stored = *stored_;
    stored.from.clear();
    for (;;) {
        auto totals = stored.rows.scan(stored.table + 1, {}, stored.from);
        WEIR_ASSIGN(const bool any, totals.next());
        if (!any) break;
        if (totals.key().size() != kPrefixBytes) return unreadable_rows();
        const EventTime start = read_prefix(totals.key());
        ByteReader in(totals.value());
        const uint64_t rows = in.varint();
        const uint64_t newest = in.varint();
        if (in.failed() || !in.done() || start < kFirstTime - width_ms_ || start >= kEndTime ||
            start_of(number_of(start)) != start || rows > UINT32_MAX ||
            newest >= static_cast<uint64_t>(width_ms_))
            return unreadable_rows();
        Pane& pane = panes_[number_of(start)];
        pane.rows = pane.evicted = pane.written_rows = static_cast<uint32_t>(rows);
        pane.newest = static_cast<uint32_t>(newest);
        pane.evicted_until = start + pane.newest;
        rows_ += rows;
        stored.from.clear();
        append_prefix(start + width_ms_, stored.from);
    }
    stored.window = told_.window;
    if (keeps_ && told_.time != kEndOfTime) stored_bound_ = std::max(told_.time, kFirstTime) + 1;
    look_at_evicted();
    return {};
}

void JoinBuffer::look_at_evicted() {
    stored_->leaving.reset();
    stored_->next.reset();
    evicted_until_ = kNoTime;
    for (const auto& [number, pane] : panes_) evicted_until_ = std::max(evicted_until_, pane.evicted_until);
    if (evicted_until_ < told_.time) stored_bound_ = kEndOfTime;
    const EventTime oldest = panes_.empty() ? kEndOfTime : start_of(panes_.begin()->first);
    std::erase_if(stored_->marked, [&](const auto& marked) { return marked.first.first < oldest; });
}

void JoinBuffer::append_place_key(EventTime time, uint32_t sequence, std::string& out) const {
    const EventTime start = start_of(number_of(time));
    append_prefix(start, out);
    append_place(static_cast<uint32_t>(time - start), sequence, out);
}

JoinBuffer::Row* JoinBuffer::make_row(std::string_view key, uint32_t after_start, uint32_t sequence,
                                      std::string_view stored) {
    if (stored.empty() || static_cast<uint8_t>(stored.front()) > kFoundPartner) return nullptr;
    const std::string_view values = stored.substr(1);
    char length[kMostVarintBytes];
    const std::string_view parts[] = {
        {length, static_cast<size_t>(write_varint(length, key.size()) - length)}, key, values};
    const size_t size = parts[0].size() + key.size() + values.size();
    if (size >= Row::kMatched) return nullptr;
    auto* const row = new (stored_->loaded.allocate(row_bytes(size))) Row;
    row->size = static_cast<uint32_t>(size);
    if (stored.front() != 0) row->size |= Row::kMatched;
    row->after_start = after_start;
    row->sequence = sequence;
    char* to = reinterpret_cast<char*>(row + 1);
    for (const std::string_view part : parts) to = std::copy(part.begin(), part.end(), to);
    return row;
}

Result<void> JoinBuffer::find_stored(std::string_view key, EventTime first, EventTime last,
                                     std::vector<Found>& out) {
    Stored& stored = *stored_;
    const size_t in_memory = out.size();
    const auto begin = panes_.lower_bound(number_of(std::clamp(first, kFirstTime, kEndTime)));
    for (auto at = begin; at != panes_.end(); ++at) {
        const auto& [number, pane] = *at;
        const EventTime start = start_of(number);
        if (start > last) break;
        if (pane.evicted == 0 || pane.evicted_until < first) continue;
        stored.key.clear();
        append_prefix(start, stored.key);
        put_bytes(stored.key, key);
        stored.from = stored.key;
        append_place(static_cast<uint32_t>(std::max(first, start) - start), 0, stored.from);
        auto rows = stored.rows.scan(stored.table, stored.key, stored.from);
        for (;;) {
            WEIR_ASSIGN(const bool any, rows.next());
            if (!any) break;
            if (rows.key().size() != stored.key.size() + kPlaceBytes) return unreadable_rows();
            const uint32_t after_start = read_after_start(rows.key());
            const uint32_t sequence = read_sequence(rows.key());
            const EventTime time = start + after_start;
            if (time > last) break;
            if (sequence >= pane.evicted) continue;  // In memory, too.
            Row* const row = make_row(key, after_start, sequence, rows.value());
            if (row == nullptr) return unreadable_rows();
            out.push_back({row, time});
        }
    }
    std::inplace_merge(out.begin(), out.begin() + static_cast<ptrdiff_t>(in_memory), out.end(),
                       [](const Found& a, const Found& b) {
                           return a.time != b.time ? a.time < b.time : a.row->sequence < b.row->sequence;
                       });
    return {};
}

void JoinBuffer::release() {
    if (stored_ != nullptr) stored_->loaded.reset();
}

bool JoinBuffer::is_evicted(const Found& found) const {
    return stored_ != nullptr && found.row->sequence < panes_.find(number_of(found.time))->second.evicted;
}

Result<bool> JoinBuffer::is_unmatched(const Found& found) {
    if (found.row->matched()) return false;
    if (!is_evicted(found)) return true;
    if (stored_->marked.contains({found.time, found.row->sequence})) return false;
    stored_->key.clear();
    append_place_key(found.time, found.row->sequence, stored_->key);
    WEIR_ASSIGN(const auto waits, stored_->rows.find(stored_->table + 1, stored_->key));
    return waits.has_value();
}

void JoinBuffer::scan_leaving(const Turn& from) {
    stored_->from.clear();
    append_place_key(std::clamp(from.time, kFirstTime, kEndTime), from.sequence, stored_->from);
    stored_->leaving.emplace(stored_->rows.scan(stored_->table + 1, {}, stored_->from));
}

// To the next entry of an evicted row that has no partner yet and leaves before `bound`.
Result<void> JoinBuffer::find_leaving(EventTime bound) {
    Stored& stored = *stored_;
    if (stored.next || stored_bound_ > bound) return {};
    if (!stored.leaving) scan_leaving(told_);
    for (;;) {
        WEIR_ASSIGN(const bool any, stored.leaving->next());
        if (!any) {
            stored_bound_ = kEndOfTime;
            return {};
        }
        const std::string_view key = stored.leaving->key();
        if (key.size() == kPrefixBytes) continue;
        if (key.size() != kPrefixBytes + kPlaceBytes) return unreadable_rows();
        const EventTime start = read_prefix(key);
        const Turn turn{.time = start + read_after_start(key), .sequence = read_sequence(key)};
        if (turn.time >= bound) {
            stored_bound_ = turn.time + 1;
            return {};
        }
        const auto pane = panes_.find(number_of(start));
        if (pane == panes_.end() || turn.sequence >= pane->second.evicted) continue;
        if (stored.marked.contains({turn.time, turn.sequence})) continue;
        stored.next = turn;
        stored.next_row_key = stored.leaving->value();
        return {};
    }
}

Result<JoinBuffer::Row*> JoinBuffer::load(const Turn& turn, std::string_view row_key) {
    Stored& stored = *stored_;
    const EventTime start = start_of(number_of(turn.time));
    const auto after_start = static_cast<uint32_t>(turn.time - start);
    stored.key.clear();
    append_prefix(start, stored.key);
    put_bytes(stored.key, row_key);
    append_place(after_start, turn.sequence, stored.key);
    WEIR_ASSIGN(const auto value, stored.rows.find(stored.table, stored.key));
    Row* const row = value ? make_row(row_key, after_start, turn.sequence, *value) : nullptr;
    if (row == nullptr) return unreadable_rows();
    return row;
}

void JoinBuffer::write_row(EventTime start, const Row& row, state::DeltaWriter& out) {
    std::string& key = stored_->key;
    std::string& value = stored_->from;
    key.clear();
    append_prefix(start, key);
    put_bytes(key, row.key());
    append_place(row.after_start, row.sequence, key);
    value.assign(1, static_cast<char>(row.matched() ? kFoundPartner : 0));
    value.append(row.values());
    out.put(table_, key, value);
    if (keeps_ && (per_window() || !row.matched()))
        write_waiting(start + row.after_start, row.sequence, per_window() ? open_of(row) : Open{},
                      row.key(), out);
}

void JoinBuffer::write_waiting(EventTime time, uint32_t sequence, Open open, std::string_view row_key,
                               state::DeltaWriter& out) {
    std::string& key = stored_->key;
    std::string& value = stored_->from;
    key.clear();
    append_place_key(time, sequence, key);
    value.clear();
    if (per_window()) {
        if (!first_of(open)) {
            out.erase(table_ + 1, key);
            return;
        }
        append_open(open, time, value);
    }
    value.append(row_key);
    out.put(table_ + 1, key, value);
}

void JoinBuffer::write_stored(state::DeltaWriter& out) {
    std::string key;
    std::string value;
    write_erased(true, out);
    const auto found_partner = [&](EventTime time, uint32_t sequence, Open left, std::string_view row_key) {
        if (per_window()) return write_waiting(time, sequence, left, row_key, out);
        key.clear();
        append_place_key(time, sequence, key);
        out.erase(table_ + 1, key);
    };
    for (const auto& [place, marked] : stored_->marked)
        found_partner(place.first, place.second, marked.open, marked.row_key);
    stored_->marked.clear();
    // A row that is new says it itself.
    for (const Found& found : marked_)
        if (found.row->sequence < panes_.find(number_of(found.time))->second.written_rows)
            found_partner(found.time, found.row->sequence, per_window() ? open_of(*found.row) : Open{},
                          found.row->key());
    marked_.clear();
    for (auto& [number, pane] : panes_) {
        if (pane.written_rows == pane.rows) continue;
        const EventTime start = start_of(number);
        for (; pane.written_block < pane.blocks.size(); ++pane.written_block, pane.written_used = 0) {
            const Block& written = block(pane.blocks[pane.written_block]);
            while (const Row* const row = next_in_block(written, pane.written_used)) {
                pane.newest = std::max(pane.newest, row->after_start);
                write_row(start, *row, out);
            }
            if (pane.written_block + 1 == pane.blocks.size()) break;
        }
        pane.written_rows = pane.rows;
        key.clear();
        append_prefix(start, key);
        value.clear();
        put_varint(value, pane.rows);
        put_varint(value, pane.newest);
        out.put(table_ + 1, key, value);
    }
    evict();
}

size_t JoinBuffer::changed_bytes() const {
    size_t changed = stored_->marked.size() * kMarkedBytes;
    for (const auto& [number, pane] : panes_) {
        if (pane.written_rows == pane.rows) continue;
        for (size_t i = pane.written_block; i < pane.blocks.size(); ++i)
            changed += block(pane.blocks[i]).used;
        changed -= pane.written_used;
    }
    return changed;
}

// The oldest panes go first, of a pane the rows that came first; so much at once that it is seldom.
void JoinBuffer::evict() {
    if (bytes() + index_.bytes() / 2 <= stored_->cache_bytes) return;
    size_t held = 0;
    for (const Block& block : blocks_) held += block.size;
    bool evicted = false;
    for (auto& [number, pane] : panes_) {
        size_t count = 0;
        for (; count < pane.blocks.size() && held > stored_->cache_bytes / 2; ++count)
            held -= block(pane.blocks[count]).size;
        if (count > 0) evict_blocks(start_of(number), pane, count);
        evicted = evicted || count > 0;
    }
    if (!evicted) return;
    forget_freed_blocks();
    look_at_evicted();
    relink();
}

void JoinBuffer::evict_blocks(EventTime start, Pane& pane, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        uint32_t at = 0;
        while (const Row* const row = next_in_block(block(pane.blocks[i]), at)) {
            const EventTime time = start + row->after_start;
            pane.evicted = row->sequence + 1;
            pane.evicted_until = std::max(pane.evicted_until, time);
            if (keeps_ && !row->matched() && Turn{.time = time, .sequence = row->sequence} >= told_)
                stored_bound_ = std::min(stored_bound_, time + 1);
        }
    }
    std::erase_if(leaving_, [&](const Leaving& leaving) {
        return leaving.time >= start && leaving.time < start + width_ms_ &&
               leaving.row->sequence < pane.evicted;
    });
    std::make_heap(leaving_.begin(), leaving_.end(), Leaving::later);
    if (leaving_.empty()) leaving_ = {};
    for (Owed& owed : owed_) {
        if (owed.row == nullptr || number_of(owed.turn.time) != number_of(start) ||
            owed.turn.sequence >= pane.evicted)
            continue;
        owed.row_key = owed.row->key();
        owed.row = nullptr;
    }
    for (size_t i = 0; i < count; ++i) free_block(pane.blocks[i]);
    std::erase_if(pane.waiting, [&](const Waiting& waiting) { return waiting.sequence < pane.evicted; });
    std::make_heap(pane.waiting.begin(), pane.waiting.end(), Waiting::later);
    if (pane.waiting.empty()) pane.waiting = {};
    pane.blocks.erase(pane.blocks.begin(), pane.blocks.begin() + static_cast<ptrdiff_t>(count));
    // All are written; new rows go on in the last one.
    pane.written_block = pane.blocks.empty() ? 0 : pane.blocks.size() - 1;
    pane.written_used = pane.blocks.empty() ? 0 : block(pane.blocks.back()).used;
}

}  // namespace weir::processor
