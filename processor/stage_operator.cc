#include "processor/stage_operator.h"

#include "base/log.h"
#include "processor/executor.h"

namespace weir::processor {
namespace {

constexpr int64_t kLogLateEveryMs = 60'000;

}  // namespace

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

}  // namespace weir::processor
