// dedupe, throttle and top_n in the plan. What passes at once stays in its batch (limiter.h); what is held
// back comes out in a frame of its own (held_rows.h), one for each of the step's inputs.
#include <algorithm>

#include "processor/planner.h"
#include "processor/window_grid.h"

namespace weir::processor {

StageId Planner::plan_limit(const std::vector<config::Text>& by, const config::Mark& mark, size_t step_index,
                            Flow& flow, Node node) {
    if (bring_together(by, false, step_index, flow, node)) node.frame = flow.shape.frame;
    bool is_new = false;
    const StageId id = stage_for(step_index, mark, flow, node, is_new);
    LimitNode limit;
    limit.stage = id;
    limit.layout = flow.shape.layout();
    limit.by = plan_by(by, mark, flow).expressions;
    node.operation = std::move(limit);
    append_stage_node(id, flow, std::move(node));
    return id;
}

void Planner::plan_throttle(const config::ThrottleStep& step, size_t step_index, Flow& flow, Node node) {
    Stage& stage = graph_->stages[plan_limit(step.by, step.mark, step_index, flow, std::move(node))];
    stage.limit = step.max;
    stage.limit_ms = step.per_ms;
}

void Planner::plan_dedupe(const config::DedupeStep& step, size_t step_index, Flow& flow, Node node) {
    if (step.keep == config::DedupeStep::Keep::kFirst) {
        Stage& stage = graph_->stages[plan_limit(step.by, step.mark, step_index, flow, std::move(node))];
        stage.limit = 1;
        stage.limit_ms = step.within_ms;
        stage.limits_duplicates = true;
        return;
    }
    // From a record on, all that lie less than `within` behind it.
    config::Window window;
    window.kind = config::Window::Kind::kSession;
    window.size_ms = window.max_ms = step.within_ms;
    window.mark = step.mark;
    CallPlan call;
    call.function = expr::AggregateFunction::kLast;
    plan_hold({step.by, step.mark, window, call, nullptr, {}, true}, step_index, flow, std::move(node));
}

void Planner::plan_top_n(const config::TopNStep& step, size_t step_index, Flow& flow, Node node) {
    CallPlan call;
    call.function = expr::AggregateFunction::kTopRows;
    call.k = static_cast<int32_t>(step.n);
    call.descending = !step.smallest;
    plan_hold({step.by, step.mark, step.window, call, &step.order, step.rank, false}, step_index, flow,
              std::move(node));
}

void Planner::plan_hold(const Hold& hold, size_t step_index, Flow& flow, Node node) {
    if (!flow.shape.sides.empty()) {
        diagnostics_.error("W0208", hold.mark,
                           "a step that holds records back cannot hold both sides of a join", "",
                           "make plain fields of them with a map before");
        return;
    }
    if (bring_together(hold.by, false, step_index, flow, node)) node.frame = flow.shape.frame;
    frames_->complete(flow.shape);
    bool is_new = false;
    const StageId id = stage_for(step_index, hold.mark, flow, node, is_new);
    if (!hold.window.timezone.empty() && !WindowGrid::zone_exists(hold.window.timezone)) {
        diagnostics_.error("W0221", hold.window.mark, "there is no time zone '" + hold.window.timezone + "'",
                           "", "a name of the system's time zone database, such as Europe/Berlin");
    }
    if (is_new) {
        Stage& stage = graph_->stages[id];
        stage.window = hold.window;
        stage.behind_ms = hold.window.grace_ms + (hold.keeps_row_times ? hold.window.max_ms : 0);
        stage.holds_rows = true;
        stage.keeps_row_times = hold.keeps_row_times;
        stage.calls = {hold.call};
    }
    AccumulateNode input;
    input.stage = id;
    input.layout = flow.shape.layout();
    input.by = plan_by(hold.by, hold.mark, flow).expressions;
    input.held = static_cast<uint32_t>(graph_->stages[id].held.size());
    CallInput& call = input.calls.emplace_back();
    if (hold.order != nullptr) {
        ShapeScope scope(*frames_, flow.shape);
        if (auto order = compile_expression(*hold.order, scope)) call.arguments.push_back(std::move(*order));
    }

    const size_t index = graph_->held.size();
    graph_->stages[id].held.push_back(static_cast<uint32_t>(index));
    graph_->held.emplace_back();
    Shape kept = flow.shape;
    kept.frame = frames_->add_held_frame(flow.shape, index);
    HeldPlan& plan = graph_->held[index];
    plan.frame = kept.frame;
    plan.format = source_of(flow).format;
    plan.raw = flow.shape.raw;
    const auto keep = [&](expr::Slot& slot) {
        const auto known = std::find_if(plan.columns.begin(), plan.columns.end(),
                                        [&](const SlotCopy& copy) { return copy.from == slot; });
        if (known != plan.columns.end()) {
            slot = known->to;
            return;
        }
        plan.columns.push_back({slot, frames_->new_slot(kept.frame)});
        slot = plan.columns.back().to;
    };
    for (ShapeField& field : kept.fields) keep(field.slot);
    std::vector<expr::Slot> default_key = flow.default_key;
    for (expr::Slot& slot : default_key) keep(slot);
    if (!hold.rank.empty()) {
        if (flow.shape.raw && plan.format != config::Format::kJson) {
            diagnostics_.error("W0208", hold.mark,
                               "`as` adds a member to a JSON object, and these records are not JSON", "",
                               "make an object with map first");
        }
        kept.lose_key(hold.rank, "the top_n replaces field '" + hold.rank + "'");
        plan.rank = frames_->new_slot(kept.frame);
        kept.set({hold.rank, plan.rank, Type::kInt8});
    }
    node.operation = std::move(input);
    append_stage_node(id, flow, std::move(node));

    flow.kind = Flow::Kind::kHeld;
    flow.id = index;
    flow.origin = {true, id};
    flow.shape = std::move(kept);
    flow.default_key = std::move(default_key);
}

}  // namespace weir::processor
