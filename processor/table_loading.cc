// Before any stream is read, tables are read to where their topics end now: else the first records after a
// start would miss rows that were written long before them.
#include <algorithm>

#include "base/log.h"
#include "processor/worker.h"

namespace weir::processor {
namespace {

constexpr int64_t kAttemptMs = 5'000;

}  // namespace

Result<void> Worker::find_table_ends() {
    const auto look = [&](Shard& shard, const PartitionProgress& progress) -> Result<void> {
        const TopicPartition partition = progress.partition;
        if (!plan_.inputs[static_cast<size_t>(partition.topic)].is_table) return {};
        int64_t begin = progress.next_offset;
        if (is_file_table(partition) && begin >= 0) return {};  // Read once.
        WEIR_ASSIGN(const OffsetRange range, connector_.offset_range(partition, kAttemptMs));
        if (begin < 0) {  // A global table, which is in no commit.
            begin = range.begin;
            WEIR_TRY(shard.restore_progress({partition, begin, kNoTime, {}}));
        } else if (is_global(partition) && begin < range.begin) {
            globals_.reset();
            return Error{Code::kUnavailable, "a global table's records were deleted: it is read anew"};
        }
        table_ends_.push_back({partition, begin, begin, range.end});
        return {};
    };
    table_ends_.clear();
    for (const auto& shard : shards_)
        for (const PartitionProgress& progress : shard->progress()) WEIR_TRY(look(*shard, progress));
    if (globals_)
        for (const PartitionProgress& progress : globals_->progress()) WEIR_TRY(look(*globals_, progress));
    const bool loaded = std::all_of(table_ends_.begin(), table_ends_.end(),
                                    [](const TableEnd& table) { return table.position >= table.end; });
    if (loaded) table_ends_.clear();
    for (const TableProgress& table : loading_progress())
        log_info("slot={} reading table={} records={} before any stream", settings_.identity.slot, table.name,
                 table.total);
    return {};
}

bool Worker::has_file_table() const {
    return std::any_of(plan_.inputs.begin(), plan_.inputs.end(),
                       [](const PlanInput& input) { return input.is_table && input.is_file; });
}

bool Worker::is_file_table(TopicPartition partition) const {
    const PlanInput& input = plan_.inputs[static_cast<size_t>(partition.topic)];
    return input.is_table && input.is_file;
}

// While tables load nothing else is assigned; then all is but the tables of files, each from where it stands.
Result<void> Worker::assign_inputs() {
    std::vector<StartOffset> starts;
    const auto add = [&](const Shard& shard) {
        for (const PartitionProgress& progress : shard.progress()) {
            const bool is_table = plan_.inputs[static_cast<size_t>(progress.partition.topic)].is_table;
            if (loading() ? !is_table : is_file_table(progress.partition)) continue;
            starts.push_back({progress.partition, progress.next_offset, !is_table && plan_.max_drift_ms > 0});
        }
    };
    for (const auto& shard : shards_) add(*shard);
    if (globals_) add(*globals_);
    WEIR_TRY(source_->assign(starts));
    source_->hold(held_);
    return {};
}

Result<void> Worker::note_loaded(const Poll& poll) {
    if (!loading()) return {};
    const auto reached = [&](TopicPartition partition, int64_t offset) {
        for (TableEnd& table : table_ends_)
            if (table.partition == partition) table.position = std::max(table.position, offset);
    };
    for (const InputRun& run : poll.runs) reached(run.partition, run.records.back().offset + 1);
    for (const CaughtUp& event : poll.caught_up) reached(event.partition, event.end_offset);
    const bool loaded = std::all_of(table_ends_.begin(), table_ends_.end(),
                                    [](const TableEnd& table) { return table.position >= table.end; });
    if (!loaded) return {};
    table_ends_.clear();
    log_info("slot={} tables are read, streams begin", settings_.identity.slot);
    publish(WorkerPhase::kRunning);
    assigned_anew_ = true;
    return assign_inputs();
}

std::vector<TableProgress> Worker::loading_progress() const {
    std::vector<TableProgress> result;
    for (const TableEnd& table : table_ends_) {
        const size_t source = plan_.inputs[static_cast<size_t>(table.partition.topic)].source;
        const std::string& name = plan_.source_names[source];
        auto known = std::find_if(result.begin(), result.end(),
                                  [&](const TableProgress& progress) { return progress.name == name; });
        if (known == result.end()) known = result.insert(known, {name, 0, 0});
        known->read += std::min(table.position, table.end) - table.begin;
        known->total += table.end - table.begin;
    }
    return result;
}

}  // namespace weir::processor
