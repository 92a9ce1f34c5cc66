#include "processor/planner.h"

#include <algorithm>

namespace weir::processor {
namespace {

constexpr std::string_view kLateSuffix = ".late";

FieldPath split_path(const std::string& text) {
    FieldPath path(1);
    for (const char c : text) {
        if (c == '.') {
            path.emplace_back();
        } else {
            path.back() += c;
        }
    }
    return path;
}

const char* step_kind(const config::Step& step) {
    constexpr const char* kNames[] = {"filter",    "map",    "set",      "remove", "explode", "lookup",
                                      "aggregate", "dedupe", "throttle", "top_n",  "key_by"};
    return kNames[step.step.index()];
}

std::vector<NodeId>& late_of(Node& node) {
    if (auto* const limit = std::get_if<LimitNode>(&node.operation)) return limit->late;
    if (auto* const input = std::get_if<JoinInputNode>(&node.operation)) return input->late;
    return std::get<AccumulateNode>(node.operation).late;
}

bool ends_with_late(const std::string& name) { return name.ends_with(kLateSuffix); }

}  // namespace

bool Planner::run(Plan& plan, Graph& graph) {
    plan_ = &plan;
    graph_ = &graph;
    frames_.emplace(graph);
    plan_endpoints(plan);
    plan_sources();
    plan_tables();
    for (const size_t stream : order_streams()) {
        plan_stream(stream);
        plan_computed_tables(stream);
    }
    if (diagnostics_.has_errors() || found_apart_) return false;
    finish_joins();
    finish_stages();
    finish_tables();
    find_one_by_one();
    list_stored_tables();
    finish_repartitions();
    warn_unused();
    plan_alignment();
    plan.stateful = !graph.stages.empty() || std::any_of(graph.tables.begin(), graph.tables.end(),
                                                         [](const auto& table) { return !table.global; });
    return true;
}

TopicId Planner::output(const std::string& topic, const std::string& file) {
    const bool is_file = topic.empty();
    const std::string& name = is_file ? file : topic;
    auto& outputs = plan_->outputs;
    for (size_t i = 0; i < outputs.size(); ++i) {
        if (outputs[i].is_file == is_file && outputs[i].name == name) return static_cast<TopicId>(i);
    }
    outputs.push_back({name, is_file});
    return static_cast<TopicId>(outputs.size() - 1);
}

void Planner::plan_endpoints(Plan& plan) {
    plan.name = pipeline_.name;
    for (size_t source = 0; source < pipeline_.sources.size(); ++source) {
        plan.source_names.push_back(pipeline_.sources[source].name);
        if (!pipeline_.sources[source].file.empty()) {
            plan.inputs.push_back({pipeline_.sources[source].file, true, source, false, false});
        }
        for (const std::string& topic : pipeline_.sources[source].topics)
            plan.inputs.push_back({topic, false, source, false, false});
    }
    for (const config::Table& table : pipeline_.tables) plan.source_names.push_back(table.input.name);
    for (const bool global : {false, true}) {
        for (size_t i = 0; i < pipeline_.tables.size(); ++i) {
            const config::Table& table = pipeline_.tables[i];
            if (table.global != global || table.from) continue;
            const bool is_file = !table.input.file.empty();
            plan.inputs.push_back({is_file ? table.input.file : table.input.topics.front(), is_file,
                                   pipeline_.sources.size() + i, true, global});
        }
    }
    for (const config::Stream& stream : pipeline_.streams) {
        plan.stream_names.push_back(stream.name);
        for (const config::Route& route : stream.to) output(route.topic, route.file);
    }
    const auto error_plan = [&](const config::ErrorPolicy& policy) {
        ErrorPlan result{policy.action, TopicId{}};
        if (policy.action == config::ErrorAction::kDeadLetter)
            result.dead_letter = output(policy.dead_letter_topic, "");
        return result;
    };
    graph_->on_decode_error = error_plan(pipeline_.on_error.decode);
    graph_->on_expression_error = error_plan(pipeline_.on_error.expression);
    graph_->on_produce_error = error_plan(pipeline_.on_error.produce);
}

void Planner::plan_sources() {
    for (const config::Source& source : pipeline_.sources) plan_source(source);
}

void Planner::plan_source(const config::Source& source) {
    const size_t index = graph_->sources.size();
    graph_->sources.emplace_back();
    Shape shape;
    shape.frame = frames_->add_source_frame(index);
    shape.raw = true;
    SourcePlan& plan = graph_->sources[index];
    plan.name = source.name;
    plan.format = source.format;
    plan.frame = shape.frame;
    plan.watermark = source.watermark;
    plan.keyed_by = source.keyed_by;
    if (source.keyed_by.empty()) {
        shape.key_lost = "source '" + source.name + "' does not say what its topic is keyed by";
    } else if (source.format != config::Format::kJson) {
        diagnostics_.error("W0208", source.keyed_by_mark,
                           "keyed_by names a field, but the format is not json", "",
                           "group by _key, the record's key, instead");
    } else {
        shape.key = split_path(source.keyed_by);
        const auto bound = frames_->bind(shape, *shape.key);
        graph_->sources[index].key_slot = std::get<expr::Scope::Binding>(bound).slot;
    }
    if (source.timestamp) {
        ShapeScope scope(*frames_, shape);
        graph_->sources[index].timestamp = compile_expression(*source.timestamp, scope);
    }
    plan_marks(index, source.watermark, shape);
    source_shapes_.push_back(std::move(shape));
}

// The watermarks that a source's records carry.
void Planner::plan_marks(size_t index, const config::Watermark& rule, const Shape& shape) {
    ShapeScope scope(*frames_, shape);
    const auto compile = [&](const std::optional<config::Text>& text, bool takes_boolean, bool takes_time,
                             const char* expected) {
        std::optional<expr::Expression> result;
        if (text) result = compile_expression(*text, scope);
        const auto type = result ? result->static_type() : std::nullopt;
        if (!type || *type == Type::kNull) return result;
        const bool time = *type == Type::kInt4 || *type == Type::kInt8 || *type == Type::kNumeric ||
                          *type == Type::kText || *type == Type::kTimestamptz;
        if ((*type == Type::kBool && !takes_boolean) || (*type != Type::kBool && !(takes_time && time)))
            diagnostics_.error("W0201", text->position(0),
                               std::string(expected) + ", this is " + type_name(*type));
        return result;
    };
    SourcePlan& plan = graph_->sources[index];
    const bool punctuated = rule.strategy == config::WatermarkStrategy::kPunctuated;
    plan.mark =
        compile(rule.mark, punctuated, true,
                punctuated ? "a punctuation is boolean or a timestamp" : "a watermark is a timestamp");
    plan.markers = compile(rule.markers, true, false, "a condition is boolean");
}

// Streams after the streams that they read or look up; first of all those that tables read, so that a
// record's results are rows before its lookups come.
std::vector<size_t> Planner::order_streams() {
    enum class Mark : uint8_t { kNew, kOpen, kDone };
    std::vector<Mark> marks(pipeline_.streams.size(), Mark::kNew);
    std::vector<size_t> order;
    std::vector<std::string_view> names;
    for (const config::Source& source : pipeline_.sources) names.push_back(source.name);
    for (const config::Stream& stream : pipeline_.streams) names.push_back(stream.name);

    const auto stream_named = [&](const std::string& name) {
        size_t found = 0;
        while (found < pipeline_.streams.size() && pipeline_.streams[found].name != name) ++found;
        return found;
    };
    const auto visit = [&](const auto& self, size_t at) -> void {
        marks[at] = Mark::kOpen;
        // A circle through a table is told by the checks of the file.
        const auto visit_table = [&](const std::string& name) {
            for (const config::Table& table : pipeline_.tables) {
                if (!table.from || table.input.name != name) continue;
                const size_t found = stream_named(table.from->value);
                if (found < marks.size() && marks[found] == Mark::kNew) self(self, found);
            }
        };
        if (const auto& join = pipeline_.streams[at].join_tables) {
            visit_table(join->left.value);
            visit_table(join->right.value);
        }
        for (const config::Step& step : pipeline_.streams[at].steps)
            if (const auto* const lookup = std::get_if<config::LookupStep>(&step.step))
                visit_table(lookup->table.value);
        for (const config::Text& from : pipeline_.streams[at].from) {
            std::string name = from.value;
            const bool is_source =
                std::any_of(pipeline_.sources.begin(), pipeline_.sources.end(),
                            [&](const config::Source& source) { return source.name == name; });
            if (is_source) continue;
            if (ends_with_late(name)) name.resize(name.size() - kLateSuffix.size());
            const size_t found = stream_named(name);
            if (found == pipeline_.streams.size()) {
                const std::string_view near = config::nearest(from.value, names);
                diagnostics_.error("W0202", from.mark, "there is no source or stream '" + from.value + "'",
                                   "", near.empty() ? "" : "did you mean '" + std::string(near) + "'?");
            } else if (marks[found] == Mark::kOpen) {
                diagnostics_.error("W0203", from.mark, "stream '" + name + "' would read itself", "",
                                   "streams form no circles; write to a topic and read that");
            } else if (marks[found] == Mark::kNew) {
                self(self, found);
            }
        }
        marks[at] = Mark::kDone;
        order.push_back(at);
    };
    for (const config::Table& table : pipeline_.tables) {
        const size_t found = table.from ? stream_named(table.from->value) : marks.size();
        if (found < marks.size() && marks[found] == Mark::kNew) visit(visit, found);
    }
    for (size_t i = 0; i < pipeline_.streams.size(); ++i) {
        if (marks[i] == Mark::kNew) visit(visit, i);
    }
    if (diagnostics_.has_errors()) order.clear();
    return order;
}

NodeId Planner::append(Flow& flow, Node node) {
    const auto id = static_cast<NodeId>(graph_->nodes.size());
    graph_->nodes.push_back(std::move(node));
    switch (flow.kind) {
        case Flow::Kind::kSource: graph_->sources[flow.id].next.push_back(id); break;
        case Flow::Kind::kNode: graph_->nodes[flow.id].next.push_back(id); break;
        case Flow::Kind::kLate: late_of(graph_->nodes[flow.id]).push_back(id); break;
        case Flow::Kind::kStage: graph_->stages[flow.id].next.push_back(id); break;
        case Flow::Kind::kHeld: graph_->held[flow.id].next.push_back(id); break;
        case Flow::Kind::kChannel:
            graph_->repartitions[flow.id].channels[flow.channel].next.push_back(id);
            break;
    }
    flow.kind = Flow::Kind::kNode;
    flow.id = id;
    return id;
}

std::vector<Planner::Flow> Planner::flows_of(const config::Text& from) {
    std::vector<Flow> flows;
    for (size_t source = 0; source < pipeline_.sources.size(); ++source) {
        if (pipeline_.sources[source].name != from.value) continue;
        Flow& flow = flows.emplace_back();
        flow.id = source;
        flow.shape = source_shapes_[source];
        flow.origin.index = source;
        flow.first_source = source;
        add_meaning(flow, from.value);
        return flows;
    }
    for (size_t other = 0; other < pipeline_.streams.size(); ++other) {
        const bool late = from.value == pipeline_.streams[other].name + std::string(kLateSuffix);
        if (!late && from.value != pipeline_.streams[other].name) continue;
        flows = late ? late_[other] : results_[other];
        if (late && flows.empty()) {
            diagnostics_.error("W0202", from.mark,
                               "stream '" + pipeline_.streams[other].name +
                                   "' has no late records: none of its steps tells records apart by time");
        }
        break;
    }
    return flows;
}

void Planner::enter(size_t stream, Flow& flow) {
    Node node;
    node.operation = EnterNode{};
    node.frame = flow.shape.frame;
    node.stream = stream;
    node.step = "streams." + pipeline_.streams[stream].name;
    append(flow, std::move(node));
    flow.shape.rows.clear();  // What another stream looked up is no part of its records.
}

void Planner::plan_stream(size_t index) {
    const config::Stream& stream = pipeline_.streams[index];
    if (stream.join) return plan_join(index);
    if (stream.join_tables) return plan_table_join(index);
    for (const config::Text& from : stream.from) {
        for (Flow& flow : flows_of(from)) {
            enter(index, flow);
            plan_steps(index, 0, std::move(flow));
        }
    }
}

void Planner::plan_steps(size_t index, size_t first_step, Flow flow) {
    const config::Stream& stream = pipeline_.streams[index];
    Node node;
    node.stream = index;
    for (size_t i = first_step; i < stream.steps.size(); ++i) {
        const config::Step& step = stream.steps[i];
        if (!check_after_table_join(step, flow)) return;
        node.frame = flow.shape.frame;
        node.step = "streams." + stream.name + ".steps[" + std::to_string(i) + "]." + step_kind(step);
        add_meaning(flow, describe(step));
        if (const auto* filter = std::get_if<config::FilterStep>(&step.step))
            plan_filter(*filter, flow, node);
        if (const auto* map = std::get_if<config::MapStep>(&step.step)) plan_map(*map, flow, node);
        if (const auto* set = std::get_if<config::SetStep>(&step.step)) plan_set(*set, step.mark, flow, node);
        if (const auto* remove = std::get_if<config::RemoveStep>(&step.step))
            plan_remove(*remove, step.mark, flow);
        if (const auto* explode = std::get_if<config::ExplodeStep>(&step.step))
            plan_explode(*explode, step.mark, flow, node);
        if (const auto* lookup = std::get_if<config::LookupStep>(&step.step))
            plan_lookup(*lookup, step.mark, flow, node);
        if (const auto* aggregate = std::get_if<config::AggregateStep>(&step.step)) {
            if (!plan_aggregate(*aggregate, i, flow, node)) return;
        }
        if (const auto* dedupe = std::get_if<config::DedupeStep>(&step.step))
            plan_dedupe(*dedupe, i, flow, node);
        if (const auto* throttle = std::get_if<config::ThrottleStep>(&step.step))
            plan_throttle(*throttle, i, flow, node);
        if (const auto* top = std::get_if<config::TopNStep>(&step.step)) plan_top_n(*top, i, flow, node);
        if (const auto* key_by = std::get_if<config::KeyByStep>(&step.step))
            plan_key_by(*key_by, step.mark, i, flow, node);
    }
    node.frame = flow.shape.frame;
    node.step = "streams." + stream.name + ".to";
    plan_exit(stream, flow, node);
    results_[index].push_back(std::move(flow));
}

void Planner::plan_filter(const config::FilterStep& step, Flow& flow, Node node) {
    ShapeScope scope(*frames_, flow.shape);
    auto condition = compile_expression(step.condition, scope);
    if (!condition) return;
    const auto type = condition->static_type();
    if (type && *type != Type::kBool && *type != Type::kNull) {
        diagnostics_.error("W0201", step.condition.position(0),
                           std::string("a condition is boolean, this is ") + type_name(*type));
        return;
    }
    node.operation = FilterNode{std::move(*condition), failed_layout(flow), flow.of_table};
    append(flow, std::move(node));
}

std::optional<ShapeField> Planner::plan_value(const config::NamedExpression& named, const Flow& flow,
                                              ComputeNode& node, std::optional<FieldPath>& plain_path) {
    ShapeScope scope(*frames_, flow.shape);
    auto expression = compile_expression(named.expression, scope);
    if (!expression) return std::nullopt;
    if (const auto slot = expression->plain_slot()) {
        if (const FieldPath* path = scope.only_path()) plain_path = *path;
        node.checked.push_back(*slot);
        return ShapeField{named.name, *slot, expression->static_type()};
    }
    const expr::Slot slot = frames_->new_slot(flow.shape.frame);
    ShapeField field{named.name, slot, expression->static_type()};
    node.outputs.emplace_back(slot, std::move(*expression));
    return field;
}

void Planner::plan_map(const config::MapStep& step, Flow& flow, Node node) {
    ComputeNode compute;
    compute.layout = failed_layout(flow);
    compute.of_table = flow.of_table;
    Shape shape;
    shape.frame = flow.shape.frame;
    shape.key_lost = flow.shape.key ? "the map does not keep field '" + join_path(*flow.shape.key) + "'"
                                    : flow.shape.key_lost;
    size_t kept_rest = 0;
    for (const config::NamedExpression& named : step.fields) {
        std::optional<FieldPath> path;
        auto field = plan_value(named, flow, compute, path);
        if (!field) continue;
        if (shape.find(named.name) != nullptr) {
            diagnostics_.error("W0209", named.name_mark, "field '" + named.name + "' is given twice");
        }
        // What the key is called from here on, when this is it or an object around it.
        const auto renamed = [&](const FieldPath& key) -> std::optional<FieldPath> {
            if (!path || path->size() > key.size() || !std::equal(path->begin(), path->end(), key.begin()))
                return std::nullopt;
            FieldPath to{named.name};
            to.insert(to.end(), key.begin() + static_cast<ptrdiff_t>(path->size()), key.end());
            return to;
        };
        if (!shape.key && flow.shape.key) shape.key = renamed(*flow.shape.key);
        for (const FieldPath& further : flow.shape.key_rest) {
            auto to = renamed(further);
            if (!to) continue;
            shape.key_rest.push_back(std::move(*to));
            ++kept_rest;
        }
        shape.set(std::move(*field));
    }
    if (kept_rest < flow.shape.key_rest.size()) shape.key.reset();
    if (!shape.key) shape.key_rest.clear();
    flow.shape = std::move(shape);
    node.operation = std::move(compute);
    append(flow, std::move(node));
}

void Planner::plan_set(const config::SetStep& step, const config::Mark& mark, Flow& flow, Node node) {
    if (flow.shape.raw && source_of(flow).format != config::Format::kJson) {
        diagnostics_.error("W0208", mark,
                           "set changes members of a JSON object, and these records are not JSON", "",
                           "make an object with map first");
        return;
    }
    ComputeNode compute;
    compute.layout = failed_layout(flow);
    compute.of_table = flow.of_table;
    Shape shape = flow.shape;
    for (const config::NamedExpression& named :
         step.fields) {  // All read the record as it was before the step.
        std::optional<FieldPath> path;
        auto field = plan_value(named, flow, compute, path);
        if (!field) continue;
        if (path != FieldPath{named.name})
            shape.lose_key(named.name, "the set replaces field '" + named.name + "'");
        shape.set(std::move(*field));
    }
    flow.shape = std::move(shape);
    node.operation = std::move(compute);
    append(flow, std::move(node));
}

void Planner::plan_remove(const config::RemoveStep& step, const config::Mark& mark, Flow& flow) {
    if (flow.shape.raw && source_of(flow).format != config::Format::kJson) {
        diagnostics_.error("W0208", mark,
                           "remove takes members from a JSON object, and these records are not JSON");
        return;
    }
    frames_->complete(flow.shape);
    for (const config::Text& field : step.fields) {
        const auto& sides = flow.shape.sides;
        const bool is_side = std::find(sides.begin(), sides.end(), field.value) != sides.end();
        if (!flow.shape.raw && !is_side && flow.shape.find(field.value) == nullptr) {
            diagnostics_.error("W0208", field.mark, "there is no field '" + field.value + "' to remove");
            continue;
        }
        flow.shape.remove(field.value);
        flow.shape.lose_key(field.value, "the remove drops field '" + field.value + "'");
    }
}

void Planner::plan_explode(const config::ExplodeStep& step, const config::Mark& mark, Flow& flow, Node node) {
    ShapeScope scope(*frames_, flow.shape);
    auto array = compile_expression(step.field, scope);
    if (!array) return;
    const FieldPath* path = scope.only_path();
    if (path == nullptr || (step.as.empty() && path->size() != 1)) {
        diagnostics_.error(
            "W0208", step.field.mark,
            path == nullptr ? "explode takes the path of a field" : "explode replaces a top-level field", "",
            path == nullptr ? "" : "name where the element goes with `as:`");
        return;
    }
    if (flow.shape.raw && source_of(flow).format != config::Format::kJson) {
        diagnostics_.error("W0208", mark, "explode needs a JSON record");
        return;
    }
    const std::string target = step.as.empty() ? path->front() : step.as;
    frames_->complete(flow.shape);
    Shape shape;
    shape.raw = flow.shape.raw;
    shape.sides = flow.shape.sides;
    shape.frame = frames_->add_derived_frame(flow.shape);
    shape.removed = flow.shape.removed;
    shape.rows = flow.shape.rows;
    shape.key = flow.shape.key;
    shape.key_rest = flow.shape.key_rest;
    shape.key_lost = flow.shape.key_lost;
    for (const ShapeField& field : flow.shape.fields) {
        shape.fields.push_back({field.name, frames_->import(shape.frame, field.slot), field.type});
    }
    shape.lose_key(target, "the explode replaces field '" + target + "'");
    const expr::Slot element = frames_->new_slot(shape.frame);
    shape.set({target, element, std::nullopt});
    for (expr::Slot& slot : flow.default_key) slot = frames_->import(shape.frame, slot);
    node.operation = ExplodeNode{std::move(*array), shape.frame, element, flow.shape.layout()};
    flow.shape = std::move(shape);
    append(flow, std::move(node));
}

void Planner::plan_exit(const config::Stream& stream, Flow& flow, Node node) {
    ExitNode exit;
    exit.layout = stream.to.empty() ? flow.shape.layout() : frames_->whole_layout(flow.shape);
    exit.default_key = flow.default_key;
    exit.late = flow.late;
    for (const config::Route& route : stream.to) {
        if (flow.of_table && (route.when || route.key || route.partition || !route.headers.empty()))
            diagnostics_.error("W0234", route.mark,
                               "joined tables are written as they are: a deletion has nothing but its key",
                               "",
                               "leave out `when`, `key`, `partition` and `headers`; a filter deletes what "
                               "does not pass");
        RoutePlan plan;
        plan.output = output(route.topic, route.file);
        ShapeScope scope(*frames_, flow.shape);
        if (route.when) plan.when = compile_expression(*route.when, scope);
        if (route.key) plan.key = compile_expression(*route.key, scope);
        if (route.partition) plan.partition = compile_expression(*route.partition, scope);
        for (const config::NamedExpression& header : route.headers) {
            if (auto value = compile_expression(header.expression, scope)) {
                plan.headers.emplace_back(header.name, std::move(*value));
            }
        }
        exit.routes.push_back(std::move(plan));
    }
    node.operation = std::move(exit);
    append(flow, std::move(node));
}

void Planner::warn_unused() {
    for (const config::Stream& stream : pipeline_.streams) {
        if (!stream.to.empty()) continue;
        bool read = std::any_of(pipeline_.tables.begin(), pipeline_.tables.end(), [&](const auto& table) {
            return table.from && table.from->value == stream.name;
        });
        for (const config::Stream& other : pipeline_.streams) {
            for (const config::Text& from : other.from) {
                read =
                    read || from.value == stream.name || from.value == stream.name + std::string(kLateSuffix);
            }
        }
        if (!read) {
            diagnostics_.warning("W0210", stream.mark,
                                 "nothing reads stream '" + stream.name + "' and it has no `to`");
        }
    }
}

const config::Source& Planner::source_of(const Flow& flow) const {
    static const config::Source kNone;  // Joined tables need no source.
    return flow.first_source < pipeline_.sources.size() ? pipeline_.sources[flow.first_source] : kNone;
}

std::optional<expr::Expression> Planner::compile_expression(const config::Text& text, expr::Scope& scope) {
    auto result = text.is_plain_number ? expr::Expression::literal(text.value)
                                       : expr::Expression::compile(text.value, scope);
    if (auto* expression = std::get_if<expr::Expression>(&result)) return std::move(*expression);
    report(text, std::get<expr::CompileError>(result));
    return std::nullopt;
}

void Planner::report(const config::Text& text, const expr::CompileError& error) {
    config::Mark mark = text.position(error.position);
    mark.length = static_cast<int32_t>(std::max<size_t>(1, error.length));
    diagnostics_.error("W0201", mark, error.message, "", error.help);
}

}  // namespace weir::processor
