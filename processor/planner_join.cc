// Joins in the plan: their results, and which values of each side those need.
#include <algorithm>

#include "processor/join_reach.h"
#include "processor/planner.h"

namespace weir::processor {

// What the results of one join are asked for, and so what is kept of each side.
class Planner::JoinColumns final : public JoinNames {
public:
    JoinColumns(Planner& planner, StageId stage, const config::Join& join)
        : planner_(planner), stage_(stage), sides_{join.left.name, join.right.name} {}

    // A node that feeds the side, and the rows' shape there.
    void add_input(Side side, NodeId node, Shape shape) {
        inputs_[static_cast<size_t>(side)].push_back({node, std::move(shape)});
    }

    expr::Compiled<expr::Scope::Binding> bind(std::span<const std::string> path) override {
        for (size_t side = 0; side < 2; ++side) {
            if (path.front() == sides_[side]) return column(side, path);
        }
        return no_such_side(path.front(), sides_);
    }

    expr::Compiled<expr::Scope::Binding> bind_metadata(expr::Metadata which) override {
        JoinPlan& join = *planner_.graph_->stages[stage_].join;
        if (which == expr::Metadata::kKey && join.key_count == 1) {
            join.key_in_match |= in_match_;
            return expr::Scope::Binding{0, 1, std::nullopt};
        }
        expr::CompileError error;
        error.message = "a pair of records has no metadata of its own";
        error.help = "each side's is at hand: " + sides_[0] + "._timestamp";
        return error;
    }

    [[nodiscard]] const std::vector<std::string>& sides() const { return sides_; }

    // What is bound from now on is for conditions on pairs, or no longer.
    void set_in_match(bool in_match) { in_match_ = in_match; }

    // Sorted by name, so that what is stored does not depend on which step asks first.
    void finish() {
        JoinPlan& join = *planner_.graph_->stages[stage_].join;
        for (size_t side = 0; side < 2; ++side) {
            auto& columns = join.columns[side];
            std::vector<size_t> order(columns.size());
            for (size_t i = 0; i < order.size(); ++i) order[i] = i;
            std::sort(order.begin(), order.end(),
                      [&](size_t a, size_t b) { return columns[a].path < columns[b].path; });
            const auto sort = [&](auto& list) {
                auto sorted = list;
                for (size_t i = 0; i < order.size(); ++i) sorted[i] = list[order[i]];
                list = std::move(sorted);
            };
            sort(columns);
            for (const Input& input : inputs_[side]) sort(node(input).columns);
        }
    }

private:
    struct Input {
        NodeId node;
        Shape shape;
    };

    [[nodiscard]] JoinInputNode& node(const Input& input) const {
        return std::get<JoinInputNode>(planner_.graph_->nodes[input.node].operation);
    }

    expr::Compiled<expr::Scope::Binding> column(size_t side, std::span<const std::string> path) {
        using Binding = expr::Scope::Binding;
        const std::string name = join_path(path.subspan(1));
        const auto find = [&]() -> JoinColumn* {
            for (JoinColumn& column : planner_.graph_->stages[stage_].join->columns[side])
                if (column.path == name) return &column;
            return nullptr;
        };
        if (find() == nullptr) {
            const auto failed = path.size() == 1 ? add_whole(side) : add(side, path.subspan(1), name);
            if (failed) return *failed;
        }
        JoinColumn& found = *find();
        found.in_match |= in_match_;
        return Binding{found.slot, path.size(), found.type};
    }

    std::optional<expr::CompileError> add(size_t side, std::span<const std::string> path,
                                          const std::string& name) {
        std::vector<expr::Expression> expressions;
        std::optional<Type> type;
        for (const Input& input : inputs_[side]) {
            ShapeScope scope(*planner_.frames_, input.shape);
            auto compiled = expr::Expression::path({path.begin(), path.end()}, scope);
            if (auto* const error = std::get_if<expr::CompileError>(&compiled)) return std::move(*error);
            expressions.push_back(std::get<expr::Expression>(std::move(compiled)));
            const auto its_type = expressions.back().static_type();
            type = expressions.size() == 1 || type == its_type ? its_type : std::nullopt;
        }
        for (size_t i = 0; i < expressions.size(); ++i)
            node(inputs_[side][i]).columns.emplace_back(std::move(expressions[i]));
        push(side, name, type);
        return std::nullopt;
    }

