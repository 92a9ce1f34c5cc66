#include "processor/stage_operator.h"

#include "base/bytes.h"
#include "base/log.h"
#include "processor/executor.h"

namespace weir::processor {
namespace {

constexpr int64_t kLogLateEveryMs = 60'000;
constexpr uint8_t kClockVersion = 1;
constexpr uint8_t kClockAndRestVersion = 2;

}  // namespace

Error unreadable_state(const Stage& stage) {
    return {Code::kCorrupt, "state of " + stage.step + " is not in a format this version reads"};
}

Result<void> StageOperator::tell_late(Executor& executor, const Node& node,
                                      const std::vector<NodeId>& readers, const Batch& batch, Rows late) {
    StreamCounters& counters = executor.counters(node.stream);
    counters.late += late.size();
    if (executor.wall_ms() - logged_wall_ms_ >= kLogLateEveryMs) {
        logged_wall_ms_ = executor.wall_ms();
        const uint32_t row = late.front();
        log_info("records are too late: step={} event_time={} late_by_ms={} {}", node.step, batch.times[row],
                 batch.late_by_ms[row], readers.empty() ? "dropped" : "to the late stream");
    }
    if (readers.empty()) counters.late_dropped += late.size();
    return executor.run(readers, late);
}

void StageOperator::write_clock(uint32_t table, EventTime clock, state::DeltaWriter& out,
                                std::string_view rest) {
    std::string row;
    put_le<uint8_t>(row, rest.empty() ? kClockVersion : kClockAndRestVersion);
    put_le<int64_t>(row, clock);
    row.append(rest);
    if (row == stored_clock_) return;
    out.put(table, kClockKey, row);
    stored_clock_ = row;
}

void StageOperator::open(state::StoredRows&, size_t) {
    WEIR_CHECK(false, "the operator keeps its state in memory");
}

Result<void> StageOperator::restore_stored(EventTime&) { return {}; }

std::optional<EventTime> StageOperator::restore_clock(std::string_view value, std::string_view& rest) {
    ByteReader in(value);
    const auto version = in.le<uint8_t>();
    const auto clock = in.le<int64_t>();
    rest = in.take(in.remaining());
    const bool known = version == kClockVersion ? rest.empty() : version == kClockAndRestVersion;
    if (in.failed() || !known) return std::nullopt;
    stored_clock_ = value;
    return clock;
}

std::optional<EventTime> StageOperator::restore_clock(std::string_view value) {
    std::string_view rest;
    const auto clock = restore_clock(value, rest);
    return rest.empty() ? clock : std::nullopt;
}

}  // namespace weir::processor
