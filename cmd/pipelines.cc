#include "cmd/pipelines.h"

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include "processor/ledger.h"

namespace weir::cmd {
namespace {

using Writer = rapidjson::Writer<rapidjson::StringBuffer>;

void key(Writer& out, const char* name) { out.Key(name); }
void text(Writer& out, const char* name, const std::string& value) {
    out.Key(name);
    out.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
}
void number(Writer& out, const char* name, int64_t value) {
    out.Key(name);
    out.Int64(value);
}
void count(Writer& out, const char* name, uint64_t value) {
    out.Key(name);
    out.Uint64(value);
}
void flag(Writer& out, const char* name, bool value) {
    out.Key(name);
    out.Bool(value);
}
// Event time: null for none, and for the end of bounded input.
void time(Writer& out, const char* name, EventTime value) {
    out.Key(name);
    if (value == kNoTime || value == kEndOfTime)
        out.Null();
    else
        out.Int64(value);
}
void optional_number(Writer& out, const char* name, int64_t value, bool present) {
    out.Key(name);
    if (present)
        out.Int64(value);
    else
        out.Null();
}

template <class Counters>
void write_buckets(Writer& out, const Counters& counters) {
    key(out, "buckets");
    out.StartObject();
    for (const processor::Bucket& bucket : processor::buckets_of(counters))
        count(out, bucket.name, bucket.count);
    out.EndObject();
}

void write_place(Writer& out, const processor::Plan& plan, TopicPartition partition) {
    text(out, "topic", plan.inputs[static_cast<size_t>(partition.topic)].name);
    number(out, "partition", partition.partition);
}

void write_partition(Writer& out, const AppStatus& app, const processor::Plan& plan,
                     const processor::ShardStatus& shard, const processor::PartitionStatus& partition) {
    out.StartObject();
    write_place(out, plan, partition.partition);
    number(out, "next_offset", partition.next_offset);
    time(out, "newest_event_time", partition.newest);
    time(out, "watermark", partition.watermark);
    const bool stands = partition.watermark != kNoTime && partition.watermark != kEndOfTime;
    optional_number(out, "behind_clock_ms", stands ? app.now_ms - partition.watermark : 0, stands);
    count(out, "advances", partition.advances);
    optional_number(out, "advanced_by_offset", partition.advanced_offset, partition.advanced_offset >= 0);
    optional_number(out, "advanced_at", partition.advanced_wall_ms, partition.advanced_offset >= 0);
    flag(out, "caught_up", partition.caught_up);
    number(out, "quiet_since", partition.quiet_since_wall_ms);
    flag(out, "idle", partition.idle);
    optional_number(out, "held_by_shard", partition.upstream, partition.upstream >= 0);
    key(out, "aligned_to");
    if (partition.held_behind < 0) {
        out.Null();
    } else {
        out.StartObject();
        write_place(out, plan, shard.partitions[static_cast<size_t>(partition.held_behind)].partition);
        out.EndObject();
    }
    out.EndObject();
}

void write_stage(Writer& out, const processor::Plan& plan, const processor::ShardStatus& shard,
                 const processor::StageStatus& stage) {
    out.StartObject();
    text(out, "stage", stage.stream);
    time(out, "watermark", stage.watermark);
    flag(out, "ticking", stage.ticking);
    key(out, "held_by");
    if (stage.held_by < 0) {
        out.Null();
    } else {
        out.StartObject();
        write_place(out, plan, shard.partitions[static_cast<size_t>(stage.held_by)].partition);
        out.EndObject();
    }
    time(out, "next_due", stage.next_due);
    count(out, "open_windows", stage.open_windows);
    count(out, "groups", stage.groups);
    count(out, "records", stage.records);
    count(out, "bytes", stage.state_bytes);
    out.EndObject();
}

void write_worker(Writer& out, const AppStatus& app, const processor::Plan& plan,
                  const processor::WorkerStatus& worker) {
    out.StartObject();
    number(out, "worker", worker.slot);
    text(out, "phase", phase_name(worker.phase));
    count(out, "epochs", worker.epochs_committed);
    optional_number(out, "last_commit", worker.last_commit_wall_ms, worker.last_commit_wall_ms != 0);
    count(out, "recoveries", worker.recoveries);
    flag(out, "disk_full", worker.disk_full);
    key(out, "shards");
    out.StartArray();
    for (const processor::ShardStatus& shard : worker.shards) {
        out.StartObject();
        number(out, "shard", shard.shard);
        key(out, "partitions");
        out.StartArray();
        for (const auto& partition : shard.partitions) write_partition(out, app, plan, shard, partition);
        out.EndArray();
        key(out, "stages");
        out.StartArray();
        for (const auto& stage : shard.stages) write_stage(out, plan, shard, stage);
        out.EndArray();
        key(out, "tables");
        out.StartArray();
        for (const processor::TableStatus& table : shard.tables) {
            out.StartObject();
            text(out, "table", table.name);
            count(out, "rows", table.rows);
            count(out, "bytes", table.bytes);
            out.EndObject();
        }
        out.EndArray();
        out.EndObject();
    }
    out.EndArray();
    out.EndObject();
}

void write_pipeline(Writer& out, const AppStatus& app, const processor::Plan& plan) {
    processor::Counters sum(plan);
    uint64_t imbalances = 0;
    for (const processor::WorkerStatus& worker : app.workers) {
        sum.add(worker.counters);
        imbalances += worker.ledger_imbalances;
    }
    out.StartObject();
    text(out, "pipeline", app.pipeline);
    flag(out, "ready", app.ready);
    if (!app.ready) text(out, "not_ready_because", app.not_ready_because);
    number(out, "now", app.now_ms);
    flag(out, "balanced", imbalances == 0 && processor::Ledger(plan).imbalance(sum).empty());
    key(out, "sources");
    out.StartArray();
    for (size_t i = 0; i < sum.sources.size(); ++i) {
        const processor::SourceCounters& source = sum.sources[i];
        out.StartObject();
        text(out, "source", plan.source_names[i]);
        count(out, "records", source.records);
        count(out, "bytes", source.bytes);
        write_buckets(out, source);
        count(out, "decode_errors", source.decode_errors);
        count(out, "timestamp_errors", source.timestamp_errors);
        count(out, "ahead", source.ahead);
        count(out, "behind_watermark", source.behind);
        count(out, "ignored_watermarks", source.marks_ahead);
        out.EndObject();
    }
    out.EndArray();
    key(out, "streams");
    out.StartArray();
    for (size_t i = 0; i < sum.streams.size(); ++i) {
        const processor::StreamCounters& stream = sum.streams[i];
        out.StartObject();
        text(out, "stream", plan.stream_names[i]);
        count(out, "read", stream.in);
        count(out, "derived", stream.derived);
        write_buckets(out, stream);
        count(out, "released", stream.released);
        count(out, "matched", stream.matched);
        count(out, "unmatched", stream.unmatched);
        count(out, "expired", stream.expired);
        count(out, "windows_closed", stream.windows_closed);
        count(out, "lookups_missed", stream.lookups_missed);
        out.EndObject();
    }
    out.EndArray();
    key(out, "workers");
    out.StartArray();
    for (const processor::WorkerStatus& worker : app.workers) write_worker(out, app, plan, worker);
    out.EndArray();
    out.EndObject();
}

}  // namespace

const char* phase_name(processor::WorkerPhase phase) {
    constexpr const char* kNames[] = {"starting", "recovering", "loading", "running", "stopped"};
    return kNames[static_cast<size_t>(phase)];
}

std::string render_pipelines(const std::vector<AppStatus>& apps,
                             const std::vector<const processor::Plan*>& plans) {
    rapidjson::StringBuffer buffer;
    Writer out(buffer);
    out.StartObject();
    key(out, "pipelines");
    out.StartArray();
    for (size_t i = 0; i < apps.size(); ++i) write_pipeline(out, apps[i], *plans[i]);
    out.EndArray();
    out.EndObject();
    return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

}  // namespace weir::cmd
