// weir_consume_limit: the cheapest way to get a topic's records into a process with librdkafka's C API. It
// reads every record that the topic holds now and does nothing with it but count; what weir costs is measured
// against this.
//   weir_consume_limit --bootstrap=HOST:PORT --topic=NAME --partitions=N [--consumers=N] [--forward=TOPIC]
// Each consumer is a thread on a CPU of its own with partitions p = i mod N and one batch queue. The settings
// are those of weir's source and sink (connectors/kafka_client.cc), checksums and read_committed included.
// With --forward the first bytes of every tenth record go to a topic, in a transaction of 100 ms each that
// holds the offsets, too: what a filter costs, exactly once, that looks at no byte of a record. Prints one
// JSON line.
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace weir::bench {
namespace {

constexpr std::pair<const char*, const char*> kSettings[] = {
    {"group.id", "consume-limit"},
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"},
    {"enable.partition.eof", "true"},
    {"check.crcs", "true"},
    {"isolation.level", "read_committed"},
    {"fetch.max.bytes", "16777216"},
    {"max.partition.fetch.bytes", "1048576"},
    {"queued.min.messages", "10000"},
    {"queued.max.messages.kbytes", "16384"},
    {"fetch.wait.max.ms", "50"},
};
constexpr std::pair<const char*, const char*> kProducerSettings[] = {
    {"linger.ms", "5000"},
    {"batch.num.messages", "100000"},
    {"queue.buffering.max.kbytes", "32768"},
    {"partitioner", "murmur2_random"},
    {"socket.nagle.disable", "true"},
};
constexpr size_t kBatch = 1024;
constexpr int64_t kForwardedOneIn = 10;
constexpr size_t kForwardedBytes = 32;  // As long as what bench/run's filter writes.
constexpr std::chrono::milliseconds kCommitInterval{100};
constexpr int kTimeoutMs = 30'000;

using Clock = std::chrono::steady_clock;

struct Task {
    std::string bootstrap;
    std::string topic;
    int32_t partitions = 4;
    int32_t consumers = 1;
    std::string forward;
};

struct Count {
    int64_t records = 0;
    int64_t bytes = 0;
};

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "weir_consume_limit: %s\n", what.c_str());
    std::exit(1);
}

template <size_t kCount>
rd_kafka_conf_t* configuration(const Task& task,
                               const std::pair<const char*, const char*> (&settings)[kCount]) {
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    char error[512];
    const auto set = [&](const char* name, const char* value) {
        if (rd_kafka_conf_set(conf, name, value, error, sizeof error) != RD_KAFKA_CONF_OK) fail(error);
    };
    for (const auto& [name, value] : settings) set(name, value);
    set("bootstrap.servers", task.bootstrap.c_str());
    return conf;
}

rd_kafka_t* make_client(rd_kafka_type_t type, rd_kafka_conf_t* conf) {
    char error[512];
    rd_kafka_t* client = rd_kafka_new(type, conf, error, sizeof error);
    if (client == nullptr) fail(error);
    return client;
}

void check(rd_kafka_error_t* error) {
    if (error != nullptr) fail(rd_kafka_error_string(error));
}

// Writes to the topic of --forward, one transaction after the other.
class Forwarder {
public:
    Forwarder(const Task& task, int32_t index) : task_(task) {
        rd_kafka_conf_t* conf = configuration(task, kProducerSettings);
        char error[512];
        const std::string id = "consume-limit-" + std::to_string(index);
        if (rd_kafka_conf_set(conf, "transactional.id", id.c_str(), error, sizeof error) != RD_KAFKA_CONF_OK)
            fail(error);
        rd_kafka_conf_set_dr_msg_cb(conf, [](rd_kafka_t*, const rd_kafka_message_t* message, void*) {
            if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) fail(rd_kafka_err2str(message->err));
        });
        producer_ = make_client(RD_KAFKA_PRODUCER, conf);
        check(rd_kafka_init_transactions(producer_, kTimeoutMs));
        topic_ = rd_kafka_topic_new(producer_, task.forward.c_str(), nullptr);
        const rd_kafka_metadata_t* metadata = nullptr;
        if (rd_kafka_metadata(producer_, 0, topic_, &metadata, kTimeoutMs) != RD_KAFKA_RESP_ERR_NO_ERROR)
            fail("no metadata of " + task.forward);
        rd_kafka_metadata_destroy(metadata);
        offsets_ = rd_kafka_topic_partition_list_new(task.partitions);
        group_ = rd_kafka_consumer_group_metadata_new("consume-limit");
        begin();
    }
    Forwarder(const Forwarder&) = delete;
    Forwarder& operator=(const Forwarder&) = delete;
    ~Forwarder() {
        rd_kafka_consumer_group_metadata_destroy(group_);
        rd_kafka_topic_partition_list_destroy(offsets_);
        rd_kafka_topic_destroy(topic_);
        rd_kafka_destroy(producer_);
    }

    void forward(const rd_kafka_message_t& message) {
        int64_t timestamp = rd_kafka_message_timestamp(&message, nullptr);
        rd_kafka_vu_t fields[6];
        fields[0].vtype = RD_KAFKA_VTYPE_RKT;
        fields[0].u.rkt = topic_;
        fields[1].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
        fields[1].u.i = RD_KAFKA_MSG_F_COPY;
        fields[2].vtype = RD_KAFKA_VTYPE_PARTITION;
        fields[2].u.i32 = RD_KAFKA_PARTITION_UA;
        fields[3].vtype = RD_KAFKA_VTYPE_KEY;
        fields[3].u.mem = {message.key, message.key_len};
        fields[4].vtype = RD_KAFKA_VTYPE_VALUE;
        fields[4].u.mem = {message.payload, std::min(message.len, kForwardedBytes)};
        fields[5].vtype = RD_KAFKA_VTYPE_TIMESTAMP;
        fields[5].u.i64 = timestamp;
        check(rd_kafka_produceva(producer_, fields, std::size(fields)));
    }

    void read(const rd_kafka_message_t& message) {
        next_[message.partition] = message.offset + 1;
    }

    void commit_when_due(bool at_end) {
        if (!at_end && Clock::now() - began_ < kCommitInterval) return;
        rd_kafka_poll(producer_, 0);
        while (rd_kafka_outq_len(producer_) > 0) rd_kafka_flush(producer_, 2);
        for (const auto& [partition, offset] : next_) {
            rd_kafka_topic_partition_t* element =
                rd_kafka_topic_partition_list_find(offsets_, task_.topic.c_str(), partition);
            if (element == nullptr)
                element = rd_kafka_topic_partition_list_add(offsets_, task_.topic.c_str(), partition);
            element->offset = offset;
        }
        check(rd_kafka_send_offsets_to_transaction(producer_, offsets_, group_, kTimeoutMs));
        check(rd_kafka_commit_transaction(producer_, kTimeoutMs));
        if (!at_end) begin();
    }

