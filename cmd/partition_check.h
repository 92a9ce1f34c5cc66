// What only the cluster can tell about a plan's topics: records of one key must be in equally numbered
// partitions of every topic that a stage reads, and of every table in which they are looked up, so those
// topics need equal partition counts; how many partitions an internal topic has to have; that a table's
// topic should be compacted, and another's kept for as long as its records are waited for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "processor/plan.h"

namespace weir::cmd {

// `counts` by plan input. kMismatch names the stream, the topics and their counts.
[[nodiscard]] Result<void> check_partition_counts(const processor::Plan& plan,
                                                  const std::vector<int32_t>& counts);

// `counts` has at least the inputs before the internal topic `topic`.
[[nodiscard]] int32_t internal_partitions(const processor::Plan& plan, TopicId topic,
                                          const std::vector<int32_t>& counts);
// kMismatch: `found` partitions are not what it has to have.
[[nodiscard]] Result<void> check_internal_partitions(const processor::Plan& plan, TopicId topic,
                                                     const std::vector<int32_t>& counts, int32_t found);

// What a topic's settings take away from what the plan makes of its records; one sentence each.
[[nodiscard]] std::vector<std::string> input_warnings(const processor::Plan& plan, TopicId topic,
                                                      const processor::TopicInfo& info);

}  // namespace weir::cmd
