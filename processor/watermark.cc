#include "processor/watermark.h"

#include <algorithm>
#include <limits>

#include "base/bytes.h"

namespace weir::processor {
namespace {

constexpr uint8_t kBlobVersion = 1;
constexpr int64_t kAskEndTimeoutMs = 1000;
constexpr int64_t kAskEndAgainUs = 1'000'000;
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

}  // namespace

Watermarks::Watermarks(const Graph& graph, std::span<const TopicPartition> partitions,
                       const std::vector<size_t>& source_of_topic, int64_t now_us)
    : graph_(graph), stages_(graph.stages.size()) {
    for (const TopicPartition id : partitions) {
        Partition partition;
        partition.id = id;
        partition.source = source_of_topic.at(static_cast<size_t>(id.topic));
        partition.quiet_since_us = now_us;
        partitions_.push_back(partition);
    }
    for (size_t stage = 0; stage < stages_.size(); ++stage) {
        stages_[stage].lag_ms.assign(partitions_.size(), kNotFed);
        for (const Feed& feed : graph.stages[stage].feeds) {
            for (size_t i = 0; i < partitions_.size(); ++i) {
                if (partitions_[i].source == feed.source) stages_[stage].lag_ms[i] = feed.lag_ms;
            }
        }
    }
}

size_t Watermarks::index_of(TopicPartition partition) const {
    for (size_t i = 0; i < partitions_.size(); ++i) {
        if (partitions_[i].id == partition) return i;
    }
    WEIR_CHECK(false, "a record of a partition that the shard does not own");
    return 0;
}

void Watermarks::wake(size_t index, int64_t now_us) {
    Partition& partition = partitions_[index];
    partition.idle = false;
    partition.caught_up = false;
    partition.quiet_since_us = now_us;
    for (StageClock& stage : stages_) {
        if (stage.lag_ms[index] != kNotFed) stage.ticking = false;
    }
}

void Watermarks::caught_up(size_t index, int64_t end_offset) {
    Partition& partition = partitions_[index];
    partition.position = std::max(partition.position, end_offset);
    partition.caught_up = true;
}

bool Watermarks::find_idle(Source& source, int64_t now_us) {
    bool found = false;
    for (Partition& partition : partitions_) {
        if (partition.idle || !partition.caught_up || partition.max_seen == kNoTime) continue;
        const int64_t timeout_us = graph_.sources[partition.source].watermark.idle_timeout_ms * 1000;
        if (now_us - partition.quiet_since_us < timeout_us || now_us < partition.ask_end_at_us) continue;
        const Result<int64_t> end = source.end_offset(partition.id, kAskEndTimeoutMs);
        if (!end.ok() || end.value() > partition.position) {
            partition.ask_end_at_us = now_us + kAskEndAgainUs;
            continue;
        }
        partition.idle = true;
        found = true;
    }
    return found;
}

void Watermarks::finish() {
    for (StageClock& stage : stages_) {
        stage.current = kEndOfTime;
        stage.ticking = false;
    }
}

void Watermarks::restore_stage(StageId stage, EventTime watermark) {
    stages_[stage].current = std::max(stages_[stage].current, watermark);
}

Watermarks::Before Watermarks::before(StageId id, size_t partition) const {
    const StageClock& stage = stages_[id];
    Before result{stage.current, kEndOfTime, stage.lag_ms[partition]};
    for (size_t i = 0; i < partitions_.size(); ++i) {
        if (i == partition || stage.lag_ms[i] == kNotFed || !holds(partitions_[i])) continue;
        result.others = std::min(result.others, less(watermark(partitions_[i]), stage.lag_ms[i]));
    }
    return result;
}

void Watermarks::refresh(StageId id, int64_t now_us) {
    StageClock& stage = stages_[id];
    EventTime lowest = kEndOfTime;
    EventTime highest = kNoTime;
    bool held = false;
    for (size_t i = 0; i < partitions_.size(); ++i) {
        if (stage.lag_ms[i] == kNotFed) continue;
        const EventTime time = less(watermark(partitions_[i]), stage.lag_ms[i]);
        highest = std::max(highest, time);
        if (!holds(partitions_[i])) continue;
        held = true;
        lowest = std::min(lowest, time);
    }
    if (held) {
        stage.ticking = false;
        stage.current = std::max(stage.current, lowest);
        return;
    }
    switch (graph_.stages[id].when_all_idle) {
        case config::WhenAllIdle::kHold: return;
        case config::WhenAllIdle::kAdvance: stage.current = std::max(stage.current, highest); return;
        case config::WhenAllIdle::kTick: break;
    }
    if (stage.current == kNoTime || stage.current == kEndOfTime) return;
    if (!stage.ticking) {
        stage.ticking = true;
        stage.tick_from = stage.current;
        stage.tick_since_us = now_us;
    }
    stage.current = std::max(stage.current, stage.tick_from + (now_us - stage.tick_since_us) / 1000);
}

int32_t Watermarks::held_by(StageId id) const {
    const StageClock& stage = stages_[id];
    int32_t found = -1;
    EventTime lowest = kEndOfTime;
    for (size_t i = 0; i < partitions_.size(); ++i) {
        if (stage.lag_ms[i] == kNotFed || !holds(partitions_[i])) continue;
        const EventTime time = less(watermark(partitions_[i]), stage.lag_ms[i]);
        if (found < 0 || time < lowest) {
            found = static_cast<int32_t>(i);
            lowest = time;
        }
    }
    return found;
}

int64_t Watermarks::tick_reaches_us(StageId id, EventTime target) const {
    const StageClock& stage = stages_[id];
    if (!stage.ticking || target == kEndOfTime) return kNever;
    return stage.tick_since_us + std::max<int64_t>(0, target - stage.tick_from) * 1000;
}

int64_t Watermarks::next_idle_us() const {
    int64_t next = kNever;
    for (const Partition& partition : partitions_) {
        if (partition.idle || !partition.caught_up || partition.max_seen == kNoTime) continue;
        const int64_t timeout_us = graph_.sources[partition.source].watermark.idle_timeout_ms * 1000;
        next = std::min(next, std::max(partition.quiet_since_us + timeout_us, partition.ask_end_at_us));
    }
    return next;
}

std::string Watermarks::encode(const Partition& partition) const {
    std::string blob;
    put_le<uint8_t>(blob, kBlobVersion);
    put_le<uint8_t>(blob, partition.idle ? 1 : 0);
    put_le<int64_t>(blob, partition.max_seen);
    return blob;
}

Result<void> Watermarks::restore(size_t index, int64_t next_offset, std::string_view blob) {
    Partition& partition = partitions_[index];
    partition.next_offset = next_offset;
    partition.position = next_offset;
    if (blob.empty()) return {};
    ByteReader reader(blob);
    const auto version = reader.le<uint8_t>();
    const auto idle = reader.le<uint8_t>();
    const auto max_seen = reader.le<int64_t>();
    if (reader.failed() || !reader.done() || version != kBlobVersion) {
        return Error{Code::kCorrupt, "partition progress is not in a format this version reads"};
    }
    partition.idle = idle != 0;
    partition.max_seen = max_seen;
    return {};
}

}  // namespace weir::processor
