// The inputs and outputs of one pipeline behind one Connector: each TopicId goes to Kafka or to the files, so
// that a worker sees one Source and one Sink. Where Kafka is present it decides the commits and holds the
// offsets; position() and restore() speak of the files alone.
//
// Thread:  as the connectors behind it.
// Failure: theirs; the first error wins.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/pipeline.h"
#include "processor/endpoint.h"

namespace weir::connectors {

struct Endpoint {
    std::string name;  // A topic, a path, or "-".
    bool is_file = false;
};

// `inputs` and `outputs` by TopicId, as processor::Plan numbers them. Without files it is the Kafka connector
// itself, without topics the file connector.
[[nodiscard]] std::unique_ptr<processor::Connector> make_connector(const config::KafkaConfig& kafka,
                                                                   const std::string& pipeline,
                                                                   const std::vector<Endpoint>& inputs,
                                                                   const std::vector<Endpoint>& outputs);

// `inputs` and `outputs`: the numbering that both connectors were made with.
class RoutingConnector final : public processor::Connector {
public:
    RoutingConnector(std::unique_ptr<processor::Connector> kafka, std::unique_ptr<processor::Connector> files,
                     std::vector<Endpoint> inputs, std::vector<Endpoint> outputs);

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
    [[nodiscard]] processor::Connector& behind(TopicId input) const;

    std::unique_ptr<processor::Connector> kafka_;
    std::unique_ptr<processor::Connector> files_;
    std::vector<Endpoint> inputs_;
    std::vector<Endpoint> outputs_;
};

}  // namespace weir::connectors
