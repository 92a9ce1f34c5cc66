#include "connectors/kafka_connector.h"

#include <charconv>
#include <cstring>

#include <fmt/format.h>

#include "base/time.h"
#include "connectors/kafka_sink.h"
#include "connectors/kafka_source.h"

namespace weir::connectors {
namespace {

struct DestroyEvent {
    void operator()(rd_kafka_event_t* event) const { rd_kafka_event_destroy(event); }
};
struct DestroyResource {
    void operator()(rd_kafka_ConfigResource_t* resource) const { rd_kafka_ConfigResource_destroy(resource); }
};
struct DestroyNewTopic {
    void operator()(rd_kafka_NewTopic_t* topic) const { rd_kafka_NewTopic_destroy(topic); }
};
struct DestroyOptions {
    void operator()(rd_kafka_AdminOptions_t* options) const { rd_kafka_AdminOptions_destroy(options); }
};

std::string client_id(const processor::WorkerIdentity& identity) {
    return fmt::format("{}-{}-{}", identity.pipeline, identity.instance, identity.slot);
}

// Fills retention and compaction; leaves them unknown where the broker does not tell (no right to, or too
// old).
void read_settings(rd_kafka_t* admin, int32_t broker, const std::string& topic, int timeout_ms,
                   processor::TopicInfo& info) {
    const QueueHandle answers(rd_kafka_queue_new(admin));
    const std::unique_ptr<rd_kafka_AdminOptions_t, DestroyOptions> options(
        rd_kafka_AdminOptions_new(admin, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS));
    char text[256];
    rd_kafka_AdminOptions_set_request_timeout(options.get(), timeout_ms, text, sizeof(text));
    // Any broker knows; the default is to wait for a controller, which not every broker names.
    rd_kafka_AdminOptions_set_broker(options.get(), broker, text, sizeof(text));
    const std::unique_ptr<rd_kafka_ConfigResource_t, DestroyResource> resource(
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str()));
    rd_kafka_ConfigResource_t* asked[] = {resource.get()};
    rd_kafka_DescribeConfigs(admin, asked, 1, options.get(), answers.get());
    const std::unique_ptr<rd_kafka_event_t, DestroyEvent> event(
        rd_kafka_queue_poll(answers.get(), timeout_ms));
    if (event == nullptr || rd_kafka_event_error(event.get()) != RD_KAFKA_RESP_ERR_NO_ERROR) return;
    size_t count = 0;
    const auto* const result = rd_kafka_event_DescribeConfigs_result(event.get());
    const auto* const* const resources = rd_kafka_DescribeConfigs_result_resources(result, &count);
    if (count != 1 || rd_kafka_ConfigResource_error(resources[0]) != RD_KAFKA_RESP_ERR_NO_ERROR) return;
    const auto* const* const entries = rd_kafka_ConfigResource_configs(resources[0], &count);
    for (size_t i = 0; i < count; ++i) {
        const char* const value = rd_kafka_ConfigEntry_value(entries[i]);
        if (value == nullptr) continue;
        const std::string_view name = rd_kafka_ConfigEntry_name(entries[i]);
        if (name == "cleanup.policy")
            info.compacted = std::string_view(value).find("compact") != std::string_view::npos;
        int64_t retention_ms;
        if (name == "retention.ms" &&
            std::from_chars(value, value + std::strlen(value), retention_ms).ec == std::errc())
            info.retention_ms = retention_ms;
    }
}

}  // namespace

KafkaConnector::KafkaConnector(config::KafkaConfig config, std::string pipeline,
                               std::vector<std::string> inputs, std::vector<std::string> outputs)
    : config_(std::move(config)),
      pipeline_(std::move(pipeline)),
      inputs_(std::move(inputs)),
      outputs_(std::move(outputs)) {}

KafkaConnector::~KafkaConnector() = default;

