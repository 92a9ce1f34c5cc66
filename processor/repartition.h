// Both ends of an internal topic (docs/repartition.md): rows become its records, its records become rows, and
// upstream shards tell every partition how far event time has come with them.
//
//   row   0x01  upstream(varint) channel(varint) fingerprint(u32) time(i64) behind(varint, zigzag)
//               kept(u8: 1 key, 2 value, 4 key is not null, 8 value is not null) [key] [value] columns
//   time  0x02  upstream(varint) watermark(i64) holds(u8)
//
//   upstream   the shard that wrote it; `behind` is time minus the watermark before the row, of the partition
//              that its record came from.
//   holds      rows are still to come without which event time must not go on.
//   column     a stored value (stored_value.h), or a numeric of up to 64 bits as 0x40 scale(varint)
//              mantissa(varint, zigzag).
//
// Thread:  the worker that owns the shard.
// Failure: kMismatch for a record that another version of the pipeline wrote; the worker stops.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "processor/batch.h"
#include "processor/counters.h"
#include "processor/executor.h"
#include "processor/graph.h"
#include "processor/plan.h"
#include "processor/watermark.h"

namespace weir::processor {

// A shard's reader of one internal topic.
class RepartitionReader {
public:
    RepartitionReader(const Plan& plan, size_t repartition, Watermarks& watermarks, Counters& counters);

    // `partition`: index among the shard's.
    [[nodiscard]] Result<void> read(Executor& executor, size_t partition,
                                    std::span<const InputRecord> records, int64_t wall_ms);

private:
    [[nodiscard]] Result<void> read_row(ByteReader& in, Executor& executor, size_t partition);
    [[nodiscard]] Result<void> read_time(ByteReader& in, size_t partition);
    [[nodiscard]] Error unreadable(const char* why) const;

    struct Rows {
        std::vector<InputRecord> records;  // What travelled of the rows' records.
        size_t count = 0;
        std::vector<uint32_t> all;
    };

    const Plan& plan_;
    const RepartitionPlan& repartition_;
    Watermarks& watermarks_;
    SourceCounters& counters_;
    std::vector<Rows> rows_;  // By channel.
    const InputRecord* record_ = nullptr;
};

// What a shard says about event time upstream of the internal topics; rows are written by the executor.
class RepartitionClocks {
public:
    // `partition_counts` by input.
    RepartitionClocks(const Graph& graph, ShardId shard, Watermarks& watermarks, Executor& executor,
                      std::span<const int32_t> partition_counts);

    void refresh(int64_t now_us);
    // Something was not told yet that readers wait for.
    [[nodiscard]] bool due() const;
    // Tells every partition what changed since the last time, and what is to be said again.
    [[nodiscard]] Result<void> tell(Sink& sink, int64_t now_us);
    // That a shard holds nobody is said every kHeartbeatUs.
    [[nodiscard]] int64_t next_heartbeat_us() const;
    [[nodiscard]] bool heartbeat_due(int64_t now_us) const { return now_us >= next_heartbeat_us(); }

private:
    struct Told {
        EventTime watermark = kNoTime;
        bool holds = true;  // What readers assume of a shard that they have not heard of.
        int64_t told_us = 0;
    };
    [[nodiscard]] Told now(size_t repartition) const;
    [[nodiscard]] bool ticks(size_t repartition) const;

    const Graph& graph_;
    const ShardId shard_;
    Watermarks& watermarks_;
    Executor& executor_;
    std::vector<int32_t> partitions_;  // By repartition: of its topic; 0: nothing is to be told there.
    std::vector<Told> told_;
    std::string value_;
};

}  // namespace weir::processor
