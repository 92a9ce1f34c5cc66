// Reads topic partitions at explicit offsets with one consumer and one queue. It waits for the queue's
// eventfd and then takes what is there in batches, without allocating per record.
//
// Offsets are ours alone: no group is joined, nothing is committed, and a new assignment builds a new
// consumer, since pause, resume and seek move positions wrongly under batch consumption (librdkafka < 2.1,
// #4208). A partition that may be held back therefore has a queue of its own, apart from the consumer's, and
// to hold it is to leave that queue alone: librdkafka stops to fetch when it is full.
//
// Thread:    the worker's. Librdkafka's own threads inherit the affinity of the thread that calls assign().
// Ownership: the records of a poll belong to this object until the next poll() or assign().
// Failure:   brokers that are away are librdkafka's to retry and only logged; an offset out of range, an
//            unknown topic or a refused access is an error of poll().
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/pipeline.h"
#include "connectors/kafka_client.h"
#include "processor/endpoint.h"

namespace weir::connectors {

class KafkaSource final : public processor::Source {
public:
    // `topics`: names by TopicId. `settings`: client id, group and fetch budget. `admin` answers end_offset()
    // and outlives this object.
    KafkaSource(config::KafkaConfig config, KafkaClientSettings settings, std::vector<std::string> topics,
                rd_kafka_t* admin);
    ~KafkaSource() override;

    [[nodiscard]] Result<void> assign(std::span<const processor::StartOffset> starts) override;
    [[nodiscard]] Result<processor::Poll> poll(int64_t wait_ms, size_t max_records) override;
    void hold(std::span<const TopicPartition> partitions) override;
    void read_headers(const processor::InputRecord& record,
                      std::vector<processor::Header>& out) const override;
    [[nodiscard]] Result<int64_t> end_offset(TopicPartition partition, int64_t timeout_ms) override;
    void forget(std::span<const processor::StartOffset> before) override;

private:
    void release_records();
    void close();
    void take(size_t max_records);
    [[nodiscard]] bool wait_for_records(int64_t wait_ms);
    void wake_fetcher();
    void mark_caught_up(TopicPartition partition, bool caught_up);
    [[nodiscard]] Result<processor::Poll> sort_out();
    [[nodiscard]] TopicId topic_of(const rd_kafka_message_t& message);
    // Nullopt: librdkafka will retry by itself.
    [[nodiscard]] std::optional<Error> classify(const rd_kafka_message_t& event) const;

    // A message names its topic by a handle; asking the handle's name per record would cost.
    struct KnownTopic {
        const rd_kafka_topic_t* handle;
        TopicId topic;
    };

    config::KafkaConfig config_;
    KafkaClientSettings settings_;
    std::vector<std::string> topics_;
    rd_kafka_t* admin_;

    QueueHandle forgotten_;  // Answers to forget(), looked at by the next one.
    bool told_not_forgotten_ = false;
    int wake_fd_ = -1;  // eventfd, readable when the queue turned from empty to filled.
    KafkaHandle consumer_;
    QueueHandle queue_;
    std::vector<KnownTopic> known_topics_;

    struct Assigned {
        TopicPartition partition;
        bool caught_up = false;
        QueueHandle queue;  // Null: its records come by the consumer's queue.
        bool held = false;
    };
    std::vector<Assigned> assigned_;
    size_t first_queue_ = 0;  // Which partition's own queue the next poll begins with.
    size_t next_wake_ = 0;    // Index into assigned_ of the partition whose broker is woken next.
    size_t wakes_left_ = 0;   // Of this drain; one per assigned partition, so that every broker is reached.

    std::vector<rd_kafka_message_t*> messages_;  // The first message_count_ belong to the current poll.
    size_t message_count_ = 0;
    std::vector<processor::InputRecord> records_;
    std::vector<processor::InputRun> runs_;
    std::vector<processor::CaughtUp> caught_up_;
};

}  // namespace weir::connectors
