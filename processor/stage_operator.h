// What a stage of the graph is in one shard: an operator that keeps state between records, and gives rows
// when its clock, the stage's watermark, goes on. Aggregate, Join and Limiter are the kinds; rows enter each
// its own way.
//
// Thread:  the worker that owns the shard.
// Failure: kRecordFailed where the error policy is `fail`, the sink's errors; kCorrupt from restore().
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "processor/batch.h"
#include "processor/graph.h"
#include "processor/question.h"
#include "state/delta.h"
#include "state/stored_rows.h"

namespace weir::processor {

class Executor;

// What a stage's stored state is when it cannot be read.
[[nodiscard]] Error unreadable_state(const Stage& stage);

class StageOperator {
public:
    virtual ~StageOperator() = default;

    // Gives what is due; true when that changed something. It may stop when the executor's epoch is full;
    // then it has a rest, and no records come to it before it has given that, in as many calls as it takes.
    [[nodiscard]] virtual Result<bool> advance(Executor& executor, EventTime watermark, bool idle) = 0;
    // Shows what an epoch has to show before it is committed.
    [[nodiscard]] virtual Result<void> finish_epoch(Executor& executor) = 0;

    // The stage's clock at which something is due next; kEndOfTime: nothing until records come.
    [[nodiscard]] virtual EventTime next_due() = 0;
    // The same for the wall clock.
    [[nodiscard]] virtual int64_t next_wall_ms() { return kEndOfTime; }
    [[nodiscard]] virtual bool processing_time() const { return false; }
    [[nodiscard]] virtual EventTime clock() const = 0;
    [[nodiscard]] virtual bool has_rest() const { return false; }
    // When more than `few` results are due that advance() can give in parts, about; kEndOfTime: not by what
    // there is.
    [[nodiscard]] virtual EventTime many_due(size_t few) {
        static_cast<void>(few);
        return kEndOfTime;
    }

    // For people. emit: {every: …}: the wall time at which changes are shown; 0: there are none.
    [[nodiscard]] virtual int64_t shown_at_wall_ms() const { return 0; }
    // The window about which something is due next; call it before next_due().
    [[nodiscard]] virtual std::optional<OpenWindow> next_window() { return std::nullopt; }
    // The open windows of a group.
    virtual void append_open(std::string_view, std::vector<OpenWindow>&) {}

    // The ledger: records in open windows or buffers, and the same by a look at every one.
    [[nodiscard]] virtual uint64_t records() { return 0; }
    [[nodiscard]] virtual uint64_t count_records() { return 0; }
    [[nodiscard]] virtual uint64_t open_windows() const = 0;
    [[nodiscard]] virtual uint64_t entries() const = 0;  // Groups, or buffered records.
    [[nodiscard]] virtual uint64_t bytes() const = 0;

    // On disk: what write_changes() will write, about. Until then it is in memory.
    [[nodiscard]] virtual size_t changed_bytes() const { return 0; }
    virtual void write_changes(EventTime watermark, state::DeltaWriter& out) = 0;
    // `table` is one of the stage's. Sets `watermark` when the row holds that.
    [[nodiscard]] virtual Result<void> restore(uint32_t table, std::string_view key, std::string_view value,
                                               EventTime& watermark) = 0;
    // Of one key, or all that begin with a prefix.
    virtual void restore_erased(uint32_t table, std::string_view key) = 0;

    // Of a stage on disk, whose rows are never restored one by one. First of all; `rows` outlives the
    // operator. What write_changes() wrote is among them when it has returned, and at most `cache_bytes` of
    // it stay in memory, too.
    virtual void open(state::StoredRows& rows, size_t cache_bytes);
    // In place of restore(): all that is committed is among the rows. Reads what has to be in memory, which
    // is little.
    [[nodiscard]] virtual Result<void> restore_stored(EventTime& watermark);

protected:
    // Counts late rows, whose batch says how late, logs some, and hands them to `<stream>.late`.
    [[nodiscard]] Result<void> tell_late(Executor& executor, const Node& node,
                                         const std::vector<NodeId>& readers, const Batch& batch, Rows late);

    // A clock as a row of its own: version(u8) clock(i64), and with the version after that, a rest. Written
    // when it has changed; read: nullopt when it is in no format that this version reads, `rest` what follows
    // the clock.
    static constexpr std::string_view kClockKey = "w";
    void write_clock(uint32_t table, EventTime clock, state::DeltaWriter& out, std::string_view rest = {});
    [[nodiscard]] std::optional<EventTime> restore_clock(std::string_view value, std::string_view& rest);
    [[nodiscard]] std::optional<EventTime> restore_clock(std::string_view value);

private:
    int64_t logged_wall_ms_ = 0;
    std::string stored_clock_;
};

}  // namespace weir::processor