    std::optional<expr::CompileError> add_whole(size_t side) {
        for (const Input& input : inputs_[side]) {
            Layout layout = planner_.frames_->whole_layout(input.shape);
            JoinInputNode& into = node(input);
            into.whole = std::move(layout);
            into.columns.emplace_back(std::nullopt);
        }
        push(side, "", std::nullopt);
        return std::nullopt;
    }

    void push(size_t side, const std::string& name, std::optional<Type> type) {
        Stage& stage = planner_.graph_->stages[stage_];
        stage.join->columns[side].push_back({name, planner_.frames_->new_slot(stage.frame), type, false});
    }

    Planner& planner_;
    const StageId stage_;
    const std::vector<std::string> sides_;
    std::array<std::vector<Input>, 2> inputs_;
    bool in_match_ = false;
};

Planner::Planner(const config::Pipeline& pipeline, config::Diagnostics& diagnostics, Apart& apart)
    : pipeline_(pipeline),
      diagnostics_(diagnostics),
      apart_(apart),
      results_(pipeline.streams.size()),
      late_(pipeline.streams.size()) {}
Planner::~Planner() = default;

void Planner::plan_join(size_t index) {
    const config::Stream& stream = pipeline_.streams[index];
    const config::Join& rule = *stream.join;
    Sides flows;
    const auto id = static_cast<StageId>(graph_->stages.size());
    const std::string step = "streams." + stream.name + ".join";
    graph_->stages.emplace_back();
    stage_origins_.emplace_back();
    for (size_t side = 0; side < 2; ++side) {
        flows[side] = flows_of(stream.from.at(side));
        for (Flow& flow : flows[side]) {
            enter(index, flow);
            if (flow.of_table) {
                diagnostics_.error("W0234", rule.mark, "a join in time cannot read joined tables", "",
                                   "let a table read them, and look it up");
                continue;
            }
            if (!flow.unsettled.empty())
                diagnostics_.error("W0220", rule.mark,
                                   "a join cannot read an aggregate that " + flow.unsettled, "",
                                   "use windows in event time with `emit: on_close` before it, or write to a "
                                   "topic and read that");
        }
    }
    if (flows[0].empty() || flows[1].empty()) return;  // Told already.
    const Flow& first = flows[0].front();
    auto& names = *join_columns_.emplace_back(std::make_unique<JoinColumns>(*this, id, rule));
    const FrameId frame = frames_->add_join_frame(names);
    Stage& stage = graph_->stages[id];
    stage.stream = index;
    stage.step = step;
    stage.on_disk = rule.state.on_disk;
    stage.frame = frame;
    stage.join.emplace();
    stage.join->rule = rule;
    if (!rule.window.timezone.empty() && !WindowGrid::zone_exists(rule.window.timezone)) {
        diagnostics_.error("W0221", rule.window.mark, "there is no time zone '" + rule.window.timezone + "'",
                           "", "a name of the system's time zone database, such as Europe/Berlin");
        return;
    }
    stage.behind_ms = JoinReach(rule).behind_ms();
    if (rule.in_sessions()) {
        stage.window = rule.window;
        stage.window.grace_ms = rule.grace_ms;
        stage.calls.emplace_back().function = expr::AggregateFunction::kTimedRows;
    }

    auto match = plan_match(rule, flows);
    if (!match || !bring_sides_together(index, *match, flows)) return;
    graph_->stages[id].join->key_count = match->equalities.size();
    for (size_t key = 0; key < match->equalities.size(); ++key)
        WEIR_CHECK(frames_->new_slot(frame) == static_cast<expr::Slot>(key));
    for (size_t side = 0; side < 2; ++side) {
        for (size_t i = 0; i < flows[side].size(); ++i) {
            Flow& flow = flows[side][i];
            stage_origins_[id].push_back(flow.origin);
            JoinInputNode input;
            input.stage = id;
            input.side = static_cast<Side>(side);
            input.layout = flow.shape.layout();
            input.whole_text = flow.shape.raw && source_of(flow).format != config::Format::kJson;
            for (auto& equality : match->equalities) input.keys.push_back(std::move(equality[side][i].value));
            Node node;
            node.operation = std::move(input);
            node.frame = flow.shape.frame;
            node.stream = index;
            node.step = step;
            append_stage_node(id, flow, std::move(node));
            names.add_input(static_cast<Side>(side), static_cast<NodeId>(flow.id), flow.shape);
        }
    }

    Flow results;
    results.kind = Flow::Kind::kStage;
    results.id = id;
    results.origin = {true, id};
    results.first_source = first.first_source;
    for (const auto& side : flows)
        for (const Flow& flow : side) add_meaning(results, std::to_string(flow.meaning));
    add_meaning(results, describe(rule));
    results.shape.frame = frame;
    results.shape.sides = names.sides();
    results.shape.kept_of = id;
    // The side whose field is the key of every result.
    if (rule.kind == config::Join::Kind::kFull) {
        results.shape.key = FieldPath{"_key"};
        if (match->equalities.size() > 1) results.shape.key.reset();
        results.shape.key_lost = "a result of a full join has the key of either side";
    } else {
        const size_t side = rule.kind == config::Join::Kind::kRight ? 1 : 0;
        const Shape& shape = flows[side].front().shape;
        const bool same = std::all_of(flows[side].begin(), flows[side].end(),
                                      [&](const Flow& flow) {
                                          return flow.shape.key == shape.key &&
                                                 flow.shape.key_rest == shape.key_rest;
                                      });
        results.shape.key_lost = same ? shape.key_lost : "the join's inputs are keyed by different fields";
        if (same && shape.key) {
            const auto of_side = [&](const FieldPath& path) {
                FieldPath whole{names.sides()[side]};
                whole.insert(whole.end(), path.begin(), path.end());
                return whole;
            };
            results.shape.key = of_side(*shape.key);
            for (const FieldPath& further : shape.key_rest)
                results.shape.key_rest.push_back(of_side(further));
        }
    }
    for (size_t key = 0; key < match->equalities.size(); ++key)
        results.default_key.push_back(static_cast<expr::Slot>(key));
    results.partitioned =
        match->partitioned_by(flows, {Side::kLeft, Side::kRight}).value_or(std::vector<size_t>());
    const auto add_window = [&] {
        Stage& stage_of = graph_->stages[id];
        stage_of.window_start = frames_->new_slot(frame);
        stage_of.window_end = frames_->new_slot(frame);
        results.shape.set({"window_start", stage_of.window_start, Type::kInt8});
        results.shape.set({"window_end", stage_of.window_end, Type::kInt8});
    };
    // Whether a pair matches must not depend on the window where a record is told for each it leaves alone,
    // nor on the session that they make.
    const bool windowed = rule.by == config::Join::By::kWindow;
    const bool match_sees_window = !rule.in_sessions() && !rule.tells_per_window();
    if (windowed && match_sees_window) add_window();

    ShapeScope scope(*frames_, results.shape);
    names.set_in_match(true);
    for (const size_t part : match->conditions) {
        if (rule.by == config::Join::By::kAsOf) {
            diagnostics_.error("W0224", rule.match.position(0),
                               "an as-of join takes equalities between its sides only", "",
                               "filter the right side before the join, or the results after it");
            break;
        }
        auto compiled = match->match.condition(part, scope);
        if (const auto* error = std::get_if<expr::CompileError>(&compiled)) {
            report(rule.match, *error);
            continue;
        }
        auto& condition = std::get<expr::Expression>(compiled);
        const auto type = condition.static_type();
        if (type && *type != Type::kBool && *type != Type::kNull) {
            diagnostics_.error("W0201", rule.match.position(0),
                               std::string("a condition is boolean, this is ") + type_name(*type));
        }
        graph_->stages[id].join->conditions.push_back(std::move(condition));
    }
    names.set_in_match(false);
    if (windowed && !match_sees_window) add_window();
    graph_->stages[id].join->layout = results.shape.layout();
    plan_steps(index, 0, std::move(results));
}

// Now all columns are known: a row that fails is written with them.
void Planner::finish_joins() {
    for (const auto& columns : join_columns_) columns->finish();
    const auto complete = [&](Layout& layout) {
        if (!layout.kept_of) return;
        const JoinPlan& join = *graph_->stages[*layout.kept_of].join;
        std::vector<FieldSlot> fields;
        for (size_t side = 0; side < 2; ++side) {
            const std::string& name = side == 0 ? join.rule.left.name : join.rule.right.name;
            for (const JoinColumn& column : join.columns[side])
                fields.push_back({column.path.empty() ? name : name + "." + column.path, column.slot});
        }
        layout.fields.insert(layout.fields.begin(), fields.begin(), fields.end());
        layout.kept_of.reset();
    };
    for (Node& node : graph_->nodes) {
        std::visit(
            [&](auto& operation) {
                if constexpr (requires { operation.layout.kept_of; }) complete(operation.layout);
            },
            node.operation);
    }
    for (Stage& stage : graph_->stages)
        if (stage.join) complete(stage.join->layout);
}

}  // namespace weir::processor
