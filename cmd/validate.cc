// `weir validate`: the file alone, and with --connect what the brokers say about it.
#include <cstdio>

#include <algorithm>

#include "base/log.h"
#include "cmd/exit_code.h"
#include "cmd/key_sample.h"
#include "cmd/partition_check.h"
#include "cmd/until_answered.h"
#include "cmd/verbs.h"
#include "connectors/kafka_connector.h"

namespace weir::cmd {
namespace {

constexpr int64_t kRequestTimeoutMs = 5'000;

struct Report {
    SystemClock clock;
    int64_t deadline_ms = 0;  // For all questions together.
    int code = kExitOk;

    template <class Ask>
    auto answer(Ask ask) {
        return until_answered(clock, deadline_ms, nullptr, ask);
    }

    void problem(const Error& error) {
        std::printf("  error: %s\n", redacted(error.message).c_str());
        if (code == kExitOk) code = exit_code(error.code);
    }
};

// Topics, partition counts and how many records a first start would read.
void check_inputs(const Prepared& prepared, processor::Connector& connector, Report& report) {
    const processor::Plan& plan = *prepared.plan;
    const int64_t now_ms = SystemClock().wall_ms();
    std::vector<int32_t> counts;
    for (size_t i = 0; i < plan.inputs.size(); ++i) {
        const TopicId topic{static_cast<uint16_t>(i)};
        const auto info = report.answer([&] { return connector.describe(topic, kRequestTimeoutMs); });
        if (plan.inputs[i].internal >= 0) {
            if (counts.size() != i) return;  // Told above.
            const int32_t needed = internal_partitions(plan, topic, counts);
            const bool absent = !info.ok() && info.error().code == Code::kNotFound;
            if (!info.ok() && !absent) {
                report.problem(info.error());
                return;
            }
            if (info.ok()) {
                const auto fits = check_internal_partitions(plan, topic, counts, info->partition_count);
                if (!fits.ok()) report.problem(fits.error());
            }
            counts.push_back(needed);
            std::printf("  internal %-30s %d partitions%s\n", plan.inputs[i].name.c_str(), needed,
                        absent ? ", made at the first start" : "");
            continue;
        }
        if (!info.ok()) {
            report.problem(info.error());
            if (info.error().code == Code::kUnavailable || info.error().code == Code::kTimedOut) return;
            continue;
        }
        counts.push_back(info->partition_count);
        const processor::PlanInput& input = plan.inputs[i];
        const config::Start start_at =
            input.is_table ? config::Start{} : prepared.pipeline.sources[input.source].start;
        int64_t first_read = 0;
        for (int32_t partition = 0; partition < info->partition_count; ++partition) {
            const auto range = report.answer([&] {
                return connector.offset_range({topic, partition}, kRequestTimeoutMs);
            });
            const auto start = report.answer([&] {
                return connector.resolve_start({topic, partition}, start_policy(start_at, now_ms),
                                               kRequestTimeoutMs);
            });
            if (!range.ok() || !start.ok()) {
                report.problem(range.ok() ? start.error() : range.error());
                break;
            }
            first_read += range->end - *start;
        }
        for (const std::string& warning : input_warnings(plan, topic, *info))
            std::printf("  warning: %s\n", warning.c_str());
        // Offsets of a file are bytes.
        std::printf("  %s  %-32s %d partitions, a first start reads about %lld %s\n",
                    input.is_table ? "table" : "input", input.name.c_str(), info->partition_count,
                    static_cast<long long>(first_read), input.is_file ? "bytes" : "records");
    }
    if (counts.size() != plan.inputs.size()) return;
    if (const auto equal = check_partition_counts(plan, counts); !equal.ok()) report.problem(equal.error());
    for (const std::string& warning : key_warnings(plan, connector, counts, report.clock, nullptr))
        std::printf("  warning: %s\n", warning.c_str());
    int32_t shards = 0;
    for (size_t i = 0; i < counts.size(); ++i)
        if (!plan.inputs[i].global) shards = std::max(shards, counts[i]);
    std::printf("  shards %d, instance %d of %d\n", shards, prepared.pipeline.instance.index,
                prepared.pipeline.instance.count);
    if (prepared.pipeline.instance.index >= shards)
        std::printf("  warning: instance %d owns no shard: there are only %d partitions\n",
                    prepared.pipeline.instance.index, shards);
}

void check_outputs(const Prepared& prepared, Report& report) {
    const processor::Plan& plan = *prepared.plan;
    connectors::KafkaConnector kafka(prepared.pipeline.kafka, plan.name, {}, {});
    for (size_t i = 0; i < plan.outputs.size(); ++i) {
        if (plan.outputs[i].is_file) continue;
        const bool internal = std::any_of(plan.inputs.begin(), plan.inputs.end(), [&](const auto& input) {
            return input.internal >= 0 && input.name == plan.outputs[i].name;
        });
        if (internal) continue;
        const auto info =
            report.answer([&] { return kafka.describe_topic(plan.outputs[i].name, kRequestTimeoutMs); });
        if (!info.ok()) {
            report.problem(info.error());
            continue;
        }
        std::printf("  output %-32s %d partitions\n", plan.outputs[i].name.c_str(), info->partition_count);
        if (info->retention_ms.value_or(-1) >= 0 && !info->compacted)
            std::printf(
                "  warning: topic %s keeps records for %lld ms only: results carry event time, so results of "
                "older data are deleted at once\n",
                plan.outputs[i].name.c_str(), static_cast<long long>(*info->retention_ms));
    }
}

}  // namespace

int validate(const std::vector<std::string>& files, bool connect, bool allow_missing_references,
             int64_t timeout_ms) {
    const auto prepared = prepare(files, {}, allow_missing_references);
    if (!prepared) return kExitConfig;
    Report report;
    report.deadline_ms = report.clock.monotonic_ms() + timeout_ms;
    for (size_t i = 0; i < files.size(); ++i) {
        const Prepared& next = (*prepared)[i];
        std::printf("%s: pipeline %s: %zu sources, %zu streams, the file is valid\n", files[i].c_str(),
                    next.plan->name.c_str(), next.plan->source_names.size(), next.plan->stream_names.size());
        if (!connect) continue;
        const auto connector = cmd::connect(next.pipeline, *next.plan);
        check_inputs(next, *connector, report);
        if (next.pipeline.kafka.present) check_outputs(next, report);
    }
    return report.code;
}

}  // namespace weir::cmd
