#include "processor/join.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "processor/compact_value.h"
#include "processor/executor.h"
#include "processor/group_table.h"
#include "processor/shard.h"

namespace weir::processor {

Join::Join(const Graph& graph, StageId id)
    : stage_(graph.stages[id]),
      id_(id),
      join_(*stage_.join),
      reach_(join_.rule),
      as_of_(join_.rule.by == config::Join::By::kAsOf),
      buffers_{JoinBuffer(index_, 0, reach_.longest_ms(Side::kLeft), join_.rule.keeps_left() || as_of_,
                          hopping_windows(), stage_.table, stage_.on_disk),
               JoinBuffer(index_, 1, reach_.longest_ms(Side::kRight), join_.rule.keeps_right(),
                          hopping_windows(), stage_.table + kTablesPerSide, stage_.on_disk)},
      results_(stage_) {}

void Join::open(state::StoredRows& rows, size_t cache_bytes) {
    stored_ = &rows;
    for (uint32_t side = 0; side < 2; ++side)
        buffers_[side].open(rows, side * kTablesPerSide, cache_bytes / 2);
}

const WindowGrid* Join::hopping_windows() const {
    return join_.rule.tells_per_window() ? &reach_.windows() : nullptr;
}

Result<void> Join::take(Executor& executor, const Node& node, const JoinInputNode& input, Batch& batch,
                        Rows rows) {
    // Results of a stage before never lets go too late for this one; they come without watermarks.
    Watermarks::Before before{};
    const bool can_be_late = !batch.watermarks.empty();
    if (can_be_late) before = executor.watermarks().before(id_, batch.partition);
    side_ = static_cast<size_t>(input.side);
    split_late(batch, rows, can_be_late ? &before : nullptr);
    if (!rows_.empty()) {
        WEIR_TRY(input_.evaluate(executor, node, input, batch, rows_));
        const auto watermark_at = [&](uint32_t row) {
            return can_be_late ? before.late_at(batch.watermarks[row]) : kNoTime;
        };
        matched_.assign(batch.row_count, 0);
        open_.resize(std::max(open_.size(), batch.row_count));
        if (buffers_[side_].per_window()) {
            for (const uint32_t row : rows_)
                open_[row] =
                    buffers_[side_].open_at(batch.times[row], reach_.first_open(watermark_at(row)));
        }
        places_.assign(rows_.size(), JoinIndex::kNowhere);
        places_as_of_ = index_.places();
        for (size_t i = 0; i < rows_.size() && !as_of_; ++i) {
            index_.prefetch(input_.hashes(), i, 1 - side_);
            WEIR_TRY(probe(executor, node, batch, i, in_windows() ? watermark_at(rows_[i]) : kNoTime));
        }
        WEIR_TRY(flush_pairs(executor, node));
        insert(batch, executor.counters(node.stream));
    }
    if (late_.empty()) return {};
    batch.late_by_ms.resize(batch.row_count);
    for (const uint32_t row : late_)
        batch.late_by_ms[row] = before.late_at(batch.watermarks[row]) - batch.times[row];
    return tell_late(executor, node, input.late, batch, late_);
}

void Join::split_late(const Batch& batch, Rows rows, const Watermarks::Before* before) {
    late_.clear();
    if (before == nullptr) {
        rows_.assign(rows.begin(), rows.end());
        return;
    }
    rows_.resize(rows.size());
    size_t in_time = 0;
    for (const uint32_t row : rows) {
        if (reach_.is_late(before->late_at(batch.watermarks[row]), batch.times[row]))
            late_.push_back(row);
        else
            rows_[in_time++] = row;
    }
    rows_.resize(in_time);
}

Result<void> Join::probe(Executor& executor, const Node& node, const Batch& batch, size_t i,
                         EventTime watermark) {
    const std::string_view key = input_.key(i);
    if (key.empty()) return {};
    const uint32_t row = rows_[i];
    const EventTime time = batch.times[row];
    const auto side = static_cast<Side>(side_);
    found_.clear();
    if (pairs_.empty()) release();
    places_[i] = index_.find(key, input_.hashes()[i], 1 - side_);
    WEIR_TRY(find(static_cast<Side>(1 - side_), key, places_[i], reach_.first(side, time),
                  reach_.last(side, time), found_));
    const bool windowed = in_windows();
    for (const JoinBuffer::Found& found : found_) {
        // Without windows once, else once in each that both are in.
        JoinReach::Shared windows{0, 0};
        if (windowed) windows = reach_.shared(time, found.time, watermark);
        for (WindowGrid::Cell window = windows.first; window <= windows.last;
             window = windowed ? reach_.windows().next_window(window) : window + 1) {
            if (pairs_.empty()) results_.begin(executor, true);
            add_pair(batch, row, found, windows, window);
            if (pairs_.size() == kSliceRows) WEIR_TRY(flush_pairs(executor, node));
        }
    }
    return {};
}

JoinIndex::Place Join::place_of(Side side, std::string_view key) const {
    return index_.find(key, hash_group_key(key), static_cast<size_t>(side));
}

Result<void> Join::find(Side side, std::string_view key, JoinIndex::Place place, EventTime first,
                        EventTime last, std::vector<JoinBuffer::Found>& out) {
    JoinBuffer& buffer = buffers_[static_cast<size_t>(side)];
    buffer.find(place, first, last, out);
    return buffer.has_evicted(first) ? buffer.find_stored(key, first, last, out) : Result<void>{};
}

void Join::release() {
    if (stored_ == nullptr) return;
    for (JoinBuffer& buffer : buffers_) buffer.release();
}

void Join::add_pair(const Batch& batch, uint32_t row, const JoinBuffer::Found& found,
                    const JoinReach::Shared& windows, WindowGrid::Cell window) {
    const size_t at = pairs_.size();
    pairs_.push_back({row, found, windows});
    results_.begin_row(at, std::max(batch.times[row], found.time));
    fill_window(at, window);
    if (join_.conditions.empty()) return;
    if (join_.key_in_match) results_.fill_key(at, found.row->key());
    results_.fill_for_match(at, static_cast<Side>(1 - side_), found.row->values());
    const auto& own = join_.columns[side_];
    for (size_t column = 0; column < own.size(); ++column)
        if (own[column].in_match) results_.value(at, own[column]) = input_.value(column, row);
}

void Join::complete_pair(uint32_t at) {
    const auto& [row, found, windows] = pairs_[at];
    results_.fill_key(at, found.row->key());
    results_.fill(at, static_cast<Side>(1 - side_), found.row->values());
    const auto& own = join_.columns[side_];
    for (size_t column = 0; column < own.size(); ++column)
        results_.value(at, own[column]) = input_.value(column, row);
}

void Join::fill_window(size_t row, WindowGrid::Cell window) {
    if (!in_windows()) return;
    const WindowGrid& windows = reach_.windows();
    results_.fill_window(row, windows.window_start(window), windows.window_end(window));
}

Result<void> Join::flush_pairs(Executor& executor, const Node& node) {
    if (pairs_.empty()) return {};
    WEIR_ASSIGN(const Rows matched, results_.matching(executor, node, pairs_.size(),
                                                      [this](uint32_t at) { complete_pair(at); }));
    for (const uint32_t row : matched) {
        const auto& [probe, found, windows] = pairs_[row];
        matched_[probe] = 1;
        if (buffers_[side_].per_window()) open_[probe].take_out(windows.first, windows.last);
        WEIR_TRY(buffers_[1 - side_].mark_matched(found, windows.first, windows.last));
    }
    pairs_.clear();
    executor.counters(node.stream).matched += matched.size();
    return results_.run(executor, matched);
}

void Join::insert(const Batch& batch, StreamCounters& counters) {
    JoinBuffer& buffer = buffers_[side_];
    const bool keeps =
        side_ == 0 ? join_.rule.keeps_left() : join_.rule.keeps_right();  // Also without a key.
    counters.buffered += rows_.size();
    for (size_t i = 0; i < rows_.size(); ++i) {
        const uint32_t row = rows_[i];
        const std::string_view key = input_.key(i);
        if (as_of_) index_.prefetch(input_.hashes(), i, side_);
        if (key.empty() && !keeps) {
            ++counters.expired;
            continue;
        }
        const bool known = places_as_of_ == index_.places();
        buffer.insert(input_.encode_row(i, row), input_.hashes()[i],
                      known ? places_[i] : JoinIndex::kNowhere, batch.times[row], matched_[row] != 0,
                      open_[row]);
    }
}

EventTime Join::next_due() {
    EventTime due = kEndOfTime;
    for (size_t side = 0; side < 2; ++side) {
        const EventTime bound = buffers_[side].next_bound();
        if (bound != kEndOfTime) due = std::min(due, reach_.reaches(static_cast<Side>(side), bound));
        if (const auto window = buffers_[side].next_window()) due = std::min(due, reach_.closes(*window));
    }
    return due;
}

std::optional<OpenWindow> Join::next_window() {
    for (JoinBuffer& buffer : buffers_) buffer.look();
    if (entries() == 0) return std::nullopt;
    OpenWindow all;
    all.records = static_cast<int64_t>(entries());
    all.closes_at = next_due();
    return all;
}

void Join::append_open(std::string_view key, std::vector<OpenWindow>& out) {
    for (const Side side : {Side::kLeft, Side::kRight})
        if (failure_.ok()) failure_ = append_open_of(side, key, out);
    release();
}

Result<void> Join::append_open_of(Side side, std::string_view key, std::vector<OpenWindow>& out) {
    const auto index = static_cast<size_t>(side);
    std::vector<JoinBuffer::Found> found;
    WEIR_TRY(find(side, key, place_of(side, key), reach_.bound(side, now_), kEndOfTime, found));
    for (const JoinBuffer::Found& record : found) {
        if (out.size() == kMostOpenWindows) return {};
        OpenWindow& window = out.emplace_back();
        window.start = reach_.first(side, record.time);
        window.end = reach_.last(side, record.time) + 1;
        window.records = 1;
        window.closes_at = reach_.reaches(side, record.time + 1);
        const bool left = side == Side::kLeft;
        const bool kept = left ? join_.rule.keeps_left() : join_.rule.keeps_right();
        if (buffers_[index].per_window()) {
            WEIR_ASSIGN(const auto next, buffers_[index].next_window_of(record));
            if (next) window.result_at = reach_.closes(*next);
            continue;
        }
        bool given = kept;
        if (as_of_ && left && !kept) {
            WEIR_ASSIGN(const JoinBuffer::Found* const partner, nearest(record));
            given = partner != nullptr;
        } else if (!as_of_ && kept) {
            WEIR_ASSIGN(given, buffers_[index].is_unmatched(record));
        }
        if (given) window.result_at = window.closes_at;
    }
    return {};
}

Result<bool> Join::advance(Executor& executor, EventTime watermark, bool idle) {
    static_cast<void>(idle);
    WEIR_TRY(failure_);
    if (watermark <= now_) return false;
    if (!rest_ && next_due() > watermark) {
        now_ = watermark;
        return false;
    }
    bool changed = std::exchange(rest_, false);
    WEIR_ASSIGN(const bool left, give_leaving(executor, watermark));
    changed = changed || left;
    release();
    if (rest_) return true;
    now_ = watermark;
    for (const Side side : {Side::kLeft, Side::kRight}) {
        const uint64_t freed = buffers_[static_cast<size_t>(side)].free(reach_.bound(side, watermark));
        executor.counters(stage_.stream).expired += freed;
        changed = changed || freed > 0;
    }
    return changed;
}

JoinBuffer::Turn Join::end_of_told(Side side, EventTime watermark) const {
    if (hopping_windows() != nullptr) return {.window = reach_.first_open(watermark)};
    return {.time = reach_.bound(side, watermark)};
}

Result<bool> Join::give_leaving(Executor& executor, EventTime watermark) {
    const std::array<JoinBuffer::Turn, 2> ends{end_of_told(Side::kLeft, watermark),
                                                end_of_told(Side::kRight, watermark)};
    std::array<std::optional<JoinBuffer::Turn>, 2> next;
    for (size_t side = 0; side < 2; ++side) {
        WEIR_ASSIGN(next[side], buffers_[side].peek(ends[side]));
    }
    const auto leaves_at = [&](Side side) {
        const auto& turn = next[static_cast<size_t>(side)];
        if (!turn) return kEndOfTime;
        return hopping_windows() != nullptr ? reach_.closes(turn->window)
                                            : reach_.reaches(side, turn->time + 1);
    };
    bool changed = false;
    size_t count = 0;
    while ((next[0] || next[1]) && !executor.epoch_is_full(results_.waiting_bytes())) {
        if (count == 0) release();
        const bool left = next[0] && (!next[1] || leaves_at(Side::kLeft) <= leaves_at(Side::kRight));
        const size_t side = left ? 0 : 1;
        WEIR_ASSIGN(const JoinBuffer::Found leaving, buffers_[side].take(*next[side]));
        WEIR_ASSIGN(next[side], buffers_[side].peek(ends[side]));
        changed = true;
        const JoinBuffer::Found* partner = nullptr;
        if (as_of_) {
            WEIR_ASSIGN(partner, nearest(leaving));
            if (partner == nullptr && !join_.rule.keeps_left()) continue;
        }
        if (count == 0) results_.begin(executor, false);
        fill_leaving(count, static_cast<Side>(side), leaving, partner);
        StreamCounters& counters = executor.counters(stage_.stream);
        ++(partner == nullptr ? counters.unmatched : counters.matched);
        if (++count == kSliceRows) WEIR_TRY(results_.run(executor, results_.all(std::exchange(count, 0))));
    }
    if (count > 0) WEIR_TRY(results_.run(executor, results_.all(count)));
    rest_ = next[0] || next[1];
    if (rest_) now_ = std::max(now_, std::min(leaves_at(Side::kLeft), leaves_at(Side::kRight)) - 1);
    for (size_t side = 0; side < 2; ++side) buffers_[side].tell_until(next[side].value_or(ends[side]));
    return changed;
}

void Join::fill_leaving(size_t row, Side side, const JoinBuffer::Found& leaving,
                        const JoinBuffer::Found* partner) {
    results_.begin_row(row, partner == nullptr ? leaving.time : std::max(leaving.time, partner->time));
    fill_window(row, hopping_windows() != nullptr ? leaving.window : reach_.windows().cell_of(leaving.time));
    results_.fill_key(row, leaving.row->key());
    results_.fill(row, side, leaving.row->values());
    if (partner != nullptr) {
        results_.fill(row, Side::kRight, partner->row->values());
    } else {
        results_.fill_null(row, side == Side::kLeft ? Side::kRight : Side::kLeft);
    }
}

Result<const JoinBuffer::Found*> Join::nearest(const JoinBuffer::Found& left) {
    const std::string_view key = left.row->key();
    if (key.empty()) return nullptr;
    found_.clear();
    WEIR_TRY(find(Side::kRight, key, place_of(Side::kRight, key), reach_.first(Side::kLeft, left.time),
                  reach_.last(Side::kLeft, left.time), found_));
    const auto distance = [&](const JoinBuffer::Found& right) {
        return right.time < left.time ? left.time - right.time : right.time - left.time;
    };
    // They are in order: of one time the one that came last, of two equally far ones the earlier.
    const JoinBuffer::Found* best = nullptr;
    for (const JoinBuffer::Found& right : found_) {
        if (best == nullptr || distance(right) < distance(*best) || right.time == best->time) best = &right;
    }
    return best;
}

void Join::write_changes(EventTime watermark, state::DeltaWriter& out) {
    for (JoinBuffer& buffer : buffers_) buffer.write_changes(out);
    std::string rest;
    const bool owes = buffers_[0].owes() || buffers_[1].owes();
    if (rest_ || owes) {
        put_le<int64_t>(rest, now_);
        for (const JoinBuffer& buffer : buffers_) buffer.append_told(rest);
    }
    write_clock(stage_.table, std::max(watermark, now_), out, rest);
}

bool Join::restore_now(std::string_view value, EventTime& watermark) {
    std::string_view rest;
    const auto clock = restore_clock(value, rest);
    if (!clock) return false;
    now_ = watermark = *clock;
    rest_ = false;
    if (!rest.empty()) {
        ByteReader in(rest);
        now_ = in.le<int64_t>();
        rest_ = now_ < watermark;
        return buffers_[0].restore_told(in) && buffers_[1].restore_told(in) && in.done();
    }
    for (const Side side : {Side::kLeft, Side::kRight})
        buffers_[static_cast<size_t>(side)].restore_told(end_of_told(side, now_));
    return true;
}

Result<void> Join::restore_stored(EventTime& watermark) {
    WEIR_ASSIGN(const auto clock, stored_->find(0, kClockKey));
    if (clock && !restore_now(*clock, watermark)) return unreadable_state(stage_);
    for (JoinBuffer& buffer : buffers_) WEIR_TRY(buffer.restore_stored());
    return {};
}

Result<void> Join::restore(uint32_t table, std::string_view key, std::string_view value,
                           EventTime& watermark) {
    const uint32_t place = table - stage_.table;
    if (place == 0 && key == kClockKey)
        return restore_now(value, watermark) ? Result<void>{} : Result<void>(unreadable_state(stage_));
    const size_t side = place / kTablesPerSide;
    const bool partners = place % kTablesPerSide != 0;
    // Values are read with every pair later on, unchecked: here is where they are checked.
    const auto good_values = [&](std::string_view values) {
        ByteReader in(values);
        Value ignored;
        for (size_t i = 0; i < join_.columns[side].size(); ++i)
            if (!read_compact_value(in, ignored)) return false;
        return in.done() && !in.failed();
    };
    const bool good = side < 2 && buffers_[side].restore(partners, key, value, good_values);
    return good ? Result<void>{} : Result<void>(unreadable_state(stage_));
}

void Join::restore_erased(uint32_t table, std::string_view key) {
    const uint32_t place = table - stage_.table;
    if (place % kTablesPerSide == 0) buffers_[place / kTablesPerSide].restore_erased(key);
}

}  // namespace weir::processor
