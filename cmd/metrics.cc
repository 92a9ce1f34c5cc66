#include "cmd/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <fstream>
#include <map>

namespace weir::cmd {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

using Labels = std::vector<std::pair<std::string, std::string>>;

// Families in the order of their first sample.
class Families {
public:
    void add(MetricType type, const std::string& name, const std::string& help, const Labels& labels,
             double value) {
        ClientMetric metric = labelled(labels);
        if (type == MetricType::Counter)
            metric.counter.value = value;
        else
            metric.gauge.value = value;
        family(type, name, help).metric.push_back(std::move(metric));
    }
    void counter(const std::string& name, const std::string& help, const Labels& labels, uint64_t value) {
        add(MetricType::Counter, name, help, labels, static_cast<double>(value));
    }
    void gauge(const std::string& name, const std::string& help, const Labels& labels, double value) {
        add(MetricType::Gauge, name, help, labels, value);
    }

    void histogram_ms(const std::string& name, const std::string& help, const Labels& labels,
                      std::span<const int64_t> bounds_ms, std::span<const uint64_t> buckets,
                      uint64_t sum_us) {
        ClientMetric metric = labelled(labels);
        uint64_t count = 0;
        for (size_t i = 0; i < buckets.size(); ++i) {
            count += buckets[i];
            ClientMetric::Bucket bucket;
            bucket.cumulative_count = count;
            bucket.upper_bound = i < bounds_ms.size() ? static_cast<double>(bounds_ms[i]) / 1000
                                                      : std::numeric_limits<double>::infinity();
            metric.histogram.bucket.push_back(bucket);
        }
        metric.histogram.sample_count = count;
        metric.histogram.sample_sum = static_cast<double>(sum_us) / 1e6;
        family(MetricType::Histogram, name, help).metric.push_back(std::move(metric));
    }

    [[nodiscard]] std::string text() const { return prometheus::TextSerializer().Serialize(families_); }

private:
    static ClientMetric labelled(const Labels& labels) {
        ClientMetric metric;
        for (const auto& [name, value] : labels) metric.label.push_back({name, value});
        return metric;
    }

    MetricFamily& family(MetricType type, const std::string& name, const std::string& help) {
        const auto [at, added] = index_.try_emplace(name, families_.size());
        if (added) {
            MetricFamily made;
            made.name = name;
            made.help = help;
            made.type = type;
            families_.push_back(std::move(made));
        }
        return families_[at->second];
    }

