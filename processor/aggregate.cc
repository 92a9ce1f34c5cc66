#include "processor/aggregate.h"

#include <algorithm>

#include "processor/executor.h"
#include "processor/group_key.h"
#include "processor/shard.h"

namespace weir::processor {
namespace {

constexpr uint8_t kClocksVersion = 2;
constexpr uint8_t kClocksAndRestVersion = 3;
constexpr std::string_view kClocksKey = "w";

}  // namespace

Aggregate::Aggregate(const Graph& graph, StageId id)
    : stage_(graph.stages[id]),
      id_(id),
      processing_time_(stage_.window.time == config::Window::Time::kProcessing),
      accumulators_(stage_.calls),
      stored_(stage_, accumulators_),
      results_(stage_, accumulators_, *this, stage_.on_disk ? &stored_ : nullptr),
      windows_(Windows::make(stage_, accumulators_, results_, *this, stage_.on_disk ? &stored_ : nullptr)),
      held_(graph, stage_) {}

Result<void> Aggregate::accumulate(Executor& executor, const Node& node, const AccumulateNode& input,
                                   Batch& batch, Rows rows) {
    executor_ = &executor;
    // Windows' results come without watermarks: a stage before never lets them go too late for this one.
    Watermarks::Before before{};
    const bool can_be_late = stage_.window.is_timed() && !processing_time_ && !batch.watermarks.empty();
    if (can_be_late) before = executor.watermarks().before(id_, batch.partition);
    if (processing_time_) advance_all(std::max(windows_->now(), executor.wall_ms()), Reason::kTimer);

    split_late(batch, rows, can_be_late ? &before : nullptr);
    if (!rows_.empty()) {
        WEIR_TRY(evaluate(executor, node, input, batch));
        place(batch, can_be_late ? &before : nullptr);
        WEIR_TRY(taken_);
        WEIR_TRY(stored_.failure());
        executor.counters(node.stream).merged += rows_.size();
        count_closed(executor);
        if (stage_.emit.kind == config::Emit::Kind::kEvery && show_at_ms_ == kEndOfTime &&
            windows_->has_changed()) {
            show_at_ms_ = executor.wall_ms() + stage_.emit.every_ms;
        }
    }
    if (late_.empty()) return {};
    measure_late(batch, before);
    return tell_late(executor, node, input.late, batch, late_);
}

// By time alone; a session's records may still turn out to be late in place().
void Aggregate::split_late(const Batch& batch, Rows rows, const Watermarks::Before* before) {
    late_.clear();
    if (before == nullptr) {
        rows_.assign(rows.begin(), rows.end());
        return;
    }
    rows_.clear();
    for (const uint32_t row : rows) {
        const bool late = before->late_at(batch.watermarks[row]) >= windows_->late_from(batch.times[row]);
        (late ? late_ : rows_).push_back(row);
    }
}

// Everything that can fail for a row is computed before any state changes.
Result<void> Aggregate::evaluate(Executor& executor, const Node& node, const AccumulateNode& input,
                                 const Batch& batch) {
    failures_.assign(batch.row_count, {});
    bool failed = false;
    const auto fail = [&](uint32_t row, std::string_view message) {
        failures_[row] = message;
        failed = true;
    };
    by_.resize(input.by.size());
    by_scratch_.resize(input.by.size());
    for (size_t i = 0; i < input.by.size(); ++i) {
        by_[i] = &executor.evaluate(input.by[i], batch, rows_, by_scratch_[i]);
        for (const uint32_t row : rows_) {
            if ((*by_[i])[row].is_error()) [[unlikely]]
                fail(row, (*by_[i])[row].bytes());
        }
    }
    calls_.resize(input.calls.size());
    for (size_t i = 0; i < input.calls.size(); ++i) {
        CallRows& call = calls_[i];
        Rows rows = rows_;
        call.filtered = input.calls[i].filter.has_value();
        if (call.filtered) {
            const Column& filter =
                executor.evaluate(*input.calls[i].filter, batch, rows_, call.filter_scratch);
            call.rows.clear();
            for (const uint32_t row : rows_) {
                const Value& value = filter[row];
                if (value.type == Type::kBool && value.boolean) call.rows.push_back(row);
                if (value.type != Type::kBool && !value.is_null()) {
                    fail(row, value.is_error() ? value.bytes() : "a FILTER condition is boolean");
                }
            }
            rows = call.rows;
        }
        const size_t argument_count = input.calls[i].arguments.size();
        call.arguments.resize(argument_count);
        call.scratch.resize(argument_count);
        for (size_t k = 0; k < argument_count; ++k) {
            call.arguments[k] =
                &executor.evaluate(input.calls[i].arguments[k], batch, rows, call.scratch[k]);
            const unsigned accepted = accumulators_.accepts(i, k);
            for (const uint32_t row : rows) {
                const Value& value = (*call.arguments[k])[row];
                if ((accepted >> static_cast<unsigned>(value.type) & 1) != 0) [[likely]]
                    continue;
                fail(row, value.is_error() ? value.bytes() : accumulators_.refusal(i));
            }
        }
    }
    if (input.held) {
        held_.pack(*input.held, batch, rows_, executor.arena(), packed_);
        calls_[0].arguments.push_back(&packed_);
    }
    if (!failed) [[likely]]
        return {};

    const auto keep_good = [&](std::vector<uint32_t>& rows) {
        std::erase_if(rows, [&](uint32_t row) { return failures_[row].data() != nullptr; });
    };
    for (const uint32_t row : rows_) {
        if (failures_[row].data() == nullptr) continue;
        WEIR_TRY(
            executor.reject(node, batch, row, input.layout, ErrorName::kExpressionFailed, failures_[row]));
    }
    keep_good(rows_);
    for (CallRows& call : calls_) keep_good(call.rows);
    return {};
}

void Aggregate::place(const Batch& batch, const Watermarks::Before* before) {
    const size_t size = rows_.empty() ? 0 : rows_.back() + size_t{1};
    cells_.resize(size);
    stores_.resize(size);
    placing_ = &batch;
    settled_ = 0;
    skips_late_ = false;
    for (CallRows& call : calls_) call.settled = 0;
    EventTime due = windows_->next_due();
    for (const uint32_t row : rows_) {
        placed_end_ = row;
        EventTime watermark = windows_->now();
        if (before != nullptr) {
            // Exactly as if the records had come one by one: what is due before this one is done first.
            watermark = before->at(batch.watermarks[row]);
            if (watermark >= due && watermark != kNoTime) [[unlikely]] {
                advance_all(watermark, Reason::kWatermark);
            }
        }
        key_.clear();
        for (const Column* by : by_) append_group_key((*by)[row], key_);
        const EventTime time = processing_time_ ? windows_->now() : batch.times[row];
        const Place place = windows_->place(key_, hash_group_key(key_), time, watermark);
        due = windows_->next_due();
        if (place.group == nullptr) [[unlikely]] {
            late_.push_back(row);
            cells_[row] = nullptr;
            skips_late_ = true;
            continue;
        }
        cells_[row] = place.group->cells();
        stores_[row] = place.store;
    }
    placed_end_ = static_cast<uint32_t>(size);
    settle();
    placing_ = nullptr;
    if (skips_late_) std::erase_if(rows_, [&](uint32_t row) { return cells_[row] == nullptr; });
}

void Aggregate::settle() {
    if (placing_ == nullptr) return;
    // The rows of one list that were placed since the last time.
    const auto segment = [&](const std::vector<uint32_t>& rows, size_t& settled) {
        const auto first = rows.begin() + static_cast<ptrdiff_t>(settled);
        const auto last = std::lower_bound(first, rows.end(), placed_end_);
        settled = static_cast<size_t>(last - rows.begin());
        if (!skips_late_) return Rows(first, last);
        segment_.clear();
        std::copy_if(first, last, std::back_inserter(segment_),
                     [&](uint32_t row) { return cells_[row] != nullptr; });
        return Rows(segment_);
    };
    const size_t settled_before = settled_;
    for (size_t i = 0; i < calls_.size(); ++i) {
        CallRows& call = calls_[i];
        size_t settled = settled_before;
        const Rows rows = call.filtered ? segment(call.rows, call.settled) : segment(rows_, settled);
        if (!rows.empty()) {
            accumulators_.accumulate(i, {rows, call.arguments, placing_->times, cells_, stores_});
        }
    }
    static_cast<void>(segment(rows_, settled_));
    windows_->settled();
}

void Aggregate::measure_late(Batch& batch, const Watermarks::Before& before) const {
    batch.late_by_ms.resize(batch.row_count);
    for (const uint32_t row : late_) {
        const EventTime watermark =
            batch.watermarks.empty() ? windows_->now() : before.late_at(batch.watermarks[row]);
        batch.late_by_ms[row] = watermark - batch.times[row];
    }
}

void Aggregate::advance_all(EventTime now, Reason reason) {
    stops_ = false;
    const bool all = windows_->advance(now, reason);
    WEIR_CHECK(all, "windows are given in parts while records come");
}

Result<bool> Aggregate::advance(Executor& executor, EventTime watermark, bool idle) {
    executor_ = &executor;
    const bool ended = watermark == kEndOfTime;
    const EventTime before = windows_->now();
    stops_ = !(processing_time_ && ended);
    bool all = true;
    if (processing_time_ && !ended) {
        all = windows_->advance(std::max(before, executor.wall_ms()), Reason::kTimer);
    } else if (watermark > before) {
        all = windows_->advance(watermark, idle ? Reason::kIdle : Reason::kWatermark);
        // Records of a later run still find the wall clock's time.
        if (processing_time_) windows_->restore_now(before);
    }
    stops_ = false;
    bool changed = !all;
    if (all && stage_.emit.kind == config::Emit::Kind::kEvery &&
        (ended || executor.wall_ms() >= show_at_ms_)) {
        windows_->show_changed();
        show_at_ms_ = kEndOfTime;
        changed = true;
    }
    const uint64_t closed_before = executor.counters(stage_.stream).windows_closed;
    count_closed(executor);
    changed = changed || executor.counters(stage_.stream).windows_closed > closed_before ||
              !results_.waiting().empty();
    WEIR_TRY(emit(executor));
    return changed;
}

void Aggregate::count_closed(Executor& executor) {
    executor.counters(stage_.stream).windows_closed += windows_->take_closed();
    executor.counters(stage_.stream).released += windows_->take_released();
}

Result<void> Aggregate::finish_epoch(Executor& executor) {
    using Kind = config::Emit::Kind;
    WEIR_TRY(stored_.failure());
    const Kind kind = stage_.emit.kind;
    executor_ = &executor;
    if (kind == Kind::kOnWatermark || kind == Kind::kOnUpdate || kind == Kind::kChanges)
        windows_->show_changed();
    return emit(executor);  // What became due in a slice, too, where a stage before has a rest.
}

int64_t Aggregate::next_wall_ms() {
    return processing_time_ ? std::min(show_at_ms_, windows_->next_due()) : show_at_ms_;
}

void Aggregate::take_results() {
    if (taken_.ok()) taken_ = emit(*executor_);
    results_.clear();
}

bool Aggregate::full() { return stops_ && executor_->epoch_is_full(results_.waiting_bytes()); }

Result<void> Aggregate::emit(Executor& executor) {
    WEIR_TRY(taken_);
    WEIR_TRY(stored_.failure());
    executor.count_given(results_.waiting_bytes());
    const size_t count = results_.waiting().size();
    if (stage_.holds_rows) WEIR_TRY(give_rows(executor));
    for (size_t first = 0; first < count && !stage_.holds_rows; first += kSliceRows)
        WEIR_TRY(emit_slice(executor, first, std::min(kSliceRows, count - first)));
    results_.clear();
    return {};
}

Result<void> Aggregate::give_rows(Executor& executor) {
    const bool nested = placing_ != nullptr;
    for (size_t i = 0; i < results_.waiting().size(); ++i) {
        const WindowResult& result = results_.waiting()[i];
        const std::string_view rows = results_.value(i, 0).bytes();
        if (stage_.calls[0].function == expr::AggregateFunction::kLast) {
            WEIR_TRY(held_.give(executor, nested, rows, 1, result.time, result.meta));
            continue;
        }
        ByteReader in(rows);
        for (int64_t rank = 1; !in.done(); ++rank)
            WEIR_TRY(held_.give(executor, nested, in.bytes(), rank, result.time, result.meta));
    }
    return held_.flush(executor, nested);
}

Result<void> Aggregate::emit_slice(Executor& executor, size_t first, size_t count) {
    // While rows are placed their batch is in use.
    Batch& batch = placing_ == nullptr ? executor.begin_slice(stage_.frame, count)
                                       : executor.begin_nested_slice(stage_.frame, count);
    std::fill_n(batch.records.begin(), count, nullptr);
    batch.watermarks.clear();
    batch.results.resize(count);
    const auto column = [&](expr::Slot slot) -> Column& { return batch.columns[static_cast<size_t>(slot)]; };
    result_rows_.resize(count);
    for (uint32_t row = 0; row < count; ++row) {
        result_rows_[row] = row;
        const WindowResult& result = results_.waiting()[first + row];
        batch.times[row] = result.time;
        batch.results[row] = result.meta;
        ByteReader key(result.key);
        for (size_t i = 0; i < stage_.by.size(); ++i) read_group_key(key, batch.columns[i][row]);
        if (stage_.window_start >= 0) {
            column(stage_.window_start)[row] = Value::of_int8(result.start);
            column(stage_.window_end)[row] = Value::of_int8(result.end);
        }
        for (size_t i = 0; i < stage_.calls.size(); ++i) {
            column(stage_.first_call + static_cast<expr::Slot>(i))[row] = results_.value(first + row, i);
        }
    }
    executor.counters(stage_.stream).derived += count;
    for (const ResultField& field : stage_.fields) {
        Column& values = column(field.slot);
        const Column& computed = executor.evaluate(field.result, batch, result_rows_, values);
        if (&computed != &values) std::copy_n(computed.begin(), count, values.begin());
    }
    return executor.run(stage_.next, result_rows_);
}

void Aggregate::write_changes(EventTime watermark, state::DeltaWriter& out) {
    windows_->write_changes(out);
    results_.write_changes(out);
    std::string row;
    put_le<uint8_t>(row, has_rest() ? kClocksAndRestVersion : kClocksVersion);
    put_le<int64_t>(row, processing_time_ ? windows_->now() : std::max(watermark, windows_->now()));
    put_le<int64_t>(row, show_at_ms_);
    if (has_rest()) windows_->append_rest(row);
    if (row == stored_clocks_) return;
    out.put(stage_.table, kClocksKey, row);
    stored_clocks_ = row;
}

bool Aggregate::restore_clocks(std::string_view value, EventTime& watermark) {
    ByteReader in(value);
    const auto version = in.le<uint8_t>();
    const auto clock = in.le<int64_t>();
    show_at_ms_ = in.le<int64_t>();
    stored_clocks_ = value;
    if (!processing_time_) watermark = clock;
    if (version == kClocksAndRestVersion) return windows_->restore_rest(in);
    windows_->restore_no_rest();
    windows_->restore_now(clock);
    return !in.failed() && in.done() && version == kClocksVersion;
}

Result<void> Aggregate::restore_stored(EventTime& watermark) {
    const auto clocks = stored_.find(0, kClocksKey);
    if (clocks && !restore_clocks(*clocks, watermark)) stored_.fail_unreadable();
    windows_->restore_stored();
    return stored_.failure();
}

Result<void> Aggregate::restore(uint32_t table, std::string_view key, std::string_view value,
                                EventTime& watermark) {
    if (table == stage_.table && key == kClocksKey)
        return restore_clocks(value, watermark) ? Result<void>{} : Result<void>(unreadable_state(stage_));
    bool good = key.size() >= kPrefixBytes;
    if (good && table == stage_.table) {
        good = windows_->restore_group(key, value);
    } else if (good && table == stage_.table + kPartTable) {
        good = windows_->restore_part(key, value);
    } else if (good) {
        good = table == stage_.table + kShownTable && results_.restore(key, value);
    }
    return good ? Result<void>{} : Result<void>(unreadable_state(stage_));
}

void Aggregate::restore_erased(uint32_t table, std::string_view key) {
    if (table == stage_.table) windows_->restore_erased(key);
    if (table == stage_.table + kShownTable) results_.restore_erased(key);
}

}  // namespace weir::processor
