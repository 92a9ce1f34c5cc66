// Internal topics in the plan: which steps need one, what travels through it, and how event time does.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <limits>

#include "base/bytes.h"
#include "processor/join_reach.h"
#include "processor/planner.h"

namespace weir::processor {
namespace {

bool feeds(const std::vector<Feed>& feeds, size_t source) {
    return std::any_of(feeds.begin(), feeds.end(), [&](const Feed& feed) { return feed.source == source; });
}

int64_t reach_of(const Stage& stage) {
    if (stage.join) {
        const JoinReach reach(stage.join->rule);
        return std::max(reach.longest_ms(Side::kLeft), reach.longest_ms(Side::kRight));
    }
    if (stage.limit > 0) return stage.limit_ms;
    const config::Window& window = stage.window;
    const bool by_event_time = window.is_timed() && window.time == config::Window::Time::kEvent;
    return by_event_time ? window.size_ms + window.grace_ms : 0;
}

}  // namespace

void Planner::add_meaning(Flow& flow, std::string_view text) {
    flow.meaning = XXH3_64bits_withSeed(text.data(), text.size(), flow.meaning);
}

bool Planner::together(const std::vector<config::Text>& by, const Flow& flow, std::vector<FieldPath>& paths) {
    bool by_record_key = false;
    for (const config::Text& field : by) {
        ShapeScope scope(*frames_, flow.shape);
        const auto compiled = expr::Expression::compile(field.value, scope);
        const auto* const expression = std::get_if<expr::Expression>(&compiled);
        by_record_key = by_record_key || (scope.is_record_key() && !flow.rekeyed);
        const bool plain = expression != nullptr && expression->plain_slot().has_value();
        if (plain && scope.only_path() != nullptr) paths.push_back(*scope.only_path());
    }
    if (paths.size() != by.size()) paths.clear();
    // A file is one partition, read by one worker.
    if (by_record_key || !source_of(flow).file.empty()) return true;
    const auto grouped_by = [&](const FieldPath& field) {
        return std::find(paths.begin(), paths.end(), field) != paths.end();
    };
    const auto& rest = flow.shape.key_rest;
    return flow.shape.key && grouped_by(*flow.shape.key) && std::all_of(rest.begin(), rest.end(), grouped_by);
}

std::string Planner::why_apart(const Flow& flow) const {
    if (!flow.shape.key) return flow.shape.key_lost;
    std::string key = join_path(*flow.shape.key);
    for (const FieldPath& further : flow.shape.key_rest) key += ", " + join_path(further);
    return has_source_key(flow) ? "source '" + source_of(flow).name + "' is keyed by '" + key + "'"
                                : "they are keyed by '" + key + "' here";
}

bool Planner::has_source_key(const Flow& flow) const {
    return flow.shape.key && flow.shape.key_rest.empty() &&
           join_path(*flow.shape.key) == source_of(flow).keyed_by;
}

bool Planner::bring_together(const std::vector<config::Text>& by, bool always, size_t step_index, Flow& flow,
                             const Node& node) {
    std::vector<FieldPath> paths;
    const bool is_together = together(by, flow, paths);
    if (paths.empty()) return false;
    const auto place = std::make_pair(node.stream, step_index);
    if (!apart_.contains(place)) {
        // Further steps are looked at when it is known what this one brings together.
        if (found_apart_ || is_together || (pipeline_.repartition.never && !always)) return false;
        apart_.emplace(place, why_apart(flow));
        found_apart_ = true;
        return false;
    }
    const config::Mark mark = by.front().mark;
    if (pipeline_.repartition.never) {
        diagnostics_.error("W0225", mark, "key_by needs an internal topic: " + apart_.at(place),
                           "`repartition: never` forbids it", "take one of them out");
        return false;
    }
    if (!may_repartition(list_of(by), apart_.at(place), mark)) return false;
    if (!flow.unsettled.empty()) {
        diagnostics_.error("W0220", mark, "key_by cannot take on an aggregate that " + flow.unsettled, "",
                           "use windows in event time with `emit: on_close` before it; to key what is "
                           "written give the route a `key`");
        return false;
    }
    const uint32_t id =
        repartition_at({node.stream, std::nullopt, step_index}, apart_.at(place), flow, node, mark);
    RepartitionPlan& repartition = graph_->repartitions[id];
    if (repartition.by.empty()) {
        for (const FieldPath& path : paths) repartition.by.push_back(join_path(path));
    }
    std::vector<expr::Slot> slots;
    for (const FieldPath& path : paths) {
        const auto bound = frames_->bind(flow.shape, path);
        slots.push_back(std::get<expr::Scope::Binding>(bound).slot);
    }
    send_through(id, std::move(slots), flow, node);
    flow.shape.key = paths.front();
    flow.shape.key_rest.assign(paths.begin() + 1, paths.end());
    return true;
}

bool Planner::may_repartition(const std::string& by, const std::string& reason, const config::Mark& mark) {
    if (pipeline_.guarantee == config::Guarantee::kExactlyOnce) return true;
    diagnostics_.error("W0225", mark,
                       "records of one group (" + by + ") may lie on several partitions: " + reason, "",
                       "bringing them together needs `guarantee: exactly_once`: a record that is "
                       "repeated under way would be counted twice");
    return false;
}

void Planner::send_through(uint32_t id, std::vector<expr::Slot> by, Flow& flow, const Node& node) {
    RepartitionPlan& repartition = graph_->repartitions[id];
    repartition_origins_[id].push_back(flow.origin);
    RepartitionNode enter{id, static_cast<uint32_t>(repartition.channels.size()), std::move(by),
                          flow.shape.layout()};
    Channel channel;
    channel.from = flow.shape.frame;
    channel.frame = frames_->add_derived_frame(flow.shape);
    channel.fingerprint = static_cast<uint32_t>(flow.meaning ^ flow.meaning >> 32);
    repartition.channels.push_back(channel);

    Shape shape;
    shape.frame = channel.frame;
    shape.raw = flow.shape.raw;
    shape.partial = true;
    shape.removed = flow.shape.removed;
    shape.sides = flow.shape.sides;
    shape.rows = flow.shape.rows;
    // A window's results are no records that a dead letter could keep: all of a row travels.
    if (frames_->holds_results(flow.shape.frame)) frames_->complete(shape);
    Node before = node;
    before.frame = flow.shape.frame;
    before.operation = std::move(enter);
    append(flow, std::move(before));

    flow.kind = Flow::Kind::kChannel;
    flow.id = id;
    flow.channel = repartition.channels.size() - 1;
    flow.shape = std::move(shape);
    flow.origin = {false, repartition.source};
    flow.rekeyed = true;
    flow.late = false;
    for (expr::Slot& slot : flow.default_key) slot = frames_->import(channel.frame, slot);
    Node after = node;
    after.frame = channel.frame;
    after.operation = EnterNode{};
    append(flow, std::move(after));
}

uint32_t Planner::repartition_at(const Place& place, const std::string& reason, const Flow& flow,
                                 const Node& node, const config::Mark& mark) {
    const auto [found, is_new] =
        repartition_of_.try_emplace(place, static_cast<uint32_t>(graph_->repartitions.size()));
    const uint32_t id = found->second;
    if (!is_new) return id;
    RepartitionPlan& made = graph_->repartitions.emplace_back();
    repartition_origins_.emplace_back();
    repartition_sizes_.emplace_back();
    const auto of_stream = std::count_if(graph_->repartitions.begin(), graph_->repartitions.end() - 1,
                                         [&](const auto& other) { return other.stream == node.stream; });
    const std::string& stream = pipeline_.streams[node.stream].name;
    made.topic = pipeline_.name + "-" + stream + "-repartition";
    if (of_stream > 0) made.topic += "-" + std::to_string(of_stream + 1);
    for (const auto& other : plan_->inputs) {
        if (other.name == made.topic)
            diagnostics_.error("W0225", mark, "the internal topic '" + made.topic + "' is a source, too", "",
                               "rename the stream");
    }
    made.stream = node.stream;
    made.side = place.side;
    made.step_index = place.step_index;
    made.step = node.step;
    made.reason = reason;
    made.source = graph_->sources.size();
    made.output = output(made.topic, "");
    made.input = static_cast<TopicId>(plan_->inputs.size());
    const auto internal = static_cast<int32_t>(plan_->internal_topics.size());
    plan_->inputs.push_back({made.topic, false, made.source, false, false, internal});
    plan_->internal_topics.push_back({made.input, pipeline_.repartition.partitions, {}, {}, false});
    SourcePlan& source = graph_->sources.emplace_back();
    source.name = made.topic;
    source.watermark = source_of(flow).watermark;  // Its idleness and period are settled at the end.
    source.repartition = static_cast<int32_t>(id);
    plan_->source_names.push_back(source.name);
    return id;
}

void Planner::plan_key_by(const config::KeyByStep& step, const config::Mark& mark, size_t step_index,
                          Flow& flow, const Node& node) {
    std::vector<FieldPath> paths;
    static_cast<void>(together(step.fields, flow, paths));
    if (paths.empty()) {
        bool told = false;
        for (const config::Text& field : step.fields) {
            ShapeScope scope(*frames_, flow.shape);
            told = !compile_expression(field, scope).has_value() || told;
        }
        if (!told)
            diagnostics_.error("W0207", mark, "`key_by` takes paths of fields", "",
                               "compute the value in a map or set before it");
        return;
    }
    bring_together(step.fields, true, step_index, flow, node);
    flow.default_key.clear();
    for (const FieldPath& path : paths) {
        const auto bound = frames_->bind(flow.shape, path);
        flow.default_key.push_back(std::get<expr::Scope::Binding>(bound).slot);
    }
    flow.partitioned = partitioned_parts(flow.shape, paths.size(), [&](const FieldPath& part) {
        return static_cast<size_t>(std::find(paths.begin(), paths.end(), part) - paths.begin());
    });
}

std::vector<Feed> Planner::feeds_of(const std::vector<Origin>& origins) const {
    std::vector<Feed> result;
    const auto add = [&](size_t source, int64_t lag_ms) {
        for (Feed& feed : result) {
            if (feed.source != source) continue;
            feed.lag_ms = std::max(feed.lag_ms, lag_ms);
            return;
        }
        result.push_back({source, lag_ms});
    };
    for (const Origin& origin : origins) {
        if (!origin.is_stage) {
            add(origin.index, 0);
            continue;
        }
        const Stage& before = graph_->stages[origin.index];
        for (const Feed& feed : before.feeds) add(feed.source, feed.lag_ms + before.behind_ms);
    }
    return result;
}

template <class Fed>
void Planner::settle_time(Fed& fed) const {
    bool hold = false;
    bool tick = false;
    fed.emit_every_ms = std::numeric_limits<int64_t>::max() / 1'000'000;
    for (const Feed& feed : fed.feeds) {
        const config::Watermark& watermark = graph_->sources[feed.source].watermark;
        fed.emit_every_ms = std::min(fed.emit_every_ms, watermark.emit_every_ms);
        hold = hold || watermark.when_all_idle == config::WhenAllIdle::kHold;
        tick = tick || watermark.when_all_idle == config::WhenAllIdle::kTick;
    }
    fed.when_all_idle = hold   ? config::WhenAllIdle::kHold
                        : tick ? config::WhenAllIdle::kTick
                               : config::WhenAllIdle::kAdvance;
}

// Table numbers follow the stages' names, not their order in the file; feeds need the stages before.
void Planner::finish_stages() {
    std::vector<StageId> by_name;
    for (StageId id = 0; id < graph_->stages.size(); ++id) by_name.push_back(id);
    std::sort(by_name.begin(), by_name.end(), [&](StageId a, StageId b) {
        const Stage& left = graph_->stages[a];
        const Stage& right = graph_->stages[b];
        return std::pair(plan_->stream_names[left.stream], left.step_index) <
               std::pair(plan_->stream_names[right.stream], right.step_index);
    });
    for (size_t i = 0; i < by_name.size(); ++i)
        graph_->stages[by_name[i]].table = kTablesPerStage * static_cast<uint32_t>(i);
    for (StageId id = 0; id < graph_->stages.size(); ++id)
        graph_->stages[id].feeds = feeds_of(stage_origins_[id]);
    // An internal topic's idleness is that of the sources before it.
    for (size_t i = 0; i < graph_->repartitions.size(); ++i) {
        RepartitionPlan& repartition = graph_->repartitions[i];
        repartition.feeds = feeds_of(repartition_origins_[i]);
        settle_time(repartition);
        config::Watermark& watermark = graph_->sources[repartition.source].watermark;
        watermark.when_all_idle = repartition.when_all_idle;
        watermark.emit_every_ms = repartition.emit_every_ms;
    }
    std::vector<size_t> depths(graph_->sources.size(), 0);
    const auto depth_of = [&](const std::vector<Feed>& fed) {
        size_t depth = 0;
        for (const Feed& feed : fed) depth = std::max(depth, depths[feed.source]);
        return depth;
    };
    for (const RepartitionPlan& repartition : graph_->repartitions)
        depths[repartition.source] = depth_of(repartition.feeds) + 1;
    for (StageId id = 0; id < graph_->stages.size(); ++id) {
        Stage& stage = graph_->stages[id];
        settle_time(stage);
        stage.depth = depth_of(stage.feeds);
        const auto why = stage.join ? CoPartitioned::Why::kJoins : CoPartitioned::Why::kGroups;
        CoPartitioned together{stage.stream, {}, why, -1};
        const int64_t reach_ms = reach_of(stage);
        for (size_t id_of = 0; id_of < plan_->inputs.size(); ++id_of) {
            PlanInput& input = plan_->inputs[id_of];
            if (!feeds(stage.feeds, input.source)) continue;
            together.inputs.push_back(static_cast<TopicId>(id_of));
            if (reach_ms <= input.reach_ms) continue;
            input.reach_ms = reach_ms;
            input.reach_stream = stage.stream;
        }
        if (together.inputs.size() > 1) plan_->co_partitioned.push_back(std::move(together));
    }
    for (const Lookup& lookup : lookups_) {
        using Why = CoPartitioned::Why;
        CoPartitioned together{lookup.stream, {}, lookup.joins ? Why::kJoins : Why::kLooksUp, -1};
        std::vector<Origin> origins{lookup.of};
        const auto computed = computed_.find(lookup.table);
        if (computed != computed_.end())
            origins.insert(origins.end(), computed->second.origins.begin(), computed->second.origins.end());
        const std::vector<Feed> fed = feeds_of(origins);
        for (size_t input = 0; input < plan_->inputs.size(); ++input) {
            const bool is_table = plan_->inputs[input].source == graph_->tables[lookup.table].source;
            if (is_table && !lookup.joins) together.table = static_cast<int32_t>(input);
            if ((is_table && lookup.joins) || feeds(fed, plan_->inputs[input].source))
                together.inputs.push_back(static_cast<TopicId>(input));
        }
        if (together.table >= 0 || together.inputs.size() > 1)
            plan_->co_partitioned.push_back(std::move(together));
    }
}

void Planner::plan_alignment() {
    plan_->max_drift_ms = pipeline_.max_drift_ms;
    if (pipeline_.max_drift_ms == 0) return;
    const auto topics = [&](const std::vector<Feed>& fed) {
        return std::count_if(plan_->inputs.begin(), plan_->inputs.end(),
                             [&](const PlanInput& input) { return feeds(fed, input.source); });
    };
    for (const Stage& stage : graph_->stages)
        if (topics(stage.feeds) > 1) return;
    for (const RepartitionPlan& repartition : graph_->repartitions)
        if (topics(repartition.feeds) > 1) return;
    diagnostics_.warning("W0211", pipeline_.align_mark, "align has nothing to hold back",
                         "no windowed step or join reads two topics or files");
}

void Planner::finish_repartitions() {
    auto& all = graph_->repartitions;
    for (size_t i = all.size(); i-- > 0;) {
        RepartitionPlan& repartition = all[i];
        const auto is_fed = [&](const auto& fed) { return feeds(fed.feeds, repartition.source); };
        repartition.carries_time =
            std::any_of(graph_->stages.begin(), graph_->stages.end(), is_fed) ||
            std::any_of(all.begin() + static_cast<ptrdiff_t>(i) + 1, all.end(),
                        [&](const RepartitionPlan& later) { return later.carries_time && is_fed(later); });
        std::vector<Origin> origins = repartition_origins_[i];
        for (const Origin& origin : origins) {
            if (origin.is_stage)
                repartition.after.push_back(static_cast<StageId>(origin.index));
            else
                repartition.sources.push_back(origin.index);
        }
        for (size_t at = 0; at < origins.size(); ++at) {
            if (!origins[at].is_stage) continue;
            const auto id = static_cast<StageId>(origins[at].index);
            if (std::find(repartition.stages.begin(), repartition.stages.end(), id) !=
                repartition.stages.end())
                continue;
            repartition.stages.push_back(id);
            origins.insert(origins.end(), stage_origins_[id].begin(), stage_origins_[id].end());
        }
        for (Channel& channel : repartition.channels) settle_channel(repartition, channel);
        InternalTopic& topic = plan_->internal_topics[static_cast<size_t>(
            plan_->inputs[static_cast<size_t>(repartition.input)].internal)];
        const std::vector<Feed> sizes = feeds_of(repartition_sizes_[i]);
        for (size_t input = 0; input < plan_->inputs.size(); ++input) {
            const size_t source = plan_->inputs[input].source;
            if (feeds(repartition.feeds, source)) topic.fed_by.push_back(static_cast<TopicId>(input));
            if (feeds(sizes.empty() ? repartition.feeds : sizes, source))
                topic.sized_by.push_back(static_cast<TopicId>(input));
        }
    }
}

// Whether a route or a table writes the record's own bytes or key, so that they have to travel; dead letters
// do.
void Planner::settle_channel(const RepartitionPlan& repartition, Channel& channel) const {
    std::vector<NodeId> reached = channel.next;
    for (size_t at = 0; at < reached.size(); ++at) {
        const Node& node = graph_->nodes[reached[at]];
        reached.insert(reached.end(), node.next.begin(), node.next.end());
        if (const auto* accumulate = std::get_if<AccumulateNode>(&node.operation)) {
            reached.insert(reached.end(), accumulate->late.begin(), accumulate->late.end());
            channel.keeps_key = channel.keeps_key || accumulate->held;
            channel.keeps_value = channel.keeps_value || (accumulate->held && accumulate->layout.raw);
        }
        if (const auto* limit = std::get_if<LimitNode>(&node.operation))
            reached.insert(reached.end(), limit->late.begin(), limit->late.end());
        if (const auto* input = std::get_if<JoinInputNode>(&node.operation)) {
            reached.insert(reached.end(), input->late.begin(), input->late.end());
            channel.keeps_value = channel.keeps_value || input->whole.raw;
        }
        if (const auto* store = std::get_if<StoreNode>(&node.operation))
            channel.keeps_value = channel.keeps_value || store->row.raw;
        if (const auto* further = std::get_if<RepartitionNode>(&node.operation)) {
            const Channel& next = graph_->repartitions[further->repartition].channels[further->channel];
            channel.keeps_key = channel.keeps_key || next.keeps_key;
            channel.keeps_value = channel.keeps_value || next.keeps_value;
        }
        const auto* const exit = std::get_if<ExitNode>(&node.operation);
        if (exit == nullptr || exit->routes.empty()) continue;
        channel.keeps_value = channel.keeps_value || exit->layout.raw;
        for (const RoutePlan& route : exit->routes)
            channel.keeps_key = channel.keeps_key || (exit->default_key.empty() && !route.key);
    }
    std::string meaning;
    put_le<uint32_t>(meaning, channel.fingerprint);
    put_le<uint8_t>(meaning, static_cast<uint8_t>(channel.keeps_key ? 1 : 0));
    put_le<uint8_t>(meaning, static_cast<uint8_t>(channel.keeps_value ? 1 : 0));
    for (const std::string& by : repartition.by) put_bytes(meaning, by);
    for (const SlotCopy& column : graph_->frames[channel.frame].copies)
        put_le<int32_t>(meaning, static_cast<int32_t>(column.from));
    channel.fingerprint = XXH32(meaning.data(), meaning.size(), 0);
    const bool results = frames_->holds_results(channel.from);
    const bool keeps_failed = graph_->on_expression_error.action == config::ErrorAction::kDeadLetter ||
                              graph_->on_produce_error.action == config::ErrorAction::kDeadLetter;
    if (results || !keeps_failed) return;
    channel.keeps_key = true;
    channel.keeps_value = true;
}

}  // namespace weir::processor
