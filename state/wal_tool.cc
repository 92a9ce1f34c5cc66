#include "state/wal_tool.h"

#include <algorithm>
#include <functional>
#include <iterator>

#include <fmt/format.h>

#include "state/slot_files.h"
#include "state/state_directory.h"

namespace weir::state {
namespace {

template <class... Args>
void line(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
    out.push_back('\n');
}

std::string escaped(std::string_view bytes, size_t bytes_max) {
    std::string out;
    for (const char c : bytes.substr(0, bytes_max)) {
        if (c >= 0x20 && c < 0x7f && c != '\\' && c != '"')
            out.push_back(c);
        else
            fmt::format_to(std::back_inserter(out), "\\x{:02x}",
                           static_cast<unsigned>(static_cast<unsigned char>(c)));
    }
    if (bytes.size() > bytes_max) fmt::format_to(std::back_inserter(out), "… {} bytes", bytes.size());
    return out;
}

std::string watermark_text(EventTime watermark) {
    return watermark == kNoTime ? "-" : std::to_string(watermark);
}

void print_progress(const ShardProgress& progress, std::string& out) {
    for (const PartitionProgress& partition : progress.partitions)
        line(out, "      input {} partition {}: next offset {}, watermark {}",
             static_cast<unsigned>(partition.partition.topic), partition.partition.partition,
             partition.next_offset, watermark_text(partition.watermark));
}

using SlotVisitor = std::function<Result<void>(int32_t slot, Directory& directory)>;

Result<Manifest> require_manifest(Directory& root) {
    WEIR_ASSIGN(auto manifest, read_manifest(root));
    if (!manifest) return Error{Code::kNotFound, root.path() + " holds no state (no MANIFEST)"};
    return *std::move(manifest);
}

Result<void> for_each_slot(Directory& root, const Manifest& manifest, const SlotVisitor& visit) {
    for (int32_t slot = 0; slot < manifest.slots; ++slot) {
        WEIR_ASSIGN(const auto directory,
                    root.subdirectory(slot_directory_name(manifest.layout, slot), false));
        WEIR_TRY(visit(slot, *directory));
    }
    return {};
}

void print_image(const SlotImage& image, std::string& out) {
    if (!image.exists) {
        line(out, "  never started");
        return;
    }
    for (const SnapshotRef& snapshot : image.snapshots) {
        line(out, "  snapshot {}: shard {}, {} bytes, commit {}", snapshot.file, snapshot.progress.shard,
             snapshot.bytes, to_string(snapshot.id));
        print_progress(snapshot.progress, out);
    }
    for (const SegmentImage& segment : image.segments)
        line(out, "  segment {}: {} epochs, {} of {} bytes used", segment_name(segment.ref.number),
             segment.epochs, segment.valid_bytes, segment.file_bytes);
    line(out, "  log: {} epochs, ends {}{}{}", image.epochs.size(), wal_end_name(image.end),
         image.damage.empty() ? "" : ": ", image.damage);
    if (!image.epochs.empty()) {
        const LoggedEpoch& last = image.epochs.back();
        line(out, "  last epoch: {} after {}", to_string(last.id),
             last.prev.empty() ? "nothing" : to_string(last.prev));
        for (const ShardProgress& shard : last.shards) {
            line(out, "    shard {}", shard.shard);
            print_progress(shard, out);
        }
    }
}

// Counts, so that verify reads every entry.
class CountingVisitor final : public StateVisitor {
public:
    Result<void> entry(ShardId, uint32_t, std::string_view, std::string_view) override {
        ++entries;
        return {};
    }
    Result<void> delta(ShardId, const CommitId&, std::string_view) override {
        ++deltas;
        return {};
    }
    uint64_t entries = 0;
    uint64_t deltas = 0;
};

class DumpingVisitor final : public StateVisitor {
public:
    DumpingVisitor(std::string& out, size_t value_bytes_max) : out_(out), value_bytes_max_(value_bytes_max) {}
    Result<void> entry(ShardId shard, uint32_t table, std::string_view key, std::string_view value) override {
        line(out_, "  snapshot shard {} put table {} key \"{}\" value \"{}\"", shard, table,
             escaped(key, value_bytes_max_), escaped(value, value_bytes_max_));
        return {};
    }
    Result<void> delta(ShardId shard, const CommitId&, std::string_view delta) override {
        DeltaReader reader(delta);
        StateOp op;
        while (reader.next(op)) {
            const std::string key = escaped(op.key, value_bytes_max_);
            switch (op.kind) {
                case StateOp::Kind::kPut:
                    line(out_, "  log shard {} put table {} key \"{}\" value \"{}\"", shard, op.table, key,
                         escaped(op.value, value_bytes_max_));
                    break;
                case StateOp::Kind::kErase:
                    line(out_, "  log shard {} erase table {} key \"{}\"", shard, op.table, key);
                    break;
                case StateOp::Kind::kErasePrefix:
                    line(out_, "  log shard {} erase table {} prefix \"{}\"", shard, op.table, key);
                    break;
            }
        }
        return {};
    }

private:
    std::string& out_;
    size_t value_bytes_max_;
};

CommitId last_of(const SlotImage& image) {
    return image.epochs.empty() ? CommitId{} : image.epochs.back().id;
}

Result<WalEnd> verify_slot(Directory& directory, std::string& out) {
    const auto image = load_slot(directory);
    if (!image.ok() && image.error().code != Code::kCorrupt) return image.error();
    if (!image.ok()) {
        line(out, "  corrupt: {}", image.error().message);
        return WalEnd::kCorrupt;
    }
    CountingVisitor counts;
    const auto replayed = image->end == WalEnd::kCorrupt
                              ? Result<void>()
                              : replay_slot(directory, *image, last_of(*image), counts);
    if (!replayed.ok() && replayed.error().code != Code::kCorrupt) return replayed.error();
    if (!replayed.ok()) {
        line(out, "  corrupt: {}", replayed.error().message);
        return WalEnd::kCorrupt;
    }
    line(out, "  {}: {} snapshot entries, {} epochs{}{}", wal_end_name(image->end), counts.entries,
         image->epochs.size(), image->damage.empty() ? "" : ": ", image->damage);
    return image->end;
}

Result<void> repair_slot(Directory& directory, const SlotImage& image, std::string& out) {
    if (image.end == WalEnd::kClean) {
        line(out, "  clean, nothing to do");
        return {};
    }
    const SegmentImage& torn = image.segments.back();
    const std::string name = segment_name(torn.ref.number);
    WEIR_ASSIGN(const std::string bytes, read_file(directory, name, kWalSegmentBytesMax));
    WEIR_TRY(replace_file(directory, name + ".before-repair", bytes));
    WEIR_ASSIGN(const auto file, directory.open(name));
    WEIR_TRY(file->truncate(torn.valid_bytes));
    WEIR_TRY(file->sync());
    line(out, "  {} cut from {} to {} bytes; the copy is {}.before-repair", name, bytes.size(),
         torn.valid_bytes, name);
    return {};
}

}  // namespace

Result<void> wal_inspect(Directory& root, std::string& out) {
    WEIR_ASSIGN(const Manifest manifest, require_manifest(root));
    line(out, "pipeline {}, instance {} of {}, cluster {}", manifest.pipeline, manifest.instance,
         manifest.instances, manifest.cluster_id);
    for (const ManifestInput& input : manifest.inputs)
        line(out, "input {}: {} partitions", input.name, input.partition_count);
    line(out, "layout {}, {} slots", manifest.layout, manifest.slots);
    return for_each_slot(root, manifest, [&](int32_t slot, Directory& directory) -> Result<void> {
        line(out, "slot {}", slot);
        const auto image = load_slot(directory);
        if (image.ok())
            print_image(*image, out);
        else
            line(out, "  {}: {}", code_name(image.error().code), image.error().message);
        return {};
    });
}

Result<WalEnd> wal_verify(Directory& root, std::string& out) {
    WEIR_ASSIGN(const Manifest manifest, require_manifest(root));
    WalEnd worst = WalEnd::kClean;
    WEIR_TRY(for_each_slot(root, manifest, [&](int32_t slot, Directory& directory) -> Result<void> {
        line(out, "slot {}", slot);
        WEIR_ASSIGN(const WalEnd end, verify_slot(directory, out));
        worst = std::max(worst, end);
        return {};
    }));
    return worst;
}

Result<void> wal_repair(Directory& root, std::string& out) {
    WEIR_ASSIGN(const auto lock, root.lock("LOCK"));
    WEIR_ASSIGN(const Manifest manifest, require_manifest(root));
    std::string findings;
    WEIR_ASSIGN(const WalEnd worst, wal_verify(root, findings));
    if (worst == WalEnd::kCorrupt) {
        out += findings;
        return Error{Code::kCorrupt,
                     "a slot is corrupt, not torn: repairing it would drop committed state; restore the "
                     "directory from a copy"};
    }
    return for_each_slot(root, manifest, [&](int32_t slot, Directory& directory) -> Result<void> {
        line(out, "slot {}", slot);
        WEIR_ASSIGN(const SlotImage image, load_slot(directory));
        return repair_slot(directory, image, out);
    });
}

Result<void> wal_dump(Directory& root, size_t value_bytes_max, std::string& out) {
    WEIR_ASSIGN(const Manifest manifest, require_manifest(root));
    return for_each_slot(root, manifest, [&](int32_t slot, Directory& directory) -> Result<void> {
        line(out, "slot {}", slot);
        WEIR_ASSIGN(const SlotImage image, load_slot(directory));
        for (const LoggedEpoch& epoch : image.epochs)
            line(out, "  epoch {} after {} in {}", to_string(epoch.id),
                 epoch.prev.empty() ? "nothing" : to_string(epoch.prev), segment_name(epoch.segment));
        DumpingVisitor visitor(out, value_bytes_max);
        return replay_slot(directory, image, last_of(image), visitor);
    });
}

}  // namespace weir::state
