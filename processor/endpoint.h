// What a connector must do. The engine owns these interfaces; connectors/ implements them and only
// cmd/app.cc names both sides. A Connector stands for one outside system (a Kafka cluster, the file
// system, the in-memory broker); a worker asks it for one Source and one Sink and uses them from its own
// thread only.
//
// Failure: every call that talks to the world returns a Result and ends within its timeout.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"

namespace weir::processor {

// A text or byte string; data() == nullptr means Kafka's null, which is not the empty string.
using MaybeBytes = std::string_view;

struct Header {
    std::string_view name;
    MaybeBytes value;
};

struct InputRecord {
    MaybeBytes key;
    MaybeBytes value;
    int64_t offset = 0;
    int64_t timestamp_ms = -1;     // -1: the record carries none.
    const void* native = nullptr;  // For Source::read_headers.
};

// Records of one partition, offsets ascending (not necessarily dense).
struct InputRun {
    TopicPartition partition;
    std::span<const InputRecord> records;
};

struct CaughtUp {
    TopicPartition partition;
    int64_t end_offset;  // The log's end as the system reported it: everything before it was delivered.
};

// Everything in it is a view that dies at the next poll() or assign().
struct Poll {
    std::span<const InputRun> runs;
    std::span<const CaughtUp> caught_up;  // Reported after the runs of the same poll.
    bool end_of_input = false;            // Every assigned partition is bounded and fully delivered.
};

struct StartOffset {
    TopicPartition partition;
    int64_t offset;
    bool may_be_held = false;  // hold() may name it: its records are kept apart from the first one on.
};

class Source {
public:
    virtual ~Source() = default;

    // Reads from these explicit offsets; replaces an earlier assignment. Offsets that the system does
    // not hold are an error at assign() or at a later poll(), never a silent reset.
    [[nodiscard]] virtual Result<void> assign(std::span<const StartOffset> starts) = 0;

    // Waits at most `wait_ms` (0: not at all) for records and returns what is there, bounded by
    // `max_records`. An empty poll is not an error; a broker that is away for a while is not one either.
    [[nodiscard]] virtual Result<Poll> poll(int64_t wait_ms, size_t max_records) = 0;

    // From the next poll on, records of exactly these partitions (assigned with may_be_held) are not handed
    // out; they stay in the system, or in memory within its bounds, and come later without a gap.
    virtual void hold(std::span<const TopicPartition> partitions) = 0;

    // Appends the headers of a record of the current poll; the views live as long as the record.
    virtual void read_headers(const InputRecord& record, std::vector<Header>& out) const = 0;

    // Asks the system for the end of the log now (Kafka: the high watermark). Used before a partition
    // is declared idle, so that a silent broker is never mistaken for a silent topic.
    [[nodiscard]] virtual Result<int64_t> end_offset(TopicPartition partition, int64_t timeout_ms) = 0;

    // Nobody reads what lies before these offsets again: the system may delete it. Does not wait; that it
    // failed is told in the log. Only for topics that are weir's own.
    virtual void forget(std::span<const StartOffset> /*before*/) {}
};

inline constexpr int32_t kPartitionByKey = -1;  // murmur2 over the key, as Java's default partitioner.

struct OutputRecord {
    TopicId topic{};
    int32_t partition = kPartitionByKey;
    MaybeBytes key;
    MaybeBytes value;
    int64_t timestamp_ms = -1;  // -1: the system's own choice (now).
    std::span<const Header> headers;
};

struct OffsetCommit {
    TopicPartition partition;
    int64_t offset;        // The next record to read.
    std::string metadata;  // ASCII without NUL, at most 200 bytes.
};

struct CommittedOffset {
    int64_t offset;
    std::string metadata;
};

enum class CommitOutcome : uint8_t {
    kCommitted,
    // Committed, but the end of the transaction was requested more than once: a late duplicate could
    // end the next transaction half way, so this sink must be replaced before its next begin().
    kCommittedReplaceSink,
    kFenced,   // Another instance owns this identity now; this process must stop.
    kUnknown,  // Anything else. Replace the sink and read the outcome back with committed().
};

// One producer identity. In a transactional sink begin … commit bracket one epoch; in others begin()
// and commit() do nothing and flush() is what makes the outputs durable.
class Sink {
public:
    virtual ~Sink() = default;

    // Before open(): how long a transaction may take, in place of what is configured. A sink whose
    // transactions do not time out has no use for it.
    virtual void set_transaction_timeout(int64_t /*timeout_ms*/) {}

