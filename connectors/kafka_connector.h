// A Kafka cluster as the engine sees it: questions about topics, and a source and a sink per worker.
//
// Names: group.id = the pipeline's name; transactional.id = "<pipeline>/<instance>/<slot>"; client.id =
// "<pipeline>-<instance>-<slot>".
//
// Thread:  the questions from any thread; make_source and make_sink on the thread that will use the result.
// Failure: a cluster that does not answer within the timeout is kUnavailable, an absent topic kNotFound.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "config/pipeline.h"
#include "connectors/kafka_client.h"
#include "processor/endpoint.h"

namespace weir::connectors {

class KafkaConnector final : public processor::Connector {
public:
    // `inputs` and `outputs` are topic names by TopicId (two spaces: a Source's ids are inputs, a Sink's are
    // outputs, offsets commits speak of inputs). An empty name is an id that is not Kafka's.
    KafkaConnector(config::KafkaConfig config, std::string pipeline, std::vector<std::string> inputs,
                   std::vector<std::string> outputs);
    ~KafkaConnector() override;

    [[nodiscard]] Result<std::string> cluster_id(int64_t timeout_ms) override;
    [[nodiscard]] Result<processor::TopicInfo> describe(TopicId topic,
                                                        int64_t timeout_ms) override;  // An input.
    [[nodiscard]] Result<processor::OffsetRange> offset_range(TopicPartition partition,
                                                              int64_t timeout_ms) override;
    [[nodiscard]] Result<int64_t> resolve_start(TopicPartition partition,
                                                const processor::StartPolicy& policy,
                                                int64_t timeout_ms) override;
    [[nodiscard]] Result<void> create_topic(TopicId topic, int32_t partitions,
                                            std::span<const processor::TopicSetting> settings,
                                            int64_t timeout_ms) override;  // An input.
    [[nodiscard]] Result<std::unique_ptr<processor::Source>> make_source(
        const processor::WorkerIdentity& identity) override;
    [[nodiscard]] Result<std::unique_ptr<processor::Sink>> make_sink(
        const processor::WorkerIdentity& identity, bool transactional) override;

    // Any topic of the cluster by its name, outputs included.
    [[nodiscard]] Result<processor::TopicInfo> describe_topic(const std::string& name, int64_t timeout_ms);

private:
    [[nodiscard]] Result<rd_kafka_t*> admin();

    config::KafkaConfig config_;
    std::string pipeline_;
    std::vector<std::string> inputs_;
    std::vector<std::string> outputs_;
    std::mutex mutex_;
    KafkaHandle admin_;  // Guarded by mutex_ while it is made.
};

}  // namespace weir::connectors
