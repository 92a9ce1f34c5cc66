#include "processor/session_join.h"

#include <algorithm>

#include "base/bytes.h"
#include "processor/accumulators/timed_rows.h"
#include "processor/compact_value.h"
#include "processor/executor.h"
#include "processor/group_key.h"
#include "processor/shard.h"
#include "processor/stored_spans.h"

namespace weir::processor {
namespace {

constexpr size_t kNullKeyBytes = 1 + sizeof(int64_t);

bool is_null_key(std::string_view key) { return key.front() == '\0'; }

std::unique_ptr<SpanWindows> make_windows(const Stage& stage, Accumulators& accumulators,
                                          WindowListener& results, Settler& settler, StoredGroups& stored) {
    if (stage.on_disk)
        return std::make_unique<StoredSpans>(stage, accumulators, results, settler, stored);
    return std::make_unique<SpanWindows>(stage, accumulators, results, settler);
}

}  // namespace

SessionJoin::SessionJoin(const Graph& graph, StageId id)
    : stage_(graph.stages[id]),
      id_(id),
      keeps_{stage_.join->rule.keeps_left(), stage_.join->rule.keeps_right()},
      accumulators_(stage_.calls),
      stored_(stage_, accumulators_),
      windows_(make_windows(stage_, accumulators_, *this, *this, stored_)),
      results_(stage_) {
    for (const Node& node : graph.nodes) {
        const auto* const input = std::get_if<JoinInputNode>(&node.operation);
        if (input != nullptr && input->stage == id) input_node_ = &node;
    }
}

Result<void> SessionJoin::take(Executor& executor, const Node& node, const JoinInputNode& input, Batch& batch,
                               Rows rows) {
    executor_ = &executor;
    // Results of a stage before never lets go too late for this one; they come without watermarks.
    Watermarks::Before before{};
    const bool can_be_late = !batch.watermarks.empty();
    if (can_be_late) before = executor.watermarks().before(id_, batch.partition);
    rows_.assign(rows.begin(), rows.end());
    WEIR_TRY(input_.evaluate(executor, node, input, batch, rows_));
    pack(executor, input.side, batch);
    late_.clear();
    placed_.clear();
    settled_ = 0;
    batch_ = &batch;
    StreamCounters& counters = executor.counters(node.stream);
    EventTime due = windows_->next_due();
    for (size_t i = 0; i < rows_.size(); ++i) {
        const uint32_t row = rows_[i];
        EventTime watermark = windows_->now();
        if (can_be_late) {
            watermark = before.at(batch.watermarks[row]);
            if (watermark >= due && watermark != kNoTime) [[unlikely]]
                windows_->advance(watermark, Reason::kWatermark);
        }
        std::string_view key = input_.key(i);
        uint64_t hash = input_.hashes()[i];
        if (key.empty()) {
            if (!keeps_[static_cast<size_t>(input.side)] &&
                !windows_->is_late_alone(batch.times[row], watermark)) {
                ++counters.buffered;
                ++counters.expired;
                continue;
            }
            key_.assign(1, '\0');
            put_le<int64_t>(key_, static_cast<int64_t>(windows_->next_sequence()));
            key = key_;
            hash = hash_group_key(key);
        }
        const Place place = windows_->place(key, hash, batch.times[row], watermark);
        due = windows_->next_due();
        if (place.group == nullptr) [[unlikely]] {
            late_.push_back(row);
            continue;
        }
        cells_[row] = place.group->cells();
        stores_[row] = place.store;
        placed_.push_back(row);
    }
    settle();
    batch_ = nullptr;
    counters.buffered += placed_.size();
    count_closed();
    WEIR_TRY(given_);
    WEIR_TRY(stored_.failure());
    if (late_.empty()) return {};
    batch.late_by_ms.resize(batch.row_count);
    for (const uint32_t row : late_) {
        const EventTime watermark = can_be_late ? before.late_at(batch.watermarks[row]) : windows_->now();
        batch.late_by_ms[row] = watermark - batch.times[row];
    }
    return tell_late(executor, node, input.late, batch, late_);
}

void SessionJoin::pack(Executor& executor, Side side, const Batch& batch) {
    packed_.resize(std::max(packed_.size(), batch.row_count));
    cells_.resize(packed_.size());
    stores_.resize(packed_.size());
    const auto first = static_cast<char>(side);
    for (const uint32_t row : rows_) {
        packed_[row] = Value::of_text(executor.arena().copy(input_.encode({&first, 1}, row)));
    }
}

void SessionJoin::settle() {
    const Rows rows = Rows(placed_).subspan(settled_);
    if (rows.empty()) return;
    const Column* const packed = &packed_;
    accumulators_.accumulate(0, {rows, {&packed, 1}, batch_->times, cells_, stores_});
    settled_ = placed_.size();
}

Result<bool> SessionJoin::advance(Executor& executor, EventTime watermark, bool idle) {
    executor_ = &executor;
    if (watermark <= windows_->now()) return false;
    stops_ = true;
    const bool all = windows_->advance(watermark, idle ? Reason::kIdle : Reason::kWatermark);
    stops_ = false;
    const uint64_t closed = executor.counters(stage_.stream).windows_closed;
    count_closed();
    WEIR_TRY(given_);
    WEIR_TRY(stored_.failure());
    return !all || executor.counters(stage_.stream).windows_closed > closed;
}

bool SessionJoin::full() { return stops_ && executor_->epoch_is_full(0); }

void SessionJoin::count_closed() {
    StreamCounters& counters = executor_->counters(stage_.stream);
    counters.windows_closed += windows_->take_closed();
    counters.expired += windows_->take_released();
}

void SessionJoin::add(int64_t prefix, const WindowResult& session, const Accumulator* cells,
                      const AccumulatorStore& store) {
    static_cast<void>(prefix);
    if (!given_.ok() || !stored_.failure().ok()) return;
    for (auto& records : records_) records.clear();
    size_t bytes = 0;
    static_cast<const TimedRows*>(store.find(*cells))->for_each([&](EventTime time, std::string_view row) {
        records_[static_cast<size_t>(row.front())].push_back({time, row.substr(1), false});
        bytes += sizeof(Record) + row.size();
    });
    executor_->count_given(bytes);
    for (auto& records : records_)
        std::stable_sort(records.begin(), records.end(),
                         [](const Record& a, const Record& b) { return a.time < b.time; });
    given_ = give_pairs(session);
    if (given_.ok()) given_ = give_alone(session, Side::kLeft);
    if (given_.ok()) given_ = give_alone(session, Side::kRight);
    for (auto& records : records_)
        if (records.capacity() > kSliceRows) records = {};  // Few sessions are that large.
}

void SessionJoin::begin_result(size_t row, const WindowResult& session) {
    if (row == 0) results_.begin(*executor_, batch_ != nullptr);
    results_.begin_row(row, session.time);
    results_.fill_window(row, session.start, session.end);
    results_.fill_key(row, is_null_key(session.key) ? std::string_view() : session.key);
}

Result<void> SessionJoin::give_pairs(const WindowResult& session) {
    for (Record& left : records_[0]) {
        for (Record& right : records_[1]) {
            const size_t row = pairs_.size();
            begin_result(row, session);
            results_.fill(row, Side::kLeft, left.values);
            results_.fill(row, Side::kRight, right.values);
            pairs_.emplace_back(&left, &right);
            if (pairs_.size() == kSliceRows) WEIR_TRY(flush_pairs());
        }
    }
    return flush_pairs();
}

Result<void> SessionJoin::flush_pairs() {
    if (pairs_.empty()) return {};
    const size_t count = pairs_.size();
    WEIR_ASSIGN(const Rows matched, results_.matching(*executor_, *input_node_, count, [](uint32_t) {}));
    for (const uint32_t row : matched) pairs_[row].first->matched = pairs_[row].second->matched = true;
    pairs_.clear();
    executor_->counters(stage_.stream).matched += matched.size();
    return results_.run(*executor_, matched);
}

Result<void> SessionJoin::give_alone(const WindowResult& session, Side side) {
    if (!keeps_[static_cast<size_t>(side)]) return {};
    size_t count = 0;
    const auto flush = [&]() -> Result<void> {
        if (count == 0) return {};
        executor_->counters(stage_.stream).unmatched += count;
        return results_.run(*executor_, results_.all(std::exchange(count, 0)));
    };
    for (const Record& record : records_[static_cast<size_t>(side)]) {
        if (record.matched) continue;
        begin_result(count, session);
        results_.fill(count, side, record.values);
        results_.fill_null(count, side == Side::kLeft ? Side::kRight : Side::kLeft);
        if (++count == kSliceRows) WEIR_TRY(flush());
    }
    return flush();
}

void SessionJoin::write_changes(EventTime watermark, state::DeltaWriter& out) {
    windows_->write_changes(out);
    std::string rest;
    if (has_rest()) windows_->append_rest(rest);
    write_clock(stage_.table, std::max(watermark, windows_->now()), out, rest);
}

bool SessionJoin::restore_now(std::string_view value, EventTime& watermark) {
    std::string_view rest;
    const auto clock = restore_clock(value, rest);
    if (!clock) return false;
    watermark = *clock;
    ByteReader in(rest);
    if (!rest.empty()) return windows_->restore_rest(in);
    windows_->restore_no_rest();
    windows_->restore_now(*clock);
    return true;
}

Result<void> SessionJoin::restore_stored(EventTime& watermark) {
    const auto clock = stored_.find(0, kClockKey);
    if (clock && !restore_now(*clock, watermark)) stored_.fail_unreadable();
    windows_->restore_stored();
    return stored_.failure();
}

Result<void> SessionJoin::restore(uint32_t table, std::string_view key, std::string_view value,
                                  EventTime& watermark) {
    if (table == stage_.table && key == kClockKey)
        return restore_now(value, watermark) ? Result<void>{} : Result<void>(unreadable_state(stage_));
    if (key.size() <= kPrefixBytes) return unreadable_state(stage_);
    if (table == stage_.table) {
        const std::string_view group_key = key.substr(kPrefixBytes);
        if (is_null_key(group_key) && group_key.size() != kNullKeyBytes) return unreadable_state(stage_);
        return windows_->restore_group(key, value) ? Result<void>{} : Result<void>(unreadable_state(stage_));
    }
    // Values are read with every pair later on, unchecked: here is where they are checked.
    bool good = table == stage_.table + kPartTable;
    good = good && TimedRows::for_each_of(value, [&](EventTime, std::string_view row) {
        good = good && !row.empty() && static_cast<uint8_t>(row.front()) <= 1;
        if (!good) return;
        ByteReader in(row.substr(1));
        Value ignored;
        for (size_t i = 0; i < stage_.join->columns[static_cast<size_t>(row.front())].size() && good; ++i)
            good = read_compact_value(in, ignored);
        good = good && in.done() && !in.failed();
    }) && good;
    good = good && windows_->restore_part(key, value);
    return good ? Result<void>{} : Result<void>(unreadable_state(stage_));
}

void SessionJoin::restore_erased(uint32_t table, std::string_view key) {
    if (table == stage_.table) windows_->restore_erased(key);
}

}  // namespace weir::processor
