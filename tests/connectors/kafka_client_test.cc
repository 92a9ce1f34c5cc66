// What needs no real broker: properties, errors, and at-least-once through the in-process one.
#include "connectors/kafka_client.h"

#include <doctest/doctest.h>

#include <ctime>

#include "base/time.h"
#include "connectors/kafka_connector.h"
#include "connectors/mock_cluster.h"

using namespace weir;
using namespace weir::connectors;

namespace {

constexpr int64_t kTimeoutMs = 20'000;
constexpr TopicId kFirst{0};

config::KafkaConfig config_for(const std::string& bootstrap) {
    config::KafkaConfig config;
    config.common.push_back({"bootstrap.servers", bootstrap, false, {}});
    return config;
}

}  // namespace

TEST_CASE("a property is checked by name and value, and the value is not repeated") {
    CHECK_FALSE(check_kafka_property("linger.ms", "5").has_value());
    CHECK_FALSE(check_kafka_property("ssl.ca.location", "/etc/ca.pem").has_value());
    CHECK(check_kafka_property("linger.msec", "5").has_value());
    CHECK(check_kafka_property("security.protocol", "plain").has_value());
    CHECK(check_kafka_property("acks", "0").has_value());
    CHECK(check_kafka_property("check.crcs", "false").has_value());
    CHECK(check_kafka_property("debug", "broker,all").has_value());
    const auto wrong = check_kafka_property("socket.timeout.ms", "hunter2-secret");
    REQUIRE(wrong.has_value());
    CHECK(wrong->find("hunter2-secret") == std::string::npos);
}

TEST_CASE("a side's property overrules the common one") {
    config::KafkaConfig config;
    config.common.push_back({"linger.ms", "5", false, {}});
    config.producer.push_back({"linger.ms", "7", false, {}});
    CHECK(kafka_property(config, KafkaRole::kProducer, "linger.ms") == "7");
    CHECK(kafka_property(config, KafkaRole::kConsumer, "linger.ms") == "5");
    CHECK_FALSE(kafka_property(config, KafkaRole::kConsumer, "batch.size").has_value());
}

TEST_CASE("a configuration that the library refuses is an error with the reason") {
    config::KafkaConfig config;
    config.producer.push_back({"transaction.timeout.ms", "5000", false, {}});
    config.producer.push_back({"message.timeout.ms", "9000", false, {}});
    KafkaClientSettings settings;
    settings.client_id = "test";
    settings.transactional_id = "app/0/0";
    const auto client = make_kafka_client(config, KafkaRole::kProducer, settings);
    REQUIRE_FALSE(client.ok());
    CHECK(client.error().code == Code::kInvalid);
    CHECK(client.error().message.find("message.timeout.ms") != std::string::npos);
}

TEST_CASE("librdkafka's errors become ours") {
    CHECK(kafka_error(RD_KAFKA_RESP_ERR__FENCED, "x").code == Code::kFenced);
    CHECK(kafka_error(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "x").code == Code::kUnauthorized);
    CHECK(kafka_error(RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, "x").code == Code::kNotFound);
    CHECK(kafka_error(RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, "x").code == Code::kMismatch);
    CHECK(kafka_error(RD_KAFKA_RESP_ERR__TIMED_OUT, "x").code == Code::kTimedOut);
    CHECK(kafka_error(RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, "x").code == Code::kUnavailable);
    CHECK(kafka_error(RD_KAFKA_RESP_ERR_UNKNOWN, "x").code == Code::kUnknown);
    CHECK(kafka_error(RD_KAFKA_RESP_ERR__TIMED_OUT, "read", "two\nlines").message ==
          "read: two lines (_TIMED_OUT)");
}

