#include "state/slot_files.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "base/bytes.h"
#include "state/change_set.h"
#include "state/crc32c.h"
#include "state/snapshot.h"

namespace weir::state {
namespace {

constexpr std::string_view kMagic = "weircurr";
constexpr uint32_t kCurrentVersion = 1;
constexpr char kCurrentTemporary[] = "CURRENT.tmp";

// Order of a snapshot's entries.
std::tuple<uint32_t, std::string_view> place(const auto& entry) { return {entry.table, entry.key}; }

}  // namespace

std::string encode_current(const SlotCurrent& current) {
    std::string fields;
    put_le(fields, current.uuid[0]);
    put_le(fields, current.uuid[1]);
    put_le(fields, current.snapshot_wall_ms);
    put_bytes(fields, current.sink_position);
    put_varint(fields, current.snapshots.size());
    for (const SnapshotRef& snapshot : current.snapshots) {
        encode_commit_id(snapshot.id, fields);
        put_le(fields, snapshot.progress.shard);
        encode_progress(snapshot.progress.partitions, fields);
        put_bytes(fields, snapshot.file);
        put_le(fields, snapshot.bytes);
    }
    put_varint(fields, current.segments.size());
    for (const SegmentRef& segment : current.segments) {
        put_le(fields, segment.number);
        put_le(fields, segment.salt);
    }
    std::string out(kMagic);
    put_le(out, kCurrentVersion);
    put_le(out, crc32c(crc32c(0, out), fields));
    return out + fields;
}

Result<SlotCurrent> decode_current(std::string_view bytes) {
    constexpr size_t kCovered = kMagic.size() + 4;
    ByteReader in(bytes);
    const bool magic = in.take(kMagic.size()) == kMagic;
    const auto version = in.le<uint32_t>();
    const auto crc = in.le<uint32_t>();
    if (!magic || in.failed() ||
        crc32c(crc32c(0, bytes.substr(0, kCovered)), bytes.substr(kCovered + 4)) != crc)
        return Error{Code::kCorrupt, "CURRENT does not verify"};
    if (version != kCurrentVersion)
        return Error{Code::kMismatch,
                     fmt::format("CURRENT has format version {}, this weir reads {}; use a newer weir",
                                 version, kCurrentVersion)};
    SlotCurrent current;
    current.uuid = {in.le<uint64_t>(), in.le<uint64_t>()};
    current.snapshot_wall_ms = in.le<int64_t>();
    current.sink_position = in.bytes();
    const Error malformed{Code::kCorrupt, "CURRENT does not decode"};
    const uint64_t snapshots = in.varint();
    for (uint64_t i = 0; i < snapshots && !in.failed(); ++i) {
        SnapshotRef snapshot;
        snapshot.id = decode_commit_id(in);
        snapshot.progress.shard = in.le<int32_t>();
        if (!decode_progress(in, snapshot.progress.partitions)) return malformed;
        snapshot.file = in.bytes();
        snapshot.bytes = in.le<uint64_t>();
        current.snapshots.push_back(std::move(snapshot));
    }
    const uint64_t segments = in.varint();
    for (uint64_t i = 0; i < segments && !in.failed(); ++i) {
        SegmentRef segment;
        segment.number = in.le<uint64_t>();
        segment.salt = in.le<uint64_t>();
        current.segments.push_back(segment);
    }
    if (in.failed() || in.remaining() != 0 || current.segments.empty()) return malformed;
    return current;
}

Result<void> stage_current(Directory& directory, const SlotCurrent& current) {
    return write_synced(directory, kCurrentTemporary, encode_current(current));
}

Result<void> switch_current(Directory& directory) {
    WEIR_TRY(directory.rename(kCurrentTemporary, kCurrentName));
    return directory.sync();
}

Result<void> write_current(Directory& directory, const SlotCurrent& current) {
    WEIR_TRY(stage_current(directory, current));
    return switch_current(directory);
}

std::string snapshot_name(uint64_t covered, ShardId shard) {
    return fmt::format("snap-{:010}-{}.snap", covered, shard);
}

void remove_unreferenced(Directory& directory, const SlotCurrent& current) {
    const auto names = directory.list();
    if (!names.ok()) return;
    for (const std::string& name : *names) {
        bool unused = name.ends_with(".tmp");
        uint64_t number = 0;
        if (parse_segment_name(name, number))
            unused = std::none_of(current.segments.begin(), current.segments.end(),
                                  [&](const SegmentRef& segment) { return segment.number == number; });
        else if (name.starts_with("snap-") && name.ends_with(".snap"))
            unused = std::none_of(current.snapshots.begin(), current.snapshots.end(),
                                  [&](const SnapshotRef& snapshot) { return snapshot.file == name; });
        if (unused) (void)directory.remove(name);
    }
}

Result<void> read_epochs(Directory& directory, std::span<const SegmentRef> segments, bool last_open,
                         size_t limit, const EpochVisitor& visit) {
    size_t seen = 0;
    for (size_t i = 0; i < segments.size() && seen < limit; ++i) {
        const std::string name = segment_name(segments[i].number);
        WEIR_ASSIGN(const std::string bytes, read_file(directory, name, kWalSegmentBytesMax));
        const bool open = last_open && i + 1 == segments.size();
        WEIR_ASSIGN(
            const SegmentScan scan,
            scan_segment(bytes, open, [&](uint64_t, uint64_t, std::string_view payload) -> Result<void> {
                if (seen == limit) return {};
                ++seen;
                WEIR_ASSIGN(const EpochRecord epoch, decode_epoch(payload));
                return visit(epoch);
            }));
        if (scan.end == WalEnd::kCorrupt || scan.header.salt != segments[i].salt)
            return Error{Code::kCorrupt, fmt::format("{}/{}: {}", directory.path(), name,
                                                     scan.damage.empty() ? "not the segment that belongs here"
                                                                         : scan.damage)};
    }
    return {};
}

Result<SnapshotRef> merge_shard(const ShardHistory& history, Directory& target, std::string name,
                                const CommitId& id, const ShardProgress& progress,
                                const std::atomic<bool>* stop) {
    ChangeSet changes;
    const auto is_stored = [&](uint32_t table) {
        return std::any_of(history.stored_tables.begin(), history.stored_tables.end(),
                           [&](const StoredTables& stored) { return stored.has(table); });
    };
    WEIR_TRY(read_epochs(*history.directory, history.segments, history.last_open, history.epochs,
                         [&](const EpochRecord& epoch) -> Result<void> {
                             for (const ShardEpoch& shard : epoch.shards) {
                                 if (shard.progress.shard != history.shard) continue;
                                 DeltaReader delta(shard.delta);
                                 StateOp op;
                                 while (delta.next(op))
                                     if (!is_stored(op.table)) changes.apply(op);
                             }
                             return {};
                         }));
    changes.merge();
    WEIR_ASSIGN(SnapshotWriter writer, SnapshotWriter::create(target, name, {id, progress}));
    size_t next = 0;                // Of the changes.
    std::optional<StateOp> prefix;  // The latest one: no other can cover what follows.
    // Writes the changes before `limit`, or all of them, and says whether there is one for `limit` itself.
    const auto write_changes = [&](const SnapshotReader::Entry* limit) -> Result<bool> {
        for (; next < changes.size(); ++next) {
            const StateOp change = changes.at(next);
            if (limit != nullptr && place(change) > place(*limit)) return false;
            if (change.kind == StateOp::Kind::kErasePrefix)
                prefix = change;
            else if (limit != nullptr && place(change) == place(*limit))
                return true;
            else if (change.kind == StateOp::Kind::kPut)
                WEIR_TRY(writer.add(change.table, change.key, change.value));
        }
        return false;
    };
    if (history.snapshot != nullptr) {
        WEIR_ASSIGN(SnapshotReader reader, SnapshotReader::open(*history.directory, history.snapshot->file));
        SnapshotReader::Entry entry;
        for (;;) {
            if (stop != nullptr && stop->load(std::memory_order_relaxed))
                return Error{Code::kUnavailable, "the snapshot was interrupted"};
            WEIR_ASSIGN(const bool more, reader.next(entry));
            if (!more) break;
            WEIR_ASSIGN(const bool changed, write_changes(&entry));
            const bool erased = prefix && prefix->table == entry.table && entry.key.starts_with(prefix->key);
            if (!changed && !erased) WEIR_TRY(writer.add(entry.table, entry.key, entry.value));
        }
    }
    WEIR_TRY(write_changes(nullptr));
    WEIR_ASSIGN(const uint64_t bytes, writer.finish());
    return SnapshotRef{id, progress, std::move(name), bytes};
}

}  // namespace weir::state
