// The inside of MemoryBroker: partitions as logs of entries, and what the transaction coordinator knows of a
// producer. Included by memory_broker.cc and memory_connector.cc only.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "connectors/memory_broker.h"

namespace weir::connectors {

enum class EntryState : uint8_t { kPlain, kOpen, kCommitted, kAborted, kMarker };

struct MemoryBroker::Entry {
    MemoryRecord record;
    EntryState state;
    uint64_t transaction;

    [[nodiscard]] bool visible() const {
        return state == EntryState::kPlain || state == EntryState::kCommitted;
    }
};

struct MemoryBroker::Log {
    std::deque<Entry> entries;  // Appending keeps views into earlier entries valid.
    int64_t begin = 0;
    std::map<uint64_t, int64_t> open;  // First offset of each open transaction.

    [[nodiscard]] int64_t end() const { return begin + static_cast<int64_t>(entries.size()); }
    [[nodiscard]] Entry& at(int64_t offset) { return entries[static_cast<size_t>(offset - begin)]; }
    [[nodiscard]] const Entry& at(int64_t offset) const {
        return entries[static_cast<size_t>(offset - begin)];
    }

    [[nodiscard]] int64_t last_stable_offset() const {
        int64_t first = end();
        for (const auto& [transaction, offset] : open) first = std::min(first, offset);
        return first;
    }

    int64_t append(MemoryRecord record, EntryState state, uint64_t transaction) {
        const int64_t offset = end();
        record.offset = offset;
        entries.push_back({std::move(record), state, transaction});
        if (state == EntryState::kOpen) open.try_emplace(transaction, offset);
        return offset;
    }
};

struct MemoryBroker::Topic {
    MemoryTopicSettings settings;
    std::vector<Log> partitions;
};

struct MemoryBroker::Producer {
    int32_t epoch = 0;
    bool open = false;
    std::optional<int64_t> markers_ms;  // Committed, and visible from then on (monotonic).
    uint64_t transaction = 0;
    int64_t begun_ms = 0;
    int64_t timeout_ms = 0;
    std::map<std::pair<std::string, int32_t>, int64_t> partitions;  // With the first offset.
    std::map<GroupPartition, processor::CommittedOffset> pending_offsets;
    std::optional<int32_t> late_end_epoch;  // A copy of EndTxn of this epoch is still under way.
    // A copy of TxnOffsetCommit of this epoch is still under way.
    std::optional<int32_t> late_offsets_epoch;
    std::map<GroupPartition, processor::CommittedOffset> late_offsets;
};

struct QueuedRecord {
    std::string topic;
    int32_t partition;
    MemoryRecord record;
};

// A request whose caller has given up on it.
struct MemoryBroker::Late {
    uint64_t arrives_at = 0;  // Number of the request before which it arrives.
    Producer* producer = nullptr;
    int32_t epoch = 0;
    bool ends = false;
    std::map<GroupPartition, processor::CommittedOffset> offsets;
    std::vector<QueuedRecord> records;
};

}  // namespace weir::connectors