    // Takes over the identity: fences a predecessor and finishes or aborts what it left open.
    [[nodiscard]] virtual Result<void> open(int64_t timeout_ms) = 0;

    // Reads the group's committed offsets; once open, waits for unstable (still undecided) ones. Entries
    // follow the order of `partitions`; nullopt: no offset was ever committed, or it expired.
    [[nodiscard]] virtual Result<std::vector<std::optional<CommittedOffset>>> committed(
        std::span<const TopicPartition> partitions, int64_t timeout_ms) = 0;

    [[nodiscard]] virtual Result<void> begin() = 0;  // Local; no request is sent.

    // Hands a copy of the record to the system. Waits, bounded, while the system's queue is full. kInvalid:
    // this record is refused; anything else may concern those before it.
    [[nodiscard]] virtual Result<void> produce(const OutputRecord& record) = 0;

    virtual void start_flush() = 0;  // Begins to push out what is queued, without waiting.
    // Returns once every produced record is acknowledged; one failed delivery fails the flush.
    [[nodiscard]] virtual Result<void> flush(int64_t timeout_ms) = 0;

    // Adds the offsets to the open transaction (retries inside, same arguments).
    [[nodiscard]] virtual Result<void> send_offsets(std::span<const OffsetCommit> offsets,
                                                    int64_t timeout_ms) = 0;
    [[nodiscard]] virtual CommitOutcome commit(int64_t timeout_ms) = 0;

    // Outside transactions: records the group's offsets, advisory, does not wait for the answer unless
    // `wait` is set.
    [[nodiscard]] virtual Result<void> commit_offsets(std::span<const OffsetCommit> offsets, bool wait) = 0;

    // What must be remembered to cut this sink back to the present end of its outputs (file lengths);
    // empty for systems that decide themselves. Call after flush().
    [[nodiscard]] virtual std::string position() const = 0;
    // Cuts the outputs back to a remembered position; empty: to what existed before the first epoch.
    [[nodiscard]] virtual Result<void> restore(std::string_view position) = 0;
};

struct TopicInfo {
    int32_t partition_count = 0;
    std::optional<int64_t> retention_ms;  // nullopt: unknown; -1: keeps everything.
    bool compacted = false;
};

struct TopicSetting {
    const char* name;
    const char* value;
};

struct OffsetRange {
    int64_t begin;  // The oldest record still held.
    int64_t end;    // One past the newest.
};

struct StartPolicy {
    enum class Kind : uint8_t { kEarliest, kLatest, kTimestamp } kind = Kind::kEarliest;
    int64_t timestamp_ms = 0;
};

// Which of a process's workers is asking; names the producer identity and the clients.
struct WorkerIdentity {
    std::string pipeline;  // The pipeline's name: group.id and prefix of the rest.
    int32_t instance = 0;
    int32_t slot = 0;
};

class Connector {
public:
    virtual ~Connector() = default;

    // Names the cluster; empty where the system has no such name. Any thread.
    [[nodiscard]] virtual Result<std::string> cluster_id(int64_t timeout_ms) = 0;
    // kNotFound: the topic does not exist. Any thread.
    [[nodiscard]] virtual Result<TopicInfo> describe(TopicId topic, int64_t timeout_ms) = 0;
    [[nodiscard]] virtual Result<OffsetRange> offset_range(TopicPartition partition, int64_t timeout_ms) = 0;
    // The concrete offset that a start policy means now.
    [[nodiscard]] virtual Result<int64_t> resolve_start(TopicPartition partition, const StartPolicy& policy,
                                                        int64_t timeout_ms) = 0;

    // Makes an input of weir's own that is not there; somebody else having made it meanwhile is no error.
    [[nodiscard]] virtual Result<void> create_topic(TopicId /*topic*/, int32_t /*partitions*/,
                                                    std::span<const TopicSetting> /*settings*/,
                                                    int64_t /*timeout_ms*/) {
        return Error{Code::kInvalid, "topics cannot be made here"};
    }

    // Called on the thread that will use the result, after it was pinned.
    [[nodiscard]] virtual Result<std::unique_ptr<Source>> make_source(const WorkerIdentity& identity) = 0;
    [[nodiscard]] virtual Result<std::unique_ptr<Sink>> make_sink(const WorkerIdentity& identity,
                                                                  bool transactional) = 0;
};

}  // namespace weir::processor
