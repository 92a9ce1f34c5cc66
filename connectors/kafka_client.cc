#include "connectors/kafka_client.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <mutex>
#include <span>

#include "base/log.h"
#include "base/time.h"

namespace weir::connectors {
namespace {

struct ConfDeleter {
    void operator()(rd_kafka_conf_t* conf) const { rd_kafka_conf_destroy(conf); }
};
using ConfHandle = std::unique_ptr<rd_kafka_conf_t, ConfDeleter>;

struct Setting {
    const char* name;
    const char* value;
};

// Ours for every client; a pipeline may overrule them.
constexpr Setting kDefaults[] = {
    {"socket.nagle.disable", "true"},
    {"log.connection.close", "false"},     // Brokers close idle connections; that is no news.
    {"reconnect.backoff.max.ms", "2000"},  // Back within seconds of the broker; librdkafka's default is 10 s.
};
// Measured: these reach the speed limit of the client with the least memory.
constexpr Setting kConsumerDefaults[] = {
    {"max.partition.fetch.bytes", "1048576"},
    {"queued.min.messages", "10000"},
    {"fetch.wait.max.ms", "50"},
};
constexpr Setting kProducerDefaults[] = {
    {"linger.ms", "100"},  // Flushes do not wait for it.
    {"batch.num.messages", "100000"},
    {"queue.buffering.max.kbytes", "32768"},
    {"sticky.partitioning.linger.ms", "1000"},  // Otherwise it follows linger.ms.
};

// The guarantees rest on these; check_kafka_property refuses other values.
constexpr Setting kConsumerOwned[] = {
    {"enable.auto.commit", "false"}, {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"},  {"enable.partition.eof", "true"},
    {"check.crcs", "true"},
};
constexpr Setting kProducerOwned[] = {
    {"enable.idempotence", "true"},
    {"acks", "all"},
    {"partitioner", "murmur2_random"},
    {"delivery.report.only.error", "false"},
};
constexpr std::array kOwnedNames{
    "client.id",
    "group.id",
    "group.instance.id",
    "transactional.id",
    "enable.auto.commit",
    "isolation.level",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "enable.partition.eof",
    "check.crcs",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "partitioner",
    "delivery.report.only.error",
    "plugin.library.paths",
    "test.mock.num.brokers",
    "log.queue",
};
constexpr int64_t kDefaultTransactionTimeoutMs = 10'000;

Code code_of(rd_kafka_resp_err_t code) {
    switch (code) {
        case RD_KAFKA_RESP_ERR__FENCED:
        case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
        case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
        case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
        case RD_KAFKA_RESP_ERR_TRANSACTION_COORDINATOR_FENCED: return Code::kFenced;
        case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
        case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
        case RD_KAFKA_RESP_ERR__AUTHENTICATION: return Code::kUnauthorized;
        case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
        case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION: return Code::kNotFound;
        case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET: return Code::kMismatch;
        case RD_KAFKA_RESP_ERR__TIMED_OUT:
        case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
        case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
        case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
        case RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT: return Code::kTimedOut;
        case RD_KAFKA_RESP_ERR__TRANSPORT:
        case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
        case RD_KAFKA_RESP_ERR__RESOLVE:
        case RD_KAFKA_RESP_ERR__SSL:
        case RD_KAFKA_RESP_ERR__WAIT_COORD:
        case RD_KAFKA_RESP_ERR__QUEUE_FULL:
        case RD_KAFKA_RESP_ERR__NODE_UPDATE:
        case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
        case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
        case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
        case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
        case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
        case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
        case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
        case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
        case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
        case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
        case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
        case RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS: return Code::kUnavailable;
        case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
        case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
        case RD_KAFKA_RESP_ERR_INVALID_RECORD:
        case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
        case RD_KAFKA_RESP_ERR_INVALID_REQUEST:
        case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
        case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
        case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
        case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
        case RD_KAFKA_RESP_ERR__INVALID_ARG: return Code::kInvalid;
        default: return Code::kUnknown;
    }
}

std::string one_line(std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
    return text;
}

// Librdkafka repeats itself once per broker and attempt while a cluster is away.
class LogLimit {
public:
    // How many lines were suppressed before this one; nullopt: suppress this one too.
    std::optional<uint64_t> admit() {
        constexpr int64_t kWindowMs = 10'000;
        constexpr uint64_t kLinesPerWindow = 10;
        const std::lock_guard lock(mutex_);
        const int64_t now = SystemClock{}.monotonic_ms();
        if (now - window_began_ms_ >= kWindowMs) {
            window_began_ms_ = now;
            lines_ = 0;
        }
        if (++lines_ > kLinesPerWindow) {
            ++suppressed_;
            return std::nullopt;
        }
        return std::exchange(suppressed_, 0);
    }

private:
    std::mutex mutex_;
    int64_t window_began_ms_ = 0;
    uint64_t lines_ = 0;
    uint64_t suppressed_ = 0;
};

void on_log(const rd_kafka_t* client, int level, const char* facility, const char* text) {
    if (std::string_view(facility) == "CONFWARN")
        return;  // `kafka:` serves both sides; each ignores the other's.
    static LogLimit limit;
    std::optional<uint64_t> suppressed = 0;
    if (level < 7) suppressed = limit.admit();
    if (!suppressed) return;
    const std::string line =
        fmt::format("kafka client={} facility={} suppressed={} text=\"{}\"",
                    client != nullptr ? rd_kafka_name(client) : "-", facility, *suppressed, one_line(text));
    if (level <= 3)
        log_warn("{}", line);  // What is an error for librdkafka (a broker is away) is retried.
    else if (level <= 6)
        log_info("{}", line);
    else
        log_debug("{}", line);
}

Result<void> set(rd_kafka_conf_t* conf, const std::string& name, const std::string& value) {
    char text[512];
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), text, sizeof(text)) == RD_KAFKA_CONF_OK)
        return {};
    return Error{Code::kInvalid, "kafka property '" + name + "': " + text};
}

