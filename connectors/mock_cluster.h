// librdkafka's mock cluster: a Kafka-compatible broker in this process on a loopback port, for the demo and
// for tests of errors. It keeps no transactional offsets and writes no markers, so it can show at-least-once
// only. Each partition holds the newest 5 MiB.
//
// Thread:  start and destroy on one thread; clients connect as to any broker.
// Failure: kUnavailable when no port can be opened.
#pragma once

// The order matters: the second needs the first.
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "connectors/kafka_client.h"

namespace weir::connectors {

struct MockTopic {
    std::string name;
    int32_t partitions = 1;
};

class MockCluster {
public:
    [[nodiscard]] static Result<std::unique_ptr<MockCluster>> start(const std::vector<MockTopic>& topics);
    ~MockCluster();
    MockCluster(const MockCluster&) = delete;
    MockCluster& operator=(const MockCluster&) = delete;

    [[nodiscard]] std::string bootstrap() const;  // "host:port", for bootstrap.servers.
    // For error injection.
    [[nodiscard]] rd_kafka_mock_cluster_t* native() { return cluster_; }

private:
    MockCluster(KafkaHandle host, rd_kafka_mock_cluster_t* cluster)
        : host_(std::move(host)), cluster_(cluster) {}

    KafkaHandle host_;  // A client without brokers that lends its threads.
    rd_kafka_mock_cluster_t* cluster_;
};

}  // namespace weir::connectors
