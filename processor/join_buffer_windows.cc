// Records that are told once per window: which of their windows closes next without a partner.
#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "processor/join_buffer.h"

namespace weir::processor {

void JoinBuffer::Open::take_out(WindowGrid::Cell first, WindowGrid::Cell last) {
    if (first <= from) {
        from = std::max(from, last + 1);
    } else {
        to = std::min(to, first);
    }
}

JoinBuffer::Open JoinBuffer::open_of(const Row& row) {
    Open open;
    std::memcpy(&open, row.encoded().data() + row.encoded().size(), sizeof(open));
    return open;
}

void JoinBuffer::set_open(Row& row, Open open) {
    std::memcpy(reinterpret_cast<char*>(&row + 1) + row.encoded().size(), &open, sizeof(open));
}

WindowGrid::Cell JoinBuffer::first_window(EventTime time) const {
    return windows_->first_window(windows_->cell_of(time));
}

WindowGrid::Cell JoinBuffer::last_window(EventTime time) const {
    return windows_->last_window(windows_->cell_of(time));
}

JoinBuffer::Open JoinBuffer::open_at(EventTime time, WindowGrid::Cell first_open) const {
    const WindowGrid::Cell end = last_window(time) + 1;
    return {std::clamp(first_open, first_window(time), end), end};
}

JoinBuffer::Open JoinBuffer::without(Open open, EventTime time, WindowGrid::Cell first,
                                     WindowGrid::Cell last) {
    closed_.clear();
    if (last < last_window(time)) {
        for (auto window = windows_->first_window(open.from); window < std::min(first, open.to);
             window = windows_->next_window(window))
            closed_.push_back(window);
        open.from = std::max(open.from, first);
    }
    open.take_out(first, last);
    return open;
}

std::optional<WindowGrid::Cell> JoinBuffer::first_of(Open open) const {
    const WindowGrid::Cell window = windows_->first_window(open.from);
    if (window >= open.to) return std::nullopt;
    return window;
}

JoinBuffer::Open JoinBuffer::untold(Open open, EventTime time, uint32_t sequence) const {
    const Turn next{told_.window, time, sequence};
    open.from = std::max(open.from, std::min(open.to, next < told_ ? told_.window + 1 : told_.window));
    return open;
}

Result<std::optional<WindowGrid::Cell>> JoinBuffer::next_window_of(const Found& found) {
    if (!is_evicted(found)) return first_of(open_of(*found.row));
    WEIR_ASSIGN(const Open open, stored_open(found.time, found.row->sequence));
    return first_of(open);
}

char* JoinBuffer::write_open(Open open, EventTime time, char* to) const {
    const WindowGrid::Cell first = first_window(time);
    to = write_varint(to, static_cast<uint64_t>(open.from - first));
    return write_varint(to, static_cast<uint64_t>(open.to - first));
}

void JoinBuffer::append_open(Open open, EventTime time, std::string& out) const {
    char bytes[2 * kMostVarintBytes];
    out.append(bytes, static_cast<size_t>(write_open(open, time, bytes) - bytes));
}

bool JoinBuffer::read_open(ByteReader& in, EventTime time, Open& open) const {
    const uint64_t from = in.varint();
    const uint64_t to = in.varint();
    const WindowGrid::Cell first = first_window(time);
    const auto most = static_cast<uint64_t>(last_window(time) + 1 - first);
    if (in.failed() || from > most || to > most) return false;
    open = {first + static_cast<int64_t>(from), first + static_cast<int64_t>(to)};
    return true;
}

void JoinBuffer::start_leaving() {
    if (leaving_started_) return;
    leaving_started_ = true;
    leaving_.clear();
    for (const auto& [number, pane] : panes_) {
        const EventTime start = start_of(number);
        for_each_row(pane, [&](Row& row, Ref) {
            const EventTime time = start + row.after_start;
            set_open(row, untold(open_of(row), time, row.sequence));
            push_next_window({&row, time});
        });
    }
    for (Owed& owed : owed_) {
        const auto pane = panes_.find(number_of(owed.turn.time));
        if (pane != panes_.end() && owed.turn.sequence < pane->second.restored.size())
            owed.row = pane->second.restored[owed.turn.sequence];
    }
}

void JoinBuffer::push_next_window(const Found& found) {
    const auto window = first_of(open_of(*found.row));
    if (!window) return;
    leaving_.push_back({*window, found.time, found.row});
    std::push_heap(leaving_.begin(), leaving_.end(), Leaving::later);
}

JoinBuffer::Leaving JoinBuffer::pop_leaving() {
    const Leaving next = leaving_.front();
    std::pop_heap(leaving_.begin(), leaving_.end(), Leaving::later);
    leaving_.pop_back();
    return next;
}

void JoinBuffer::settle_leaving() {
    while (!leaving_.empty()) {
        const Leaving& first = leaving_.front();
        const Found found{first.row, first.time};
        if (first_of(open_of(*first.row)) == first.window) return;
        pop_leaving();
        push_next_window(found);
    }
}

std::optional<WindowGrid::Cell> JoinBuffer::next_window() {
    if (!per_window()) return std::nullopt;
    start_leaving();
    std::optional<WindowGrid::Cell> next = next_evicted_window();
    const auto earlier = [&](WindowGrid::Cell window) {
        if (!next || window < *next) next = window;
    };
    if (!leaving_.empty()) earlier(leaving_.front().window);
    if (!owed_.empty()) earlier(owed_.front().turn.window);
    return next;
}

void JoinBuffer::push_owed(const Found& found) {
    const bool evicted = is_evicted(found);
    for (const WindowGrid::Cell window : closed_) {
        owed_.push_back({{window, found.time, found.row->sequence}, evicted ? nullptr : found.row,
                         evicted ? std::string(found.row->key()) : std::string()});
        std::push_heap(owed_.begin(), owed_.end(), Owed::later);
    }
}

Result<JoinBuffer::Found> JoinBuffer::take_owed() {
    const Owed owed = owed_.front();
    std::pop_heap(owed_.begin(), owed_.end(), Owed::later);
    owed_.pop_back();
    Found found{owed.row, owed.turn.time, owed.turn.window};
    if (found.row != nullptr) return found;
    if (stored_ == nullptr) return Error{Code::kCorrupt, "a join owes a record that is not there"};
    WEIR_ASSIGN(found.row, load(owed.turn, owed.row_key));
    return found;
}

void JoinBuffer::append_told(std::string& out) const {
    const auto append = [&](const Turn& turn) {
        put_le<int64_t>(out, turn.window);
        put_le<int64_t>(out, turn.time);
        put_le<uint32_t>(out, turn.sequence);
    };
    append(told_);
    put_varint(out, owed_.size());
    for (const Owed& owed : owed_) {
        append(owed.turn);
        put_bytes(out, stored_ == nullptr ? std::string_view() : owed.row != nullptr ? owed.row->key()
                                                                                     : owed.row_key);
    }
}

bool JoinBuffer::restore_told(ByteReader& in) {
    const auto read = [&] {
        Turn turn;
        turn.window = in.le<int64_t>();
        turn.time = in.le<int64_t>();
        turn.sequence = in.le<uint32_t>();
        return turn;
    };
    restore_told(read());
    for (uint64_t count = in.varint(); count > 0 && !in.failed(); --count) {
        const Turn turn = read();
        owed_.push_back({turn, nullptr, std::string(in.bytes())});
    }
    std::make_heap(owed_.begin(), owed_.end(), Owed::later);
    return !in.failed() && (per_window() || owed_.empty());
}

void JoinBuffer::restore_told(const Turn& told) {
    told_ = told;
    owed_.clear();
    if (stored_ == nullptr && per_window()) leaving_started_ = false;
}

}  // namespace weir::processor
