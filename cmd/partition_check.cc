#include "cmd/partition_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace weir::cmd {
namespace {

// Adds the sources that a stream reads, also through other streams and their side outputs.
void collect_sources(const config::Pipeline& pipeline, std::string_view stream_name,
                     std::set<size_t>& sources) {
    const std::string_view owner = stream_name.substr(0, stream_name.find('.'));
    for (size_t i = 0; i < pipeline.sources.size(); ++i)
        if (pipeline.sources[i].name == owner) sources.insert(i);
    for (const config::Stream& stream : pipeline.streams)
        if (stream.name == owner)
            for (const config::Text& from : stream.from) collect_sources(pipeline, from.value, sources);
}

bool aggregates(const config::Stream& stream) {
    return std::any_of(stream.steps.begin(), stream.steps.end(), [](const config::Step& step) {
        return std::holds_alternative<config::AggregateStep>(step.step);
    });
}

// A record and its row are found together only where the topics' partitions correspond.
Result<void> check_lookups(const processor::Plan& plan, const std::vector<int32_t>& counts,
                           const config::Stream& stream, const std::set<size_t>& sources) {
    for (const config::Step& step : stream.steps) {
        const auto* const lookup = std::get_if<config::LookupStep>(&step.step);
        if (lookup == nullptr) continue;
        for (size_t table = 0; table < plan.inputs.size(); ++table) {
            const processor::PlanInput& rows = plan.inputs[table];
            if (rows.global || plan.source_names[rows.source] != lookup->table.value) continue;
            for (size_t input = 0; input < plan.inputs.size(); ++input) {
                if (!sources.contains(plan.inputs[input].source) || counts[input] == counts[table]) continue;
                return Error{
                    Code::kMismatch,
                    fmt::format("stream '{}' looks up records of topic {} with {} partitions in table '{}', "
                                "whose topic {} has {}: a record and its row would be on different ones; "
                                "make the counts equal, or set `global: true` on the table",
                                stream.name, plan.inputs[input].name, counts[input], lookup->table.value,
                                rows.name, counts[table])};
            }
        }
    }
    return {};
}

}  // namespace

std::string not_compacted(const std::string& topic) {
    return fmt::format(
        "table topic {} is not compacted: rows end with its retention, and a start reads every old version; "
        "set cleanup.policy=compact",
        topic);
}

Result<void> check_partition_counts(const config::Pipeline& pipeline, const processor::Plan& plan,
                                    const std::vector<int32_t>& counts) {
    for (const config::Stream& stream : pipeline.streams) {
        std::set<size_t> sources;
        collect_sources(pipeline, stream.name, sources);
        WEIR_TRY(check_lookups(plan, counts, stream, sources));
        if (!stream.join && !aggregates(stream)) continue;
        std::set<int32_t> different;
        std::string listing;
        for (size_t input = 0; input < plan.inputs.size(); ++input) {
            if (!sources.contains(plan.inputs[input].source)) continue;
            different.insert(counts[input]);
            listing += fmt::format("{}{} has {}", listing.empty() ? "" : ", ", plan.inputs[input].name,
                                   counts[input]);
        }
        if (different.size() > 1)
            return Error{
                Code::kMismatch,
                fmt::format(
                    "stream '{}' {} records of several topics, which needs equal partition counts: {}; "
                    "make the counts equal, or {}",
                    stream.name, stream.join ? "joins" : "groups", listing,
                    stream.join ? "copy one to a topic with as many partitions as the other"
                                : "aggregate the topics in streams of their own")};
    }
    return {};
}

}  // namespace weir::cmd
