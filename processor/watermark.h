// Event time of one shard: a watermark per partition, and for every stage (aggregate) the minimum over the
// partitions that feed it. The rules for users, each with its test: docs/watermarks.md.
//
//   partition  what the source's strategy makes of its records (Strategy); it never goes back.
//   stage      the minimum over the partitions that hold it, less the graces of the stages between; it never
//              goes back, also not across restarts: it is stored with the stage's state.
//   holding    every partition but those at the log's end that are idle or never had a usable time.
//   idle       at the log's end, as the source says when asked, and without a record for idle_timeout. After
//              a standstill of the worker it is asked again.
//   all idle   tick: the stage's watermark goes on at the monotonic clock's speed from where it stood (one
//              that never stood anywhere stays); hold: it stays; advance: it jumps to the maximum of the
//              partitions. Where the sources of a stage differ, hold beats tick and tick beats advance.
//   emitted    what records bring is committed with them; what the clock brings while a window waits for it,
//              every emit_every. So a restart sets a ticking stage back by no more than that.
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

// How often a shard that holds nobody says so to the readers of an internal topic, and for how long they take
// its word: shorter than the usual max_delay, so that event time does not get past a shard whose process is
// gone.
inline constexpr int64_t kHeartbeatUs = 1'000'000;
inline constexpr int64_t kHeartbeatLeaseUs = 3 * kHeartbeatUs;

class Watermarks {
public:
    // A shard that writes to an internal topic, as it last told.
    struct Upstream {
        EventTime watermark = kNoTime;
        bool holds = true;     // When it does not, it says so again and again …
        int64_t heard_us = 0;  // … and holds when it was not heard for kHeartbeatLeaseUs.
    };
    struct Partition {
        TopicPartition id;
        size_t source = 0;
        int64_t next_offset = -1;       // The record to read next; -1: none was read yet.
        int64_t position = -1;          // Everything before it was delivered (counts what is no record, too).
        EventTime max_seen = kNoTime;   // The largest usable event time.
        EventTime watermark = kNoTime;  // Never goes back.
        bool provided = false;          // source_provided: a watermark came with a record.
        bool idle = false;
        bool doubted = false;  // It was idle; the source has to say so again.
        bool caught_up = false;
        int32_t held_behind = -1;  // Alignment: index of the partition that this one must wait for.
        int64_t quiet_since_us = 0;
        int64_t quiet_since_wall_ms = 0;  // The same by steady_wall_ms(), which outlives the process.
        int64_t ask_end_at_us = 0;        // Not before this, after the source said that more is to come.
        // The latest advance, for people: how many there were, which record's, when.
        uint64_t advances = 0;
        int64_t advanced_offset = -1;
        int64_t advanced_wall_ms = 0;
        // Of an internal topic only; then the watermark is the minimum over those that hold, it is idle when
        // none does, and there are no event times of its own.
        std::vector<Upstream> upstreams;
        EventTime highest = kNoTime;  // The largest watermark among them.
        int32_t held_by = -1;         // The one that holds the minimum; -1: none holds.

        // Neither event time nor watermark: nothing that could hold anybody.
        [[nodiscard]] bool blank() const {
            return upstreams.empty() && max_seen == kNoTime && watermark == kNoTime;
        }
    };

    // How one record moves its partition's watermark: at most one event time and at most one mark, which the
    // caller has found not to be too far ahead.
    class Strategy {
    public:
        explicit Strategy(const config::Watermark& rule)
            : delay_ms_(rule.max_delay_ms),
              by_events_(rule.strategy != config::WatermarkStrategy::kPunctuated),
              prefer_source_(rule.strategy == config::WatermarkStrategy::kSourceProvided &&
                             rule.prefer_source) {}

        // True when the watermark went on. An event time that is not larger changes nothing.
        [[nodiscard]] bool on_event(Partition& partition, EventTime time) const {
            if (time > partition.max_seen) partition.max_seen = time;
            if (!by_events_ || (prefer_source_ && partition.provided)) return false;
            return raise(partition, less(time, delay_ms_));
        }
        // A punctuation or a provided watermark.
        [[nodiscard]] static bool on_mark(Partition& partition, EventTime mark) {
            partition.provided = true;
            return raise(partition, mark);
        }

    private:
        [[nodiscard]] static bool raise(Partition& partition, EventTime time) {
            if (time <= partition.watermark) return false;
            partition.watermark = time;
            return true;
        }
        int64_t delay_ms_;  // Ascending is bounded out of orderness without a delay.
        bool by_events_;
        bool prefer_source_;
    };

    // What a row of one partition needs to know about a stage's watermark before it.
    struct Before {
        EventTime stage;   // Where the stage stands.
        EventTime others;  // The minimum over the other partitions.
        int64_t lag_ms;
        bool upstream;  // The partition's watermark is that of a source's partition behind an internal topic.

        // Where the stage is before the row.
        [[nodiscard]] EventTime at(EventTime partition_watermark) const {
            if (upstream) return stage;
            const EventTime own = less(partition_watermark, lag_ms);
            const EventTime lowest = own < others ? own : others;
            return lowest > stage ? lowest : stage;
        }
        // The partition's watermark before a row from which on at() is `time` or later; kEndOfTime: none.
        [[nodiscard]] EventTime reaches(EventTime time) const {
            if (upstream || others < time) return kEndOfTime;
            EventTime result;
            return __builtin_add_overflow(time, lag_ms, &result) ? kEndOfTime : result;
        }
        // What the row must not be behind of. Through an internal topic that is also its own partition's
        // watermark, so that it does not depend on how the upstream shards' records are interleaved.
        [[nodiscard]] EventTime late_at(EventTime partition_watermark) const {
            const EventTime own = less(partition_watermark, lag_ms);
            return upstream && own > stage ? own : at(partition_watermark);
        }
    };

