// weir_mock: librdkafka's mock cluster, whose answers can be ordered to be errors.
//   weir_mock TOPIC:PARTITIONS…       prints host:port, then obeys standard input until it ends
//   standard input: APIKEY ERROR COUNT    the next COUNT requests of that API are answered by that error
// It stores no transactional offsets and ends no transactions: nothing about exactly-once can be shown here.
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

int main(int argc, char** argv) {
    char text[512];
    rd_kafka_t* const client =
        rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof text);
    if (client == nullptr) {
        std::fprintf(stderr, "weir_mock: %s\n", text);
        return 1;
    }
    rd_kafka_mock_cluster_t* const cluster = rd_kafka_mock_cluster_new(client, 1);
    for (int i = 1; i < argc; ++i) {
        const std::string topic = argv[i];
        const size_t colon = topic.find(':');
        rd_kafka_mock_topic_create(cluster, topic.substr(0, colon).c_str(),
                                   std::atoi(topic.c_str() + colon + 1), 1);
    }
    std::printf("%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
    std::fflush(stdout);
    int16_t api = 0;
    int error = 0;
    size_t count = 0;
    while (std::cin >> api >> error >> count) {
        const std::vector<rd_kafka_resp_err_t> errors(count, static_cast<rd_kafka_resp_err_t>(error));
        rd_kafka_mock_push_request_errors_array(cluster, api, count, errors.data());
    }
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(client);
    return 0;
}
