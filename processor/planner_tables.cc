// Tables and lookups in the plan: what of a table is kept, and whether its rows are where its records are.
#include <algorithm>

#include "processor/planner.h"

namespace weir::processor {

// A table's topic is read by a source of its own, whose records end in the table.
void Planner::plan_tables() {
    for (TableId id = 0; id < pipeline_.tables.size(); ++id) {
        const config::Table& table = pipeline_.tables[id];
        const size_t index = graph_->sources.size();
        plan_source(table.input);
        SourcePlan& source = graph_->sources[index];
        source.table = id;
        source.global = table.global;
        source.needs_time = table.history_ms.has_value();
        source.next.push_back(static_cast<NodeId>(graph_->nodes.size()));
        Node node;
        node.operation = StoreNode{id};
        node.frame = source.frame;
        node.step = "tables." + table.input.name;
        graph_->nodes.push_back(std::move(node));
        TablePlan& plan = graph_->tables.emplace_back();
        plan.name = table.input.name;
        plan.source = index;
        plan.global = table.global;
        plan.history_ms = table.history_ms;
        frames_->set_table_shape(source_shapes_.back());
    }
}

void Planner::plan_lookup(const config::LookupStep& step, const config::Mark& mark, Flow& flow, Node node) {
    const auto named = std::find_if(graph_->tables.begin(), graph_->tables.end(),
                                    [&](const TablePlan& table) { return table.name == step.table.value; });
    if (named == graph_->tables.end()) {
        diagnostics_.error("W0090", step.table.mark, "there is no table '" + step.table.value + "'");
        return;
    }
    LookupNode lookup;
    lookup.table = static_cast<TableId>(named - graph_->tables.begin());
    lookup.as = step.as;
    lookup.as_of_event_time = step.as_of == config::LookupStep::AsOf::kEventTime;
    if (lookup.as_of_event_time) graph_->sources[flow.first_source].needs_time = true;
    lookup.missing = step.missing;
    lookup.layout = flow.shape.layout();
    const FieldPath* path = nullptr;
    bool by_record_key = false;
    ShapeScope scope(*frames_, flow.shape);
    for (const config::Text& text : step.by) {
        auto key = compile_expression(text, scope);
        if (!key) return;
        by_record_key = scope.is_record_key() && key->plain_slot();
        if (key->plain_slot()) path = scope.only_path();
        lookup.by.push_back(std::move(*key));
    }
    if (!named->global) {
        check_lookup_key(step, flow, path, by_record_key);
        lookups_.push_back({node.stream, named->source, flow.origin});
    }
    if (flow.shape.key && flow.shape.key->front() == step.as) {
        diagnostics_.error("W0231", mark,
                           "the row would hide the field '" + step.as + "' that the records are keyed by", "",
                           "give the row another name with `as:`");
        return;
    }
    node.operation = std::move(lookup);
    const NodeId id = append(flow, std::move(node));
    std::erase_if(flow.shape.rows, [&](const ShapeRow& row) { return row.name == step.as; });
    flow.shape.rows.push_back({step.as, id, flow.shape.frame});
}

// A shard holds the table's partition of its own number, so a record finds its row there only if both have
// the same key.
void Planner::check_lookup_key(const config::LookupStep& step, const Flow& flow, const FieldPath* path,
                               bool by_record_key) {
    if (step.by.size() == 1 && by_record_key && !flow.rekeyed) return;
    const auto& key = flow.shape.key;
    if (step.by.size() == 1 && flow.shape.key_rest.empty() && key && path != nullptr && *path == *key) return;
    std::string by;
    for (const config::Text& text : step.by) by += (by.empty() ? "" : ", ") + text.value;
    const std::string source = source_of(flow).name;
    std::string help = "set `global: true` on table '" + step.table.value +
                       "', so that every worker holds all of it; or read a topic that is keyed by '" + by +
                       "'";
    if (path != nullptr) help += ", or put a `key_by: " + by + "` before";
    if (path != nullptr && !key)
        help += " (if '" + source + "' is, declare `keyed_by: " + by + "` on it)";
    const std::string why = why_apart(flow) + (key ? ", this looks up by '" + by + "'" : "");
    diagnostics_.error(
        "W0230", step.by.front().mark,
        "a record and its row in '" + step.table.value + "' may lie on different partitions: " + why, "",
        help);
}

// State tables stand behind the stages' and follow the names, global ones have none; lookups read a row's
// columns front to back.
void Planner::finish_tables() {
    std::vector<TablePlan*> by_name;
    for (TablePlan& table : graph_->tables)
        if (!table.global) by_name.push_back(&table);
    std::sort(by_name.begin(), by_name.end(),
              [](const TablePlan* a, const TablePlan* b) { return a->name < b->name; });
    auto state_table = static_cast<uint32_t>(graph_->stages.size()) * kTablesPerStage;
    for (TablePlan* table : by_name) table->state_table = state_table++;
    for (NodeId id = 0; id < graph_->nodes.size(); ++id) {
        auto* const lookup = std::get_if<LookupNode>(&graph_->nodes[id].operation);
        if (lookup == nullptr) continue;
        std::sort(lookup->outputs.begin(), lookup->outputs.end(),
                  [](const auto& a, const auto& b) { return a.column < b.column; });
    }
}

}  // namespace weir::processor
