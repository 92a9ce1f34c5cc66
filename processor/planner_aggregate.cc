// Steps with state in the plan: their stages, whether every group stays on one partition, and how an
// aggregate's rows are laid out.
#include <algorithm>

#include "processor/planner.h"
#include "processor/window_grid.h"

namespace weir::processor {

void Planner::check_partitioning(const std::vector<config::Text>& by, const config::Mark& mark,
                                 const Flow& flow, const std::vector<FieldPath>& paths, bool by_record_key) {
    // A file is one partition, read by one worker: every group is whole there.
    if ((by_record_key && !flow.rekeyed) || !source_of(flow).file.empty()) return;
    const std::string source = source_of(flow).name;
    if (by.empty()) {
        diagnostics_.error(
            "W0206", mark, "an aggregate without `by` needs all records in one place", "",
            "group by a field that the topic is keyed by; how many partitions source '" + source +
                "' has is not known before weir runs, so even one partition cannot be relied on");
        return;
    }
    const auto& key = flow.shape.key;
    const auto grouped_by = [&](const FieldPath& field) {
        return std::find(paths.begin(), paths.end(), field) != paths.end();
    };
    const auto& rest = flow.shape.key_rest;
    if (key && grouped_by(*key) && std::all_of(rest.begin(), rest.end(), grouped_by)) return;
    std::string names;
    for (const config::Text& field : by) names += (names.empty() ? "" : ", ") + field.value;
    const std::string& first = by.front().value;
    std::string declare =
        "if producers key the topic by it, declare `keyed_by: " + first + "` on source '" + source + "'";
    if (key) declare = "add '" + join_path(*key) + "' to `by`, or " + declare;
    diagnostics_.error(key ? "W0204" : "W0205", by.front().mark,
                       "records of one group (" + names +
                           ") may lie on several partitions: " + why_apart(flow),
                       "", declare + "; or let weir bring them together: `repartition: auto`");
}

void Planner::plan_window_fields(const config::AggregateStep& step, StageId id, bool is_new, Shape& groups) {
    Stage& stage = graph_->stages[id];
    if (is_new) {
        stage.window_start = frames_->new_slot(groups.frame);
        stage.window_end = frames_->new_slot(groups.frame);
    }
    for (const char* name : {"window_start", "window_end"}) {
        if (groups.find(name) != nullptr) {
            diagnostics_.error("W0209", step.by.front().mark,
                               std::string("'") + name + "' is a field of every result");
        }
    }
    groups.fields.push_back({"window_start", stage.window_start, Type::kInt8});
    groups.fields.push_back({"window_end", stage.window_end, Type::kInt8});
}

// Why a step that keeps state cannot read an aggregate's results.
std::string Planner::unsettled_results(const config::AggregateStep& step) {
    using Kind = config::Window::Kind;
    if (step.emit.kind != config::Emit::Kind::kOnClose)
        return "gives results that are replaced later, and each would be counted";
    if (step.window.kind == Kind::kCount)
        return "gives results in the order of arrival, and which of them are late is not known";
    if (step.window.time == config::Window::Time::kProcessing)
        return "goes by the wall clock, which has nothing to do with the sources' event time";
    return {};
}

StageId Planner::stage_for(size_t step_index, const config::Mark& mark, const Flow& flow, const Node& node,
                           bool& is_new) {
    const auto [place, added] =
        stage_of_.try_emplace({node.stream, step_index}, static_cast<StageId>(graph_->stages.size()));
    is_new = added;
    if (is_new) {
        Stage& stage = graph_->stages.emplace_back();
        stage.stream = node.stream;
        stage.step_index = step_index;
        stage.step = node.step;
        stage.on_disk = pipeline_.streams[node.stream].steps[step_index].state()->on_disk;
        stage_origins_.emplace_back();
    }
    if (!flow.unsettled.empty()) {
        diagnostics_.error("W0220", mark, "this step cannot read an aggregate that " + flow.unsettled, "",
                           "use windows in event time with `emit: on_close` before it, or write to a topic "
                           "and read that");
    }
    stage_origins_[place->second].push_back(flow.origin);
    return place->second;
}

Planner::ByPlan Planner::plan_by(const std::vector<config::Text>& by, const config::Mark& mark,
                                 const Flow& flow) {
    ByPlan plan;
    std::vector<FieldPath> paths;
    bool valid = true;
    for (const config::Text& text : by) {
        ShapeScope scope(*frames_, flow.shape);
        auto expression = compile_expression(text, scope);
        valid = valid && expression.has_value();
        if (!expression) continue;
        const bool is_record_key = scope.is_record_key() && expression->plain_slot();
        if (scope.only_path() == nullptr && !is_record_key) {
            diagnostics_.error("W0207", text.mark, "`by` takes paths of fields", "",
                               "compute the value in a map or set before this step");
            valid = false;
            continue;
        }
        const std::string name = is_record_key ? "_key" : join_path(*scope.only_path());
        const bool twice = std::any_of(plan.fields.begin(), plan.fields.end(),
                                       [&](const ShapeField& field) { return field.name == name; });
        if (twice) diagnostics_.error("W0209", text.mark, "'" + name + "' is given twice");
        plan.by_record_key = plan.by_record_key || is_record_key;
        if (!is_record_key) paths.push_back(*scope.only_path());
        plan.fields.push_back({name, 0, expression->static_type()});
        plan.expressions.push_back(std::move(*expression));
    }
    if (valid && !found_apart_) check_partitioning(by, mark, flow, paths, plan.by_record_key);
    return plan;
}

void Planner::append_stage_node(StageId id, Flow& flow, Node node) {
    Flow late = flow;
    late.kind = Flow::Kind::kLate;
    late.late = true;
    late.id = append(flow, std::move(node));
    late_[graph_->stages[id].stream].push_back(std::move(late));
    flow.late = false;
}

bool Planner::plan_aggregate(const config::AggregateStep& step, size_t step_index, Flow& flow, Node node) {
    if (bring_together(step.by, false, step_index, flow, node)) node.frame = flow.shape.frame;
    bool is_new = false;
    const StageId id = stage_for(step_index, step.mark, flow, node, is_new);
    if (!step.window.timezone.empty() && !WindowGrid::zone_exists(step.window.timezone)) {
        diagnostics_.error("W0221", step.window.mark,
                           "there is no time zone '" + step.window.timezone + "'", "",
                           "a name of the system's time zone database, such as Europe/Berlin");
    }

    AccumulateNode accumulate;
    accumulate.stage = id;
    accumulate.layout = flow.shape.layout();
    Shape groups;  // What a closing window's fields can see, then the results' shape.
    if (is_new) {
        graph_->stages[id].frame = frames_->add_result_frame();
        graph_->stages[id].window = step.window;
        graph_->stages[id].emit = step.emit;
        graph_->stages[id].behind_ms = step.window.grace_ms;
    }
    groups.frame = graph_->stages[id].frame;

    ByPlan by = plan_by(step.by, step.mark, flow);
    for (const ShapeField& field : by.fields) {
        const auto slot = static_cast<expr::Slot>(groups.fields.size());
        if (is_new) {
            WEIR_CHECK(frames_->new_slot(groups.frame) == slot);
            graph_->stages[id].by.push_back(field.name);
        }
        groups.fields.push_back({field.name, slot, field.type});
    }
    accumulate.by = std::move(by.expressions);
    const auto by_count = static_cast<expr::Slot>(groups.fields.size());

    if (step.window.kind != config::Window::Kind::kNone) plan_window_fields(step, id, is_new, groups);
    if (is_new) graph_->stages[id].first_call = static_cast<expr::Slot>(groups.fields.size());

    Shape results = groups;
    expr::Slot next_call = graph_->stages[id].first_call;
    // The calls of a field or of `having` become the stage's; left is what is computed from their results.
    const auto compile = [&](const config::Text& text) -> std::optional<expr::Expression> {
        ShapeScope input(*frames_, flow.shape);
        ShapeScope group(*frames_, groups);
        auto result = expr::compile_aggregate(text.value, input, group, next_call);
        if (const auto* error = std::get_if<expr::CompileError>(&result)) {
            report(text, *error);
            return std::nullopt;
        }
        auto& aggregate = std::get<expr::AggregateExpression>(result);
        for (expr::AggregateCall& call : aggregate.calls) {
            if (is_new) {
                WEIR_CHECK(frames_->new_slot(groups.frame) == next_call);
                graph_->stages[id].calls.push_back(call.spec);
            }
            ++next_call;
            accumulate.calls.push_back({std::move(call.arguments), std::move(call.filter)});
        }
        return std::move(aggregate.result);
    };
    std::vector<std::pair<std::string, expr::Expression>> compiled;
    for (const config::NamedExpression& named : step.fields) {
        auto field = compile(named.expression);
        if (!field) continue;
        if (results.find(named.name) != nullptr) {
            diagnostics_.error("W0209", named.name_mark, "field '" + named.name + "' is given twice", "",
                               "`by` fields, window_start and window_end are part of every result");
            continue;
        }
        results.fields.push_back({named.name, 0, field->static_type()});
        compiled.emplace_back(named.name, std::move(*field));
    }
    std::optional<expr::Expression> having;
    if (step.having) having = compile(*step.having);
    if (is_new) {
        for (auto& [name, result] : compiled) {
            const expr::Slot slot = frames_->new_slot(groups.frame);
            for (ShapeField& field : results.fields) {
                if (field.name == name) field.slot = slot;
            }
            graph_->stages[id].fields.push_back({name, slot, std::move(result)});
        }
    }
    const Node after{{}, groups.frame, node.stream, node.step, {}};
    node.operation = std::move(accumulate);
    const std::optional<FieldPath> key = flow.shape.key;
    const std::vector<FieldPath> key_rest = flow.shape.key_rest;
    const std::string key_lost = flow.shape.key_lost;
    append_stage_node(id, flow, std::move(node));

    results.key = by.by_record_key ? std::optional<FieldPath>(FieldPath{"_key"}) : std::nullopt;
    if (key) results.key = FieldPath{join_path(*key)};
    for (const FieldPath& further : key_rest) results.key_rest.push_back(FieldPath{join_path(further)});
    results.key_lost = key_lost;
    flow.shape = std::move(results);
    flow.origin = {true, id};
    flow.kind = Flow::Kind::kStage;
    flow.id = id;
    flow.unsettled = unsettled_results(step);
    flow.default_key.clear();
    for (expr::Slot slot = 0; slot < by_count; ++slot) flow.default_key.push_back(slot);
    flow.partitioned = partitioned_parts(flow.shape, flow.default_key.size(), [&](const FieldPath& part) {
        size_t at = 0;
        while (at < by.fields.size() && by.fields[at].name != part.front()) ++at;
        return at;
    });
    if (is_new) plan_results(step, flow, std::move(having), after);
    return is_new;
}

// What a stage's results pass before the next step: `having`, then whether every field could be computed.
void Planner::plan_results(const config::AggregateStep& step, Flow& flow,
                           std::optional<expr::Expression> having, const Node& node) {
    const Layout layout = flow.shape.layout();
    if (having) {
        const auto type = having->static_type();
        if (type && *type != Type::kBool && *type != Type::kNull) {
            diagnostics_.error("W0201", step.having->position(0),
                               std::string("a condition is boolean, this is ") + type_name(*type));
        }
        Node filter = node;
        filter.operation = FilterNode{std::move(*having), layout};
        append(flow, std::move(filter));
    }
    Node check = node;
    ComputeNode compute{{}, {}, layout};
    for (const ShapeField& field : flow.shape.fields) compute.checked.push_back(field.slot);
    check.operation = std::move(compute);
    append(flow, std::move(check));
}

}  // namespace weir::processor
