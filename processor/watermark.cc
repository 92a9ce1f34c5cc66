#include "processor/watermark.h"

#include <algorithm>
#include <limits>

#include "base/bytes.h"

namespace weir::processor {
namespace {

constexpr uint8_t kBlobVersion = 2;
constexpr uint8_t kInternalBlobVersion = 3;  // The same, then what upstream shards told.
constexpr uint8_t kOldBlobVersion = 1;  // Idle flag and largest time: the watermark follows from the delay.
constexpr uint8_t kIdle = 1;
constexpr uint8_t kProvided = 2;
constexpr int64_t kAskEndTimeoutMs = 1000;
constexpr int64_t kAskEndAgainUs = 1'000'000;
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

}  // namespace

Watermarks::Watermarks(const Graph& graph, std::span<const TopicPartition> partitions,
                       const std::vector<size_t>& source_of_topic, std::span<const int32_t> partition_counts,
                       const Clock& clock)
    : graph_(graph), clock_(clock) {
    for (const TopicPartition id : partitions) {
        Partition partition;
        partition.id = id;
        partition.source = source_of_topic.at(static_cast<size_t>(id.topic));
        partition.quiet_since_us = clock.monotonic_us();
        partition.quiet_since_wall_ms = clock.steady_wall_ms();
        const int32_t repartition = graph.sources[partition.source].repartition;
        if (repartition >= 0) {
            // As many shards write to it as there are partitions before it.
            size_t shards = 0;
            for (size_t topic = 0; topic < partition_counts.size(); ++topic) {
                for (const Feed& feed : graph.repartitions[static_cast<size_t>(repartition)].feeds) {
                    if (feed.source == source_of_topic[topic])
                        shards = std::max(shards, static_cast<size_t>(partition_counts[topic]));
                }
            }
            WEIR_CHECK(shards > 0, "an internal topic that no partition feeds");
            partition.upstreams.resize(shards);
        }
        partitions_.push_back(std::move(partition));
    }
    const auto add = [&](config::WhenAllIdle when_all_idle, int64_t emit_every_ms) -> StageClock& {
        StageClock& stage = stages_.emplace_back();
        stage.emitted_us = clock.monotonic_us();
        stage.when_all_idle = when_all_idle;
        stage.emit_every_us = emit_every_ms * 1000;
        stage.lag_ms.assign(partitions_.size(), kNotFed);
        return stage;
    };
    const auto feed = [&](StageClock& stage, size_t source, int64_t lag_ms) {
        for (size_t i = 0; i < partitions_.size(); ++i) {
            if (partitions_[i].source == source) stage.lag_ms[i] = lag_ms;
        }
    };
    for (const Stage& plan : graph.stages) {
        StageClock& stage = add(plan.when_all_idle, plan.emit_every_ms);
        for (const Feed& fed : plan.feeds) feed(stage, fed.source, fed.lag_ms);
    }
    for (const RepartitionPlan& plan : graph.repartitions) {
        // Whether all are idle is known behind the topic only.
        StageClock& stage = add(config::WhenAllIdle::kHold, plan.emit_every_ms);
        for (const size_t source : plan.sources) feed(stage, source, 0);
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
    // A shard that says again that it holds nobody does not set time back that nobody looked at meanwhile.
    for (StageId id = 0; id < stages_.size() && !partition.upstreams.empty(); ++id)
        if (stages_[id].lag_ms[index] != kNotFed && stages_[id].ticking) refresh(id, now_us);
    partition.idle = partition.doubted = false;
    partition.caught_up = false;
    partition.quiet_since_us = now_us;
    partition.quiet_since_wall_ms = clock_.steady_wall_ms();
    for (StageClock& stage : stages_) {
        if (stage.lag_ms[index] != kNotFed) stage.ticking = false;
    }
}

void Watermarks::caught_up(size_t index, int64_t end_offset) {
    Partition& partition = partitions_[index];
    partition.position = std::max(partition.position, end_offset);
    partition.caught_up = true;
}

int64_t Watermarks::ask_at_us(const Partition& partition) const {
    const int64_t timeout_us = graph_.sources[partition.source].watermark.idle_timeout_ms * 1000;
    const int64_t quiet_us = partition.upstreams.empty() ? partition.quiet_since_us + timeout_us : 0;
    return std::max(quiet_us, partition.ask_end_at_us);
}

bool Watermarks::find_idle(Source& source, int64_t now_us) {
    bool found = false;
    for (Partition& partition : partitions_) {
        if (!is_to_ask(partition) || now_us < ask_at_us(partition)) continue;
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

bool Watermarks::heard_row(size_t partition, uint64_t upstream, EventTime watermark) {
    auto& upstreams = partitions_[partition].upstreams;
    if (upstream >= upstreams.size()) return false;
    Upstream& from = upstreams[upstream];
    from.holds = true;
    from.watermark = std::max(from.watermark, watermark);
    return true;
}

bool Watermarks::heard_time(size_t partition, uint64_t upstream, EventTime watermark, bool holds) {
    auto& upstreams = partitions_[partition].upstreams;
    if (upstream >= upstreams.size()) return false;
    Upstream& from = upstreams[upstream];
    from.holds = holds;
    from.heard_us = clock_.monotonic_us();
    from.watermark = std::max(from.watermark, watermark);
    return true;
}

void Watermarks::expire_leases(int64_t now_us) {
    if (now_us < next_lease_us_) return;
    for (size_t i = 0; i < partitions_.size(); ++i) {
        bool expired = false;
        for (Upstream& upstream : partitions_[i].upstreams) {
            if (upstream.holds || now_us < upstream.heard_us + kHeartbeatLeaseUs) continue;
            upstream.holds = expired = true;
        }
        if (expired) combine(i);
    }
    find_next_lease();
}

void Watermarks::find_next_lease() {
    next_lease_us_ = kNever;
    for (const Partition& partition : partitions_) {
        for (const Upstream& upstream : partition.upstreams) {
            if (!upstream.holds)
                next_lease_us_ = std::min(next_lease_us_, upstream.heard_us + kHeartbeatLeaseUs);
        }
    }
}

void Watermarks::combine(size_t index) {
    Partition& partition = partitions_[index];
    EventTime lowest = kEndOfTime;
    EventTime reached = kEndOfTime;  // By all that said how far they came.
    partition.held_by = -1;
    for (size_t i = 0; i < partition.upstreams.size(); ++i) {
        const Upstream& upstream = partition.upstreams[i];
        partition.highest = std::max(partition.highest, upstream.watermark);
        if (upstream.watermark != kNoTime) reached = std::min(reached, upstream.watermark);
        if (!upstream.holds || upstream.watermark >= lowest) continue;
        lowest = upstream.watermark;
        partition.held_by = static_cast<int32_t>(i);
    }
    partition.idle = partition.held_by < 0;
    find_next_lease();
    // Shards that came and went quiet within one commit never held; time goes on from where they are.
    if (partition.idle) lowest = reached == kEndOfTime ? kNoTime : reached;
    if (lowest <= partition.watermark) return;
    partition.watermark = lowest;
    ++partition.advances;
    partition.advanced_wall_ms = clock_.wall_ms();
}

void Watermarks::raise(EventTime watermark, size_t depth) {
    for (StageId id = 0; id < graph_.stages.size(); ++id) {
        if (graph_.stages[id].depth > depth) continue;
        StageClock& stage = stages_[id];
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
    Before result{stage.current, kEndOfTime, stage.lag_ms[partition],
                  !partitions_[partition].upstreams.empty()};
    for (size_t i = 0; i < partitions_.size(); ++i) {
        if (i == partition || stage.lag_ms[i] == kNotFed || !holds(partitions_[i])) continue;
        result.others = std::min(result.others, less(partitions_[i].watermark, stage.lag_ms[i]));
    }
    return result;
}

void Watermarks::refresh(StageId id, int64_t now_us) {
    StageClock& stage = stages_[id];
    EventTime lowest = kEndOfTime;
    EventTime reached = kEndOfTime;  // By all partitions that have a time.
    EventTime highest = kNoTime;
    bool held = false;
    for (size_t i = 0; i < partitions_.size(); ++i) {
        if (stage.lag_ms[i] == kNotFed) continue;
        const EventTime time = less(partitions_[i].watermark, stage.lag_ms[i]);
        highest = std::max({highest, time, less(partitions_[i].highest, stage.lag_ms[i])});
        if (partitions_[i].watermark != kNoTime) reached = std::min(reached, time);
        if (!holds(partitions_[i])) continue;
        held = true;
        lowest = std::min(lowest, time);
    }
    if (held) {
        stage.ticking = false;
        stage.current = std::max(stage.current, lowest);
        return;
    }
    // Nobody may have looked while they held: behind an internal topic they come and go with one commit.
    if (reached != kEndOfTime) stage.current = std::max(stage.current, reached);
    switch (stage.when_all_idle) {
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
    return stage.ticking ? stage.emitted_us + stage.emit_every_us : kNever;
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
        if (is_to_ask(partition)) next = std::min(next, ask_at_us(partition));
    }
    return next;
}

std::string Watermarks::encode(const Partition& partition) {
    std::string blob;
    put_le<uint8_t>(blob, partition.upstreams.empty() ? kBlobVersion : kInternalBlobVersion);
    put_le<uint8_t>(blob, (partition.idle ? kIdle : 0) | (partition.provided ? kProvided : 0));
    put_le<int64_t>(blob, partition.max_seen);
    put_le<int64_t>(blob, partition.watermark);
    put_le<int64_t>(blob, partition.quiet_since_wall_ms);
    put_le<int64_t>(blob, partition.advanced_offset);
    put_le<int64_t>(blob, partition.advanced_wall_ms);
    if (partition.upstreams.empty()) return blob;
    put_varint(blob, partition.upstreams.size());
    for (const Upstream& upstream : partition.upstreams) {
        put_le<int64_t>(blob, upstream.watermark);
        put_le<uint8_t>(blob, upstream.holds ? 1 : 0);
    }
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
    const bool internal = version == kInternalBlobVersion;
    if (version == kBlobVersion || internal) {
        partition.watermark = reader.le<int64_t>();
        partition.quiet_since_wall_ms = reader.le<int64_t>();
        partition.advanced_offset = reader.le<int64_t>();
        partition.advanced_wall_ms = reader.le<int64_t>();
        // Quiet also while this process was not there: nothing came, or it is still to be read. A wall clock
        // that is set is not silence.
        const int64_t quiet_ms = clock_.steady_wall_ms() - partition.quiet_since_wall_ms;
        partition.quiet_since_us = clock_.monotonic_us() - std::max<int64_t>(0, quiet_ms) * 1000;
    } else {
        partition.watermark =
            less(partition.max_seen, graph_.sources[partition.source].watermark.max_delay_ms);
    }
    if (internal && reader.varint() == partition.upstreams.size()) {
        for (Upstream& upstream : partition.upstreams) {
            upstream.watermark = reader.le<int64_t>();
            upstream.holds = reader.le<uint8_t>() != 0;
            upstream.heard_us = clock_.monotonic_us();
        }
        if (!reader.failed()) combine(index);
    }
    const bool known = version == kBlobVersion || version == kOldBlobVersion || internal;
    if (reader.failed() || !reader.done() || !known || internal == partition.upstreams.empty()) {
        return Error{Code::kCorrupt, "partition progress is not in a format this version reads"};
    }
    return {};
}

}  // namespace weir::processor
