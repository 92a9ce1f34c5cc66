// What only the cluster can tell about a plan's topics: records of one key must be in equally numbered
// partitions of every topic that a stage reads, and of every table in which they are looked up, so those
// topics need equal partition counts; how many partitions an internal topic has to have; and that a table's
// topic should be compacted.
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

// The warning for a table's topic.
[[nodiscard]] std::string not_compacted(const std::string& topic);

}  // namespace weir::cmd
