#include "processor/watermark.h"

#include <algorithm>
#include <limits>

#include "base/bytes.h"

namespace weir::processor {
namespace {

constexpr uint8_t kBlobVersion = 2;
constexpr uint8_t kOldBlobVersion = 1;  // Idle flag and largest time: the watermark follows from the delay.
constexpr uint8_t kIdle = 1;
constexpr uint8_t kProvided = 2;
constexpr int64_t kAskEndTimeoutMs = 1000;
constexpr int64_t kAskEndAgainUs = 1'000'000;
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

}  // namespace

Watermarks::Watermarks(const Graph& graph, std::span<const TopicPartition> partitions,
                       const std::vector<size_t>& source_of_topic, const Clock& clock)
    : graph_(graph), clock_(clock), stages_(graph.stages.size()) {
    for (const TopicPartition id : partitions) {
        Partition partition;
        partition.id = id;
        partition.source = source_of_topic.at(static_cast<size_t>(id.topic));
        partition.quiet_since_us = clock.monotonic_us();
        partition.quiet_since_wall_ms = clock.wall_ms();
        partitions_.push_back(partition);
    }
    for (size_t stage = 0; stage < stages_.size(); ++stage) {
        stages_[stage].emitted_us = clock.monotonic_us();
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
    partition.idle = partition.doubted = false;
    partition.caught_up = false;
    partition.quiet_since_us = now_us;
    partition.quiet_since_wall_ms = clock_.wall_ms();
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
        if (partition.idle || !partition.caught_up || partition.blank()) continue;
        const int64_t timeout_us = graph_.sources[partition.source].watermark.idle_timeout_ms * 1000;
        if (now_us - partition.quiet_since_us < timeout_us || now_us < partition.ask_end_at_us) continue;
        const Result<int64_t> end = source.end_offset(partition.id, kAskEndTimeoutMs);
        if (!end.ok() || end.value() > partition.position) {
            partition.ask_end_at_us =
                clock_.monotonic_us() + kAskEndAgainUs;  // The answer may have taken long.
            continue;
        }
        partition.idle = true;
        found = found || !partition.doubted;
        partition.doubted = false;
    }
    return found;
}

void Watermarks::doubt_idle() {
    for (Partition& partition : partitions_) {
        partition.doubted = partition.doubted || partition.idle;
        partition.idle = false;
    }
}

void Watermarks::raise(EventTime watermark) {
    for (StageClock& stage : stages_) {
        const int64_t lag_ms = *std::max_element(stage.lag_ms.begin(), stage.lag_ms.end());
        stage.current = std::max(stage.current, less(watermark, std::max<int64_t>(0, lag_ms)));
        stage.ticking = false;
    }
}

void Watermarks::restore_stage(StageId stage, EventTime watermark) {
    stages_[stage].current = std::max(stages_[stage].current, watermark);
    stages_[stage].emitted = stages_[stage].current;
}

Watermarks::Before Watermarks::before(StageId id, size_t partition) const {
    const StageClock& stage = stages_[id];
    Before result{stage.current, kEndOfTime, stage.lag_ms[partition]};
    for (size_t i = 0; i < partitions_.size(); ++i) {
        if (i == partition || stage.lag_ms[i] == kNotFed || !holds(partitions_[i])) continue;
        result.others = std::min(result.others, less(partitions_[i].watermark, stage.lag_ms[i]));
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
        const EventTime time = less(partitions_[i].watermark, stage.lag_ms[i]);
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
        const EventTime time = less(partitions_[i].watermark, stage.lag_ms[i]);
        if (found < 0 || time < lowest) {
            found = static_cast<int32_t>(i);
            lowest = time;
        }
    }
    return found;
}

bool Watermarks::align(int64_t max_drift_ms) {
    std::vector<int32_t> behind(partitions_.size(), -1);
    for (const StageClock& stage : stages_) {
        int32_t lowest = -1;
        for (size_t i = 0; i < partitions_.size(); ++i) {
            if (stage.lag_ms[i] == kNotFed || partitions_[i].caught_up) continue;
            if (lowest < 0 || partitions_[i].watermark < partitions_[static_cast<size_t>(lowest)].watermark)
                lowest = static_cast<int32_t>(i);
        }
        if (lowest < 0) continue;
        const EventTime slowest = partitions_[static_cast<size_t>(lowest)].watermark;
        for (size_t i = 0; i < partitions_.size(); ++i)
            if (stage.lag_ms[i] != kNotFed && less(partitions_[i].watermark, max_drift_ms) > slowest)
                behind[i] = lowest;
    }
    bool changed = false;
    for (size_t i = 0; i < partitions_.size(); ++i) {
        changed = changed || (partitions_[i].held_behind >= 0) != (behind[i] >= 0);
        partitions_[i].held_behind = behind[i];
    }
    return changed;
}

int64_t Watermarks::tick_reaches_us(StageId id, EventTime target) const {
    const StageClock& stage = stages_[id];
    if (!stage.ticking || target == kEndOfTime) return kNever;
    return stage.tick_since_us + std::max<int64_t>(0, target - stage.tick_from) * 1000;
}

int64_t Watermarks::next_emit_us(StageId id) const {
    const StageClock& stage = stages_[id];
    return stage.ticking ? stage.emitted_us + graph_.stages[id].emit_every_ms * 1000 : kNever;
}

bool Watermarks::emit_due(StageId id, int64_t now_us) const {
    return now_us >= next_emit_us(id) && stages_[id].current > stages_[id].emitted;
}

void Watermarks::emitted(StageId id) {
    stages_[id].emitted = stages_[id].current;
    stages_[id].emitted_us = clock_.monotonic_us();
}

int64_t Watermarks::next_idle_us() const {
    int64_t next = kNever;
    for (const Partition& partition : partitions_) {
        if (partition.idle || !partition.caught_up || partition.blank()) continue;
        const int64_t timeout_us = graph_.sources[partition.source].watermark.idle_timeout_ms * 1000;
        next = std::min(next, std::max(partition.quiet_since_us + timeout_us, partition.ask_end_at_us));
    }
    return next;
}

std::string Watermarks::encode(const Partition& partition) {
    std::string blob;
    put_le<uint8_t>(blob, kBlobVersion);
    put_le<uint8_t>(blob, (partition.idle ? kIdle : 0) | (partition.provided ? kProvided : 0));
    put_le<int64_t>(blob, partition.max_seen);
    put_le<int64_t>(blob, partition.watermark);
    put_le<int64_t>(blob, partition.quiet_since_wall_ms);
    put_le<int64_t>(blob, partition.advanced_offset);
    put_le<int64_t>(blob, partition.advanced_wall_ms);
    return blob;
}

Result<void> Watermarks::restore(size_t index, int64_t next_offset, std::string_view blob) {
    Partition& partition = partitions_[index];
    partition.next_offset = next_offset;
    partition.position = next_offset;
    if (blob.empty()) return {};
    ByteReader reader(blob);
    const auto version = reader.le<uint8_t>();
    const auto flags = reader.le<uint8_t>();
    partition.idle = (flags & kIdle) != 0;
    partition.provided = (flags & kProvided) != 0;
    partition.max_seen = reader.le<int64_t>();
    if (version == kBlobVersion) {
        partition.watermark = reader.le<int64_t>();
        partition.quiet_since_wall_ms = reader.le<int64_t>();
        partition.advanced_offset = reader.le<int64_t>();
        partition.advanced_wall_ms = reader.le<int64_t>();
        // Quiet also while this process was not there: nothing came, or it is still to be read.
        const int64_t quiet_ms = clock_.wall_ms() - partition.quiet_since_wall_ms;
        partition.quiet_since_us = clock_.monotonic_us() - std::max<int64_t>(0, quiet_ms) * 1000;
    } else {
        partition.watermark =
            less(partition.max_seen, graph_.sources[partition.source].watermark.max_delay_ms);
    }
    if (reader.failed() || !reader.done() || (version != kBlobVersion && version != kOldBlobVersion)) {
        return Error{Code::kCorrupt, "partition progress is not in a format this version reads"};
    }
    return {};
}

}  // namespace weir::processor