int64_t to_number(const std::optional<std::string>& text, int64_t otherwise) {
    int64_t number = otherwise;
    if (text) std::from_chars(text->data(), text->data() + text->size(), number);
    return number;
}

Result<void> set_all(rd_kafka_conf_t* conf, std::span<const Setting> settings) {
    for (const Setting& setting : settings) WEIR_TRY(set(conf, setting.name, setting.value));
    return {};
}

const std::vector<config::KafkaProperty>& side_of(const config::KafkaConfig& config, KafkaRole role) {
    return role == KafkaRole::kProducer ? config.producer : config.consumer;
}

Result<void> configure(rd_kafka_conf_t* conf, const config::KafkaConfig& config, KafkaRole role,
                       const KafkaClientSettings& settings) {
    WEIR_TRY(set_all(conf, kDefaults));
    if (role == KafkaRole::kProducer) {
        WEIR_TRY(set_all(conf, kProducerDefaults));
        if (!settings.transactional_id.empty()) {
            WEIR_TRY(set(conf, "transaction.timeout.ms", std::to_string(kDefaultTransactionTimeoutMs)));
            // Nothing is visible before the commit, so records wait for the flush and leave in few large
            // requests; longer than this only if the commit is far away. librdkafka wants the message's
            // timeout to be the longer one.
            int64_t shortest = kDefaultTransactionTimeoutMs;
            for (const char* name : {"transaction.timeout.ms", "message.timeout.ms", "delivery.timeout.ms"})
                if (const int64_t ms = to_number(kafka_property(config, role, name), 0); ms > 0)
                    shortest = std::min(shortest, ms);
            WEIR_TRY(set(conf, "linger.ms", std::to_string(shortest / 2)));
        }
    } else {
        WEIR_TRY(set_all(conf, kConsumerDefaults));
        constexpr int64_t kMostFetchBytes = int64_t{16} << 20;
        const auto budget = static_cast<int64_t>(settings.fetch_queue_bytes);
        // A response must be able to hold the largest record, or librdkafka refuses the configuration.
        const int64_t largest = to_number(kafka_property(config, role, "message.max.bytes"), 1'000'000);
        WEIR_TRY(set(conf, "fetch.max.bytes",
                     std::to_string(std::max(largest, std::min(budget, kMostFetchBytes)))));
        WEIR_TRY(
            set(conf, "queued.max.messages.kbytes", std::to_string(std::max<int64_t>(1, budget / 1024))));
    }
    for (const config::KafkaProperty& property : config.common)
        WEIR_TRY(set(conf, property.name, property.value));
    for (const config::KafkaProperty& property : side_of(config, role))
        WEIR_TRY(set(conf, property.name, property.value));
    if (role == KafkaRole::kProducer) {
        WEIR_TRY(set_all(conf, kProducerOwned));
        if (!settings.transactional_id.empty())
            WEIR_TRY(set(conf, "transactional.id", settings.transactional_id));
        if (settings.transaction_timeout_ms)
            WEIR_TRY(set(conf, "transaction.timeout.ms", std::to_string(*settings.transaction_timeout_ms)));
    } else {
        WEIR_TRY(set_all(conf, kConsumerOwned));
        // An admin asks for the log's end including undecided records; read_committed would name the last
        // stable offset instead. For a group's offsets read_committed means: wait for undecided ones
        // (KIP-447).
        WEIR_TRY(
            set(conf, "isolation.level", role == KafkaRole::kAdmin ? "read_uncommitted" : "read_committed"));
        if (!settings.group_id.empty()) WEIR_TRY(set(conf, "group.id", settings.group_id));
    }
    return set(conf, "client.id", settings.client_id);
}

}  // namespace

