// A Kafka-like broker in memory for tests under virtual time, with real transactions: records of an open
// transaction hide from read_committed readers (and everything behind them, up to the last stable offset),
// markers occupy offsets, offsets of a transaction become visible with it, a second open() of a transactional
// id fences the first and aborts what it left open, and a transaction that is open too long is aborted by the
// clock. The semantics are those of Apache Kafka's transaction and group coordinators.
//
// Requests that end a transaction are told apart by producer epoch only, as with EndTxn up to version 1: a
// copy that arrives late ends whatever transaction of that epoch is open. Records and offsets that arrive
// without an open transaction are refused, as by brokers from 3.6 on.
//
// Faults are planned per API and call number, so that a test can name the one call that goes wrong.
//
// Thread:    one for all. poll() never waits: only the test, a delay fault and committed() move the clock.
// Ownership: the broker outlives its connectors, sources and sinks; destroying a sink is a crash of its
// owner.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "processor/endpoint.h"

namespace weir::connectors {

struct MemoryRecord {
    std::optional<std::string> key;
    std::optional<std::string> value;
    int64_t timestamp_ms = -1;
    std::vector<std::pair<std::string, std::optional<std::string>>> headers;
    int64_t offset = 0;  // Set by the broker.
};

struct MemoryTopicSettings {
    std::optional<int64_t> retention_ms = -1;
    bool compacted = false;
};

enum class Isolation : uint8_t { kReadCommitted, kReadUncommitted };

enum class Api : uint8_t {
    kOpen,
    kCommitted,
    kBegin,
    kProduce,
    kFlush,
    kSendOffsets,
    kCommit,
    kCommitOffsets,
    kAssign,
    kPoll,
    kEndOffset,
    kDescribe,
};
inline constexpr size_t kApiCount = 12;

struct Fault {
    enum class Kind : uint8_t {
        kFail,         // The request never arrives; the call returns `error` (commit: kUnknown).
        kLoseAnswer,   // The broker does it, the caller gets `error` (commit: kUnknown).
        kDelay,        // The clock moves by `delay_ms`, then the request arrives.
        kDropRecords,  // kProduce only: the record is accepted and lost; the next flush fails.
        kRepeat,       // The request was sent twice, so commit() answers kCommittedReplaceSink. The late copy
                  // hits the next transaction of the same producer. kCommit: it ends that one at its first
                  // flushed record; kSendOffsets: its offsets replace the newer ones just before the end.
        kArriveLater,  // kFlush, kSendOffsets, kCommit: the call gives up with `error` (commit: kUnknown);
                       // the request arrives `requests` requests later and counts if its producer still does.
        kSlowMarkers,  // kCommit only: decided and answered at once, visible only `delay_ms` later.
    } kind = Kind::kFail;
    Error error{Code::kUnavailable, "injected"};
    int64_t delay_ms = 0;
    uint64_t requests = 1;
};

class MemoryBroker {
public:
    explicit MemoryBroker(Clock& clock, int64_t transaction_timeout_ms = 10'000);
    ~MemoryBroker();

    void create_topic(const std::string& name, int32_t partitions, MemoryTopicSettings settings = {});
    // Appends outside any transaction; returns the offset. timestamp -1 becomes the clock's wall time.
    int64_t append(const std::string& topic, int32_t partition, MemoryRecord record);
    // All records that a reader of this isolation sees, without markers.
    [[nodiscard]] std::vector<MemoryRecord> read(const std::string& topic, int32_t partition,
                                                 Isolation isolation = Isolation::kReadCommitted);
    [[nodiscard]] int64_t end_offset(const std::string& topic, int32_t partition);
    [[nodiscard]] int64_t last_stable_offset(const std::string& topic, int32_t partition);
    void delete_records_before(const std::string& topic, int32_t partition, int64_t offset);

    [[nodiscard]] std::optional<processor::CommittedOffset> committed(const std::string& group,
                                                                      const std::string& topic,
                                                                      int32_t partition);
    // What an operator's reset (metadata empty) or an expiry (nullopt) leaves behind.
    void set_committed(const std::string& group, const std::string& topic, int32_t partition,
                       std::optional<processor::CommittedOffset> offset);

    // The `nth` call from now (1: the next one) of this API goes wrong.
    void inject(Api api, uint64_t nth, Fault fault);
    [[nodiscard]] uint64_t calls(Api api) const { return calls_[static_cast<size_t>(api)]; }
    // Called when a request arrives, before anything happens; it may throw: the caller died there.
    void observe(std::function<void(Api)> observer) { observer_ = std::move(observer); }
    // Transactions that committed or aborted so far, and how many of them a late request ended.
    struct Ended {
        uint64_t committed = 0;
        uint64_t aborted = 0;
        uint64_t by_late_request = 0;
    };
    [[nodiscard]] const Ended& ended() const { return ended_; }
    // No call succeeds until it is back: every answer is kUnavailable, poll() is empty.
    void set_available(bool available) { available_ = available; }
    [[nodiscard]] size_t open_transactions();

private:
    friend class MemoryConnector;
    friend class MemorySource;
    friend class MemorySink;
    struct Entry;
    struct Log;
    struct Topic;
    struct Producer;
    struct Late;

    [[nodiscard]] std::optional<Fault> enter(Api api);
    void arrive(Late& late);
    // The coordinator's decision; false: no such transaction is open.
    bool decide(Producer& producer, bool commit, int64_t markers_ms);
    bool wait_for_markers(Producer& producer, int64_t timeout_ms);  // False: not in time.
    [[nodiscard]] Topic* find(const std::string& name);
    [[nodiscard]] Log& log(const std::string& topic, int32_t partition);
    void end_transaction(Producer& producer, bool commit);
    void expire_transactions();
    [[nodiscard]] bool unstable(const std::string& group, const std::string& topic, int32_t partition) const;

    Clock& clock_;
    int64_t transaction_timeout_ms_;
    bool available_ = true;
    uint64_t last_transaction_ = 0;
    std::map<std::string, std::unique_ptr<Topic>> topics_;
    std::map<std::string, std::unique_ptr<Producer>> producers_;  // By transactional id.
    using GroupPartition = std::pair<std::string, std::pair<std::string, int32_t>>;
    std::map<GroupPartition, processor::CommittedOffset> offsets_;
    std::array<uint64_t, kApiCount> calls_{};
    uint64_t requests_ = 0;
    std::vector<Late> late_;
    std::function<void(Api)> observer_;
    Ended ended_;
    std::array<std::map<uint64_t, Fault>, kApiCount> faults_;
};

// Topic names by TopicId, as KafkaConnector's.
class MemoryConnector final : public processor::Connector {
public:
    MemoryConnector(MemoryBroker& broker, std::string pipeline, std::vector<std::string> inputs,
                    std::vector<std::string> outputs);

    [[nodiscard]] Result<std::string> cluster_id(int64_t timeout_ms) override;
    [[nodiscard]] Result<processor::TopicInfo> describe(TopicId topic, int64_t timeout_ms) override;
    [[nodiscard]] Result<processor::OffsetRange> offset_range(TopicPartition partition,
                                                              int64_t timeout_ms) override;
    [[nodiscard]] Result<int64_t> resolve_start(TopicPartition partition,
                                                const processor::StartPolicy& policy,
                                                int64_t timeout_ms) override;
    [[nodiscard]] Result<void> create_topic(TopicId topic, int32_t partitions,
                                            std::span<const processor::TopicSetting> settings,
                                            int64_t timeout_ms) override;
    [[nodiscard]] Result<std::unique_ptr<processor::Source>> make_source(
        const processor::WorkerIdentity& identity) override;
    [[nodiscard]] Result<std::unique_ptr<processor::Sink>> make_sink(
        const processor::WorkerIdentity& identity, bool transactional) override;

private:
    MemoryBroker& broker_;
    std::string pipeline_;
    std::vector<std::string> inputs_;
    std::vector<std::string> outputs_;
};

}  // namespace weir::connectors
