// Deals the state of a process's shards to other slots, when it starts with other workers than it had: fences
// every old identity, decides each old slot, and hands the shards to the new ones.
//
// Thread:  one, before any worker runs.
// Failure: an Error leaves either the old layout or the new one whole.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "processor/endpoint.h"
#include "processor/worker.h"
#include "state/state_directory.h"

namespace weir::cmd {

// The shards of every slot.
using Dealing = std::vector<std::vector<ShardId>>;

struct Redealing {
    Dealing from;
    Dealing to;
    std::span<const int32_t> partition_counts;  // By input.
    processor::Decider decider;
    bool kafka_inputs;
    int64_t timeout_ms;  // Of each request.
    std::span<const state::StoredTables> stored_tables;  // Of the plan, …
    state::RowStores* row_stores = nullptr;             // … and where their rows are.
};

// `now` names the pipeline and the instance; its slots are those of `redealing.to`.
[[nodiscard]] Result<void> redeal(state::StateDirectory& state, const state::Manifest& now,
                                  processor::Connector& connector, const Redealing& redealing,
                                  Clock& clock);

}  // namespace weir::cmd
