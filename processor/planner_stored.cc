// State that is on disk: what the shards' stores are for, and their caches.
#include <algorithm>

#include "processor/planner.h"
#include "processor/shard.h"

namespace weir::processor {
namespace {

// What operators on disk may have in memory in one process, and which part of `state.max_memory_mib` at most:
// what an epoch touches, and what RocksDB has not written out, have to fit beside it.
constexpr size_t kCacheBytes = 64u << 20;
constexpr size_t kPartOfLimit = 4;

}  // namespace

void Planner::list_stored_tables() {
    const auto limit = static_cast<size_t>(pipeline_.max_memory_bytes);
    const size_t cache_bytes = limit == 0 ? kCacheBytes : std::min(kCacheBytes, limit / kPartOfLimit);
    const auto on_disk = std::count_if(graph_->stages.begin(), graph_->stages.end(),
                                       [](const Stage& stage) { return stage.on_disk; });
    for (Stage& stage : graph_->stages) {
        if (!stage.on_disk) continue;
        stage.cache_bytes = cache_bytes / static_cast<size_t>(on_disk);
        plan_->stored_tables.push_back({stage.table, kTablesPerStage, stage_name(*plan_, stage)});
    }
    for (const TablePlan& table : graph_->tables)
        if (table.on_disk)
            (table.global ? plan_->scratch_tables : plan_->stored_tables)
                .push_back({table.state_table, 1, table.name});
}

}  // namespace weir::processor