TEST_CASE("an address where nobody listens is unavailable, within the timeout") {
    KafkaConnector connector(config_for("127.0.0.1:1"), "app", {"in"}, {"out"});
    const SystemClock clock;
    const int64_t began_ms = clock.monotonic_ms();
    CHECK(connector.describe(kFirst, 300).error().code == Code::kUnavailable);
    CHECK(connector.cluster_id(300).error().code == Code::kUnavailable);
    auto sink = connector.make_sink({"app", 0, 0}, true).value();
    const auto opened = sink->open(500);
    REQUIRE_FALSE(opened.ok());
    const bool says_why = opened.error().code == Code::kUnavailable || opened.error().code == Code::kTimedOut;
    CHECK_MESSAGE(says_why, opened.error().message);
    sink.reset();
    CHECK(clock.monotonic_ms() - began_ms < 10'000);
}

TEST_CASE("the in-process broker takes records and gives them back in order") {
    auto cluster = MockCluster::start({{"in", 3}, {"out", 1}}).value();
    KafkaConnector connector(config_for(cluster->bootstrap()), "app", {"in"}, {"in"});
    CHECK(connector.describe(kFirst, kTimeoutMs).value().partition_count == 3);
    auto sink = connector.make_sink({"app", 0, 0}, false).value();
    sink->open(kTimeoutMs).value();
    constexpr int kRecords = 1000;
    for (int i = 0; i < kRecords; ++i) {
        const std::string value = std::to_string(i);
        processor::OutputRecord record;
        record.partition = 1;
        record.value = value;
        sink->produce(record).value();
    }
    sink->flush(kTimeoutMs).value();
    auto source = connector.make_source({"app", 0, 0}).value();
    source->assign(std::vector<processor::StartOffset>{{{kFirst, 1}, 10}}).value();
    int64_t expected = 10;
    int64_t end = -1;
    const SystemClock clock;
    const int64_t deadline_ms = clock.monotonic_ms() + kTimeoutMs;
    while (end < 0 && clock.monotonic_ms() < deadline_ms) {
        const auto poll = source->poll(100, 64).value();
        for (const auto& run : poll.runs)
            for (const auto& record : run.records) {
                CHECK(record.offset == expected);
                CHECK(record.value == std::to_string(expected));
                ++expected;
            }
        for (const auto& caught_up : poll.caught_up) end = caught_up.end_offset;
    }
    CHECK(expected == kRecords);
    CHECK(end == kRecords);
}

TEST_CASE("a held partition is not handed out, and then without a gap") {
    auto cluster = MockCluster::start({{"in", 2}}).value();
    KafkaConnector connector(config_for(cluster->bootstrap()), "app", {"in"}, {"in"});
    auto sink = connector.make_sink({"app", 0, 0}, false).value();
    sink->open(kTimeoutMs).value();
    constexpr int64_t kRecords = 500;
    for (int64_t i = 0; i < kRecords; ++i)
        for (int32_t partition = 0; partition < 2; ++partition) {
            processor::OutputRecord record;
            record.partition = partition;
            record.value = "x";
            sink->produce(record).value();
        }
    sink->flush(kTimeoutMs).value();
    auto source = connector.make_source({"app", 0, 0}).value();
    source->assign(std::vector<processor::StartOffset>{{{kFirst, 0}, 0, true}, {{kFirst, 1}, 0, true}})
        .value();
    int64_t next[2] = {0, 0};
    const SystemClock clock;
    const auto read_to = [&](int32_t partition) {
        const int64_t deadline_ms = clock.monotonic_ms() + kTimeoutMs;
        while (next[partition] < kRecords && clock.monotonic_ms() < deadline_ms) {
            const auto poll = source->poll(100, 64).value();
            for (const auto& run : poll.runs)
                for (const auto& record : run.records)
                    CHECK(record.offset == next[run.partition.partition]++);
        }
        CHECK(next[partition] == kRecords);
    };
    source->hold(std::vector{TopicPartition{kFirst, 0}});
    read_to(1);
    CHECK(next[0] == 0);
    source->hold({});
    read_to(0);
}

TEST_CASE("a delivery that the broker refuses fails the flush and names the topic") {
    auto cluster = MockCluster::start({{"out", 1}}).value();
    KafkaConnector connector(config_for(cluster->bootstrap()), "app", {"in"}, {"out"});
    auto sink = connector.make_sink({"app", 0, 0}, false).value();
    sink->open(kTimeoutMs).value();
    constexpr int16_t kProduce = 0;
    rd_kafka_mock_push_request_errors(cluster->native(), kProduce, 1,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    processor::OutputRecord record;
    record.partition = 0;
    record.value = "x";
    sink->produce(record).value();
    const auto flushed = sink->flush(kTimeoutMs);
    REQUIRE_FALSE(flushed.ok());
    CHECK(flushed.error().code == Code::kUnauthorized);
    CHECK(flushed.error().message.find("out") != std::string::npos);
}

// Goal: nobody takes the failure for the fault of the record at hand, sets that one aside and goes on.
TEST_CASE("a delivery that the broker refuses fails a later produce, but not as that record's fault") {
    auto cluster = MockCluster::start({{"out", 1}}).value();
    KafkaConnector connector(config_for(cluster->bootstrap()), "app", {"in"}, {"out"});
    auto sink = connector.make_sink({"app", 0, 0}, false).value();
    sink->open(kTimeoutMs).value();
    constexpr int16_t kProduce = 0;
    rd_kafka_mock_push_request_errors(cluster->native(), kProduce, 1, RD_KAFKA_RESP_ERR_INVALID_RECORD);
    const std::string value(300'000, 'x');
    processor::OutputRecord record;
    record.partition = 0;
    record.value = value;
    Result<void> produced;
    int accepted = 0;
    for (; produced.ok() && accepted < 10; ++accepted) produced = sink->produce(record);
    REQUIRE_FALSE(produced.ok());
    CHECK(accepted == 4);  // Three fit one request.
    CHECK(produced.error().code == Code::kUnavailable);
    CHECK(produced.error().message.find("INVALID_RECORD") != std::string::npos);
}

TEST_CASE("a transaction whose end is refused is unknown or fenced, never committed") {
    constexpr int16_t kEndTxn = 26;
    using processor::CommitOutcome;
    for (const auto code : {RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
                            RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED}) {
        auto cluster = MockCluster::start({{"out", 1}}).value();
        KafkaConnector connector(config_for(cluster->bootstrap()), "app", {"in"}, {"out"});
        auto sink = connector.make_sink({"app", 0, 0}, true).value();
        sink->open(kTimeoutMs).value();
        sink->begin().value();
        processor::OutputRecord record;
        record.partition = 0;
        record.value = "x";
        sink->produce(record).value();
        sink->flush(kTimeoutMs).value();
        rd_kafka_mock_push_request_errors(cluster->native(), kEndTxn, 1, code);
        const auto expected =
            code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ? CommitOutcome::kFenced : CommitOutcome::kUnknown;
        CHECK(sink->commit(5000) == expected);
    }
}

// Goal: the client does not spin while a request is under way and more waits for the same partition; beside a
// broker on the same CPUs that can keep the broker from answering.
TEST_CASE("outputs that fill several requests cost no CPU while the broker takes its time") {
    constexpr int32_t kRoundTripMs = 200;
    auto cluster = MockCluster::start({{"out", 2}}).value();
    KafkaConnector connector(config_for(cluster->bootstrap()), "app", {"in"}, {"out"});
    auto sink = connector.make_sink({"app", 0, 0}, true).value();
    sink->open(kTimeoutMs).value();
    sink->begin().value();
    rd_kafka_mock_broker_set_rtt(cluster->native(), 1, kRoundTripMs);
    const SystemClock clock;
    const int64_t began_ms = clock.monotonic_ms();
    const std::clock_t began_cpu = std::clock();
    const std::string value(100'000, 'x');
    const std::vector<std::string> keys = {"", "a", "b", "c"};
    for (size_t i = 0; i < 40; ++i) {
        processor::OutputRecord record;
        const std::string& key = keys[i % keys.size()];
        if (!key.empty()) record.key = key;
        record.value = value;
        sink->produce(record).value();
    }
    sink->flush(kTimeoutMs).value();
    const int64_t took_ms = clock.monotonic_ms() - began_ms;
    const int64_t cpu_ms = (std::clock() - began_cpu) * 1000 / CLOCKS_PER_SEC;
    CHECK(took_ms > 2 * kRoundTripMs);
    CHECK(cpu_ms < took_ms / 4);
}

// Goal: a late copy of either request could hit the next transaction of the same producer.
TEST_CASE("a commit whose end was requested, or whose offsets were sent twice asks for a new sink") {
    auto cluster = MockCluster::start({{"out", 1}}).value();
    KafkaConnector connector(config_for(cluster->bootstrap()), "app", {"in"}, {"out"});
    auto sink = connector.make_sink({"app", 0, 0}, true).value();
    sink->open(kTimeoutMs).value();
    constexpr int16_t kNone = -1;
    constexpr int16_t kEndTxn = 26;
    constexpr int16_t kTxnOffsetCommit = 28;
    for (const int16_t repeated : {kNone, kEndTxn, kNone, kTxnOffsetCommit}) {
        CAPTURE(repeated);
        sink->begin().value();
        processor::OutputRecord record;
        record.partition = 0;
        record.value = "x";
        sink->produce(record).value();
        sink->flush(kTimeoutMs).value();
        if (repeated != kNone)
            rd_kafka_mock_push_request_errors(cluster->native(), repeated, 1,
                                              RD_KAFKA_RESP_ERR_NOT_COORDINATOR);
        sink->send_offsets(std::vector<processor::OffsetCommit>{{{TopicId{0}, 0}, 1, "m"}}, kTimeoutMs)
            .value();
        CHECK(sink->commit(kTimeoutMs) == (repeated != kNone ? processor::CommitOutcome::kCommittedReplaceSink
                                                             : processor::CommitOutcome::kCommitted));
    }
}
