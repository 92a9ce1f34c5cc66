#include <fmt/format.h>

#include <algorithm>

#include "processor/expr/jsonb.h"
#include "processor/join_reach.h"
#include "processor/planner.h"

namespace weir::processor {
namespace {

std::string join_parts(const std::vector<std::string>& parts, const char* separator = ", ") {
    std::string out;
    for (const std::string& part : parts) out += (out.empty() ? "" : separator) + part;
    return out;
}

const char* idle_text(config::WhenAllIdle when) {
    switch (when) {
        case config::WhenAllIdle::kTick: return "event time ticks on at wall speed";
        case config::WhenAllIdle::kHold: return "event time stays";
        case config::WhenAllIdle::kAdvance: return "event time jumps to the newest source's";
    }
    return "";
}

const char* strategy_name(config::WatermarkStrategy strategy) {
    constexpr const char* kNames[] = {"bounded_out_of_orderness", "ascending", "punctuated",
                                      "source_provided"};
    return kNames[static_cast<size_t>(strategy)];
}

std::string strategy_text(const config::Watermark& w) {
    const std::string markers = w.markers ? "; only carried where " + w.markers->value : "";
    switch (w.strategy) {
        case config::WatermarkStrategy::kBoundedOutOfOrderness:
            return "largest event time - " + duration_text(w.max_delay_ms);
        case config::WatermarkStrategy::kAscending: return "largest event time";
        case config::WatermarkStrategy::kPunctuated:
            return "punctuated by records, " + w.mark->value + markers;
        case config::WatermarkStrategy::kSourceProvided:
            return fmt::format("provided by records, {}{}; {} largest event time - {}", w.mark->value,
                               markers, w.prefer_source ? "before the first one" : "or, where larger,",
                               duration_text(w.max_delay_ms));
    }
    return "";
}

std::string policy_text(const config::ErrorPolicy& policy) {
    switch (policy.action) {
        case config::ErrorAction::kFail: return "stop the pipeline";
        case config::ErrorAction::kSkip: return "count and leave out";
        case config::ErrorAction::kDeadLetter: return "to topic " + policy.dead_letter_topic;
    }
    return "";
}

std::string route_text(const config::Route& route) {
    std::string out = route.topic.empty() ? "file " + route.file : "topic " + route.topic;
    if (route.when) out += " when " + route.when->value;
    if (route.key) out += ", key " + route.key->value;
    if (route.partition) out += ", partition " + route.partition->value;
    return out;
}

const Stage* stage_of(const Graph& graph, size_t stream, std::optional<size_t> step) {
    for (const Stage& stage : graph.stages) {
        if (stage.stream == stream && stage.step_index == step) return &stage;
    }
    return nullptr;
}

const TablePlan& table_plan(const config::Table& table, const Graph& graph) {
    return *std::find_if(graph.tables.begin(), graph.tables.end(), [&](const TablePlan& candidate) {
        return candidate.name == table.input.name;
    });
}

void explain_table(const config::Table& table, const Graph& graph, std::string& out) {
    const char* const rows_on_disk = table.state.on_disk ? "  rows       on disk, in RocksDB\n" : "";
    if (table.from) {
        out += fmt::format(
            "table {}\n  reads      the results of stream {}, by their key\n"
            "  held       by shard, where they are computed; part of each commit, state table {}\n{}",
            table.input.name, table.from->value, table_plan(table, graph).state_table, rows_on_disk);
        return;
    }
    const bool is_file = !table.input.file.empty();
    const std::string& reads = is_file ? table.input.file : table.input.topics.front();
    out += fmt::format("table {}\n  reads      {} {}, to its end before any stream begins\n",
                       table.input.name, is_file ? "file" : "topic", reads);
    if (is_file) out += fmt::format("  key        {}\n", table.input.keyed_by);
    if (table.global) {
        out += fmt::format("  held       whole by every worker, {}read anew at each start; in no commit\n",
                           table.state.on_disk ? "" : "in memory, ");
    } else {
        out += fmt::format(
            "  held       by shard, with the partition that it reads of the streams; part of each commit, "
            "state table {}\n",
            table_plan(table, graph).state_table);
    }
    out += rows_on_disk;
    if (table.history_ms)
        out += fmt::format("  history    {}, by {}\n", duration_text(*table.history_ms),
                           table.input.timestamp ? table.input.timestamp->value : "the record's timestamp");
}

void explain_source(const config::Source& source, const SourcePlan& plan, std::string& out) {
    out += fmt::format("source {}\n", source.name);
    out += source.file.empty() ? fmt::format("  reads      topic {}\n", join_parts(source.topics, ", topic "))
                               : fmt::format("  reads      file {}\n", source.file);
    out += fmt::format("  key        {}\n", source.keyed_by.empty()
                                                ? "not declared (keyed_by): only _key can be grouped by"
                                                : source.keyed_by + ", checked on a sample of records");
    out += fmt::format("  event time {}\n",
                       source.timestamp ? source.timestamp->value : "the record's timestamp (default)");
    const config::Watermark& w = source.watermark;
    out += fmt::format(
        "  watermark  {}, per partition; idle after {} at the log's end; all idle: {}, committed every {}; "
        "records more than {} ahead go to on_error\n",
        strategy_text(w), duration_text(w.idle_timeout_ms), idle_text(w.when_all_idle),
        duration_text(w.emit_every_ms), duration_text(w.max_ahead_ms));
    if (plan.one_by_one)
        out += "  worked off one by one: a record's results are rows that the next one may look up\n";
}

// What comes after what the state is.
std::string kept_text(const Stage& stage) {
    return fmt::format(", tables {} to {}{}", stage.table, stage.table + kTablesPerStage - 1,
                       stage.on_disk ? ", on disk, in RocksDB" : "");
}

std::string state_text(const Stage& stage) {
    if (stage.limit > 0)
        return "one row per record that passed, for " + duration_text(2 * stage.limit_ms) + " of event time";
    const config::Window& window = stage.window;
    switch (window.kind) {
        case config::Window::Kind::kTumbling: return "one row per group of an open window";
        case config::Window::Kind::kHopping:
        case config::Window::Kind::kCumulate:
            return "one row per group and pane; a window is the merge of its panes";
        case config::Window::Kind::kSession: return "one row per open session";
        case config::Window::Kind::kSliding: return "one row per group and event time within the window";
        case config::Window::Kind::kCount: return "one row per group whose window is not full";
        case config::Window::Kind::kNone: return "one row per group, for ever";
    }
    return "";
}

std::string emit_text(const Stage& stage) {
    if (stage.limit > 0) return "at once";
    const config::Window& window = stage.window;
    if (window.kind == config::Window::Kind::kCount && stage.emit.kind == config::Emit::Kind::kOnClose)
        return "once, with the last record of the window";
    const std::string clock = window.time == config::Window::Time::kEvent ? "watermark" : "wall clock";
    const std::string close = !window.is_timed()     ? ""
                              : window.grace_ms == 0 ? "when the " + clock + " reaches the window's end"
                                                     : "when the watermark reaches the window's end + " +
                                                           duration_text(window.grace_ms);
    switch (stage.emit.kind) {
        case config::Emit::Kind::kOnClose: return "once, " + close;
        case config::Emit::Kind::kOnWatermark:
            return "when the " + clock +
                   " reaches the window's end, and once per commit when late records change it";
        case config::Emit::Kind::kEvery:
            return "what changed, " + duration_text(stage.emit.every_ms) + " after it did at the latest" +
                   (close.empty() ? "" : "; the final result " + close);
        case config::Emit::Kind::kOnUpdate: return "what changed, once per commit";
        case config::Emit::Kind::kChanges: return "what changed, once per commit, with what it replaces";
    }
    return "";
}

// What happens to a record that comes after all windows that cover it.
std::string late_text(const Stage& stage, const std::string& stream) {
    if (stage.limit > 0) {
        return fmt::format("a record {} behind the watermark goes to {}.late", duration_text(stage.limit_ms),
                           stream);
    }
    return fmt::format("a record whose windows have all ended{} goes to {}.late",
                       stage.window.grace_ms == 0 ? "" : " " + duration_text(stage.window.grace_ms) + " ago",
                       stream);
}

const RepartitionPlan* repartition_of(const Graph& graph, size_t stream, size_t step) {
    for (const RepartitionPlan& repartition : graph.repartitions) {
        if (repartition.stream == stream && !repartition.side && repartition.step_index == step)
            return &repartition;
    }
    return nullptr;
}

const RepartitionPlan* repartition_of(const Graph& graph, size_t stream, Side side) {
    for (const RepartitionPlan& repartition : graph.repartitions) {
        if (repartition.stream == stream && repartition.side == side) return &repartition;
    }
    return nullptr;
}

// Why the internal topic is needed, and what it costs.
void explain_repartition(const config::Pipeline& pipeline, const Plan& plan, const Graph& graph,
                         const RepartitionPlan& repartition, std::string& out) {
    size_t columns = 0;
    bool whole = false;
    for (const Channel& channel : repartition.channels) {
        columns = std::max(columns, graph.frames[channel.frame].copies.size());
        whole = whole || channel.keeps_value;
    }
    out += fmt::format("       internal   topic {}, keyed by {}, because {}\n", repartition.topic,
                       join_parts(repartition.by), repartition.reason);
    const InternalTopic& topic = plan.internal_topics[static_cast<size_t>(
        plan.inputs[static_cast<size_t>(repartition.input)].internal)];
    std::vector<std::string> others;
    for (const TopicId other : topic.sized_by) others.push_back(plan.inputs[static_cast<size_t>(other)].name);
    out += fmt::format("       partitions {}; made at the start if it is not there\n",
                       topic.partitions > 0 ? std::to_string(topic.partitions)
                       : others.size() == 1 ? "as many as topic " + others.front()
                                            : "as many as the most of topics " + join_parts(others));
    out += fmt::format(
        "       costs      each record is written and read once more: its event time, {} column{}{}; results "
        "come one commit ({}) later\n",
        columns, columns == 1 ? "" : "s",
        whole ? " and the record as it came, for a route or a dead letter that writes it" : "",
        duration_text(pipeline.commit_interval_ms));
    if (repartition.carries_time)
        out +=
            "       time       the minimum over the shards before it, which they write into each partition "
            "with their commits\n";
}

std::string feeds_text(const Graph& graph, const Stage& stage) {
    std::string feeds;
    for (const Feed& feed : stage.feeds) {
        feeds += (feeds.empty() ? "" : ", ") + graph.sources[feed.source].name;
        if (feed.lag_ms > 0) feeds += " - " + duration_text(feed.lag_ms);
    }
    return feeds;
}

void explain_stage(const config::Pipeline& pipeline, const Graph& graph, const Stage& stage,
                   std::string& out) {
    out += fmt::format("       keys       a group lies on one partition: `by` holds the key of its topic{}\n",
                       graph.repartitions.empty() ? "; nothing is repartitioned" : "");
    out += fmt::format("       state      {}{}\n", state_text(stage), kept_text(stage));
    const bool event_time = stage.window.time == config::Window::Time::kEvent;
    if (event_time && stage.window.is_timed())
        out += fmt::format("       watermark  minimum over the shard's active partitions of {}\n",
                           feeds_text(graph, stage));
    out += fmt::format("       emits      {}\n", emit_text(stage));
    if (!event_time || !stage.window.is_timed()) return;
    out += fmt::format("       late       {}\n", late_text(stage, pipeline.streams[stage.stream].name));
}

void explain_join(const config::Pipeline& pipeline, const Plan& plan, const Graph& graph, const Stage& stage,
                  std::string& out) {
    const JoinPlan& join = *stage.join;
    const config::Join& rule = join.rule;
    const JoinReach reach(rule);
    const bool as_of = rule.by == config::Join::By::kAsOf;
    const auto kept = [](const std::vector<JoinColumn>& columns) {
        std::vector<std::string> parts;
        for (const JoinColumn& column : columns)
            parts.push_back(column.path.empty() ? "the whole record" : column.path);
        return parts.empty() ? std::string("nothing but the key") : join_parts(parts);
    };
    out += fmt::format("  {}\n", describe(rule));
    bool travels = false;
    for (const Side side : {Side::kLeft, Side::kRight}) {
        const RepartitionPlan* const repartition = repartition_of(graph, stage.stream, side);
        if (repartition == nullptr) continue;
        travels = true;
        out += fmt::format("       keys       records of {} are brought to the join key\n",
                           side == Side::kLeft ? rule.left.name : rule.right.name);
        explain_repartition(pipeline, plan, graph, *repartition, out);
    }
    if (!travels)
        out += fmt::format("       keys       both sides' topics are keyed by the join key{}\n",
                           graph.repartitions.empty() ? "; nothing is repartitioned" : "");
    const auto how_long = [&](Side side) {
        return rule.in_sessions() ? std::string("until its session closes")
                                  : "for " + duration_text(reach.longest_ms(side));
    };
    out += fmt::format("       keeps      of {}: {}, {}; of {}: {}, {}\n", rule.left.name,
                       kept(join.columns[0]), how_long(Side::kLeft), rule.right.name, kept(join.columns[1]),
                       how_long(Side::kRight));
    out += fmt::format("       state      {}{}\n",
                       rule.in_sessions() ? "one row per open session, with its records"
                                          : "one row per record that is kept",
                       kept_text(stage));
    out += fmt::format("       watermark  minimum over the shard's active partitions of {}\n",
                       feeds_text(graph, stage));
    if (as_of) {
        out += fmt::format(
            "       emits      once per record of {}, when the watermark says that no nearer one can come\n",
            rule.left.name);
    }
    std::string alone;
    if (rule.keeps_left()) alone = rule.left.name;
    if (rule.keeps_right()) alone += (alone.empty() ? "" : " or ") + rule.right.name;
    if (rule.in_sessions()) {
        out += fmt::format("       emits      a session's pairs when the watermark reaches its end{}{}\n",
                           rule.grace_ms > 0 ? " + " + duration_text(rule.grace_ms) : "",
                           alone.empty() ? "" : ", then its records of " + alone + " without a partner");
        out += fmt::format("       late       {}\n",
                           late_text(stage, pipeline.streams[stage.stream].name));
        return;
    }
    if (!as_of)
        out += fmt::format(
            "       emits      each pair, with the record that completes it{}\n",
            alone.empty()
                ? ""
                : "; a record of " + alone + " without a partner when the watermark says that none can come");
    const std::string grace = rule.grace_ms == 0 ? "" : duration_text(rule.grace_ms) + " ";
    out += fmt::format("       late       a record {} goes to {}.late\n",
                       rule.by == config::Join::By::kWindow ? "whose windows ended " + grace + "ago"
                       : grace.empty()                      ? "behind the watermark"
                                                            : "more than " + grace + "behind the watermark",
                       pipeline.streams[stage.stream].name);
}

void explain_stream(const config::Pipeline& pipeline, const Plan& plan, const Graph& graph, size_t index,
                    std::string& out) {
    const config::Stream& stream = pipeline.streams[index];
    out += fmt::format("stream {}\n  from {}\n", stream.name,
                       stream.join_tables ? describe(*stream.join_tables) : list_of(stream.from));
    if (const Stage* stage = stage_of(graph, index, std::nullopt))
        explain_join(pipeline, plan, graph, *stage, out);
    for (size_t i = 0; i < stream.steps.size(); ++i) {
        out += fmt::format("  [{}] {}\n", i, describe(stream.steps[i]));
        if (const RepartitionPlan* repartition = repartition_of(graph, index, i))
            explain_repartition(pipeline, plan, graph, *repartition, out);
        if (const Stage* stage = stage_of(graph, index, i)) explain_stage(pipeline, graph, *stage, out);
    }
    for (const config::Route& route : stream.to) out += fmt::format("  to {}\n", route_text(route));
    if (stream.to.empty()) out += "  to the streams and tables that read it\n";
}

std::string quoted(std::string_view text) {
    std::string out;
    expr::append_json_string(text, out);
    return out;
}

std::string quoted_list(const std::vector<std::string>& list) {
    std::vector<std::string> parts;
    for (const auto& text : list) parts.push_back(quoted(text));
    return "[" + join_parts(parts, ",") + "]";
}

std::string explain_json(const config::Pipeline& pipeline, const Plan& plan, const Graph& graph) {
    std::vector<std::string> sources;
    for (const config::Source& source : pipeline.sources) {
        sources.push_back(fmt::format(
            R"({{"name":{},"topics":{},"file":{},"keyed_by":{},)"
            R"("timestamp":{},"watermark":"{}","max_delay_ms":{},"idle_timeout_ms":{},"max_ahead_ms":{}}})",
            quoted(source.name), quoted_list(source.topics),
            source.file.empty() ? "null" : quoted(source.file),
            source.keyed_by.empty() ? "null" : quoted(source.keyed_by),
            source.timestamp ? quoted(source.timestamp->value) : "null",
            strategy_name(source.watermark.strategy), source.watermark.max_delay_ms,
            source.watermark.idle_timeout_ms, source.watermark.max_ahead_ms));
    }
    std::vector<std::string> streams;
    for (size_t index = 0; index < pipeline.streams.size(); ++index) {
        const config::Stream& stream = pipeline.streams[index];
        std::vector<std::string> from;
        for (const auto& text : stream.from) from.push_back(text.value);
        if (stream.join_tables)
            for (const config::Text* side : {&stream.join_tables->left, &stream.join_tables->right})
                from.push_back("table " + side->value);
        std::vector<std::string> steps;
        for (size_t i = 0; i < stream.steps.size(); ++i) {
            const Stage* stage = stage_of(graph, index, i);
            std::string text = fmt::format(R"({{"step":{})", quoted(describe(stream.steps[i])));
            if (const RepartitionPlan* repartition = repartition_of(graph, index, i))
                text += fmt::format(R"(,"internal_topic":{},"because":{})", quoted(repartition->topic),
                                    quoted(repartition->reason));
            if (stage != nullptr)
                text += fmt::format(R"(,"state_table":{},"on_disk":{},"grace_ms":{})", stage->table,
                                    stage->on_disk, stage->window.grace_ms);
            steps.push_back(text + "}");
        }
        std::vector<std::string> routes;
        for (const config::Route& route : stream.to) routes.push_back(route_text(route));
        const Stage* const join = stage_of(graph, index, std::nullopt);
        std::string brought;
        for (const Side side : {Side::kLeft, Side::kRight}) {
            if (const RepartitionPlan* repartition = repartition_of(graph, index, side))
                brought += fmt::format(
                    R"({}{{"side":{},"internal_topic":{},"because":{}}})", brought.empty() ? "" : ",",
                    quoted(side == Side::kLeft ? stream.join->left.name : stream.join->right.name),
                    quoted(repartition->topic), quoted(repartition->reason));
        }
        std::string join_text = "null";
        if (join != nullptr)
            join_text = fmt::format(R"({{"rule":{},"state_table":{},"on_disk":{},"repartitions":[{}]}})",
                                    quoted(describe(*stream.join)), join->table, join->on_disk, brought);
        streams.push_back(fmt::format(R"({{"name":{},"from":{},"join":{},"steps":[{}],"to":{}}})",
                                      quoted(stream.name), quoted_list(from), join_text,
                                      join_parts(steps, ","), quoted_list(routes)));
    }
    std::vector<std::string> tables;
    for (const config::Table& table : pipeline.tables) {
        const bool is_file = !table.input.file.empty();
        const std::string& reads = table.from ? table.from->value
                                   : is_file  ? table.input.file
                                              : table.input.topics.front();
        const char* const what = table.from ? "from" : is_file ? "file" : "topic";
        tables.push_back(fmt::format(R"({{"name":{},"{}":{},"global":{},"on_disk":{}}})",
                                     quoted(table.input.name), what, quoted(reads), table.global,
                                     table.state.on_disk));
    }
    return fmt::format(R"({{"name":{},"stateful":{},"sources":[{}],"tables":[{}],"streams":[{}]}})",
                       quoted(plan.name), plan.stateful, join_parts(sources, ","), join_parts(tables, ","),
                       join_parts(streams, ",")) +
           "\n";
}

std::string explain_dot(const config::Pipeline& pipeline) {
    std::string out = fmt::format("digraph {} {{\n  rankdir=LR;\n", quoted(pipeline.name));
    for (const config::Source& source : pipeline.sources) {
        out += fmt::format("  {} [shape=cylinder];\n", quoted(source.name));
    }
    for (const config::Table& table : pipeline.tables)
        out += fmt::format("  {} [shape=box3d];\n", quoted("table " + table.input.name));
    for (const config::Table& table : pipeline.tables)
        if (table.from)
            out += fmt::format("  {} -> {};\n", quoted(table.from->value),
                               quoted("table " + table.input.name));
    for (const config::Stream& stream : pipeline.streams) {
        std::string label = stream.name;
        if (stream.join) label += "\n" + describe(*stream.join);
        if (stream.join_tables) {
            label += "\n" + describe(*stream.join_tables);
            for (const config::Text* side : {&stream.join_tables->left, &stream.join_tables->right})
                out += fmt::format("  {} -> {};\n", quoted("table " + side->value), quoted(stream.name));
        }
        for (const config::Step& step : stream.steps) label += "\n" + describe(step);
        out += fmt::format("  {} [shape=box,label={}];\n", quoted(stream.name), quoted(label));
        for (const config::Text& from : stream.from) {
            constexpr std::string_view kLate = ".late";
            const bool late = from.value.ends_with(kLate);
            const std::string name =
                late ? from.value.substr(0, from.value.size() - kLate.size()) : from.value;
            out += fmt::format("  {} -> {}{};\n", quoted(name), quoted(stream.name),
                               late ? " [label=\"late\"]" : "");
        }
        for (const config::Step& step : stream.steps) {
            if (const auto* lookup = std::get_if<config::LookupStep>(&step.step))
                out += fmt::format("  {} -> {} [style=dashed];\n", quoted("table " + lookup->table.value),
                                   quoted(stream.name));
        }
        for (const config::Route& route : stream.to) {
            const std::string& target = route.topic.empty() ? route.file : route.topic;
            out += fmt::format("  {} [shape=cylinder];\n  {} -> {}{};\n", quoted("to " + target),
                               quoted(stream.name), quoted("to " + target),
                               route.when ? fmt::format(" [label={}]", quoted(route.when->value)) : "");
        }
    }
    return out + "}\n";
}

}  // namespace

void write_explain(const config::Pipeline& pipeline, const Plan& plan, Graph& graph) {
    std::string& out = graph.explain_text;
    out = fmt::format("pipeline {}\n", pipeline.name);
    out +=
        fmt::format("  guarantee  {}, one commit per {}\n",
                    pipeline.guarantee == config::Guarantee::kExactlyOnce ? "exactly once" : "at least once",
                    duration_text(pipeline.commit_interval_ms));
    out += fmt::format("  state      {}\n", plan.stateful
                                                ? "in " + pipeline.state_dir + ", by WAL and snapshots"
                                                : "none, so no WAL");
    out += fmt::format("  on_error   decode: {}; expression: {}; produce: {}\n",
                       policy_text(pipeline.on_error.decode), policy_text(pipeline.on_error.expression),
                       policy_text(pipeline.on_error.produce));
    if (pipeline.max_drift_ms > 0)
        out += fmt::format("  align      partitions that meet in a window stay within {} of the slowest\n",
                           duration_text(pipeline.max_drift_ms));
    for (size_t i = 0; i < pipeline.sources.size(); ++i)
        explain_source(pipeline.sources[i], graph.sources[i], out);
    for (const config::Table& table : pipeline.tables) explain_table(table, graph, out);
    for (size_t i = 0; i < pipeline.streams.size(); ++i) explain_stream(pipeline, plan, graph, i, out);
    graph.explain_json = explain_json(pipeline, plan, graph);
    graph.explain_dot = explain_dot(pipeline);
}

}  // namespace weir::processor