    std::vector<MetricFamily> families_;
    std::map<std::string, size_t> index_;
};

// The counters of all workers of one pipeline, added up.
processor::Counters merged(const AppStatus& app, const processor::Plan& plan) {
    processor::Counters sum(plan);
    for (const processor::WorkerStatus& worker : app.workers) sum.add(worker.counters);
    return sum;
}

void add_sources(const AppStatus& app, const processor::Plan& plan, const processor::Counters& sum,
                 Families& out) {
    for (size_t i = 0; i < sum.sources.size(); ++i) {
        const auto& source = sum.sources[i];
        const Labels labels = {{"pipeline", app.pipeline}, {"source", plan.source_names[i]}};
        const auto with = [&](const char* key, const char* value) {
            Labels more = labels;
            more.emplace_back(key, value);
            return more;
        };
        out.counter("weir_records_in_total", "Records read.", labels, source.records);
        out.counter("weir_bytes_in_total", "Bytes of keys and values read.", labels, source.bytes);
        for (const processor::Bucket& bucket : processor::buckets_of(source))
            out.counter("weir_source_records_total",
                        "Where every record read went: to streams, dead letters, skipped, or a marker.",
                        with("bucket", bucket.name), bucket.count);
        const char* const error_help = "Why a record was not delivered.";
        out.counter("weir_source_errors_total", error_help, with("reason", "decode"), source.decode_errors);
        out.counter("weir_source_errors_total", error_help, with("reason", "timestamp"),
                    source.timestamp_errors);
        out.counter("weir_source_errors_total", error_help, with("reason", "ahead"), source.ahead);
        out.counter("weir_behind_watermark_records_total", "Records older than their partition's watermark.",
                    labels, source.behind);
        out.counter("weir_ignored_watermarks_total",
                    "Watermarks that records carried, further in the future than max_ahead.", labels,
                    source.marks_ahead);
        out.counter("weir_key_mismatches_total",
                    "Sampled records whose key is not the text of keyed_by's field.", labels,
                    source.key_mismatches);
    }
}

void add_streams(const AppStatus& app, const processor::Plan& plan, const processor::Counters& sum,
                 Families& out) {
    for (size_t i = 0; i < sum.streams.size(); ++i) {
        const auto& stream = sum.streams[i];
        const auto labels = [&](const char* key, const std::string& value) {
            return Labels{{"pipeline", app.pipeline}, {"stream", plan.stream_names[i]}, {key, value}};
        };
        const Labels plain = {{"pipeline", app.pipeline}, {"stream", plan.stream_names[i]}};
        out.counter("weir_stream_records_in_total", "Rows that entered a stream or were made in it.",
                    labels("origin", "read"), stream.in);
        out.counter("weir_stream_records_in_total", "", labels("origin", "derived"), stream.derived);
        const char* const help =
            "Where every row of a stream went; the buckets add up to weir_stream_records_in_total.";
        for (const processor::Bucket& bucket : processor::buckets_of(stream))
            out.counter("weir_stream_records_total", help, labels("bucket", bucket.name), bucket.count);
        for (size_t route = 0; route < stream.out.size(); ++route)
            out.counter("weir_records_out_total", "Records produced, by route.",
                        labels("route", std::to_string(route)), stream.out[route]);
        out.counter("weir_late_records_total", "Records behind their window's end and grace.", plain,
                    stream.late);
        out.counter("weir_late_dropped_total", "Late records that no stream reads.", plain,
                    stream.late_dropped);
        out.counter("weir_late_side_output_total", "Late records that went to <stream>.late.", plain,
                    stream.late - stream.late_dropped);
        out.counter("weir_lookups_missed_total", "Records for which a lookup found no row.", plain,
                    stream.lookups_missed);
        out.counter("weir_expression_errors_total", "Rows whose expression failed.", plain,
                    stream.expression_errors);
        out.counter("weir_records_released_total", "Merged records whose windows have ended.", plain,
                    stream.released);
        const std::pair<const char*, uint64_t> joined[] = {
            {"matched", stream.matched}, {"unmatched", stream.unmatched}, {"expired", stream.expired}};
        for (const auto& [what, count] : joined)
            out.counter("weir_join_records_total",
                        "Pairs made, records given without a partner, records that left the buffers.",
                        labels("what", what), count);
        out.counter("weir_windows_closed_total", "Windows that closed.", plain, stream.windows_closed);
    }
}

void add_shard(const AppStatus& app, const processor::Plan& plan, int32_t slot,
               const processor::ShardStatus& shard, Families& out) {
    const auto place = [&](TopicPartition partition) {
        return Labels{{"topic", plan.inputs[static_cast<size_t>(partition.topic)].name},
                      {"partition", std::to_string(partition.partition)}};
    };
    for (const processor::TableStatus& table : shard.tables) {
        // A worker's shards share its global tables.
        const bool global = shard.shard == processor::kGlobalTables;
        const Labels labels = {{"pipeline", app.pipeline},
                               {"table", table.name},
                               {global ? "worker" : "shard", std::to_string(global ? slot : shard.shard)}};
        out.gauge("weir_table_rows", "Rows of a table.", labels, static_cast<double>(table.rows));
        out.gauge("weir_table_bytes", "Bytes of their memory.", labels, static_cast<double>(table.bytes));
    }
    if (shard.shard == processor::kGlobalTables) return;  // Every worker reads the same partitions.
    for (const processor::PartitionStatus& partition : shard.partitions) {
        Labels labels = place(partition.partition);
        labels.insert(labels.begin(), {"pipeline", app.pipeline});
        out.gauge("weir_partition_next_offset", "The next offset to read.", labels,
                  static_cast<double>(partition.next_offset));
        out.gauge("weir_partition_idle", "1 while the partition is caught up and quiet.", labels,
                  partition.idle ? 1 : 0);
        out.gauge("weir_partition_aligned", "1 while align holds the partition back.", labels,
                  partition.held_behind >= 0 ? 1 : 0);
        if (plan.inputs[static_cast<size_t>(partition.partition.topic)].internal >= 0)
            out.gauge("weir_internal_partition_held_by_shard",
                      "The shard before an internal topic that holds its event time; -1: none.", labels,
                      partition.upstream);
        out.counter("weir_partition_watermark_advances_total", "How often the watermark went on.", labels,
                    partition.advances);
        if (partition.watermark == kNoTime || partition.watermark == kEndOfTime) continue;
        out.gauge("weir_partition_watermark_timestamp_seconds",
                  "Event time up to which a partition is complete.", labels,
                  static_cast<double>(partition.watermark) / 1000);
        if (partition.newest != kNoTime)
            out.gauge("weir_partition_watermark_lag_seconds", "The newest event time less the watermark.",
                      labels, static_cast<double>(partition.newest - partition.watermark) / 1000);
    }
    for (const processor::StageStatus& stage : shard.stages) {
        const Labels labels = {
            {"pipeline", app.pipeline}, {"stage", stage.stream}, {"shard", std::to_string(shard.shard)}};
        out.gauge("weir_state_entries", "Groups in open windows, records in a join's buffers.", labels,
                  static_cast<double>(stage.groups));
        out.gauge("weir_state_records", "Records in all of them.", labels,
                  static_cast<double>(stage.records));
        out.gauge("weir_state_bytes", "Bytes of their state.", labels,
                  static_cast<double>(stage.state_bytes));
        out.gauge("weir_open_windows", "Windows that have not closed.", labels,
                  static_cast<double>(stage.open_windows));
        out.gauge("weir_watermark_ticking", "1 while event time goes by the clock, as all is idle.", labels,
                  stage.ticking ? 1 : 0);
        if (stage.held_by >= 0) {
            Labels holder = labels;
            for (const auto& label : place(shard.partitions[static_cast<size_t>(stage.held_by)].partition))
                holder.push_back(label);
            out.gauge("weir_watermark_held_by", "1: this partition has the lowest watermark of the stage.",
                      holder, 1);
        }
        if (stage.watermark != kNoTime && stage.watermark != kEndOfTime)
            out.gauge("weir_watermark_timestamp_seconds", "Event time up to which a stage is complete.",
                      labels, static_cast<double>(stage.watermark) / 1000);
    }
}

void add_worker(const AppStatus& app, const processor::Plan& plan, const processor::WorkerStatus& worker,
                Families& out) {
    const Labels labels = {{"pipeline", app.pipeline}, {"worker", std::to_string(worker.slot)}};
    out.counter("weir_transactions_total", "Epochs committed.", labels, worker.epochs_committed);
    out.counter("weir_recoveries_total", "Epochs whose outcome had to be read back.", labels,
                worker.recoveries);
    out.counter("weir_producers_replaced_total", "Producers replaced after a repeated EndTxn.", labels,
                worker.sinks_replaced);
    out.gauge("weir_last_commit_timestamp_seconds", "Wall time of the latest commit.", labels,
              static_cast<double>(worker.last_commit_wall_ms) / 1000);
    out.histogram_ms("weir_commit_duration_seconds", "From the end of an epoch's records to its commit.",
                     labels, processor::kCommitBucketsMs, worker.commit_duration_buckets,
                     worker.commit_duration_us_total);
    out.gauge("weir_wal_bytes", "Bytes in the log's segments.", labels,
              static_cast<double>(worker.wal_bytes));
    out.gauge("weir_wal_segments", "Segments of the log.", labels, static_cast<double>(worker.wal_segments));
    out.counter("weir_wal_sync_microseconds_total", "Time spent in fdatasync.", labels,
                worker.wal_sync_us_total);
    out.counter("weir_ledger_imbalances_total", "Commits at which the record ledger did not balance: a bug.",
                labels, worker.ledger_imbalances);
    out.gauge("weir_disk_full", "1 while reading is paused because the log cannot grow.", labels,
              worker.disk_full ? 1 : 0);
    for (const processor::ShardStatus& shard : worker.shards) add_shard(app, plan, worker.slot, shard, out);
}

void add_process(Families& out) {
    out.gauge("weir_build_info", "Always 1.", {{"version", WEIR_VERSION}}, 1);
    std::ifstream statm("/proc/self/statm");
    int64_t total_pages = 0;
    int64_t resident_pages = 0;
    if (statm >> total_pages >> resident_pages)
        out.gauge("process_resident_memory_bytes", "Resident memory.", {},
                  static_cast<double>(resident_pages * sysconf(_SC_PAGESIZE)));
}

}  // namespace

std::string render_metrics(const std::vector<AppStatus>& apps,
                           const std::vector<const processor::Plan*>& plans) {
    Families out;
    add_process(out);
    for (size_t i = 0; i < apps.size(); ++i) {
        const processor::Counters sum = merged(apps[i], *plans[i]);
        add_sources(apps[i], *plans[i], sum, out);
        add_streams(apps[i], *plans[i], sum, out);
        const Labels labels = {{"pipeline", apps[i].pipeline}};
        out.gauge("weir_state_memory_bytes", "Bytes that all operators keep, as state.max_memory_mib counts.",
                  labels, static_cast<double>(apps[i].state_bytes));
        if (apps[i].max_state_bytes > 0)
            out.gauge("weir_state_memory_max_bytes", "What state.max_memory_mib allows.", labels,
                      static_cast<double>(apps[i].max_state_bytes));
        for (const processor::WorkerStatus& worker : apps[i].workers)
            add_worker(apps[i], *plans[i], worker, out);
    }
    return out.text();
}

}  // namespace weir::cmd
