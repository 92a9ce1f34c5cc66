#include "cmd/partition_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "config/scalar.h"

namespace weir::cmd {

std::vector<std::string> input_warnings(const processor::Plan& plan, TopicId topic,
                                        const processor::TopicInfo& info) {
    const processor::PlanInput& input = plan.inputs[static_cast<size_t>(topic)];
    std::vector<std::string> warnings;
    if (input.is_table && !input.is_file && !info.compacted)
        warnings.push_back(fmt::format(
            "table topic {} is not compacted: rows end with its retention, and a start reads every old "
            "version; set cleanup.policy=compact",
            input.name));
    if (!info.compacted && info.retention_ms.value_or(-1) >= 0 && *info.retention_ms < input.reach_ms)
        warnings.push_back(fmt::format(
            "topic {} keeps records for {}, but stream '{}' puts together what lies up to {} apart: a start "
            "from the beginning, or one after an outage, misses what is deleted by then; set retention.ms to "
            "at least {}",
            input.name, config::format_duration(*info.retention_ms), plan.stream_names[input.reach_stream],
            config::format_duration(input.reach_ms), input.reach_ms));
    return warnings;
}

namespace {

// A record and its row are found together only where the topics' partitions correspond.
Result<void> check_lookup(const processor::Plan& plan, const processor::CoPartitioned& together,
                          const std::vector<int32_t>& counts) {
    const auto table = static_cast<size_t>(together.table);
    for (const TopicId topic : together.inputs) {
        const auto input = static_cast<size_t>(topic);
        if (counts[input] == counts[table]) continue;
        return Error{Code::kMismatch,
                     fmt::format("stream '{}' looks up records of topic {} with {} partitions in table '{}', "
                                 "whose topic {} has {}: a record and its row would be on different ones; "
                                 "make the counts equal, or set `global: true` on the table",
                                 plan.stream_names[together.stream], plan.inputs[input].name, counts[input],
                                 plan.source_names[plan.inputs[table].source], plan.inputs[table].name,
                                 counts[table])};
    }
    return {};
}

// By CoPartitioned::Why.
constexpr const char* kVerbs[] = {"groups", "joins", "looks up, in results of another stream,"};
constexpr const char* kWaysOut[] = {
    "aggregate the topics in streams of their own",
    "copy one to a topic with as many partitions as the other",
    "write the other stream to a topic, and read that as a table with `global: true`"};

}  // namespace

Result<void> check_partition_counts(const processor::Plan& plan, const std::vector<int32_t>& counts) {
    for (const processor::CoPartitioned& together : plan.co_partitioned) {
        if (together.table >= 0) {
            WEIR_TRY(check_lookup(plan, together, counts));
            continue;
        }
        std::set<int32_t> different;
        std::string listing;
        for (const TopicId topic : together.inputs) {
            const auto input = static_cast<size_t>(topic);
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
                    plan.stream_names[together.stream], kVerbs[static_cast<size_t>(together.why)], listing,
                    kWaysOut[static_cast<size_t>(together.why)])};
    }
    return {};
}

int32_t internal_partitions(const processor::Plan& plan, TopicId topic, const std::vector<int32_t>& counts) {
    const auto& input = plan.inputs[static_cast<size_t>(topic)];
    const processor::InternalTopic& internal = plan.internal_topics[static_cast<size_t>(input.internal)];
    if (internal.partitions > 0) return internal.partitions;
    int32_t most = 1;
    for (const TopicId other : internal.sized_by) most = std::max(most, counts[static_cast<size_t>(other)]);
    return most;
}

Result<void> check_internal_partitions(const processor::Plan& plan, TopicId topic,
                                       const std::vector<int32_t>& counts, int32_t found) {
    const int32_t needed = internal_partitions(plan, topic, counts);
    if (found == needed) return {};
    const auto& input = plan.inputs[static_cast<size_t>(topic)];
    const processor::InternalTopic& internal = plan.internal_topics[static_cast<size_t>(input.internal)];
    if (internal.meets_topics)
        return Error{Code::kMismatch,
                     fmt::format("the internal topic '{}' has {} partitions, and the topic that it is joined "
                                 "with has {}: start under a new name",
                                 input.name, found, needed)};
    const bool given = internal.partitions > 0;
    return Error{Code::kMismatch,
                 fmt::format("the internal topic '{}' has {} partitions, and {} says {}: set `repartition: "
                             "{{partitions: {}}}`, or start under a new name",
                             input.name, found,
                             given ? "`repartition`" : "the largest of the topics before it", needed, found)};
}

}  // namespace weir::cmd