Result<rd_kafka_t*> KafkaConnector::admin() {
    const std::lock_guard lock(mutex_);
    if (admin_ == nullptr) {
        KafkaClientSettings settings;
        settings.client_id = pipeline_ + "-admin";
        WEIR_ASSIGN(admin_, make_kafka_client(config_, KafkaRole::kAdmin, settings));
    }
    return admin_.get();
}

Result<std::string> KafkaConnector::cluster_id(int64_t timeout_ms) {
    WEIR_ASSIGN(rd_kafka_t* const client, admin());
    char* const id = rd_kafka_clusterid(client, static_cast<int>(timeout_ms));
    if (id == nullptr) return Error{Code::kUnavailable, "no Kafka broker answered within the timeout"};
    std::string result(id);
    rd_kafka_mem_free(client, id);
    return result;
}

Result<processor::TopicInfo> KafkaConnector::describe_topic(const std::string& name, int64_t timeout_ms) {
    WEIR_ASSIGN(rd_kafka_t* const client, admin());
    const SystemClock clock;
    const int64_t deadline_ms = clock.monotonic_ms() + timeout_ms;
    const std::string what = "topic '" + name + "'";
    const TopicHandle topic(rd_kafka_topic_new(client, name.c_str(), nullptr));
    if (topic == nullptr) return kafka_error(rd_kafka_last_error(), what);
    const rd_kafka_metadata_t* metadata = nullptr;
    const auto code = rd_kafka_metadata(client, 0, topic.get(), &metadata, static_cast<int>(timeout_ms));
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        Error error = kafka_error(code, what);
        if (error.code == Code::kTimedOut) error.code = Code::kUnavailable;
        return error;
    }
    const std::unique_ptr<const rd_kafka_metadata_t, void (*)(const rd_kafka_metadata_t*)> owner(
        metadata, rd_kafka_metadata_destroy);
    if (metadata->topic_cnt != 1) return kafka_error(RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, what);
    if (metadata->topics[0].err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_error(metadata->topics[0].err, what);
    processor::TopicInfo info;
    info.partition_count = metadata->topics[0].partition_cnt;
    const int64_t left_ms = deadline_ms - clock.monotonic_ms();
    if (left_ms > 0) read_settings(client, metadata->orig_broker_id, name, static_cast<int>(left_ms), info);
    return info;
}

Result<processor::TopicInfo> KafkaConnector::describe(TopicId topic, int64_t timeout_ms) {
    return describe_topic(inputs_.at(static_cast<size_t>(topic)), timeout_ms);
}

Result<void> KafkaConnector::create_topic(TopicId topic, int32_t partitions,
                                          std::span<const processor::TopicSetting> settings,
                                          int64_t timeout_ms) {
    WEIR_ASSIGN(rd_kafka_t* const client, admin());
    const std::string& name = inputs_.at(static_cast<size_t>(topic));
    const std::string what = "create topic '" + name + "'";
    char text[256] = "";
    constexpr int kBrokersDefault = -1;  // Of copies.
    const std::unique_ptr<rd_kafka_NewTopic_t, DestroyNewTopic> made(
        rd_kafka_NewTopic_new(name.c_str(), partitions, kBrokersDefault, text, sizeof(text)));
    if (made == nullptr) return Error{Code::kInvalid, what + ": " + text};
    for (const processor::TopicSetting& setting : settings)
        rd_kafka_NewTopic_set_config(made.get(), setting.name, setting.value);
    const QueueHandle answers(rd_kafka_queue_new(client));
    const std::unique_ptr<rd_kafka_AdminOptions_t, DestroyOptions> options(
        rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_CREATETOPICS));
    rd_kafka_AdminOptions_set_request_timeout(options.get(), static_cast<int>(timeout_ms), text,
                                              sizeof(text));
    rd_kafka_AdminOptions_set_operation_timeout(options.get(), static_cast<int>(timeout_ms), text,
                                                sizeof(text));
    rd_kafka_NewTopic_t* asked[] = {made.get()};
    rd_kafka_CreateTopics(client, asked, 1, options.get(), answers.get());
    const std::unique_ptr<rd_kafka_event_t, DestroyEvent> event(
        rd_kafka_queue_poll(answers.get(), static_cast<int>(timeout_ms) + 1000));
    if (event == nullptr) return Error{Code::kUnavailable, what + ": no broker answered within the timeout"};
    if (const auto code = rd_kafka_event_error(event.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_error(code, what, rd_kafka_event_error_string(event.get()));
    size_t count = 0;
    const auto* const result = rd_kafka_event_CreateTopics_result(event.get());
    const auto* const* const topics = rd_kafka_CreateTopics_result_topics(result, &count);
    if (count != 1) return Error{Code::kUnavailable, what + ": no answer"};
    const auto code = rd_kafka_topic_result_error(topics[0]);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) return {};
    const char* const why = rd_kafka_topic_result_error_string(topics[0]);
    return kafka_error(code, what, why != nullptr ? why : "");
}

