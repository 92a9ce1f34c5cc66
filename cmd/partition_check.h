// What only the cluster can tell about a plan's topics: records of one key must be in equally numbered
// partitions of every topic that a windowed stream reads, and of every table in which it looks them up, so
// those topics need equal partition counts; and a table's topic should be compacted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/pipeline.h"
#include "processor/plan.h"

namespace weir::cmd {

// `counts` by plan input. kMismatch names the stream, the topics and their counts.
[[nodiscard]] Result<void> check_partition_counts(const config::Pipeline& pipeline,
                                                  const processor::Plan& plan,
                                                  const std::vector<int32_t>& counts);

// The warning for a table's topic.
[[nodiscard]] std::string not_compacted(const std::string& topic);

}  // namespace weir::cmd
