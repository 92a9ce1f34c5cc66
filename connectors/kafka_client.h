// librdkafka's C handles with owners, and everything that a pipeline's settings mean to them: one place
// builds every client's configuration, one place translates librdkafka's errors, one place receives its log.
//
// Thread:  the functions may be called from any; a KafkaHandle follows librdkafka's rules.
// Failure: every error becomes a weir::Error whose message names the property or the call; a configuration is
//          never dumped, since librdkafka does not redact it.
#pragma once

#include <librdkafka/rdkafka.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "config/pipeline.h"

namespace weir::connectors {

// What is wrong with a property of a pipeline's `kafka:` section; nullopt: it is fine. Properties that carry
// the delivery guarantees belong to weir and are refused here.
[[nodiscard]] std::optional<std::string> check_kafka_property(const std::string& name,
                                                              const std::string& value);

// What happened, in one word of ours; `what` begins the message.
[[nodiscard]] Error kafka_error(rd_kafka_resp_err_t code, std::string_view what,
                                std::string_view detail = {});
// Takes the error object over.
[[nodiscard]] Error kafka_error(rd_kafka_error_t* error, std::string_view what);

struct DestroyKafka {
    void operator()(rd_kafka_t* client) const;  // Drops what is queued; does not wait for deliveries.
};
struct DestroyQueue {
    void operator()(rd_kafka_queue_t* queue) const { rd_kafka_queue_destroy(queue); }
};
struct DestroyTopic {
    void operator()(rd_kafka_topic_t* topic) const { rd_kafka_topic_destroy(topic); }
};
struct DestroyPartitions {
    void operator()(rd_kafka_topic_partition_list_t* list) const {
        rd_kafka_topic_partition_list_destroy(list);
    }
};
using KafkaHandle = std::unique_ptr<rd_kafka_t, DestroyKafka>;
using QueueHandle = std::unique_ptr<rd_kafka_queue_t, DestroyQueue>;
using TopicHandle = std::unique_ptr<rd_kafka_topic_t, DestroyTopic>;
using PartitionsHandle = std::unique_ptr<rd_kafka_topic_partition_list_t, DestroyPartitions>;

[[nodiscard]] PartitionsHandle make_partitions(size_t capacity);

// `common` properties go to every role, `consumer` ones to the first and last, `producer` ones to the other.
enum class KafkaRole : uint8_t {
    kConsumer,  // Reads committed records, or a group's decided offsets.
    kProducer,
    kAdmin,  // Asks questions; sees the end of a log including undecided records.
};

struct KafkaClientSettings {
    std::string client_id;
    std::string group_id;          // Consumer.
    std::string transactional_id;  // Producer; empty: idempotent without transactions.
    std::optional<int64_t> transaction_timeout_ms;  // In place of the configured one.
    // Consumer: bound of the fetch queue. Below about 8 MiB librdkafka 2.0.2 stalls for whole seconds,
    // because a full queue backs off 1 s at a time.
    size_t fetch_queue_bytes = size_t{12} << 20;
    // Sets callbacks and the opaque pointer.
    std::function<void(rd_kafka_conf_t*)> customize;
};

[[nodiscard]] Result<KafkaHandle> make_kafka_client(const config::KafkaConfig& config, KafkaRole role,
                                                    const KafkaClientSettings& settings);

// A property as the pipeline sets it for the role (`common` overruled by the side); nullopt: not set.
[[nodiscard]] std::optional<std::string> kafka_property(const config::KafkaConfig& config, KafkaRole role,
                                                        std::string_view name);

}  // namespace weir::connectors
