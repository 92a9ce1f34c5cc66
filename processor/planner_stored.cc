// State that is on disk: which operators can keep it there, and what the shards' stores are for.
#include <algorithm>

#include "processor/planner.h"
#include "processor/shard.h"

namespace weir::processor {
namespace {

// What operators on disk may have in memory in one process, and which part of `state.max_memory_mib` at most:
// what an epoch touches, and what RocksDB has not written out, have to fit beside it.
constexpr size_t kCacheBytes = 64u << 20;
constexpr size_t kPartOfLimit = 4;

// The kinds of operators that keep their state in memory whatever the file says; empty: this one can be on
// disk.
std::string_view held_in_memory(const Stage& stage) {
    return stage.join && stage.join->rule.in_sessions() ? "a join in session windows" : "";
}

}  // namespace

void Planner::check_on_disk() {
    for (const Stage& stage : graph_->stages) {
        if (!stage.on_disk) continue;
        const std::string_view kind = held_in_memory(stage);
        if (kind.empty()) continue;
        const config::Stream& stream = pipeline_.streams[stage.stream];
        const config::StateRule& state =
            stage.step_index ? *stream.steps[*stage.step_index].state() : stream.join->state;
        diagnostics_.error("W0226", state.mark, std::string(kind) + " keeps its state in memory", "",
                           "remove `state`; `state.max_memory_mib` bounds what is held");
    }
}

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
