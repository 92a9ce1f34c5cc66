// Records on disk that are told once per window. Their entries are in order of time, so those of a window are
// read when it closes: a record as often as it has windows, until it has found a partner in all of them.
#include <algorithm>

#include "base/bytes.h"
#include "processor/group_table.h"
#include "processor/join_buffer.h"

namespace weir::processor {

// An entry that is not there: no window is left.
Result<JoinBuffer::Open> JoinBuffer::stored_open(EventTime time, uint32_t sequence) {
    Stored& stored = *stored_;
    Open open;
    if (const auto marked = stored.marked.find({time, sequence}); marked != stored.marked.end()) {
        open = marked->second.open;
    } else {
        stored.key.clear();
        append_place_key(time, sequence, stored.key);
        WEIR_ASSIGN(const auto entry, stored.rows.find(stored.table + 1, stored.key));
        if (!entry) return open;
        ByteReader in(*entry);
        if (!read_open(in, time, open)) return unreadable_rows();
    }
    return untold(open, time, sequence);
}

Result<void> JoinBuffer::mark_evicted_windows(const Found& found, WindowGrid::Cell first,
                                              WindowGrid::Cell last) {
    Stored& stored = *stored_;
    WEIR_ASSIGN(const Open before, stored_open(found.time, found.row->sequence));
    if (!first_of(before)) return {};
    const Open open = without(before, found.time, first, last);
    push_owed(found);
    if (open != before)
        stored.marked.insert_or_assign({found.time, found.row->sequence},
                                       Marked{open, std::string(found.row->key())});
    return {};
}

std::optional<WindowGrid::Cell> JoinBuffer::next_evicted_window() const {
    if (stored_ == nullptr) return std::nullopt;
    if (evicted_until_ == kNoTime) return std::nullopt;
    const WindowGrid::Cell next = std::max(stored_->window, first_window(kFirstTime));
    if (next > last_window(evicted_until_)) return std::nullopt;
    return next;
}

// To the next entry of an evicted row that is without a partner in a window before `first_open`.
Result<void> JoinBuffer::find_leaving_window(WindowGrid::Cell first_open) {
    Stored& stored = *stored_;
    if (stored.next) return {};
    if (evicted_until_ == kNoTime) stored.window = std::max(stored.window, first_open);
    while (stored.window < first_open) {
        if (!stored.leaving) {
            stored.window = std::max(stored.window, first_window(kFirstTime));
            const Turn begin{stored.window, windows_->window_start(stored.window), 0};
            stored.window_empty = begin >= told_;
            scan_leaving(std::max(begin, told_));
        }
        WEIR_ASSIGN(const bool any, stored.leaving->next());
        const std::string_view key = any ? stored.leaving->key() : std::string_view();
        if (key.size() == kPrefixBytes) continue;  // A pane's.
        if (any && key.size() != kPrefixBytes + kPlaceBytes) return unreadable_rows();
        EventTime time = kEndOfTime;
        if (any) time = read_prefix(key) + read_after_start(key);
        if (time > evicted_until_ || time >= windows_->window_end(stored.window)) {
            stored.leaving.reset();
            if (!stored.window_empty)
                stored.window = windows_->next_window(stored.window);
            else
                stored.window = time > evicted_until_ ? first_open : std::min(first_open, first_window(time));
            continue;
        }
        stored.window_empty = false;
        const uint32_t sequence = read_sequence(key);
        const auto pane = panes_.find(number_of(time));
        if (pane == panes_.end() || sequence >= pane->second.evicted) continue;
        ByteReader in(stored.leaving->value());
        Open open;
        if (!read_open(in, time, open)) return unreadable_rows();
        if (const auto marked = stored.marked.find({time, sequence}); marked != stored.marked.end())
            open = marked->second.open;
        if (stored.window < open.from || stored.window >= open.to) continue;
        stored.next = {stored.window, time, sequence};
        stored.next_row_key = in.take(in.remaining());
        return {};
    }
    return {};
}

}  // namespace weir::processor
