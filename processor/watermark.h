// Event time of one shard: a watermark per partition, and for every stage (aggregate) the minimum over the
// partitions that feed it.
//
//   partition  bounded out of orderness: the largest timestamp seen minus max_delay.
//   stage      the minimum over the partitions that hold it, less the graces of the stages between; it never
//              goes back, also not across restarts: it is stored with the stage's state.
//   holding    every partition but those at the log's end that are idle or never had a usable timestamp.
//   idle       at the log's end, as the source says when asked, and without a record for idle_timeout.
//   all idle   tick: the stage's watermark goes on at the monotonic clock's speed from where it stood (one
//   that
//              never stood anywhere stays); hold: it stays; advance: it jumps to the maximum of the
//              partitions. Where the sources of a stage differ, hold beats tick and tick beats advance.
//
// Thread:  the worker that owns the shard.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "processor/endpoint.h"
#include "processor/graph.h"

namespace weir::processor {

class Watermarks {
public:
    struct Partition {
        TopicPartition id;
        size_t source = 0;
        int64_t next_offset = -1;  // The record to read next; -1: none was read yet.
        int64_t position = -1;     // Everything before it was delivered (counts what is no record, too).
        EventTime max_seen = kNoTime;
        bool idle = false;
        bool caught_up = false;
        int64_t quiet_since_us = 0;
        int64_t ask_end_at_us = 0;  // Not before this, after the source said that more is to come.
    };

    // What a row of one partition needs to know about a stage's watermark before it.
    struct Before {
        EventTime stage;   // Where the stage stands.
        EventTime others;  // The minimum over the other partitions.
        int64_t lag_ms;

        [[nodiscard]] EventTime at(EventTime partition_watermark) const {
            const EventTime own = less(partition_watermark, lag_ms);
            const EventTime lowest = own < others ? own : others;
            return lowest > stage ? lowest : stage;
        }
    };

    Watermarks(const Graph& graph, std::span<const TopicPartition> partitions,
               const std::vector<size_t>& source_of_topic, int64_t now_us);

    [[nodiscard]] size_t index_of(TopicPartition partition) const;
    [[nodiscard]] Partition& partition(size_t index) { return partitions_[index]; }
    [[nodiscard]] const std::vector<Partition>& partitions() const { return partitions_; }
    [[nodiscard]] EventTime watermark(const Partition& partition) const {
        return less(partition.max_seen, graph_.sources[partition.source].watermark.max_delay_ms);
    }

    // Records came: the partition is active again.
    void wake(size_t partition, int64_t now_us);
    void caught_up(size_t partition, int64_t end_offset);
    // Takes what has become quiet for idle; true when any did. Asks the source before.
    [[nodiscard]] bool find_idle(Source& source, int64_t now_us);
    void finish();

    [[nodiscard]] EventTime stage(StageId stage) const { return stages_[stage].current; }
    void restore_stage(StageId stage, EventTime watermark);
    [[nodiscard]] Before before(StageId stage, size_t partition) const;
    // Raises the stage to where its partitions are, or to where the clock brought it.
    void refresh(StageId stage, int64_t now_us);
    [[nodiscard]] bool ticking(StageId stage) const { return stages_[stage].ticking; }
    // The partition with the lowest watermark among those that hold the stage; -1: none holds it.
    [[nodiscard]] int32_t held_by(StageId stage) const;
    // When a ticking stage reaches `watermark`; INT64_MAX when it does not tick.
    [[nodiscard]] int64_t tick_reaches_us(StageId stage, EventTime watermark) const;
    // When the next partition may become idle; INT64_MAX: not before something happens.
    [[nodiscard]] int64_t next_idle_us() const;

    // A partition's part of the epoch record: version, idle flag, largest timestamp.
    [[nodiscard]] std::string encode(const Partition& partition) const;
    [[nodiscard]] Result<void> restore(size_t partition, int64_t next_offset, std::string_view blob);

    // `time` − `milliseconds`, without wrapping; "no time" stays so.
    [[nodiscard]] static EventTime less(EventTime time, int64_t milliseconds) {
        EventTime result;
        if (time == kNoTime || time == kEndOfTime) return time;
        return __builtin_sub_overflow(time, milliseconds, &result) ? kNoTime : result;
    }

private:
    struct StageClock {
        EventTime current = kNoTime;
        bool ticking = false;
        EventTime tick_from = kNoTime;
        int64_t tick_since_us = 0;
        std::vector<int64_t> lag_ms;  // By partition; kNotFed: it does not feed this stage.
    };
    static constexpr int64_t kNotFed = -1;

    [[nodiscard]] static bool holds(const Partition& partition) {
        return !partition.caught_up || !(partition.idle || partition.max_seen == kNoTime);
    }

    const Graph& graph_;
    std::vector<Partition> partitions_;
    std::vector<StageClock> stages_;
};

}  // namespace weir::processor
