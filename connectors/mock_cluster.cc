#include "connectors/mock_cluster.h"

namespace weir::connectors {

Result<std::unique_ptr<MockCluster>> MockCluster::start(const std::vector<MockTopic>& topics) {
    KafkaClientSettings settings;
    settings.client_id = "mock-cluster";
    WEIR_ASSIGN(KafkaHandle host, make_kafka_client({}, KafkaRole::kAdmin, settings));
    rd_kafka_mock_cluster_t* const cluster = rd_kafka_mock_cluster_new(host.get(), 1);
    if (cluster == nullptr)
        return Error{Code::kUnavailable, "the in-process broker cannot open a loopback port"};
    std::unique_ptr<MockCluster> result(new MockCluster(std::move(host), cluster));
    for (const MockTopic& topic : topics) {
        const auto code = rd_kafka_mock_topic_create(cluster, topic.name.c_str(), topic.partitions, 1);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return kafka_error(code, "create topic '" + topic.name + "'");
    }
    return result;
}

MockCluster::~MockCluster() { rd_kafka_mock_cluster_destroy(cluster_); }

std::string MockCluster::bootstrap() const { return rd_kafka_mock_cluster_bootstraps(cluster_); }

}  // namespace weir::connectors
