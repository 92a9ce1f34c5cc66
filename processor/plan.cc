#include "processor/plan.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstdio>

#include "base/bytes.h"
#include "processor/planner.h"

namespace weir::processor {
namespace {

std::string source_meaning(const config::Source& source) {
    std::string out;
    put_bytes(out, source.name);
    for (const std::string& topic : source.topics) put_bytes(out, topic);
    put_bytes(out, source.file);
    put_le<uint8_t>(out, static_cast<uint8_t>(source.format));
    put_bytes(out, source.keyed_by);
    put_bytes(out, source.timestamp ? source.timestamp->value : std::string());
    const config::Watermark& watermark = source.watermark;
    put_le<int64_t>(out, watermark.max_delay_ms);
    if (watermark.mark) {
        put_le<uint8_t>(out, static_cast<uint8_t>(watermark.strategy));
        put_bytes(out, watermark.mark->value);
        put_bytes(out, watermark.markers ? watermark.markers->value : std::string());
        put_le<uint8_t>(out, watermark.prefer_source ? 1 : 0);
    }
    return out;
}

// Where state is kept is part of what the folder holds.
std::string where_kept(const config::StateRule& state) { return state.on_disk ? "rocksdb" : ""; }

// Rows are stored as they came, with history or without, whatever its length.
std::string table_meaning(const config::Table& table) {
    const std::string where = where_kept(table.state);
    if (table.from) {
        std::string out = "results" + where;
        put_bytes(out, table.input.name);
        put_bytes(out, table.from->value);
        return out;
    }
    return (table.history_ms ? "history" : "table") + where + source_meaning(table.input);
}

bool is_table(const config::Pipeline& pipeline, const config::Stream& stream) {
    return std::any_of(pipeline.tables.begin(), pipeline.tables.end(), [&](const config::Table& table) {
        return table.from && table.from->value == stream.name;
    });
}

bool is_read(const config::Pipeline& pipeline, const config::Stream& stream) {
    if (is_table(pipeline, stream)) return true;
    return std::any_of(pipeline.streams.begin(), pipeline.streams.end(), [&](const config::Stream& s) {
        return std::any_of(s.from.begin(), s.from.end(),
                           [&](const config::Text& from) { return from.value == stream.name; });
    });
}

// A stream up to its last step with state, or with all steps when a join gives others what they store, or its
// results are a table; empty when it has no state. `kept`: what its join stores of records.
std::string stream_meaning(const config::Pipeline& pipeline, const config::Stream& stream,
                           const std::string& kept) {
    size_t steps = stream.steps.size();
    const bool whole = (stream.join && is_read(pipeline, stream)) ||
                       (is_table(pipeline, stream) &&
                        (stream.join || std::any_of(stream.steps.begin(), stream.steps.end(),
                                                    [](const auto& step) { return step.has_state(); })));
    while (!whole && steps > 0 && !stream.steps[steps - 1].has_state()) --steps;
    if (steps == 0 && !stream.join) return {};
    std::string out;
    put_bytes(out, stream.name);
    for (const config::Text& from : stream.from) put_bytes(out, from.value);
    if (stream.join) put_bytes(out, describe(*stream.join) + kept + where_kept(stream.join->state));
    for (size_t i = 0; i < steps; ++i) {
        const config::StateRule* const state = stream.steps[i].state();
        put_bytes(out, describe(stream.steps[i]) + (state == nullptr ? "" : where_kept(*state)));
    }
    return out;
}

std::string kept_columns(const Graph& graph, size_t stream) {
    std::string out;
    for (const Stage& stage : graph.stages) {
        if (stage.stream != stream || !stage.join) continue;
        for (const auto& side : stage.join->columns) {
            put_varint(out, side.size());
            for (const JoinColumn& column : side) put_bytes(out, column.path);
        }
    }
    return out;
}

std::string hash_of(std::vector<std::string> parts) {
    std::sort(parts.begin(), parts.end());  // The order in the file means nothing.
    std::string all;
    for (const std::string& part : parts) put_bytes(all, part);
    const XXH128_hash_t hash = XXH3_128bits(all.data(), all.size());
    char text[33];
    std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                  static_cast<unsigned long long>(hash.low64));
    return text;
}

// Streams that keep state, and those without that they read through.
std::string state_hash(const config::Pipeline& pipeline, const Graph& graph) {
    std::vector<std::string> parts;
    for (const config::Source& source : pipeline.sources) parts.push_back("source" + source_meaning(source));
    for (const config::Table& table : pipeline.tables) {
        if (!table.global) parts.push_back(table_meaning(table));
    }
    for (size_t i = 0; i < pipeline.streams.size(); ++i) {
        const std::string meaning = stream_meaning(pipeline, pipeline.streams[i], kept_columns(graph, i));
        if (!meaning.empty()) parts.push_back("stream" + meaning);
    }
    for (const config::Stream& stream : pipeline.streams) {
        if (!stream_meaning(pipeline, stream, {}).empty() || !is_read(pipeline, stream)) continue;
        std::string out;
        put_bytes(out, stream.name);
        for (const config::Text& from : stream.from) put_bytes(out, from.value);
        if (stream.join_tables) put_bytes(out, describe(*stream.join_tables));
        for (const config::Step& step : stream.steps) put_bytes(out, describe(step));
        parts.push_back("through" + out);
    }
    // Rows under way in an internal topic are state, too.
    for (const RepartitionPlan& repartition : graph.repartitions) {
        std::string out;
        put_bytes(out, repartition.topic);
        for (const Channel& channel : repartition.channels) put_le<uint32_t>(out, channel.fingerprint);
        parts.push_back("repartition" + out);
    }
    return hash_of(std::move(parts));
}

}  // namespace

Plan::Plan() = default;
Plan::~Plan() = default;

std::string Plan::explain(ExplainFormat format) const {
    switch (format) {
        case ExplainFormat::kText: return graph->explain_text;
        case ExplainFormat::kJson: return graph->explain_json;
        case ExplainFormat::kDot: return graph->explain_dot;
    }
    return {};
}

std::unique_ptr<const Plan> compile(const config::Pipeline& pipeline, config::Diagnostics& diagnostics) {
    std::unique_ptr<Plan> plan;
    std::unique_ptr<Graph> graph;
    Apart apart;
    for (bool again = true; again;) {
        plan = std::make_unique<Plan>();
        graph = std::make_unique<Graph>();
        config::Diagnostics found = diagnostics;
        Planner planner(pipeline, found, apart);
        const bool planned = planner.run(*plan, *graph);
        again = planner.found_apart();  // At most once per step of the file.
        if (again) continue;
        diagnostics = std::move(found);
        if (!planned) return nullptr;
    }
    plan->state_hash = state_hash(pipeline, *graph);
    write_explain(pipeline, *plan, *graph);
    plan->graph = std::move(graph);
    return plan;
}

}  // namespace weir::processor
