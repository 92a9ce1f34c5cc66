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
        if (!table.from) {
            source.next.push_back(static_cast<NodeId>(graph_->nodes.size()));
            Node node;
            node.operation = StoreNode{id, {}, {}};
            node.frame = source.frame;
            node.step = "tables." + table.input.name;
            graph_->nodes.push_back(std::move(node));
        }
        TablePlan& plan = graph_->tables.emplace_back();
        plan.name = table.input.name;
        plan.source = index;
        plan.global = table.global;
        plan.computed = table.from.has_value();
        plan.history_ms = table.history_ms;
        plan.on_disk = table.state.on_disk;
        frames_->set_table_shape(source_shapes_.back());
    }
}

// Each of the stream's ends goes on in the table; lookups need to know where that puts a row.
void Planner::plan_computed_tables(size_t stream) {
    for (TableId id = 0; id < pipeline_.tables.size(); ++id) {
        const config::Table& table = pipeline_.tables[id];
        if (!table.from || table.from->value != pipeline_.streams[stream].name) continue;
        const auto refuse = [&](const std::string& why, const std::string& help) {
            diagnostics_.error("W0232", table.from->mark,
                               "the results of '" + table.from->value + "' cannot be a table: " + why, "",
                               help);
        };
        const std::string way_out = "or write them to a topic, and read that as a table";
        bool is_new = true;
        for (const Flow& result : results_[stream]) {
            Flow flow = result;
            const bool is_file = !source_of(flow).file.empty();
            if (flow.shape.raw && source_of(flow).format != config::Format::kJson)
                return refuse("they are not JSON", "make an object with map");
            if (flow.default_key.empty()) {
                if (frames_->holds_results(flow.shape.frame))
                    return refuse("they have no key", "group them with `by`, " + way_out);
                if (is_file) return refuse("a file's records have no key", "put a `key_by` at its end");
                if (flow.rekeyed)
                    return refuse("they have the key of their record, and lie elsewhere: " + why_apart(flow),
                                  "put a `key_by` at its end, " + way_out);
                flow.partitioned = {0};
            }
            if (is_file) flow.partitioned.clear();  // All are together.
            if (!is_file && flow.partitioned.empty())
                return refuse("which part of their key decides where they lie is not known",
                              "put a `key_by` at its end, " + way_out);
            Computed& computed = computed_[id];
            const size_t parts = std::max<size_t>(1, flow.default_key.size());
            if (!is_new && (parts != computed.key_parts || flow.partitioned != computed.partitioned))
                return refuse("its inputs have different keys", "put a `key_by` at its end, " + way_out);
            is_new = false;
            computed.key_parts = parts;
            computed.partitioned = flow.partitioned;
            computed.origins.push_back(flow.origin);
            Node node;
            node.operation = StoreNode{id, flow.default_key, frames_->whole_layout(flow.shape)};
            node.frame = flow.shape.frame;
            node.stream = stream;
            node.step = "tables." + table.input.name;
            append(flow, std::move(node));
        }
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
    std::vector<std::optional<FieldPath>> paths;
    bool by_record_key = false;
    for (const config::Text& text : step.by) {
        ShapeScope scope(*frames_, flow.shape);
        auto key = compile_expression(text, scope);
        if (!key) return;
        by_record_key = scope.is_record_key() && key->plain_slot();
        paths.emplace_back();
        if (key->plain_slot() && scope.only_path() != nullptr) paths.back() = *scope.only_path();
        lookup.by.push_back(std::move(*key));
    }
    if (named->computed) {
        const auto computed = computed_.find(lookup.table);
        if (computed == computed_.end()) return;  // Told at the table, or of its stream.
        check_computed_key(step, flow, computed->second, paths, by_record_key);
    } else if (!named->global) {
        check_lookup_key(step, flow, paths.back() ? &*paths.back() : nullptr, by_record_key);
    }
    if (!named->global) lookups_.push_back({node.stream, lookup.table, flow.origin});
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

// A row is in the shard that its stream's results are in. So a record finds it there only if the same values
// partition both, in the same order.
void Planner::check_computed_key(const config::LookupStep& step, const Flow& flow, const Computed& table,
                                 const std::vector<std::optional<FieldPath>>& paths, bool by_record_key) {
    if (found_apart_) return;
    const std::string& name = step.table.value;
    if (paths.size() != table.key_parts) {
        diagnostics_.error("W0232", step.by.front().mark,
                           "a row of '" + name + "' is found by " + std::to_string(table.key_parts) +
                               (table.key_parts == 1 ? " value" : " values") + ", this looks up by " +
                               std::to_string(paths.size()),
                           "", "the key of a result is what its stream groups by");
        return;
    }
    if (!source_of(flow).file.empty()) return;
    if (paths.size() == 1 && by_record_key && !flow.rekeyed) return;
    std::vector<FieldPath> parts;
    if (flow.shape.key) parts.push_back(*flow.shape.key);
    parts.insert(parts.end(), flow.shape.key_rest.begin(), flow.shape.key_rest.end());
    bool same = parts.size() == table.partitioned.size();
    for (size_t i = 0; same && i < parts.size(); ++i) same = paths[table.partitioned[i]] == parts[i];
    if (same) return;
    std::string by;
    for (const size_t part : table.partitioned) by += (by.empty() ? "" : ", ") + step.by[part].value;
    diagnostics_.error(
        "W0230", step.by.front().mark,
        "a record and its row in '" + name + "' may lie on different partitions: " + why_apart(flow) +
            ", the rows lie by '" + by + "'",
        "",
        "put a `key_by: " + (table.partitioned.size() == 1 ? by : "[" + by + "]") +
            "` before; or write the stream of '" + name +
            "' to a topic, and read that as a table with `global: true`");
}

// What a lookup finds must not depend on how records are cut into runs: where a source feeds a table and
// lookups in it, each record's results are rows before the next record is looked at.
void Planner::find_one_by_one() {
    for (SourcePlan& source : graph_->sources) {
        std::vector<NodeId> reached = source.next;
        if (source.repartition >= 0)
            for (const Channel& channel :
                 graph_->repartitions[static_cast<size_t>(source.repartition)].channels)
                reached.insert(reached.end(), channel.next.begin(), channel.next.end());
        std::vector<bool> known(graph_->nodes.size());
        std::vector<bool> stored(graph_->tables.size());
        std::vector<bool> found(graph_->tables.size());
        const auto add = [&](const std::vector<NodeId>& nodes) {
            reached.insert(reached.end(), nodes.begin(), nodes.end());
        };
        const auto add_stage = [&](StageId id) {
            add(graph_->stages[id].next);
            for (const uint32_t held : graph_->stages[id].held) add(graph_->held[held].next);
        };
        while (!reached.empty()) {
            const NodeId id = reached.back();
            reached.pop_back();
            if (known[id]) continue;
            known[id] = true;
            const Node& node = graph_->nodes[id];
            add(node.next);
            if (const auto* store = std::get_if<StoreNode>(&node.operation)) {
                stored[store->table] = graph_->tables[store->table].computed;
                add(graph_->tables[store->table].joins);
            }
            if (const auto* lookup = std::get_if<LookupNode>(&node.operation)) found[lookup->table] = true;
            if (const auto* input = std::get_if<AccumulateNode>(&node.operation)) {
                add(input->late);
                add_stage(input->stage);
            }
            if (const auto* input = std::get_if<LimitNode>(&node.operation)) add(input->late);
            if (const auto* input = std::get_if<JoinInputNode>(&node.operation)) {
                add(input->late);
                add_stage(input->stage);
            }
        }
        for (TableId id = 0; id < graph_->tables.size(); ++id)
            source.one_by_one = source.one_by_one || (stored[id] && found[id]);
    }
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
