#include "processor/limiter.h"

#include <algorithm>

#include "processor/executor.h"
#include "processor/group_key.h"

namespace weir::processor {
namespace {

constexpr uint32_t kStoredClockTable = 1;  // Of a stage on disk, whose first table has nothing but rows.

}  // namespace

Limiter::Limiter(const Graph& graph, StageId id)
    : stage_(graph.stages[id]), id_(id), no_cells_(stage_.calls), spans_(no_cells_) {}

Result<void> Limiter::pass(Executor& executor, const Node& node, const LimitNode& input, Batch& batch,
                           Rows rows) {
    prepare();
    WEIR_TRY(evaluate(executor, node, input, batch, rows));
    StreamCounters& counters = executor.counters(node.stream);
    // Windows' results come without watermarks: a stage before never lets them go too late for this one.
    Watermarks::Before before{};
    const bool can_be_late = !batch.watermarks.empty();
    if (can_be_late) before = executor.watermarks().before(id_, batch.partition);
    late_.clear();
    size_t passed = 0;
    uint64_t stopped = 0;
    for (const uint32_t row : rows_) {
        const EventTime time = batch.times[row];
        if (can_be_late && before.late_at(batch.watermarks[row]) >= time + stage_.limit_ms) {
            late_.push_back(row);
            continue;
        }
        key_.clear();
        for (const Column* by : by_) append_group_key((*by)[row], key_);
        WEIR_ASSIGN(const bool passes, take(time));
        if (passes) {
            rows_[passed++] = row;
        } else {
            ++stopped;
        }
    }
    rows_.resize(passed);
    (stage_.limits_duplicates ? counters.duplicates : counters.throttled) += stopped;
    WEIR_TRY(executor.run(node.next, rows_));
    if (late_.empty()) return {};
    batch.late_by_ms.resize(batch.row_count);
    for (const uint32_t row : late_)
        batch.late_by_ms[row] = before.late_at(batch.watermarks[row]) - batch.times[row];
    return tell_late(executor, node, input.late, batch, late_);
}

Result<void> Limiter::evaluate(Executor& executor, const Node& node, const LimitNode& input,
                               const Batch& batch, Rows rows) {
    rows_.assign(rows.begin(), rows.end());
    by_.resize(input.by.size());
    by_scratch_.resize(input.by.size());
    for (size_t i = 0; i < input.by.size(); ++i) {
        by_[i] = &executor.evaluate(input.by[i], batch, rows_, by_scratch_[i]);
        size_t good = 0;
        for (const uint32_t row : rows_) {
            const Value& value = (*by_[i])[row];
            if (!value.is_error()) [[likely]] {
                rows_[good++] = row;
                continue;
            }
            WEIR_TRY(
                executor.reject(node, batch, row, input.layout, ErrorName::kExpressionFailed, value.bytes()));
        }
        rows_.resize(good);
    }
    return {};
}

Result<bool> Limiter::take(EventTime time) {
    if (stored_) return stored_->take(key_, time);
    const uint64_t hash = hash_group_key(key_);
    // From the newest on: those too far ahead, those that count, those too far behind.
    Span* previous = spans_.chain(key_, hash).last;
    int64_t near = 0;
    Span* place = nullptr;
    bool placed = false;
    for (; previous != nullptr && previous->group.first > time - stage_.limit_ms;
         previous = previous->previous) {
        if (!placed && previous->group.first <= time) {
            place = previous;
            placed = true;
        }
        if (previous->group.first < time + stage_.limit_ms && ++near >= stage_.limit) return false;
    }
    if (!placed) place = previous;
    Span& span = spans_.insert(key_, hash, place);
    span.group.first = span.group.last = time;
    span.group.records = 1;
    spans_.touch(span);
    expire_later(span);
    return true;
}

void Limiter::expire_later(Span& span) {
    heap_.push_back({span.group.first + 2 * stage_.limit_ms, &span});
    std::push_heap(heap_.begin(), heap_.end());
}

void Limiter::prepare() {
    if (!spans_.finish_restoring()) return;
    heap_.clear();
    spans_.for_each([&](Span& span) { expire_later(span); });
}

Result<bool> Limiter::advance(Executor&, EventTime watermark, bool) {
    prepare();
    now_ = std::max(now_, watermark);
    if (stored_) stored_->forget(now_);
    while (!heap_.empty() && heap_.front().at <= now_) {
        spans_.remove(*heap_.front().span);
        std::pop_heap(heap_.begin(), heap_.end());
        heap_.pop_back();
    }
    return false;
}

void Limiter::write_changes(EventTime watermark, state::DeltaWriter& out) {
    if (stored_) {
        stored_->write_changes(out);
        write_clock(stage_.table + kStoredClockTable, std::max(watermark, now_), out);
        return;
    }
    spans_.write_changes(stage_.table, out);
    write_clock(stage_.table, std::max(watermark, now_), out);
}

Result<void> Limiter::restore(uint32_t table, std::string_view key, std::string_view value,
                              EventTime& watermark) {
    if (table != stage_.table) return unreadable_state(stage_);
    if (key == kClockKey) {
        const auto clock = restore_clock(value);
        if (!clock) return unreadable_state(stage_);
        now_ = watermark = *clock;
        return {};
    }
    const bool good = key.size() >= kPrefixBytes && spans_.restore(key, value);
    return good ? Result<void>{} : Result<void>(unreadable_state(stage_));
}

void Limiter::restore_erased(uint32_t table, std::string_view key) {
    if (table == stage_.table) spans_.restore_erased(key);
}

void Limiter::open(state::StoredRows& rows, size_t cache_bytes) {
    store_ = &rows;
    stored_.emplace(stage_, rows, cache_bytes);
}

Result<void> Limiter::restore_stored(EventTime& watermark) {
    WEIR_ASSIGN(const auto row, store_->find(kStoredClockTable, kClockKey));
    if (!row) return {};
    const auto clock = restore_clock(*row);
    if (!clock) return unreadable_state(stage_);
    now_ = watermark = *clock;
    WEIR_TRY(stored_->restore());
    stored_->forget(now_);
    return {};
}

}  // namespace weir::processor
