// What a worker reads and hands to its shards.
#include <algorithm>
#include <limits>

#include "processor/worker.h"

namespace weir::processor {
namespace {

constexpr size_t kMaxPollRecords = 1024;  // A turn's records stay in the core's cache.
constexpr int64_t kStandstillUs = 1'000'000;

}  // namespace

Result<void> Worker::poll(int64_t wait_ms) {
    const int64_t now_us = clock_.monotonic_us();
    int64_t deadline_us = now_us + wait_ms * 1000;
    if (epoch_started_us_ != 0)
        deadline_us = std::min(deadline_us, epoch_started_us_ + epoch_ms() * 1000);
    for (const auto& shard : shards_) deadline_us = std::min(deadline_us, shard->next_deadline_us());

    assigned_anew_ = false;
    WEIR_ASSIGN(input_,
                source_->poll(std::max<int64_t>(0, (deadline_us - now_us + 999) / 1000), kMaxPollRecords));
    input_wall_ms_ = clock_.wall_ms();
    behind_ = behind_ && !input_.runs.empty() && input_.caught_up.empty();
    next_run_ = next_record_ = 0;
    return {};
}

Result<void> Worker::process() {
    for (const auto& shard : shards_)
        if (shard->closing() && !loading()) WEIR_TRY(shard->go_on(*sink_));
    while (next_run_ < input_.runs.size() && !closing()) {
        InputRun run = input_.runs[next_run_];
        run.records = run.records.subspan(next_record_);
        Shard& shard = is_global(run.partition) ? *globals_ : shard_of(run.partition);
        WEIR_ASSIGN(const size_t taken, shard.process(run, *source_, input_wall_ms_, *sink_));
        next_record_ += taken;
        if (taken < run.records.size()) return {};
        ++next_run_;
        next_record_ = 0;
    }
    return {};
}

bool Worker::closing() const {
    return !loading() &&
           std::any_of(shards_.begin(), shards_.end(), [](const auto& shard) { return shard->closing(); });
}

int64_t Worker::next_deadline_us() const {
    if (loading() || assigned_anew_ || input_open_) return 0;
    int64_t next = std::numeric_limits<int64_t>::max();
    for (const auto& shard : shards_) next = std::min(next, shard->next_deadline_us());
    return next;
}

// A process that was stopped, or a call that took long: records may have come since the source said that a
// partition has none. Event time must not tick past them.
void Worker::notice_standstill() {
    const int64_t now_us = clock_.monotonic_us();
    if (now_us - looked_us_ > kStandstillUs)
        for (const auto& shard : shards_) shard->stood_still();
    looked_us_ = now_us;
}

// Holds back what runs ahead (align.max_drift). A source made anew holds nothing, and so do new shards.
void Worker::align() {
    if (plan_.max_drift_ms == 0) return;
    bool changed = false;
    for (const auto& shard : shards_) changed = shard->align() || changed;
    if (!changed) return;
    held_.clear();
    for (const auto& shard : shards_) shard->append_held(held_);
    source_->hold(held_);
}

}  // namespace weir::processor
