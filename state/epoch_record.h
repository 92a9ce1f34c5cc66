// One epoch as one WAL record: which commit it belongs to, how far every partition of its shards was read,
// and what changed in their state. Whether the epoch counts is decided by state/recovery.h.
//
//   epoch      := id(24 bytes) prev(24 bytes) sink_position(bytes) shards(varint) shard*
//   shard      := shard(u32) progress delta(bytes)
//   progress   := partitions(varint) partition*
//   partition  := topic(u16) partition(u32) next_offset(i64) watermark(i64) clocks(bytes)
//   bytes      := length(varint) followed by so many bytes
//
// Decoding is strict: ascending shards, ascending partitions, well-formed deltas, nothing after the end.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"

namespace weir::state {

struct PartitionProgress {
    TopicPartition partition;
    int64_t next_offset = 0;
    EventTime watermark = kNoTime;
    std::string clocks;  // Opaque here: idle flags, event-time clocks of the partition.

    friend bool operator==(const PartitionProgress&, const PartitionProgress&) = default;
};

struct ShardProgress {
    ShardId shard = 0;
    std::vector<PartitionProgress> partitions;  // Ascending.

    friend bool operator==(const ShardProgress&, const ShardProgress&) = default;
};

struct ShardEpoch {
    ShardProgress progress;
    std::string_view delta;  // state/delta.h; a view into the caller's buffer or into the decoded record.
};

struct EpochRecord {
    CommitId id;    // Never empty.
    CommitId prev;  // The slot's latest committed epoch before this one; empty for its first.
    std::string sink_position;
    std::vector<ShardEpoch> shards;  // Ascending.
};

// Appends to `out`.
void encode_epoch(const EpochRecord& epoch, std::string& out);
// The same, not copied together: the encoding is the pieces, one after the other. They point into the epoch's
// deltas, and into `text` for what is between them.
[[nodiscard]] std::vector<std::string_view> encode_epoch_pieces(const EpochRecord& epoch, std::string& text);
// The deltas are views into `bytes`. kCorrupt for anything that encode_epoch does not write.
[[nodiscard]] Result<EpochRecord> decode_epoch(std::string_view bytes);

// Shared with the snapshot's header block.
void encode_progress(const std::vector<PartitionProgress>& partitions, std::string& out);
[[nodiscard]] bool decode_progress(ByteReader& in, std::vector<PartitionProgress>& partitions);
void encode_commit_id(const CommitId& id, std::string& out);
[[nodiscard]] CommitId decode_commit_id(ByteReader& in);

}  // namespace weir::state
