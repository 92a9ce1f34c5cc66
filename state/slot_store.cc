#include "state/slot_store.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "base/crash_point.h"
#include "base/entropy.h"
#include "state/slot_files.h"
#include "state/snapshotter.h"

namespace weir::state {
namespace {

constexpr uint64_t kShortSegment = 8;  // Where space is short, so small a part of a segment is closed.

// How many of the chain's segments, from the first, hold only epochs that count. The last one never does: its
// tail may be readable without being on the disk.
size_t whole_segments(const SlotImage& image, size_t epochs_kept) {
    size_t whole = 0;
    size_t epochs = 0;
    while (whole + 1 < image.segments.size() && epochs + image.segments[whole].epochs <= epochs_kept)
        epochs += image.segments[whole++].epochs;
    return whole;
}

Result<void> copy_epochs(Directory& directory, const SlotImage& image, size_t first_segment,
                         size_t epochs_kept, uint64_t grow_bytes, WalWriter& writer) {
    size_t seen = 0;
    const auto copy = [&](uint64_t, uint64_t, std::string_view payload) -> Result<void> {
        if (seen == epochs_kept) return {};
        ++seen;
        WEIR_TRY(writer.reserve(payload.size(), grow_bytes));
        return writer.append(payload);
    };
    for (size_t i = 0; i < image.segments.size(); ++i) {
        if (i < first_segment) {
            seen += image.segments[i].epochs;
            continue;
        }
        if (seen >= epochs_kept) return {};
        WEIR_ASSIGN(const std::string bytes,
                    read_file(directory, segment_name(image.segments[i].ref.number), kWalSegmentBytesMax));
        WEIR_TRY(scan_segment(bytes, i + 1 == image.segments.size(), copy));
    }
    if (seen != epochs_kept)
        return Error{Code::kCorrupt, directory.path() + ": the log became shorter while it was copied"};
    return {};
}

}  // namespace

SlotStore::SlotStore(Directory& directory, SlotOptions options, Clock& clock, WalWriter writer,
                     SlotCurrent current)
    : directory_(directory),
      options_(options),
      clock_(clock),
      writer_(std::move(writer)),
      current_(std::move(current)) {}

Result<std::unique_ptr<SlotStore>> SlotStore::start(Directory& directory, const SlotImage& image,
                                                    const CommitId& upto, SlotOptions options, Clock& clock) {
    if (image.end == WalEnd::kCorrupt)
        return Error{Code::kCorrupt, directory.path() + ": the log is corrupt: " + image.damage};
    WEIR_ASSIGN(const size_t kept, image.epochs_upto(upto));
    const size_t whole = whole_segments(image, kept);

    SlotCurrent current;
    current.uuid = {random_u64(), random_u64()};
    current.snapshots = image.snapshots;
    current.sink_position = image.snapshot_sink_position;
    current.snapshot_wall_ms = image.exists ? image.snapshot_wall_ms : clock.wall_ms();
    SegmentHeader header;
    header.uuid = current.uuid;
    header.number = image.next_number;
    header.salt = random_u64();
    if (whole > 0)
        header.previous = image.segments[whole - 1].last;
    else if (!image.segments.empty())
        header.previous.lsn = image.segments.front().last.lsn - image.segments.front().epochs;
    header.first_lsn = header.previous.lsn + 1;

    WEIR_ASSIGN(WalWriter writer, WalWriter::create(directory, header));
    WEIR_TRY(copy_epochs(directory, image, whole, kept, options.grow_bytes, writer));
    WEIR_TRY(writer.sync());
    std::vector<uint64_t> bytes;
    for (size_t i = 0; i < whole; ++i) {
        current.segments.push_back(image.segments[i].ref);
        bytes.push_back(image.segments[i].file_bytes);
    }
    current.segments.push_back({header.number, header.salt});
    bytes.push_back(writer.allocated_bytes());
    crash_point("before_log_switch");
    WEIR_TRY(write_current(directory, current));
    crash_point("after_log_switch");
    remove_unreferenced(directory, current);

    std::unique_ptr<SlotStore> store(
        new SlotStore(directory, options, clock, std::move(writer), std::move(current)));
    store->segment_bytes_ = std::move(bytes);
    if (kept > 0) store->last_ = image.epochs[kept - 1].id;
    if (options.snapshotter != nullptr) options.snapshotter->add(store.get());
    return store;
}

SlotStore::~SlotStore() {
    stopping_ = true;
    if (options_.snapshotter != nullptr) options_.snapshotter->remove(this);
}

Result<void> SlotStore::reserve(uint64_t bytes) {
    WEIR_CHECK(phase_ == Phase::kIdle);
    if (writer_.bytes() >= options_.segment_bytes) WEIR_TRY(rotate());
    // Without a closed segment no snapshot can give space back, and the open ones alone may fill a small
    // disk. Where not even an empty segment has room, the open one may still have.
    if (space_short_ && writer_.bytes() >= options_.segment_bytes / kShortSegment) {
        bool alone = false;
        {
            const std::lock_guard lock(mutex_);
            alone = current_.segments.size() == 1;
        }
        if (alone)
            if (const auto closed = rotate(); !closed.ok() && closed.error().code != Code::kNoSpace)
                return closed;
    }
    WEIR_TRY(writer_.reserve(bytes == 0 ? largest_epoch_ : bytes, options_.grow_bytes));
    const std::lock_guard lock(mutex_);
    segment_bytes_.back() = writer_.allocated_bytes();
    return {};
}

Result<void> SlotStore::rotate() {
    SegmentHeader header = writer_.header();
    ++header.number;
    header.salt = random_u64();
    header.previous = writer_.last();
    header.first_lsn = header.previous.lsn + 1;
    WEIR_ASSIGN(writer_, WalWriter::create(directory_, header));
    crash_point("after_rotate");
    {
        const std::lock_guard lock(mutex_);
        current_.segments.push_back({header.number, header.salt});
        segment_bytes_.push_back(writer_.allocated_bytes());
    }
    if (options_.snapshotter != nullptr && snapshot_due()) options_.snapshotter->wake();
    return {};
}

Result<void> SlotStore::append(const EpochRecord& epoch) {
    WEIR_CHECK(phase_ == Phase::kIdle);
    WEIR_CHECK(last_.empty() || epoch.prev == last_, "an epoch must name the one before it");
    phase_ = Phase::kAppended;
    last_ = epoch.id;
    const std::vector<std::string_view> pieces = encode_epoch_pieces(epoch, text_);
    uint64_t bytes = 0;
    for (const std::string_view piece : pieces) bytes += piece.size();
    largest_epoch_ = std::max(largest_epoch_, bytes);
    return writer_.append(pieces);
}

Result<void> SlotStore::sync() {
    WEIR_CHECK(phase_ == Phase::kAppended);
    const int64_t start_us = clock_.monotonic_us();
    WEIR_TRY(writer_.sync());
    const int64_t took_us = clock_.monotonic_us() - start_us;
    phase_ = Phase::kSynced;
    const std::lock_guard lock(mutex_);
    segment_bytes_.back() = writer_.allocated_bytes();
    ++counters_.syncs;
    counters_.sync_us_last = took_us;
    counters_.sync_us_max = std::max(counters_.sync_us_max, took_us);
    counters_.sync_us_total += took_us;
    return {};
}

void SlotStore::committed() {
    WEIR_CHECK(phase_ == Phase::kSynced);
    phase_ = Phase::kIdle;
}

bool SlotStore::snapshot_due() {
    if (!options_.row_stores.empty() && !rows_applied_) return false;
    uint64_t closed_bytes = 0;
    uint64_t snapshot_bytes = 0;
    {
        const std::lock_guard lock(mutex_);
        for (size_t i = 0; i + 1 < segment_bytes_.size(); ++i) closed_bytes += segment_bytes_[i];
        for (const SnapshotRef& snapshot : current_.snapshots) snapshot_bytes += snapshot.bytes;
    }
    const uint64_t due_bytes =
        std::min(std::max(options_.snapshot_after_bytes, snapshot_bytes / 2),
                 std::max(options_.snapshot_after_bytes, options_.snapshot_after_bytes_max));
    // What is written until a snapshot is due by size, and then that snapshot beside the old one. A disk that
    // does not say counts as large.
    const uint64_t log_left_bytes = due_bytes - std::min(due_bytes, closed_bytes) + options_.segment_bytes;
    const auto free_bytes = directory_.free_bytes();
    space_short_ = free_bytes.ok() && *free_bytes < log_left_bytes + snapshot_bytes + due_bytes;
    return closed_bytes > 0 && (closed_bytes >= due_bytes || space_short_);
}

Result<void> SlotStore::snapshot() {
    if (!options_.row_stores.empty() && !rows_applied_) return {};
    std::vector<SegmentRef> closed;
    {
        const std::lock_guard lock(mutex_);
        closed.assign(current_.segments.begin(), current_.segments.end() - 1);
    }
    if (closed.empty()) return {};
    auto merged =
        switch_failed_
            ? Result<void>(Error{Code::kIo, "an earlier snapshot could not be switched to; restart"})
            : merge(closed);
    const std::lock_guard lock(mutex_);
    ++(merged.ok() ? counters_.snapshots : counters_.snapshot_failures);
    counters_.snapshot_error = merged.ok() ? "" : merged.error().message;
    return merged;
}

Result<void> SlotStore::merge(const std::vector<SegmentRef>& covered) {
    SlotCurrent base;
    {
        const std::lock_guard lock(mutex_);
        base = current_;
    }
    // A segment is closed after its epochs were applied: the stores need it no more once they are flushed.
    for (RowStore* const store : options_.row_stores) WEIR_TRY(store->flush());
    // What the covered segments say last about every shard, and about the slot.
    std::map<ShardId, ShardProgress> progress;
    for (const SnapshotRef& snapshot : base.snapshots) progress[snapshot.progress.shard] = snapshot.progress;
    CommitId id;
    std::string sink_position = base.sink_position;
    WEIR_TRY(read_epochs(directory_, covered, false, SIZE_MAX, [&](const EpochRecord& epoch) -> Result<void> {
        id = epoch.id;
        sink_position = epoch.sink_position;
        for (const ShardEpoch& shard : epoch.shards) progress[shard.progress.shard] = shard.progress;
        return {};
    }));
    if (id.empty()) return {};  // Closed segments without an epoch do not occur.

    std::vector<SnapshotRef> snapshots;
    for (const auto& [shard, shard_progress] : progress) {
        const auto old =
            std::find_if(base.snapshots.begin(), base.snapshots.end(),
                         [&](const SnapshotRef& candidate) { return candidate.progress.shard == shard; });
        const ShardHistory history{
            &directory_, old == base.snapshots.end() ? nullptr : &*old, covered, false, SIZE_MAX, shard,
            options_.stored_tables};
        const std::string name = snapshot_name(covered.back().number, shard);
        auto merged = merge_shard(history, directory_, name, id, shard_progress, &stopping_);
        if (!merged.ok()) {
            (void)directory_.remove(name + ".tmp");  // Gives the space back; what is left is ignored.
            for (const SnapshotRef& snapshot : snapshots) (void)directory_.remove(snapshot.file);
            return merged.error();
        }
        snapshots.push_back(std::move(*merged));
    }

    crash_point("during_snapshot");
    SlotCurrent next;
    {
        const std::lock_guard lock(mutex_);
        next = current_;
    }
    next.segments.erase(next.segments.begin(),
                        next.segments.begin() + static_cast<std::ptrdiff_t>(covered.size()));
    next.snapshots = std::move(snapshots);
    next.sink_position = std::move(sink_position);
    next.snapshot_wall_ms = clock_.wall_ms();
    WEIR_TRY(stage_current(directory_, next));
    // After a failed switch nobody knows which CURRENT the disk holds, so no file of either may go.
    switch_failed_ = true;
    crash_point("before_snapshot_switch");
    WEIR_TRY(switch_current(directory_));
    crash_point("after_snapshot_switch");
    switch_failed_ = false;
    {
        const std::lock_guard lock(mutex_);
        // The worker may have closed another segment meanwhile: it follows the ones that CURRENT names.
        const auto covered_count = static_cast<std::ptrdiff_t>(covered.size());
        current_.segments.erase(current_.segments.begin(), current_.segments.begin() + covered_count);
        segment_bytes_.erase(segment_bytes_.begin(), segment_bytes_.begin() + covered_count);
        current_.snapshots = next.snapshots;
        current_.sink_position = next.sink_position;
        current_.snapshot_wall_ms = next.snapshot_wall_ms;
    }
    for (const SegmentRef& segment : covered) (void)directory_.remove(segment_name(segment.number));
    for (const SnapshotRef& snapshot : base.snapshots) (void)directory_.remove(snapshot.file);
    return {};
}

SlotStats SlotStore::stats() const {
    const std::lock_guard lock(mutex_);
    SlotStats stats = counters_;
    stats.segments = segment_bytes_.size();
    for (const uint64_t bytes : segment_bytes_) stats.log_bytes += bytes;
    for (const SnapshotRef& snapshot : current_.snapshots) stats.snapshot_bytes += snapshot.bytes;
    stats.snapshot_age_ms = std::max<int64_t>(0, clock_.wall_ms() - current_.snapshot_wall_ms);
    return stats;
}

}  // namespace weir::state
