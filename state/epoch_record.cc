#include "state/epoch_record.h"

#include "state/delta.h"

namespace weir::state {
namespace {

Error corrupt(const char* what) {
    return {Code::kCorrupt, std::string("an epoch in the log does not decode: ") + what};
}

}  // namespace

void encode_commit_id(const CommitId& id, std::string& out) {
    put_le(out, id.boot[0]);
    put_le(out, id.boot[1]);
    put_le(out, id.sequence);
}

CommitId decode_commit_id(ByteReader& in) {
    CommitId id;
    id.boot[0] = in.le<uint64_t>();
    id.boot[1] = in.le<uint64_t>();
    id.sequence = in.le<uint64_t>();
    return id;
}

void encode_progress(const std::vector<PartitionProgress>& partitions, std::string& out) {
    put_varint(out, partitions.size());
    for (const PartitionProgress& progress : partitions) {
        put_le(out, static_cast<uint16_t>(progress.partition.topic));
        put_le(out, progress.partition.partition);
        put_le(out, progress.next_offset);
        put_le(out, progress.watermark);
        put_bytes(out, progress.clocks);
    }
}

bool decode_progress(ByteReader& in, std::vector<PartitionProgress>& partitions) {
    constexpr uint64_t kPartitionBytesMin = 2 + 4 + 8 + 8 + 1;
    const uint64_t count = in.varint();
    if (count > in.remaining() / kPartitionBytesMin) return false;
    partitions.clear();
    partitions.reserve(count);
    for (uint64_t i = 0; i < count; ++i) {
        PartitionProgress progress;
        progress.partition.topic = static_cast<TopicId>(in.le<uint16_t>());
        progress.partition.partition = in.le<int32_t>();
        progress.next_offset = in.le<int64_t>();
        progress.watermark = in.le<int64_t>();
        progress.clocks = in.bytes();
        if (in.failed()) return false;
        if (i > 0 && !(partitions.back().partition < progress.partition)) return false;
        partitions.push_back(std::move(progress));
    }
    return true;
}

std::vector<std::string_view> encode_epoch_pieces(const EpochRecord& epoch, std::string& text) {
    WEIR_CHECK(!epoch.id.empty());
    text.clear();
    encode_commit_id(epoch.id, text);
    encode_commit_id(epoch.prev, text);
    put_bytes(text, epoch.sink_position);
    put_varint(text, epoch.shards.size());
    std::vector<size_t> ends;  // Of the text before each delta; it may move until the last byte is written.
    for (const ShardEpoch& shard : epoch.shards) {
        put_le(text, shard.progress.shard);
        encode_progress(shard.progress.partitions, text);
        put_varint(text, shard.delta.size());
        ends.push_back(text.size());
    }
    std::vector<std::string_view> pieces;
    size_t from = 0;
    for (size_t i = 0; i < ends.size(); ++i) {
        pieces.push_back(std::string_view(text).substr(from, ends[i] - from));
        pieces.push_back(epoch.shards[i].delta);
        from = ends[i];
    }
    pieces.push_back(std::string_view(text).substr(from));
    return pieces;
}

void encode_epoch(const EpochRecord& epoch, std::string& out) {
    std::string text;
    for (const std::string_view piece : encode_epoch_pieces(epoch, text)) out.append(piece);
}

Result<EpochRecord> decode_epoch(std::string_view bytes) {
    constexpr uint64_t kShardBytesMin = 4 + 1 + 1;
    ByteReader in(bytes);
    EpochRecord epoch;
    epoch.id = decode_commit_id(in);
    epoch.prev = decode_commit_id(in);
    epoch.sink_position = in.bytes();
    const uint64_t count = in.varint();
    if (in.failed() || epoch.id.empty()) return corrupt("no commit id");
    if (count > in.remaining() / kShardBytesMin) return corrupt("too many shards");
    epoch.shards.reserve(count);
    for (uint64_t i = 0; i < count; ++i) {
        ShardEpoch shard;
        shard.progress.shard = in.le<int32_t>();
        if (!decode_progress(in, shard.progress.partitions)) return corrupt("a shard's progress");
        shard.delta = in.bytes();
        if (in.failed()) return corrupt("a shard is cut off");
        if (i > 0 && epoch.shards.back().progress.shard >= shard.progress.shard)
            return corrupt("shards out of order");
        DeltaReader delta(shard.delta);
        StateOp op;
        while (delta.next(op)) {
        }
        if (delta.failed()) return corrupt("a shard's changes");
        epoch.shards.push_back(std::move(shard));
    }
    if (in.remaining() != 0) return corrupt("bytes after its end");
    return epoch;
}

}  // namespace weir::state