private:
    void begin() {
        check(rd_kafka_begin_transaction(producer_));
        began_ = Clock::now();
    }

    const Task& task_;
    rd_kafka_t* producer_ = nullptr;
    rd_kafka_topic_t* topic_ = nullptr;
    rd_kafka_topic_partition_list_t* offsets_ = nullptr;
    rd_kafka_consumer_group_metadata_t* group_ = nullptr;
    std::map<int32_t, int64_t> next_;
    Clock::time_point began_;
};

// Before any client is made: librdkafka's threads inherit the affinity, as in weir.
void pin_to(int32_t cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<size_t>(cpu), &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

Count consume(const Task& task, int32_t index) {
    if (task.consumers > 1 && task.consumers <= static_cast<int32_t>(std::thread::hardware_concurrency()))
        pin_to(index);
    rd_kafka_conf_t* conf = configuration(task, kSettings);
    // A fetch queue that fills during a commit makes librdkafka 2.0.2 wait for a second; this one does not.
    if (!task.forward.empty()) rd_kafka_conf_set(conf, "queued.min.messages", "1000000", nullptr, 0);
    rd_kafka_t* consumer = make_client(RD_KAFKA_CONSUMER, conf);
    rd_kafka_poll_set_consumer(consumer);
    std::optional<Forwarder> forwarder;
    if (!task.forward.empty()) forwarder.emplace(task, index);
    rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(task.partitions);
    for (int32_t partition = index; partition < task.partitions; partition += task.consumers)
        rd_kafka_topic_partition_list_add(list, task.topic.c_str(), partition)->offset =
            RD_KAFKA_OFFSET_BEGINNING;
    int open = list->cnt;
    rd_kafka_assign(consumer, list);
    rd_kafka_topic_partition_list_destroy(list);

    rd_kafka_queue_t* queue = rd_kafka_queue_get_consumer(consumer);
    std::array<rd_kafka_message_t*, kBatch> messages;
    Count count;
    while (open > 0) {
        const ssize_t taken = rd_kafka_consume_batch_queue(queue, 50, messages.data(), messages.size());
        for (ssize_t i = 0; i < taken; ++i) {
            rd_kafka_message_t* message = messages[static_cast<size_t>(i)];
            if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
                --open;
            } else if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
                fail(rd_kafka_message_errstr(message));
            } else {
                ++count.records;
                count.bytes += static_cast<int64_t>(message->len);
                if (forwarder) {
                    if (count.records % kForwardedOneIn == 0) forwarder->forward(*message);
                    forwarder->read(*message);
                }
            }
            rd_kafka_message_destroy(message);
        }
        if (forwarder) forwarder->commit_when_due(open == 0);
    }
    forwarder.reset();
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy_flags(consumer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    return count;
}

std::string text_after(const std::string& argument, const std::string& name) {
    return argument.rfind(name + "=", 0) == 0 ? argument.substr(name.size() + 1) : std::string{};
}

int run(int argc, char** argv) {
    Task task;
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        if (auto text = text_after(argument, "--bootstrap"); !text.empty())
            task.bootstrap = text;
        else if (text = text_after(argument, "--topic"); !text.empty())
            task.topic = text;
        else if (text = text_after(argument, "--partitions"); !text.empty())
            task.partitions = std::stoi(text);
        else if (text = text_after(argument, "--consumers"); !text.empty())
            task.consumers = std::stoi(text);
        else if (text = text_after(argument, "--forward"); !text.empty())
            task.forward = text;
        else
            fail("unknown argument " + argument);
    }
    if (task.bootstrap.empty() || task.topic.empty() || task.consumers < 1)
        fail("--bootstrap=… and --topic=…");

    const auto start = Clock::now();
    std::vector<Count> counts(static_cast<size_t>(task.consumers));
    std::vector<std::thread> threads;
    for (int32_t i = 0; i < task.consumers; ++i)
        threads.emplace_back([&, i] { counts[static_cast<size_t>(i)] = consume(task, i); });
    Count sum;
    for (size_t i = 0; i < threads.size(); ++i) {
        threads[i].join();
        sum.records += counts[i].records;
        sum.bytes += counts[i].bytes;
    }
    const std::chrono::duration<double> seconds = Clock::now() - start;
    std::printf("{\"records\":%lld,\"bytes\":%lld,\"seconds\":%.3f}\n", static_cast<long long>(sum.records),
                static_cast<long long>(sum.bytes), seconds.count());
    return 0;
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) { return weir::bench::run(argc, argv); }
