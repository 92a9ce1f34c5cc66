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

bool feeds_a_stage(const Graph& graph, size_t source) {
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
      needs_time_(source_.timestamp.has_value() || feeds_a_stage(*plan.graph, source)) {}

Result<void> SourceReader::read(Executor& executor, size_t partition, std::span<const InputRecord> records,
                                const Source& source, int64_t wall_ms, Sink& sink) {
    Batch& batch = executor.begin_slice(source_.frame, records.size());
    batch.partition = partition;
    uint64_t bytes = 0;
    for (size_t i = 0; i < records.size(); ++i) {
        batch.records[i] = &records[i];
        bytes += records[i].key.size() + records[i].value.size();
    }
    counters_.records += records.size();
    counters_.bytes += bytes;

    rows_.clear();
    errors_.clear();
    decoder_.decode(records, executor.arena(), batch.columns, rows_, errors_);
    counters_.decode_errors += errors_.size();
    for (const DecodeError& error : errors_) {
        WEIR_TRY(reject(executor, partition, records[error.row], ErrorName::kDecodeFailed, error.message,
                        source, sink));
    }
    for (const expr::Slot slot : plan_.graph->frames[source_.frame].null_slots) {
        std::fill_n(batch.columns[static_cast<size_t>(slot)].begin(), records.size(), Value::null());
    }
    fill_metadata(executor, batch, partition, records, source);
    batch.watermarks.resize(records.size());
    batch.wall_ms = wall_ms;
    WEIR_TRY(assign_times(executor, batch, partition, records, source, sink));
    if (source_.key_slot != PathTree::kNoSlot) check_keys(batch, partition, wall_ms);
    counters_.delivered += rows_.size();
    return executor.run(source_.next, rows_);
}

Result<void> SourceReader::reject(Executor& executor, size_t partition, const InputRecord& record,
                                  ErrorName error, std::string_view message, const Source& source,
                                  Sink& sink) {
    const std::string step =
        "sources." + source_.name + (error == ErrorName::kDecodeFailed ? ".format" : ".timestamp");
    FailedRecord failed;
    failed.record = &record;
    failed.partition = watermarks_.partitions()[partition].id;
    failed.error = error;
    failed.step = step;
    failed.message = message;
    const Graph& graph = *plan_.graph;
    return executor.dead_letters().reject(
        error == ErrorName::kDecodeFailed ? graph.on_decode_error : graph.on_expression_error, failed,
        &source, sink, counters_.dead_lettered, counters_.skipped);
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

// Keeps in rows_ what has a usable event time.
Result<void> SourceReader::assign_times(Executor& executor, Batch& batch, size_t index,
                                        std::span<const InputRecord> records, const Source& source,
                                        Sink& sink) {
    Watermarks::Partition& partition = watermarks_.partition(index);
    const Column* times = nullptr;
    if (source_.timestamp) times = &executor.evaluate(*source_.timestamp, batch, rows_, times_);
    const EventTime latest_allowed = batch.wall_ms + source_.watermark.max_ahead_ms;
    const int64_t max_delay_ms = source_.watermark.max_delay_ms;
    EventTime max_seen = partition.max_seen;
    size_t kept = 0;
    for (const uint32_t row : rows_) {
        EventTime time = records[row].timestamp_ms;
        bool readable = time >= 0 || !needs_time_;
        if (times != nullptr) readable = read_time((*times)[row], time);
        if (!readable || (time > latest_allowed && needs_time_)) [[unlikely]] {
            ++(readable ? counters_.ahead : counters_.timestamp_errors);
            std::string message;
            if (readable) {
                message =
                    "its event time is " + std::to_string(time - batch.wall_ms) + " ms ahead of the clock";
            } else if (times == nullptr) {
                message = "the record carries no timestamp";
            } else {
                const Value& value = (*times)[row];
                message = value.is_null() ? "the timestamp is NULL"
                          : value.is_error()
                              ? std::string(value.bytes())
                              : "the timestamp is not readable: epoch milliseconds, RFC 3339 text or "
                                "a timestamp is";
            }
            WEIR_TRY(reject(executor, index, records[row],
                            readable ? ErrorName::kTimestampAhead : ErrorName::kTimestampUnreadable, message,
                            source, sink));
            continue;
        }
        batch.times[row] = time;
        batch.watermarks[row] = Watermarks::less(max_seen, max_delay_ms);
        if (needs_time_) max_seen = std::max(max_seen, time);
        rows_[kept++] = row;
    }
    partition.max_seen = max_seen;
    rows_.resize(kept);
    return {};
}

// A sample: the promise of keyed_by is the producers', and state would be split silently where it is broken.
void SourceReader::check_keys(const Batch& batch, size_t partition, int64_t wall_ms) {
    const Column& fields = batch.columns[static_cast<size_t>(source_.key_slot)];
    for (const uint32_t row : rows_) {
        const InputRecord& record = *batch.records[row];
        if ((record.offset & (kKeySampleEvery - 1)) != 0) continue;
        const MaybeBytes text = encode_text(fields[row], text_);
        if (text == record.key && (text.data() == nullptr) == (record.key.data() == nullptr)) continue;
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
