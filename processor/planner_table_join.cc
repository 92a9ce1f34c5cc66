// Joined tables in the plan: what their rows are called, and which steps can keep them a table.
#include <algorithm>

#include "processor/planner.h"

namespace weir::processor {

// Names of a joined row: its sides, and `_key`.
class Planner::TableJoinNames final : public JoinNames {
public:
    TableJoinNames(FrameTable& frames, const config::TableJoin& join)
        : frames_(frames), sides_{join.left.value, join.right.value} {}

    // Where the rows of the sides are fetched, and where the key is.
    void set(Shape rows, expr::Slot key) {
        rows_ = std::move(rows);
        key_ = key;
    }

    expr::Compiled<expr::Scope::Binding> bind(std::span<const std::string> path) override {
        if (rows_.find_row(path.front()) == nullptr) return no_such_side(path.front(), sides_);
        return frames_.bind(rows_, path);
    }

    expr::Compiled<expr::Scope::Binding> bind_metadata(expr::Metadata which) override {
        if (which == expr::Metadata::kKey) return expr::Scope::Binding{key_, 1, Type::kText};
        expr::CompileError error;
        error.message = "a joined row has no metadata but its key";
        error.help = "the key is `_key`";
        return error;
    }

    [[nodiscard]] const std::vector<std::string>& sides() const { return sides_; }

private:
    FrameTable& frames_;
    const std::vector<std::string> sides_;
    Shape rows_;
    expr::Slot key_ = 0;
};

void Planner::plan_table_join(size_t stream) {
    const config::TableJoin& rule = *pipeline_.streams[stream].join_tables;
    TableJoinNode join;
    join.kind = rule.kind;
    Lookup together{stream, 0, {}, true};
    for (size_t side = 0; side < 2; ++side) {
        const config::Text& name = side == 0 ? rule.left : rule.right;
        const auto table = std::find_if(graph_->tables.begin(), graph_->tables.end(),
                                        [&](const TablePlan& plan) { return plan.name == name.value; });
        if (table == graph_->tables.end()) return;  // Told by the checks of the file.
        const auto id = static_cast<TableId>(table - graph_->tables.begin());
        join.tables[side] = id;
        Origin origin{false, table->source};
        if (table->computed) {
            const auto computed = computed_.find(id);
            if (computed == computed_.end()) return;  // Told at the table, or of its stream.
            const std::vector<size_t>& parts = computed->second.partitioned;
            bool whole = parts.size() == computed->second.key_parts;
            for (size_t i = 0; i < parts.size(); ++i) whole = whole && parts[i] == i;
            if (!whole && source_of({}).file.empty()) {  // Files are one partition.
                diagnostics_.error("W0233", name.mark,
                                   "the rows of '" + name.value + "' do not lie by their whole key", "",
                                   "put a `key_by` at the end of its stream");
                return;
            }
            origin = computed->second.origins.front();
        }
        if (graph_->sources[table->source].format != config::Format::kJson) {
            diagnostics_.error("W0233", name.mark, "the rows of '" + name.value + "' are not JSON");
            return;
        }
        if (side == 0) together.of = origin;
        together.table = id;
    }
    lookups_.push_back(together);

    auto made = std::make_unique<TableJoinNames>(*frames_, rule);
    TableJoinNames& names = *made;
    table_join_names_.push_back(std::move(made));
    Flow flow;
    flow.of_table = true;
    flow.unsettled = "gives rows that are replaced later";
    flow.origin = together.of;
    flow.shape.frame = frames_->add_join_frame(names);
    flow.shape.sides = names.sides();
    flow.shape.key = FieldPath{"_key"};
    join.frame = flow.shape.frame;
    join.key = frames_->new_slot(flow.shape.frame);
    flow.default_key = {join.key};
    flow.partitioned = {0};
    add_meaning(flow, describe(rule));

    Node node;
    node.frame = flow.shape.frame;
    node.stream = stream;
    node.step = "streams." + pipeline_.streams[stream].name + ".join_tables";
    flow.kind = Flow::Kind::kNode;
    flow.id = graph_->nodes.size();
    for (const TableId table : join.tables)
        graph_->tables[table].joins.push_back(static_cast<NodeId>(flow.id));
    node.operation = join;
    graph_->nodes.push_back(node);
    Shape rows;
    rows.frame = flow.shape.frame;
    names.set(rows, join.key);
    for (const TableId table : join.tables) {
        ShapeScope scope(*frames_, flow.shape);
        LookupNode lookup;
        lookup.table = table;
        lookup.as = graph_->tables[table].name;
        config::Text key;
        key.value = "_key";
        lookup.by.push_back(*compile_expression(key, scope));
        lookup.as_of_event_time = false;
        lookup.missing = config::LookupStep::Missing::kKeep;
        lookup.of_join = true;
        const std::string name = lookup.as;
        node.operation = std::move(lookup);
        rows.rows.push_back({name, append(flow, node), rows.frame});
    }
    names.set(rows, join.key);
    plan_steps(stream, 0, std::move(flow));
}

Layout Planner::failed_layout(const Flow& flow) {
    const bool is_kept = graph_->on_expression_error.action == config::ErrorAction::kDeadLetter;
    return flow.of_table && is_kept ? frames_->whole_layout(flow.shape) : flow.shape.layout();
}

bool Planner::check_after_table_join(const config::Step& step, const Flow& flow) {
    if (!flow.of_table) return true;
    const bool keeps_table = std::holds_alternative<config::FilterStep>(step.step) ||
                             std::holds_alternative<config::MapStep>(step.step) ||
                             std::holds_alternative<config::SetStep>(step.step) ||
                             std::holds_alternative<config::RemoveStep>(step.step);
    if (!keeps_table)
        diagnostics_.error("W0234", step.mark,
                           "this step cannot follow joined tables: a change of a row would have to take back "
                           "what the row before came to",
                           "", "filter, map, set and remove can; or let a table read the stream, and look "
                               "it up");
    return keeps_table;
}

}  // namespace weir::processor
