#include "processor/source_reader.h"

#include <algorithm>

#include "base/log.h"
#include "processor/encode.h"
#include "processor/expr/decimal.h"
#include "processor/expr/jsonb.h"
#include "processor/expr/timestamp.h"

namespace weir::processor {
namespace {

// Years 1 … 9999: what a timestamp's text can say, and far from where sums of times and durations would wrap.
constexpr EventTime kEarliestTime = expr::kMinTimestamp / 1000;
constexpr EventTime kLatestTime = expr::kEndTimestamp / 1000 - 1;
constexpr int64_t kKeySampleEvery = 64;  // Offsets; a power of two.
constexpr int64_t kWarnEveryMs = 60'000;

// Epoch milliseconds, RFC 3339 text or a timestamptz.
bool read_time(const Value& value, EventTime& time) {
    switch (value.type) {
        case Type::kNumeric: {
            const expr::Decimal decimal = expr::Decimal::of(value);
            if (decimal.scale == 0) {
                time = static_cast<int64_t>(decimal.mantissa);
                if (time != decimal.mantissa) return false;
            } else {
                expr::Decimal whole;
                if (expr::floor(decimal, whole) != expr::Status::kOk || !expr::to_int64(whole, time))
                    return false;
            }
            break;
        }
        case Type::kInt4:
        case Type::kInt8: time = value.integer; break;
        case Type::kTimestamptz: time = value.integer / 1000 - (value.integer % 1000 < 0 ? 1 : 0); break;
        case Type::kText: {
            const auto microseconds = expr::parse_timestamp_text(value.bytes());
            if (!microseconds) return false;
            time = *microseconds / 1000 - (*microseconds % 1000 < 0 ? 1 : 0);
            break;
        }
        default: return false;
    }
    return time >= kEarliestTime && time <= kLatestTime;
}

// The watermark that a record carries: TRUE is its own time, NULL and FALSE are none.
bool read_mark(const Value& value, EventTime own_time, EventTime& mark) {
    mark = kNoTime;
    if (value.is_null()) return true;
    if (value.type != Type::kBool) return read_time(value, mark);
    if (value.boolean) mark = own_time;
    return !value.boolean || own_time != kNoTime;
}

bool feeds_a_stage(const Graph& graph, size_t source) {
    for (const RepartitionPlan& repartition : graph.repartitions) {
        for (const Feed& feed : repartition.feeds) {
            if (feed.source == source && repartition.carries_time) return true;
        }
    }
    for (const Stage& stage : graph.stages) {
        for (const Feed& feed : stage.feeds) {
            if (feed.source == source) return true;
        }
    }
    return false;
}

}  // namespace

SourceReader::SourceReader(const Plan& plan, size_t source, Watermarks& watermarks, Counters& counters)
    : plan_(plan),
      source_(plan.graph->sources[source]),
      watermarks_(watermarks),
      counters_(counters.sources[source]),
      decoder_(source_.format, source_.paths, source_.value_slot),
      needs_time_(source_.timestamp.has_value() || source_.needs_time ||
                  feeds_a_stage(*plan.graph, source)),
      keys_rows_(source_.table.has_value() && source_.key_slot != PathTree::kNoSlot) {}

Result<size_t> SourceReader::read(Executor& executor, size_t partition, std::span<const InputRecord> records,
                                  const Source& source, int64_t wall_ms, Sink& sink) {
    Batch& batch = executor.begin_slice(source_.frame, records.size());
    batch.partition = partition;
    for (size_t i = 0; i < records.size(); ++i) batch.records[i] = &records[i];

    rows_.clear();
    errors_.clear();
    decoder_.decode(records, executor.arena(), batch.columns, rows_, errors_);
    if (keys_rows_) records = keyed(executor, batch, records);
    if (source_.table) WEIR_TRY(check_row_keys(executor, partition, records, source, sink));
    for (const expr::Slot slot : plan_.graph->frames[source_.frame].null_slots) {
        std::fill_n(batch.columns[static_cast<size_t>(slot)].begin(), records.size(), Value::null());
    }
    fill_metadata(executor, batch, partition, records, source);
    batch.watermarks.resize(records.size());
    batch.wall_ms = wall_ms;
    WEIR_ASSIGN(const size_t taken, assign_times(executor, batch, partition, records, source, sink));
    counters_.records += taken;
    for (const InputRecord& record : records.first(taken))
        counters_.bytes += record.key.size() + record.value.size();
    if (source_.key_slot != PathTree::kNoSlot && !keys_rows_) check_keys(batch, partition, wall_ms);
    counters_.delivered += rows_.size();
    WEIR_TRY(executor.run(source_.next, rows_));
    return taken;
}

std::span<const InputRecord> SourceReader::keyed(Executor& executor, Batch& batch,
                                                 std::span<const InputRecord> records) {
    const Column& fields = batch.columns[static_cast<size_t>(source_.key_slot)];
    keyed_records_.assign(records.begin(), records.end());
    for (size_t i = 0; i < keyed_records_.size(); ++i) batch.records[i] = &keyed_records_[i];
    for (const uint32_t row : rows_) {
        keyed_records_[row].key = {};
        if (fields[row].is_error()) continue;
        const MaybeBytes text = encode_text(fields[row], text_);
        if (text.data() == nullptr) continue;
        keyed_records_[row].key = text.empty() ? MaybeBytes("") : executor.arena().copy(text);
    }
    return keyed_records_;
}

// A table's record is found by its key.
Result<void> SourceReader::check_row_keys(Executor& executor, size_t partition,
                                          std::span<const InputRecord> records, const Source& source,
                                          Sink& sink) {
    auto kept = rows_.begin();
    for (const uint32_t row : rows_) {
        if (records[row].key.data() != nullptr) {
            *kept++ = row;
            continue;
        }
        ++counters_.decode_errors;
        WEIR_TRY(reject(executor, partition, records[row], ErrorName::kDecodeFailed,
                        keys_rows_ ? ".keyed_by" : ".topic",
                        keys_rows_ ? "'" + source_.keyed_by + "' is NULL, so nothing could find the row"
                                   : "a table's record has a key",
                        source, sink));
    }
    rows_.erase(kept, rows_.end());
    return {};
}

Result<void> SourceReader::reject(Executor& executor, size_t partition, const InputRecord& record,
                                  ErrorName error, const char* key, std::string_view message,
                                  const Source& source, Sink& sink) {
    const std::string step = (source_.table ? "tables." : "sources.") + source_.name + key;
    FailedRecord failed;
    failed.record = &record;
    failed.partition = watermarks_.partitions()[partition].id;
    failed.error = error;
    failed.step = step;
    failed.message = message;
    const Graph& graph = *plan_.graph;
    ErrorPlan policy = error == ErrorName::kDecodeFailed ? graph.on_decode_error : graph.on_expression_error;
    // A global table is read by every worker, and anew at every start: it would be written as often.
    if (source_.global && policy.action == config::ErrorAction::kDeadLetter)
        policy.action = config::ErrorAction::kSkip;
    return executor.dead_letters().reject(policy, failed, &source, sink, counters_.dead_lettered,
                                          counters_.skipped);
}

void SourceReader::fill_metadata(Executor& executor, Batch& batch, size_t partition,
                                 std::span<const InputRecord> records, const Source& source) {
    const TopicPartition id = watermarks_.partitions()[partition].id;
    const auto fill = [&](expr::Metadata which, const auto& value_of) {
        const expr::Slot slot = source_.metadata[static_cast<size_t>(which)];
        if (slot == PathTree::kNoSlot) return;
        Column& column = batch.columns[static_cast<size_t>(slot)];
        for (const uint32_t row : rows_) column[row] = value_of(records[row]);
    };
    fill(expr::Metadata::kKey, [](const InputRecord& record) {
        return record.key.data() == nullptr ? Value::null() : Value::of_text(record.key);
    });
    fill(expr::Metadata::kTopic, [&](const InputRecord&) {
        return Value::of_text(plan_.inputs[static_cast<size_t>(id.topic)].name);
    });
    fill(expr::Metadata::kPartition, [&](const InputRecord&) { return Value::of_int4(id.partition); });
    fill(expr::Metadata::kOffset, [](const InputRecord& record) { return Value::of_int8(record.offset); });
    fill(expr::Metadata::kTimestamp, [](const InputRecord& record) {
        return record.timestamp_ms < 0 ? Value::null() : Value::of_timestamptz(record.timestamp_ms * 1000);
    });
    fill(expr::Metadata::kHeaders, [&](const InputRecord& record) {
        headers_.clear();
        source.read_headers(record, headers_);
        text_ = "{";
        for (size_t i = 0; i < headers_.size(); ++i) {
            const bool repeated =
                std::any_of(headers_.begin() + static_cast<ptrdiff_t>(i) + 1, headers_.end(),
                            [&](const Header& later) { return later.name == headers_[i].name; });
            if (repeated) continue;  // The last one of a name counts.
            if (text_.size() > 1) text_ += ',';
            expr::append_json_string(headers_[i].name, text_);
            text_ += ':';
            if (headers_[i].value.data() == nullptr) {
                text_ += "null";
            } else {
                expr::append_json_string(headers_[i].value, text_);
            }
        }
        text_ += '}';
        return Value::of_bytes(Type::kJsonb, executor.arena().copy(text_));
    });
}

// Rejects what was not decoded, keeps in rows_ what has a usable event time, and moves the partition's
// watermark: a row is seen with the watermark before it, then its time counts, then the watermark that it
// carries. Ends where the slice has to.
Result<size_t> SourceReader::assign_times(Executor& executor, Batch& batch, size_t index,
                                          std::span<const InputRecord> records, const Source& source,
                                          Sink& sink) {
    Watermarks::Partition& partition = watermarks_.partition(index);
    const EventTime slice_end = executor.slice_end(index);
    size_t taken = records.size();
    size_t rejected = 0;  // Of errors_.
    const auto reject_before = [&](size_t end) -> Result<void> {
        for (; rejected < errors_.size() && errors_[rejected].row < end; ++rejected) {
            ++counters_.decode_errors;
            WEIR_TRY(reject(executor, index, records[errors_[rejected].row], ErrorName::kDecodeFailed,
                            ".format", errors_[rejected].message, source, sink));
        }
        return {};
    };
    const Watermarks::Strategy strategy(source_.watermark);
    const auto column_of = [&](const std::optional<expr::Expression>& expression, Column& scratch) {
        return expression ? &executor.evaluate(*expression, batch, rows_, scratch) : nullptr;
    };
    const Column* const times = column_of(source_.timestamp, times_);
    const Column* const marks = column_of(source_.mark, marks_);
    const Column* const markers = column_of(source_.markers, markers_);
    const EventTime latest_allowed = batch.wall_ms + source_.watermark.max_ahead_ms;
    uint64_t advances = 0;
    uint32_t advanced_by = 0;
    size_t kept = 0;
    for (const uint32_t row : rows_) {
        if (partition.watermark >= slice_end && row > 0) [[unlikely]] {
            taken = row;
            break;
        }
        if (!errors_.empty()) [[unlikely]]
            WEIR_TRY(reject_before(row));
        bool is_marker = false;
        if (markers != nullptr) {
            const Value& value = (*markers)[row];
            if (value.type != Type::kBool && !value.is_null()) [[unlikely]] {
                ++counters_.timestamp_errors;
                WEIR_TRY(reject(executor, index, records[row], ErrorName::kTimestampUnreadable,
                                ".watermark.markers",
                                value.is_error() ? value.bytes() : "a condition is boolean", source, sink));
                continue;
            }
            is_marker = value.type == Type::kBool && value.boolean;
        }
        EventTime time = records[row].timestamp_ms;
        bool readable = time >= 0 || !needs_time_;
        // A tombstone has no field to read it from.
        const bool deletes = source_.table && records[row].value.data() == nullptr;
        if (times != nullptr && !deletes) readable = read_time((*times)[row], time);
        const bool ahead = readable && time > latest_allowed && needs_time_;
        if ((!readable || ahead) && !is_marker) [[unlikely]] {
            WEIR_TRY(reject_time(executor, index, records[row],
                                 times != nullptr && !deletes ? &(*times)[row] : nullptr,
                                 ahead ? time - batch.wall_ms : 0, source, sink));
            continue;
        }
        EventTime mark = kNoTime;
        if (marks != nullptr && !read_mark((*marks)[row], readable ? time : kNoTime, mark)) [[unlikely]] {
            ++counters_.timestamp_errors;
            const Value& value = (*marks)[row];
            WEIR_TRY(reject(executor, index, records[row], ErrorName::kTimestampUnreadable,
                            source_.watermark.strategy == config::WatermarkStrategy::kPunctuated
                                ? ".watermark.when"
                                : ".watermark.from",
                            value.is_error() ? value.bytes() : "the watermark is not readable", source,
                            sink));
            continue;
        }
        batch.times[row] = time;
        batch.watermarks[row] = partition.watermark;
        bool advanced = false;
        if (needs_time_ && !is_marker) {
            counters_.behind += time < partition.watermark ? 1 : 0;
            advanced = strategy.on_event(partition, time);
        }
        if (mark > latest_allowed) [[unlikely]] {
            ++counters_.marks_ahead;
        } else if (mark != kNoTime) {
            advanced = Watermarks::Strategy::on_mark(partition, mark) || advanced;
        }
        if (advanced) {
            ++advances;
            advanced_by = row;
        }
        if (is_marker) {
            ++counters_.markers;
        } else {
            rows_[kept++] = row;
        }
    }
    WEIR_TRY(reject_before(taken));
    if (advances > 0) {
        partition.advances += advances;
        partition.advanced_offset = records[advanced_by].offset;
        partition.advanced_wall_ms = batch.wall_ms;
    }
    rows_.resize(kept);
    return taken;
}

// `value`: of the timestamp expression; null: the record's own time is used. `ahead_ms`: 0 when the time is
// not readable.
Result<void> SourceReader::reject_time(Executor& executor, size_t partition, const InputRecord& record,
                                       const Value* value, int64_t ahead_ms, const Source& source,
                                       Sink& sink) {
    if (ahead_ms > 0) {
        ++counters_.ahead;
        return reject(executor, partition, record, ErrorName::kTimestampAhead, ".timestamp",
                      "its event time is " + std::to_string(ahead_ms) + " ms ahead of the clock", source,
                      sink);
    }
    ++counters_.timestamp_errors;
    std::string_view message =
        "the timestamp is not readable: epoch milliseconds, RFC 3339 text or a timestamp is";
    if (value == nullptr) {
        message = "the record carries no timestamp";
    } else if (value->is_null()) {
        message = "the timestamp is NULL";
    } else if (value->is_error()) {
        message = value->bytes();
    }
    return reject(executor, partition, record, ErrorName::kTimestampUnreadable, ".timestamp", message, source,
                  sink);
}

// A sample: the promise of keyed_by is the producers', and state would be split silently where it is broken.
void SourceReader::check_keys(const Batch& batch, size_t partition, int64_t wall_ms) {
    const Column& fields = batch.columns[static_cast<size_t>(source_.key_slot)];
    for (const uint32_t row : rows_) {
        const InputRecord& record = *batch.records[row];
        if ((record.offset & (kKeySampleEvery - 1)) != 0) continue;
        if (record.value.data() == nullptr) continue;  // It deletes, and has no field.
        if (is_key_of(record.key, fields[row], text_)) continue;
        ++counters_.key_mismatches;
        if (wall_ms - warned_wall_ms_ < kWarnEveryMs) continue;
        warned_wall_ms_ = wall_ms;
        const TopicPartition id = watermarks_.partitions()[partition].id;
        log_warn(
            "record key is not the field that keyed_by names; groups may be split over partitions "
            "source={} keyed_by={} topic={} partition={} offset={}",
            source_.name, source_.keyed_by, plan_.inputs[static_cast<size_t>(id.topic)].name, id.partition,
            record.offset);
    }
}

}  // namespace weir::processor