Result<processor::OffsetRange> KafkaConnector::offset_range(TopicPartition partition, int64_t timeout_ms) {
    WEIR_ASSIGN(rd_kafka_t* const client, admin());
    const std::string& topic = inputs_.at(static_cast<size_t>(partition.topic));
    processor::OffsetRange range{};
    const auto code = rd_kafka_query_watermark_offsets(
        client, topic.c_str(), partition.partition, &range.begin, &range.end, static_cast<int>(timeout_ms));
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_error(code, fmt::format("offsets of {}/{}", topic, partition.partition));
    return range;
}

Result<int64_t> KafkaConnector::resolve_start(TopicPartition partition, const processor::StartPolicy& policy,
                                              int64_t timeout_ms) {
    using Kind = processor::StartPolicy::Kind;
    WEIR_ASSIGN(rd_kafka_t* const client, admin());
    if (policy.kind == Kind::kTimestamp) {
        const std::string& topic = inputs_.at(static_cast<size_t>(partition.topic));
        const PartitionsHandle list = make_partitions(1);
        rd_kafka_topic_partition_t* const element =
            rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), partition.partition);
        element->offset = policy.timestamp_ms;  // The time goes in and the offset comes out.
        auto code = rd_kafka_offsets_for_times(client, list.get(), static_cast<int>(timeout_ms));
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) code = element->err;
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
            return kafka_error(code, fmt::format("offset by time of {}/{}", topic, partition.partition));
        if (element->offset >= 0) return element->offset;  // Otherwise every record is older.
    }
    WEIR_ASSIGN(const processor::OffsetRange range, offset_range(partition, timeout_ms));
    return policy.kind == Kind::kEarliest ? range.begin : range.end;
}

Result<std::unique_ptr<processor::Source>> KafkaConnector::make_source(
    const processor::WorkerIdentity& identity) {
    WEIR_ASSIGN(rd_kafka_t* const client, admin());
    KafkaClientSettings settings;
    settings.client_id = client_id(identity);
    settings.group_id = pipeline_;
    return std::unique_ptr<processor::Source>(
        std::make_unique<KafkaSource>(config_, std::move(settings), inputs_, client));
}

Result<std::unique_ptr<processor::Sink>> KafkaConnector::make_sink(const processor::WorkerIdentity& identity,
                                                                   bool transactional) {
    KafkaSinkSettings settings;
    settings.client_id = client_id(identity);
    settings.group_id = pipeline_;
    if (transactional)
        settings.transactional_id =
            fmt::format("{}/{}/{}", identity.pipeline, identity.instance, identity.slot);
    settings.inputs = inputs_;
    settings.outputs = outputs_;
    return std::unique_ptr<processor::Sink>(std::make_unique<KafkaSink>(config_, std::move(settings)));
}

}  // namespace weir::connectors