    Watermarks(const Graph& graph, std::span<const TopicPartition> partitions,
               const std::vector<size_t>& source_of_topic, std::span<const int32_t> partition_counts,
               const Clock& clock);

    [[nodiscard]] size_t index_of(TopicPartition partition) const;
    [[nodiscard]] Partition& partition(size_t index) { return partitions_[index]; }
    [[nodiscard]] const std::vector<Partition>& partitions() const { return partitions_; }

    // Records came: the partition is active again.
    void wake(size_t partition, int64_t now_us);
    void caught_up(size_t partition, int64_t end_offset);
    // Takes what has become quiet for idle; true when any did. Asks the source before.
    [[nodiscard]] bool find_idle(Source& source, int64_t now_us);
    // Nobody looked for a while: partitions that were idle may have records by now. They hold until the
    // source is asked again; where it has none, event time goes on as if nothing had been.
    void doubt_idle();
    // Every stage with at most `depth` internal topics before it is at least at `watermark` from now on, less
    // the graces of the stages before it.
    void raise(EventTime watermark, size_t depth);

    // What an internal topic's record says about the shard that wrote it; false: there is no such shard.
    [[nodiscard]] bool heard_row(size_t partition, uint64_t upstream, EventTime watermark);
    [[nodiscard]] bool heard_time(size_t partition, uint64_t upstream, EventTime watermark, bool holds);
    void combine(size_t partition);  // After them.
    // Shards that were silent for too long hold from now on.
    void expire_leases(int64_t now_us);
    [[nodiscard]] int64_t next_lease_us() const { return next_lease_us_; }

    // Event time of the rows that reach an internal topic straight from sources: like a stage's that never
    // ticks.
    [[nodiscard]] StageId clock_of_repartition(size_t repartition) const {
        return static_cast<StageId>(graph_.stages.size() + repartition);
    }

    [[nodiscard]] EventTime stage(StageId stage) const { return stages_[stage].current; }
    void restore_stage(StageId stage, EventTime watermark);
    [[nodiscard]] bool feeds(size_t partition, StageId stage) const {
        return stages_[stage].lag_ms[partition] != kNotFed;
    }
    [[nodiscard]] Before before(StageId stage, size_t partition) const;
    // Raises the stage to where its partitions are, or to where the clock brought it.
    void refresh(StageId stage, int64_t now_us);
    [[nodiscard]] bool ticking(StageId stage) const { return stages_[stage].ticking; }
    // The partition with the lowest watermark among those that hold the stage; -1: none holds it.
    [[nodiscard]] int32_t held_by(StageId stage) const;
    // The partition's watermark at which it no longer keeps the stage below `watermark`.
    [[nodiscard]] EventTime needed(StageId stage, size_t partition, EventTime watermark) const {
        return watermark + stages_[stage].lag_ms[partition];
    }
    // Alignment: a partition is held back while its watermark is more than `max_drift_ms` above the lowest
    // one that feeds the same stage and has still something to read. What is read to its end, or idle, holds
    // nobody back, and the lowest is always read, so it goes on. True when something changed.
    [[nodiscard]] bool align(int64_t max_drift_ms);
    // When a ticking stage reaches `watermark`; INT64_MAX when it does not tick.
    [[nodiscard]] int64_t tick_reaches_us(StageId stage, EventTime watermark) const;
    // When what the clock brought a ticking stage is to be committed; INT64_MAX when it does not tick.
    [[nodiscard]] int64_t next_emit_us(StageId stage) const;
    // Whether that time has come. A period without progress emits nothing.
    [[nodiscard]] bool emit_due(StageId stage, int64_t now_us) const;
    // The stage's watermark is in the epoch that is being written.
    void emitted(StageId stage);
    // When the next partition may become idle; INT64_MAX: not before something happens.
    [[nodiscard]] int64_t next_idle_us() const;

    // A partition's part of the epoch record (docs/wal_format.md).
    [[nodiscard]] static std::string encode(const Partition& partition);
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
        EventTime emitted = kNoTime;
        int64_t emitted_us = 0;
        config::WhenAllIdle when_all_idle = config::WhenAllIdle::kTick;
        int64_t emit_every_us = 0;
        std::vector<int64_t> lag_ms;  // By partition; kNotFed: it does not feed this stage.
    };
    static constexpr int64_t kNotFed = -1;

    // The source has to say whether it is idle (again).
    [[nodiscard]] static bool is_to_ask(const Partition& partition) {
        if (partition.idle || !partition.caught_up || partition.blank()) return false;
        return partition.upstreams.empty() || (partition.doubted && partition.held_by < 0);
    }
    [[nodiscard]] int64_t ask_at_us(const Partition& partition) const;
    void find_next_lease();

    [[nodiscard]] static bool holds(const Partition& partition) {
        return !partition.caught_up || !(partition.idle || partition.blank());
    }

    const Graph& graph_;
    const Clock& clock_;
    std::vector<Partition> partitions_;
    std::vector<StageClock> stages_;  // Then one per internal topic.
    int64_t next_lease_us_ = INT64_MAX;
};

}  // namespace weir::processor
