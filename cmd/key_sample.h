// Whether records that belong together can be found together: partitions go by the bytes of keys, so topics
// that a stream joins, groups together or looks up in must write one key in one way. The newest records of
// each such topic are read, and said is what does not fit; that is a sample, so nothing is refused for it.
//
// Thread:  any; blocks for kKeySampleMs at most.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/time.h"
#include "processor/endpoint.h"
#include "processor/plan.h"

namespace weir::cmd {

inline constexpr int64_t kKeySampleMs = 2'000;

// One sentence each. `counts`: partitions by plan input. `stop`: gives up; may be null. Topics that do not
// answer in time are left out.
[[nodiscard]] std::vector<std::string> key_warnings(const processor::Plan& plan,
                                                    processor::Connector& connector,
                                                    std::span<const int32_t> counts, Clock& clock,
                                                    const std::atomic<bool>* stop);

}  // namespace weir::cmd
