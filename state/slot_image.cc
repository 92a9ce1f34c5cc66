// Reading a slot's directory: load_slot and replay_slot. Nothing here writes.
#include <algorithm>

#include <fmt/format.h>

#include "state/slot_files.h"
#include "state/slot_store.h"
#include "state/snapshot.h"

namespace weir::state {
namespace {

constexpr uint64_t kCurrentBytesMax = 64u << 20;

Error corrupt(const Directory& directory, const std::string& what) {
    return {Code::kCorrupt,
            fmt::format("{}: {}; restore the state directory from a copy, or remove it to start "
                        "anew",
                        directory.path(), what)};
}

Result<void> check_snapshots(Directory& directory, const SlotImage& image) {
    for (const SnapshotRef& snapshot : image.snapshots) {
        auto reader = SnapshotReader::open(directory, snapshot.file);
        if (!reader.ok() && reader.error().code == Code::kNotFound)
            return corrupt(directory, "the snapshot " + snapshot.file + " is missing");
        if (!reader.ok()) return reader.error();
        if (reader->bytes() != snapshot.bytes || reader->info().id != snapshot.id ||
            reader->info().progress != snapshot.progress)
            return corrupt(directory, "the snapshot " + snapshot.file + " is not the one that CURRENT names");
    }
    return {};
}

// The segments that CURRENT names, then those that the same run added.
Result<std::vector<SegmentRef>> segment_chain(Directory& directory, const SlotCurrent& current,
                                              const std::vector<uint64_t>& numbers) {
    std::vector<SegmentRef> chain = current.segments;
    for (const uint64_t number : numbers) {
        if (number <= current.segments.back().number) continue;
        WEIR_ASSIGN(const auto file, directory.open_read(segment_name(number)));
        char bytes[72];
        WEIR_ASSIGN(const size_t read, file->read(0, bytes, sizeof bytes));
        const auto header = decode_segment_header({bytes, read});
        if (!header.ok()) {
            if (header.error().code != Code::kCorrupt) return header.error();
            return corrupt(directory, segment_name(number) + ": " + header.error().message);
        }
        if (header->uuid != current.uuid) continue;  // Left over from a start that was interrupted.
        if (number != chain.back().number + 1)
            return corrupt(directory, segment_name(chain.back().number + 1) + " is missing");
        chain.push_back({number, header->salt});
    }
    return chain;
}

LoggedEpoch without_deltas(EpochRecord&& epoch, uint64_t segment, uint64_t lsn) {
    LoggedEpoch logged{epoch.id, epoch.prev, std::move(epoch.sink_position), {}, segment, lsn};
    for (ShardEpoch& shard : epoch.shards) logged.shards.push_back(std::move(shard.progress));
    return logged;
}

Result<void> scan_log(Directory& directory, const std::vector<SegmentRef>& chain, SlotImage& image) {
    for (size_t i = 0; i < chain.size() && image.end == WalEnd::kClean; ++i) {
        const bool last = i + 1 == chain.size();
        const std::string name = segment_name(chain[i].number);
        const auto bytes = read_file(directory, name, kWalSegmentBytesMax);
        if (!bytes.ok() && bytes.error().code == Code::kNotFound)
            return corrupt(directory, name + " is missing");
        if (!bytes.ok()) return bytes.error();
        // The chain first: an entry is not read from a segment that does not follow.
        const auto header = decode_segment_header(*bytes);
        if (header.ok() && i > 0 && header->previous != image.segments.back().last) {
            image.end = WalEnd::kCorrupt;
            image.damage = fmt::format("{} ends at entry {}, but {} continues after entry {}",
                                       segment_name(chain[i - 1].number), image.segments.back().last.lsn,
                                       name, header->previous.lsn);
            return {};
        }
        const auto scan =
            scan_segment(*bytes, last, [&](uint64_t lsn, uint64_t, std::string_view payload) -> Result<void> {
                WEIR_ASSIGN(EpochRecord epoch, decode_epoch(payload));
                if (!image.epochs.empty() && image.epochs.back().id != epoch.prev)
                    return Error{Code::kCorrupt,
                                 fmt::format("entry {} does not follow the one before it", lsn)};
                image.epochs.push_back(without_deltas(std::move(epoch), chain[i].number, lsn));
                return {};
            });
        if (!scan.ok() && scan.error().code == Code::kCorrupt)
            return corrupt(directory, name + ": " + scan.error().message);
        if (!scan.ok()) return scan.error();
        if (scan->header.number != chain[i].number || scan->header.salt != chain[i].salt)
            return corrupt(directory, name + " is not the segment that belongs here");
        image.end = scan->end;
        image.damage = scan->damage;
        image.segments.push_back({chain[i], scan->last, scan->valid_bytes, bytes->size(), scan->entries});
    }
    return {};
}

}  // namespace

const SnapshotRef* SlotImage::snapshot(ShardId shard) const {
    const auto at = std::find_if(snapshots.begin(), snapshots.end(), [&](const SnapshotRef& snapshot) {
        return snapshot.progress.shard == shard;
    });
    return at == snapshots.end() ? nullptr : &*at;
}

Result<size_t> SlotImage::epochs_upto(const CommitId& upto) const {
    for (size_t i = 0; i < epochs.size(); ++i)
        if (epochs[i].id == upto) return i + 1;
    const bool base =
        upto.empty() || std::any_of(snapshots.begin(), snapshots.end(),
                                    [&](const SnapshotRef& snapshot) { return snapshot.id == upto; });
    if (base) return size_t{0};
    return Error{Code::kNotFound, "the log does not hold the commit " + to_string(upto)};
}

const ShardProgress* SlotImage::progress(ShardId shard, size_t epochs_kept) const {
    for (size_t i = epochs_kept; i > 0; --i)
        for (const ShardProgress& candidate : epochs[i - 1].shards)
            if (candidate.shard == shard) return &candidate;
    const SnapshotRef* const base = snapshot(shard);
    return base == nullptr ? nullptr : &base->progress;
}

const std::string& SlotImage::sink_position(size_t epochs_kept) const {
    return epochs_kept == 0 ? snapshot_sink_position : epochs[epochs_kept - 1].sink_position;
}

Result<SlotImage> load_slot(Directory& directory) {
    SlotImage image;
    WEIR_ASSIGN(const auto names, directory.list());
    std::vector<uint64_t> numbers;
    for (const std::string& name : names)
        if (uint64_t number = 0; parse_segment_name(name, number)) numbers.push_back(number);
    std::sort(numbers.begin(), numbers.end());
    if (!numbers.empty()) image.next_number = numbers.back() + 1;

    const auto bytes = read_file(directory, kCurrentName, kCurrentBytesMax);
    if (!bytes.ok() && bytes.error().code == Code::kNotFound) return image;
    if (!bytes.ok()) return bytes.error();
    auto current = decode_current(*bytes);
    if (!current.ok())
        return current.error().code == Code::kCorrupt ? corrupt(directory, current.error().message)
                                                      : current.error();
    image.exists = true;
    image.uuid = current->uuid;
    image.snapshots = current->snapshots;
    image.snapshot_sink_position = current->sink_position;
    image.snapshot_wall_ms = current->snapshot_wall_ms;
    WEIR_TRY(check_snapshots(directory, image));
    WEIR_ASSIGN(const auto chain, segment_chain(directory, *current, numbers));
    WEIR_TRY(scan_log(directory, chain, image));
    return image;
}

Result<void> replay_slot(Directory& directory, const SlotImage& image, const CommitId& upto,
                         StateVisitor& visitor) {
    WEIR_ASSIGN(const size_t kept, image.epochs_upto(upto));
    for (const SnapshotRef& snapshot : image.snapshots) {
        WEIR_ASSIGN(SnapshotReader reader, SnapshotReader::open(directory, snapshot.file));
        SnapshotReader::Entry entry;
        for (;;) {
            WEIR_ASSIGN(const bool more, reader.next(entry));
            if (!more) break;
            WEIR_TRY(visitor.entry(snapshot.progress.shard, entry.table, entry.key, entry.value));
        }
    }
    std::vector<SegmentRef> segments;
    for (const SegmentImage& segment : image.segments) segments.push_back(segment.ref);
    size_t seen = 0;
    const auto visit_epoch = [&](const EpochRecord& epoch) -> Result<void> {
        if (epoch.id != image.epochs[seen].id) return corrupt(directory, "the log changed while it was read");
        ++seen;
        for (const ShardEpoch& shard : epoch.shards)
            WEIR_TRY(visitor.delta(shard.progress.shard, epoch.id, shard.delta));
        return {};
    };
    WEIR_TRY(read_epochs(directory, segments, true, kept, visit_epoch));
    if (seen != kept) return corrupt(directory, "the log became shorter while it was read");
    return {};
}

}  // namespace weir::state
