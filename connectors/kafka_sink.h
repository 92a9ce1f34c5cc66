// One Kafka producer: transactional (one epoch = one transaction, offsets inside it) or idempotent.
//
// The outcome of a commit is never guessed from an error: anything but a plain success is kUnknown (or
// kFenced), and the caller builds a new sink and reads committed(). When a request that counts for whatever
// transaction of the producer is open was sent more than once, a delayed copy could hit the next one: end it
// half way (EndTxn), or put older offsets into it (TxnOffsetCommit). Neither carries a per-transaction epoch
// (KIP-890) in the versions that librdkafka speaks; the commit then reports kCommittedReplaceSink.
//
// Thread:  the worker's; delivery reports arrive in produce(), start_flush(), flush() and commit().
// Failure: one failed delivery fails the flush() or produce() that meets it. The destructor drops what is
//          queued.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "config/pipeline.h"
#include "connectors/kafka_client.h"
#include "processor/endpoint.h"

namespace weir::connectors {

struct KafkaSinkSettings {
    std::string client_id;
    std::string group_id;
    std::string transactional_id;      // Empty: not transactional.
    std::vector<std::string> inputs;   // Topic names by the Source's TopicId; empty names are not Kafka's.
    std::vector<std::string> outputs;  // Topic names by the Sink's TopicId; likewise.
};

class KafkaSink final : public processor::Sink {
public:
    KafkaSink(config::KafkaConfig config, KafkaSinkSettings settings);
    ~KafkaSink() override;

    void set_transaction_timeout(int64_t timeout_ms) override { transaction_timeout_ms_ = timeout_ms; }
    [[nodiscard]] Result<void> open(int64_t timeout_ms) override;
    [[nodiscard]] Result<std::vector<std::optional<processor::CommittedOffset>>> committed(
        std::span<const TopicPartition> partitions, int64_t timeout_ms) override;
    [[nodiscard]] Result<void> begin() override;
    [[nodiscard]] Result<void> produce(const processor::OutputRecord& record) override;
    void start_flush() override;
    [[nodiscard]] Result<void> flush(int64_t timeout_ms) override;
    [[nodiscard]] Result<void> send_offsets(std::span<const processor::OffsetCommit> offsets,
                                            int64_t timeout_ms) override;
    [[nodiscard]] processor::CommitOutcome commit(int64_t timeout_ms) override;
    [[nodiscard]] Result<void> commit_offsets(std::span<const processor::OffsetCommit> offsets,
                                              bool wait) override;
    [[nodiscard]] std::string position() const override { return {}; }
    [[nodiscard]] Result<void> restore(std::string_view position) override;

    // How often the end of the current (or last) transaction was requested from the broker.
    [[nodiscard]] uint32_t end_requests() const { return end_requests_.load(std::memory_order_acquire); }

private:
    struct Output {
        TopicHandle topic;
        std::vector<size_t> waiting;  // Bytes by partition since everything was acknowledged.
    };

    static void on_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque);
    static rd_kafka_resp_err_t on_new_client(rd_kafka_t* client, const rd_kafka_conf_t*, void* opaque, char*,
                                             size_t);
    static rd_kafka_resp_err_t on_request(rd_kafka_t*, int, const char*, int32_t, int16_t api_key, int16_t,
                                          int32_t, size_t, void* opaque);
    static int32_t on_partition(const rd_kafka_topic_t* topic, const void* key, size_t key_bytes,
                                int32_t partitions, void* sink, void* message);

    [[nodiscard]] Result<void> learn_batch_limits();
    [[nodiscard]] Result<void> enqueue();  // fields_ as one message.
    [[nodiscard]] Result<void> make_room();
    [[nodiscard]] Result<void> init_transactions(int64_t deadline_ms);
    [[nodiscard]] Result<void> learn_output_topics(int64_t deadline_ms);
    [[nodiscard]] Result<void> ensure_offsets_client();
    [[nodiscard]] const std::string& input(const TopicPartition& partition) const;
    [[nodiscard]] PartitionsHandle to_partitions(std::span<const processor::OffsetCommit> offsets) const;

    config::KafkaConfig config_;
    KafkaSinkSettings settings_;
    std::optional<int64_t> transaction_timeout_ms_;
    SystemClock clock_;
    // Of the current transaction; written by librdkafka's threads.
    std::atomic<uint32_t> end_requests_{0};
    std::atomic<uint32_t> offset_requests_{0};
    std::optional<Error> failed_delivery_;  // Written by on_delivery, in this thread.
    KafkaHandle producer_;
    std::vector<Output> outputs_;  // By TopicId; released before producer_.
    size_t batch_bytes_ = 0;       // What one request holds of a partition …
    size_t least_share_ = 0;       // … and what a record takes of it at least.
    size_t fullest_ = 0;           // The most that waits for one partition, and …
    size_t elsewhere_ = 0;         // … for what librdkafka chooses without a key, or partitions that are new.
    // Of the record being produced; on_partition writes it, in librdkafka's thread if it had lost the topic.
    std::atomic<int32_t> partition_{-1};
    // Of the record being produced; kept for their memory.
    std::vector<rd_kafka_vu_t> fields_;
    std::deque<std::string> header_names_;
    KafkaHandle offsets_client_;  // Reads and, outside transactions, commits the group's offsets.
};

}  // namespace weir::connectors
