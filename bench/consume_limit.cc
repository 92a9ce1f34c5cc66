// weir_consume_limit: the cheapest way to get a topic's records into a process with librdkafka's C API. It
// reads every record that the topic holds now and does nothing with it but count; what weir costs is measured
// against this.
//   weir_consume_limit --bootstrap=HOST:PORT --topic=NAME --partitions=N [--consumers=N]
// Each consumer is a thread on a CPU of its own with partitions p = i mod N and one batch queue. The settings
// are those of weir's source (connectors/kafka_client.cc), checksums and read_committed included. Prints one
// JSON line.
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <sched.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
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
constexpr size_t kBatch = 1024;

struct Task {
    std::string bootstrap;
    std::string topic;
    int32_t partitions = 4;
    int32_t consumers = 1;
};

struct Count {
    int64_t records = 0;
    int64_t bytes = 0;
};

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "weir_consume_limit: %s\n", what.c_str());
    std::exit(1);
}

rd_kafka_t* make_consumer(const Task& task) {
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    char error[512];
    for (const auto& [name, value] : kSettings)
        if (rd_kafka_conf_set(conf, name, value, error, sizeof error) != RD_KAFKA_CONF_OK) fail(error);
    if (rd_kafka_conf_set(conf, "bootstrap.servers", task.bootstrap.c_str(), error, sizeof error) !=
        RD_KAFKA_CONF_OK)
        fail(error);
    rd_kafka_t* consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof error);
    if (consumer == nullptr) fail(error);
    rd_kafka_poll_set_consumer(consumer);
    return consumer;
}

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
    rd_kafka_t* consumer = make_consumer(task);
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
            }
            rd_kafka_message_destroy(message);
        }
    }
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
        else
            fail("unknown argument " + argument);
    }
    if (task.bootstrap.empty() || task.topic.empty() || task.consumers < 1)
        fail("--bootstrap=… and --topic=…");

    const auto start = std::chrono::steady_clock::now();
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
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::printf("{\"records\":%lld,\"bytes\":%lld,\"seconds\":%.3f}\n", static_cast<long long>(sum.records),
                static_cast<long long>(sum.bytes), seconds.count());
    return 0;
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) { return weir::bench::run(argc, argv); }
