// State that is on disk: which operators can keep it there, and what the shards' stores are for.
#include "processor/planner.h"
#include "processor/shard.h"

namespace weir::processor {
namespace {

// The kinds of operators that keep their state in memory whatever the file says; empty: this one can be on
// disk.
std::string_view held_in_memory(const Stage& stage) {
    using Kind = config::Window::Kind;
    if (stage.limit > 0) return "";
    if (stage.join) {
        const config::Join& rule = stage.join->rule;
        if (rule.in_sessions()) return "a join in session windows";
        const bool hopping = rule.by == config::Join::By::kWindow && rule.window.kind == Kind::kHopping;
        return hopping && rule.kind != config::Join::Kind::kInner ? "an outer join in hopping windows" : "";
    }
    if (stage.holds_rows) return stage.keeps_row_times ? "a dedupe with `keep: last`" : "a top_n";
    switch (stage.window.kind) {
        case Kind::kTumbling:
        case Kind::kHopping:
        case Kind::kCumulate: return "an aggregate in windows";
        case Kind::kSession: return "an aggregate in session windows";
        case Kind::kSliding: return "an aggregate in sliding windows";
        case Kind::kCount: return "an aggregate in count windows";
        case Kind::kNone: return "an aggregate without windows";
    }
    return "";
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
    for (const Stage& stage : graph_->stages)
        if (stage.on_disk)
            plan_->stored_tables.push_back({stage.table, kTablesPerStage, stage_name(*plan_, stage)});
    for (const TablePlan& table : graph_->tables)
        if (table.on_disk) plan_->stored_tables.push_back({table.state_table, 1, table.name});
}

}  // namespace weir::processor
