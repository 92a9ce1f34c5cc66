#include "processor/repartition.h"

#include <algorithm>

#include "base/bytes.h"
#include "processor/shard.h"
#include "processor/stored_value.h"

namespace weir::processor {
namespace {

constexpr uint8_t kRow = 1;
constexpr uint8_t kTime = 2;
constexpr uint8_t kKeepsKey = 1;
constexpr uint8_t kKeepsValue = 2;
constexpr uint8_t kHasKey = 4;
constexpr uint8_t kHasValue = 8;
constexpr uint8_t kSmallNumeric = 0x40;  // No Type has this number.

uint64_t zigzag(uint64_t value) { return value << 1 ^ (0 - (value >> 63)); }
uint64_t unzigzag(uint64_t value) { return value >> 1 ^ (0 - (value & 1)); }

void append_column(const Value& value, std::string& out) {
    const bool small = value.type == Type::kNumeric && value.high == static_cast<int64_t>(value.low) >> 63;
    if (!small) {
        append_stored_value(value, out);
        return;
    }
    put_le<uint8_t>(out, kSmallNumeric);
    put_varint(out, value.scale);
    put_varint(out, zigzag(value.low));
}

bool read_column(ByteReader& in, Value& value) {
    ByteReader ahead = in;
    if (ahead.le<uint8_t>() != kSmallNumeric) return read_stored_value(in, value);
    in = ahead;
    const uint64_t scale = in.varint();
    const auto mantissa = static_cast<int64_t>(unzigzag(in.varint()));
    value.set_numeric(mantissa, static_cast<uint16_t>(scale));
    return !in.failed() && scale <= UINT16_MAX;
}

}  // namespace

// --- Rows into records ---

Result<void> Executor::repartition(const Node& node, const RepartitionNode& enter, Scratch& scratch,
                                   Rows rows) {
    const Batch& batch = batches_[node.frame];
    const RepartitionPlan& plan = graph_.repartitions[enter.repartition];
    const Channel& channel = plan.channels[enter.channel];
    const std::vector<SlotCopy>& columns = graph_.frames[channel.frame].copies;
    scratch.texts.resize(2);
    std::string& value = scratch.texts[1];
    OutputRecord out;
    out.topic = plan.output;
    uint64_t written = 0;
    for (const uint32_t row : rows) {
        const InputRecord* const record = batch.records[row];
        const EventTime before = batch.watermarks.empty() ? kNoTime : batch.watermarks[row];
        out.timestamp_ms = batch.times[row];
        value.clear();
        put_le<uint8_t>(value, kRow);
        put_varint(value, static_cast<uint32_t>(shard_));
        put_varint(value, enter.channel);
        put_le<uint32_t>(value, channel.fingerprint);
        put_le<int64_t>(value, batch.times[row]);
        put_varint(value, zigzag(static_cast<uint64_t>(batch.times[row]) - static_cast<uint64_t>(before)));
        const bool keeps_key = channel.keeps_key && record != nullptr;
        const bool keeps_value = channel.keeps_value && record != nullptr;
        const bool has_key = keeps_key && record->key.data() != nullptr;
        const bool has_value = keeps_value && record->value.data() != nullptr;
        const unsigned kept = (keeps_key ? kKeepsKey : 0U) | (keeps_value ? kKeepsValue : 0U) |
                              (has_key ? kHasKey : 0U) | (has_value ? kHasValue : 0U);
        put_le<uint8_t>(value, static_cast<uint8_t>(kept));
        if (has_key) put_bytes(value, record->key);
        if (has_value) put_bytes(value, record->value);
        for (const SlotCopy& column : columns)
            append_column(batch.columns[static_cast<size_t>(column.from)][row], value);
        out.key = key_text_.of(enter.by, batch, row, scratch.texts[0]);
        out.partition = out.key.data() == nullptr ? 0 : kPartitionByKey;  // NULLs are one group.
        out.value = value;
        const Result<void> produced = sink_->produce(out);
        written += produced.ok() ? 1U : 0U;
        if (produced.ok()) continue;
        if (produced.error().code != Code::kInvalid) return produced;
        WEIR_TRY(reject(node, batch, row, enter.layout, ErrorName::kProduceFailed, produced.error().message));
    }
    counters_.streams[node.stream].repartitioned += written;
    return {};
}

// --- Records into rows ---

RepartitionReader::RepartitionReader(const Plan& plan, size_t repartition, Watermarks& watermarks,
                                     Counters& counters)
    : plan_(plan),
      repartition_(plan.graph->repartitions[repartition]),
      watermarks_(watermarks),
      counters_(counters.sources[repartition_.source]),
      rows_(repartition_.channels.size()) {}

Error RepartitionReader::unreadable(const char* why) const {
    return {Code::kMismatch,
            "offset " + std::to_string(record_->offset) + " of the internal topic '" + repartition_.topic +
                "' " + why + ": finish with that pipeline, or delete the topic and start under a new name"};
}

Result<void> RepartitionReader::read(Executor& executor, size_t partition,
                                     std::span<const InputRecord> records, int64_t wall_ms) {
    counters_.records += records.size();
    for (size_t i = 0; i < rows_.size(); ++i) {
        Batch& batch = i == 0 ? executor.begin_slice(repartition_.channels[i].frame, records.size())
                              : executor.begin_nested_slice(repartition_.channels[i].frame, records.size());
        batch.partition = partition;
        batch.watermarks.resize(records.size());
        batch.wall_ms = wall_ms;
        rows_[i].records.resize(records.size());
        rows_[i].count = 0;
    }
    for (const InputRecord& record : records) {
        record_ = &record;
        counters_.bytes += record.key.size() + record.value.size();
        ByteReader in(record.value);
        const auto kind = in.le<uint8_t>();
        if (kind == kRow) {
            WEIR_TRY(read_row(in, executor, partition));
        } else if (kind == kTime) {
            WEIR_TRY(read_time(in, partition));
            ++counters_.markers;
        } else {
            return unreadable("was not written by this version of weir");
        }
    }
    watermarks_.combine(partition);
    for (size_t i = 0; i < rows_.size(); ++i) {
        const Channel& channel = repartition_.channels[i];
        Rows& rows = rows_[i];
        Batch& batch = executor.batch(channel.frame);
        batch.row_count = rows.count;
        for (const expr::Slot slot : plan_.graph->frames[channel.frame].null_slots)
            std::fill_n(batch.columns[static_cast<size_t>(slot)].begin(), rows.count, Value::null());
        rows.all.resize(rows.count);
        for (uint32_t row = 0; row < rows.count; ++row) rows.all[row] = row;
        counters_.delivered += rows.count;
        WEIR_TRY(executor.run(channel.next, rows.all));
    }
    return {};
}

Result<void> RepartitionReader::read_row(ByteReader& in, Executor& executor, size_t partition) {
    const uint64_t upstream = in.varint();
    const uint64_t number = in.varint();
    const auto fingerprint = in.le<uint32_t>();
    if (in.failed() || number >= rows_.size() || fingerprint != repartition_.channels[number].fingerprint)
        return unreadable("was written by another version of this pipeline");
    const Channel& channel = repartition_.channels[number];
    Rows& rows = rows_[number];
    const auto row = rows.count++;
    Batch& batch = executor.batch(channel.frame);
    batch.times[row] = in.le<int64_t>();
    const uint64_t behind = unzigzag(in.varint());
    batch.watermarks[row] = static_cast<EventTime>(static_cast<uint64_t>(batch.times[row]) - behind);
    const auto kept = in.le<uint8_t>();
    InputRecord& record = rows.records[row];
    record = {};
    record.offset = record_->offset;
    record.timestamp_ms = batch.times[row];
    if ((kept & kHasKey) != 0) record.key = in.bytes();
    if ((kept & kHasValue) != 0) record.value = in.bytes();
    batch.records[row] = (kept & (kKeepsKey | kKeepsValue)) != 0 ? &record : nullptr;
    bool readable = true;
    for (const SlotCopy& column : plan_.graph->frames[channel.frame].copies)
        readable = readable && read_column(in, batch.columns[static_cast<size_t>(column.to)][row]);
    if (!readable || in.failed() || in.remaining() > 0) return unreadable("is damaged");
    if (!watermarks_.heard_row(partition, upstream, batch.watermarks[row]))
        return unreadable("comes from a shard that the sources do not have");
    return {};
}

Result<void> RepartitionReader::read_time(ByteReader& in, size_t partition) {
    const uint64_t upstream = in.varint();
    const auto watermark = in.le<int64_t>();
    const auto holds = in.le<uint8_t>();
    if (in.failed() || in.remaining() > 0) return unreadable("is damaged");
    if (!watermarks_.heard_time(partition, upstream, watermark, holds != 0))
        return unreadable("comes from a shard that the sources do not have");
    return {};
}

// --- Event time ---

RepartitionClocks::RepartitionClocks(const Graph& graph, ShardId shard, Watermarks& watermarks,
                                     Executor& executor, std::span<const int32_t> partition_counts)
    : graph_(graph),
      shard_(shard),
      watermarks_(watermarks),
      executor_(executor),
      told_(graph.repartitions.size()) {
    for (const RepartitionPlan& repartition : graph.repartitions) {
        const auto input = static_cast<size_t>(repartition.input);
        WEIR_CHECK(input < partition_counts.size(), "an internal topic without partitions");
        bool feeds = false;
        for (const auto& partition : watermarks.partitions())
            for (const Feed& feed : repartition.feeds) feeds = feeds || feed.source == partition.source;
        partitions_.push_back(feeds && repartition.carries_time ? partition_counts[input] : 0);
    }
}

void RepartitionClocks::refresh(int64_t now_us) {
    for (size_t i = 0; i < told_.size(); ++i)
        watermarks_.refresh(watermarks_.clock_of_repartition(i), now_us);
}

// Rows come from sources as long as their partitions hold, and out of windows as long as those or any before
// them are open. When neither is the case the shard has said all that it will say without new input.
RepartitionClocks::Told RepartitionClocks::now(size_t repartition) const {
    const RepartitionPlan& plan = graph_.repartitions[repartition];
    Told told{kEndOfTime, false, 0};
    const auto at_most = [&](EventTime watermark) {
        told.holds = true;
        told.watermark = std::min(told.watermark, watermark);
    };
    EventTime reached = kEndOfTime;  // Where it stood when it held last, perhaps in this very epoch.
    const auto reached_at_most = [&](EventTime watermark) {
        if (watermark != kNoTime) reached = std::min(reached, watermark);
    };
    const StageId clock = watermarks_.clock_of_repartition(repartition);
    if (watermarks_.held_by(clock) >= 0) at_most(watermarks_.stage(clock));
    reached_at_most(watermarks_.stage(clock));
    const bool open = std::any_of(plan.stages.begin(), plan.stages.end(), [&](StageId stage) {
        return executor_.stage(stage).next_due() != kEndOfTime;
    });
    for (const StageId stage : plan.after) {
        // What it has not given yet comes behind its clock, wherever its watermark is.
        const StageOperator& stage_operator = executor_.stage(stage);
        EventTime given = watermarks_.stage(stage);
        if (stage_operator.has_rest()) given = std::min(given, stage_operator.clock());
        const EventTime watermark = Watermarks::less(given, graph_.stages[stage].behind_ms);
        if (open || watermarks_.held_by(stage) >= 0) at_most(watermark);
        reached_at_most(watermark);
    }
    if (told.holds) return told;
    told.watermark = told_[repartition].watermark;
    if (reached != kEndOfTime) told.watermark = std::max(told.watermark, reached);
    return told;
}

// Whether some stage before the topic goes on by the clock alone.
bool RepartitionClocks::ticks(size_t repartition) const {
    const auto& after = graph_.repartitions[repartition].after;
    return std::any_of(after.begin(), after.end(), [&](StageId stage) { return watermarks_.ticking(stage); });
}

bool RepartitionClocks::due() const {
    for (size_t i = 0; i < told_.size(); ++i) {
        if (partitions_[i] == 0) continue;
        const Told told = now(i);
        if (told.holds != told_[i].holds) return true;
        // What only the clock brings is told with the commits that it makes (emit_every).
        if (told.holds && !ticks(i) && told.watermark > told_[i].watermark) return true;
    }
    return false;
}

int64_t RepartitionClocks::next_heartbeat_us() const {
    int64_t next = INT64_MAX;
    for (const Told& told : told_) {
        if (!told.holds) next = std::min(next, told.told_us + kHeartbeatUs);
    }
    return next;
}

Result<void> RepartitionClocks::tell(Sink& sink, int64_t now_us) {
    for (size_t i = 0; i < told_.size(); ++i) {
        const RepartitionPlan& plan = graph_.repartitions[i];
        if (partitions_[i] == 0) continue;
        const Told told = now(i);
        const bool news = told.holds ? !told_[i].holds || told.watermark > told_[i].watermark
                                     : told_[i].holds || now_us >= told_[i].told_us + kHeartbeatUs;
        if (!news) continue;
        told_[i] = {told.watermark, told.holds, now_us};
        value_.clear();
        put_le<uint8_t>(value_, kTime);
        put_varint(value_, static_cast<uint32_t>(shard_));
        put_le<int64_t>(value_, told.watermark);
        put_le<uint8_t>(value_, told.holds ? 1 : 0);
        OutputRecord out;
        out.topic = plan.output;
        out.value = value_;
        for (out.partition = 0; out.partition < partitions_[i]; ++out.partition) WEIR_TRY(sink.produce(out));
    }
    return {};
}

}  // namespace weir::processor