std::optional<std::string> check_kafka_property(const std::string& name, const std::string& value) {
    if (std::find(kOwnedNames.begin(), kOwnedNames.end(), name) != kOwnedNames.end())
        return "'" + name + "' is set by weir itself";
    // These contexts print the whole configuration; librdkafka 2.0 does not hide all secrets in it.
    if (name == "debug" &&
        (value.find("all") != std::string::npos || value.find("conf") != std::string::npos))
        return "the debug contexts 'all' and 'conf' would print secrets";
    const ConfHandle scratch(rd_kafka_conf_new());
    char text[512];
    if (rd_kafka_conf_set(scratch.get(), name.c_str(), value.c_str(), text, sizeof(text)) == RD_KAFKA_CONF_OK)
        return std::nullopt;
    std::string reason = one_line(text);
    for (size_t at = value.empty() ? std::string::npos : reason.find(value); at != std::string::npos;
         at = reason.find(value, at + 3))
        reason.replace(at, value.size(), "***");  // The value may be a secret; the file shows it anyway.
    return reason;
}

Error kafka_error(rd_kafka_resp_err_t code, std::string_view what, std::string_view detail) {
    std::string message(what);
    message += ": ";
    message += detail.empty() ? std::string_view(rd_kafka_err2str(code)) : detail;
    message += " (";
    message += rd_kafka_err2name(code);
    message += ')';
    return {code_of(code), one_line(std::move(message))};
}

Error kafka_error(rd_kafka_error_t* error, std::string_view what) {
    Error result = kafka_error(rd_kafka_error_code(error), what, rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return result;
}

void DestroyKafka::operator()(rd_kafka_t* client) const {
    if (rd_kafka_type(client) == RD_KAFKA_PRODUCER)
        rd_kafka_purge(client,
                       RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
    // No group is ever joined, and closing a consumer can hang (librdkafka < 2.4).
    rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

PartitionsHandle make_partitions(size_t capacity) {
    return PartitionsHandle(rd_kafka_topic_partition_list_new(static_cast<int>(capacity)));
}

std::optional<std::string> kafka_property(const config::KafkaConfig& config, KafkaRole role,
                                          std::string_view name) {
    std::optional<std::string> value;
    for (const auto* properties : {&config.common, &side_of(config, role)})
        for (const config::KafkaProperty& property : *properties)
            if (property.name == name) value = property.value;
    return value;
}

Result<KafkaHandle> make_kafka_client(const config::KafkaConfig& config, KafkaRole role,
                                      const KafkaClientSettings& settings) {
    ConfHandle conf(rd_kafka_conf_new());
    WEIR_TRY(configure(conf.get(), config, role, settings));
    rd_kafka_conf_set_log_cb(conf.get(), on_log);
    if (settings.customize) settings.customize(conf.get());
    char text[512];
    const rd_kafka_type_t type = role == KafkaRole::kProducer ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER;
    KafkaHandle client(rd_kafka_new(type, conf.get(), text, sizeof(text)));
    if (client == nullptr) return Error{Code::kInvalid, "kafka: " + one_line(text)};
    static_cast<void>(conf.release());  // rd_kafka_new took it over.
    return client;
}

}  // namespace weir::connectors
