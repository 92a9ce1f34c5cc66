// What only the cluster can tell about a plan's keys: records of one key must be in equally numbered
// partitions of every topic that a windowed stream reads, so those topics need equal partition counts.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "config/pipeline.h"
#include "processor/plan.h"

namespace weir::cmd {

// `counts` by plan input. kMismatch names the stream, the topics and their counts.
[[nodiscard]] Result<void> check_partition_counts(const config::Pipeline& pipeline,
                                                  const processor::Plan& plan,
                                                  const std::vector<int32_t>& counts);

}  // namespace weir::cmd
