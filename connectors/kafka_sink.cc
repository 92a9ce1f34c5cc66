#include "connectors/kafka_sink.h"

#include <algorithm>
#include <vector>

#include "base/log.h"

namespace weir::connectors {
namespace {

using processor::CommitOutcome;

constexpr int64_t kSliceMs = 1000;  // Calls that can be resumed wait in slices of this length.
constexpr int64_t kMakeRoomMs = 60'000;
constexpr size_t kRecordOverhead = 16;  // Lengths, offset and time of a record in a batch.
constexpr int64_t kRetryPauseMs = 50;
constexpr int64_t kAbsentTopicWaitMs = 1000;  // A broker that creates topics by itself needs a moment.
constexpr int16_t kEndTxn = 26;               // ApiKeys of Kafka's protocol.
constexpr int16_t kTxnOffsetCommit = 28;

int slice(int64_t left_ms) { return static_cast<int>(std::clamp<int64_t>(left_ms, 1, kSliceMs)); }

Error out_of_time(std::string_view what) {
    return {Code::kTimedOut, std::string(what) + ": no answer in time"};
}

bool is_fenced(rd_kafka_t* producer, rd_kafka_resp_err_t code) {
    if (code == RD_KAFKA_RESP_ERR__FATAL) code = rd_kafka_fatal_error(producer, nullptr, 0);
    return kafka_error(code, "").code == Code::kFenced;
}

// The fatal error behind it when there is one: it says more.
Error producer_error(rd_kafka_t* producer, rd_kafka_error_t* error, std::string_view what) {
    char text[512] = "";
    const auto fatal = rd_kafka_fatal_error(producer, text, sizeof(text));
    if (fatal == RD_KAFKA_RESP_ERR_NO_ERROR) return kafka_error(error, what);
    rd_kafka_error_destroy(error);
    return kafka_error(fatal, what, text);
}

bool may_pass(const Error& error) {
    return error.code == Code::kUnavailable || error.code == Code::kTimedOut;
}

}  // namespace

KafkaSink::KafkaSink(config::KafkaConfig config, KafkaSinkSettings settings)
    : config_(std::move(config)), settings_(std::move(settings)) {}

KafkaSink::~KafkaSink() = default;

void KafkaSink::on_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) [[likely]]
        return;
    auto* const sink = static_cast<KafkaSink*>(opaque);
    if (!sink->failed_delivery_)
        sink->failed_delivery_ =
            kafka_error(message->err, std::string("deliver to ") + rd_kafka_topic_name(message->rkt));
}

rd_kafka_resp_err_t KafkaSink::on_new_client(rd_kafka_t* client, const rd_kafka_conf_t*, void* opaque, char*,
                                             size_t) {
    return rd_kafka_interceptor_add_on_request_sent(client, "weir", on_request, opaque);
}

rd_kafka_resp_err_t KafkaSink::on_request(rd_kafka_t*, int, const char*, int32_t, int16_t api_key, int16_t,
                                          int32_t, size_t, void* opaque) {
    auto* const sink = static_cast<KafkaSink*>(opaque);
    if (api_key == kEndTxn) sink->end_requests_.fetch_add(1, std::memory_order_acq_rel);
    if (api_key == kTxnOffsetCommit) sink->offset_requests_.fetch_add(1, std::memory_order_acq_rel);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

// Where murmur2_random puts it, as Java's producer; records without a key do not come here.
int32_t KafkaSink::on_partition(const rd_kafka_topic_t* topic, const void* key, size_t key_bytes,
                                int32_t partitions, void* sink, void* message) {
    const int32_t chosen =
        rd_kafka_msg_partitioner_murmur2_random(topic, key, key_bytes, partitions, nullptr, message);
    static_cast<KafkaSink*>(sink)->partition_.store(chosen, std::memory_order_relaxed);
    return chosen;
}

Result<void> KafkaSink::open(int64_t timeout_ms) {
    const int64_t deadline_ms = clock_.monotonic_ms() + timeout_ms;
    KafkaClientSettings client;
    client.client_id = settings_.client_id;
    client.transactional_id = settings_.transactional_id;
    client.transaction_timeout_ms = transaction_timeout_ms_;
    client.customize = [this](rd_kafka_conf_t* conf) {
        rd_kafka_conf_set_opaque(conf, this);
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
        rd_kafka_conf_interceptor_add_on_new(conf, "weir", on_new_client, this);
    };
    outputs_.clear();
    fullest_ = elsewhere_ = 0;
    WEIR_ASSIGN(producer_, make_kafka_client(config_, KafkaRole::kProducer, client));
    WEIR_TRY(learn_batch_limits());
    if (!settings_.transactional_id.empty()) WEIR_TRY(init_transactions(deadline_ms));
    return learn_output_topics(deadline_ms);
}

Result<void> KafkaSink::init_transactions(int64_t deadline_ms) {
    while (true) {
        rd_kafka_error_t* const error =
            rd_kafka_init_transactions(producer_.get(), slice(deadline_ms - clock_.monotonic_ms()));
        if (error == nullptr) return {};
        if (!rd_kafka_error_is_retriable(error) || clock_.monotonic_ms() >= deadline_ms)
            return producer_error(producer_.get(), error,
                                  "open producer '" + settings_.transactional_id + "'");
        rd_kafka_error_destroy(error);
    }
}

Result<void> KafkaSink::learn_batch_limits() {
    const auto number = [&](const char* name, size_t& value) -> Result<void> {
        char text[32] = "";
        size_t size = sizeof(text);
        const auto code = rd_kafka_conf_get(rd_kafka_conf(producer_.get()), name, text, &size);
        if (code != RD_KAFKA_CONF_OK) return Error{Code::kInvalid, std::string("kafka property ") + name};
        value = std::strtoull(text, nullptr, 10);
        return {};
    };
    size_t largest_request = 0;
    size_t records = 0;
    WEIR_TRY(number("batch.size", batch_bytes_));
    WEIR_TRY(number("message.max.bytes", largest_request));
    WEIR_TRY(number("batch.num.messages", records));
    batch_bytes_ = std::min(batch_bytes_, largest_request);
    least_share_ = batch_bytes_ / records;
    return {};
}

// Without known partitions the first records of a producer wait for a metadata timer of a second.
Result<void> KafkaSink::learn_output_topics(int64_t deadline_ms) {
    for (const std::string& name : settings_.outputs) {
        Output& output = outputs_.emplace_back();
        if (name.empty()) continue;
        rd_kafka_topic_conf_t* const conf = rd_kafka_default_topic_conf_dup(producer_.get());
        rd_kafka_topic_conf_set_opaque(conf, this);
        rd_kafka_topic_conf_set_partitioner_cb(conf, on_partition);
        output.topic.reset(rd_kafka_topic_new(producer_.get(), name.c_str(), conf));
        if (output.topic == nullptr)
            return kafka_error(rd_kafka_last_error(), "output topic '" + name + "'");
        const int64_t absent_until_ms = std::min(deadline_ms, clock_.monotonic_ms() + kAbsentTopicWaitMs);
        while (true) {
            const rd_kafka_metadata_t* metadata = nullptr;
            const int64_t left_ms = deadline_ms - clock_.monotonic_ms();
            auto code = rd_kafka_metadata(producer_.get(), 0, output.topic.get(), &metadata, slice(left_ms));
            if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
                code = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
                if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
                    output.waiting.resize(static_cast<size_t>(metadata->topics[0].partition_cnt));
                rd_kafka_metadata_destroy(metadata);
            }
            if (code == RD_KAFKA_RESP_ERR_NO_ERROR) break;
            const Error error = kafka_error(code, "output topic '" + name + "'");
            const int64_t until_ms = error.code == Code::kNotFound ? absent_until_ms : deadline_ms;
            if ((error.code != Code::kNotFound && !may_pass(error)) || clock_.monotonic_ms() >= until_ms)
                return error;
            rd_kafka_poll(producer_.get(), 50);
        }
    }
    return {};
}

const std::string& KafkaSink::input(const TopicPartition& partition) const {
    return settings_.inputs.at(static_cast<size_t>(partition.topic));
}

Result<void> KafkaSink::ensure_offsets_client() {
    if (offsets_client_ != nullptr) return {};
    KafkaClientSettings client;
    client.client_id = settings_.client_id + "-offsets";
    client.group_id = settings_.group_id;
    // A consumer that reads committed is told to wait while another transaction holds offsets of the group,
    // and asks again until the call's timeout. Before open() a transaction of our own may be that one.
    const KafkaRole role = producer_ != nullptr ? KafkaRole::kConsumer : KafkaRole::kAdmin;
    WEIR_ASSIGN(offsets_client_, make_kafka_client(config_, role, client));
    return {};
}

Result<std::vector<std::optional<processor::CommittedOffset>>> KafkaSink::committed(
    std::span<const TopicPartition> partitions, int64_t timeout_ms) {
    const int64_t deadline_ms = clock_.monotonic_ms() + timeout_ms;
    WEIR_TRY(ensure_offsets_client());
    const PartitionsHandle list = make_partitions(partitions.size());
    for (const TopicPartition& partition : partitions)
        rd_kafka_topic_partition_list_add(list.get(), input(partition).c_str(), partition.partition);

    while (true) {
        auto code =
            rd_kafka_committed(offsets_client_.get(), list.get(), slice(deadline_ms - clock_.monotonic_ms()));
        for (int i = 0; i < list->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; ++i) code = list->elems[i].err;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) break;
        const Error error = kafka_error(code, "committed offsets of group '" + settings_.group_id + "'");
        if (!may_pass(error) || clock_.monotonic_ms() >= deadline_ms) return error;
        clock_.sleep_ms(kRetryPauseMs);  // A coordinator that refuses answers at once.
    }
    std::vector<std::optional<processor::CommittedOffset>> result;
    for (int i = 0; i < list->cnt; ++i) {
        const rd_kafka_topic_partition_t& element = list->elems[i];
        if (element.offset < 0)
            result.emplace_back();
        else
            result.emplace_back(processor::CommittedOffset{
                element.offset,
                std::string(static_cast<const char*>(element.metadata), element.metadata_size)});
    }
    // A transactional sink commits through its producer: it needs this client at recovery only.
    if (!settings_.transactional_id.empty()) offsets_client_.reset();
    return result;
}

Result<void> KafkaSink::begin() {
    if (settings_.transactional_id.empty()) return {};
    end_requests_.store(0, std::memory_order_release);
    offset_requests_.store(0, std::memory_order_release);
    failed_delivery_.reset();
    rd_kafka_error_t* const error = rd_kafka_begin_transaction(producer_.get());
    if (error != nullptr) return producer_error(producer_.get(), error, "begin transaction");
    return {};
}

// Librdkafka 2.0.2 polls without a pause while a partition has one request under way and the next is ready,
// and so takes the CPU from a broker beside it. What would need a second request waits for the first.
Result<void> KafkaSink::produce(const processor::OutputRecord& record) {
    size_t share = kRecordOverhead + record.key.size() + record.value.size();
    for (const processor::Header& header : record.headers)
        share += kRecordOverhead + header.name.size() + header.value.size();
    share = std::max(share, least_share_);
    const size_t waiting = fullest_ + elsewhere_;
    if (waiting != 0 && waiting + share > batch_bytes_) WEIR_TRY(make_room());

    Output& output = outputs_.at(static_cast<size_t>(record.topic));
    fields_.clear();
    const auto field = [this](rd_kafka_vtype_t type) -> auto& {
        fields_.emplace_back();
        fields_.back().vtype = type;
        return fields_.back().u;
    };
    partition_.store(record.partition, std::memory_order_relaxed);
    field(RD_KAFKA_VTYPE_RKT).rkt = output.topic.get();
    field(RD_KAFKA_VTYPE_MSGFLAGS).i = RD_KAFKA_MSG_F_COPY;
    field(RD_KAFKA_VTYPE_PARTITION).i32 =
        record.partition == processor::kPartitionByKey ? RD_KAFKA_PARTITION_UA : record.partition;
    field(RD_KAFKA_VTYPE_KEY).mem = {const_cast<char*>(record.key.data()), record.key.size()};
    field(RD_KAFKA_VTYPE_VALUE).mem = {const_cast<char*>(record.value.data()), record.value.size()};
    // Librdkafka reads 0 as "now", and Kafka knows no times before 1970.
    if (record.timestamp_ms != -1)
        field(RD_KAFKA_VTYPE_TIMESTAMP).i64 = std::max<int64_t>(record.timestamp_ms, 1);
    for (const processor::Header& header : record.headers) {
        auto& target = field(RD_KAFKA_VTYPE_HEADER).header;
        header_names_.emplace_back(header.name);  // Librdkafka wants a terminated name.
        target.name = header_names_.back().c_str();
        target.val = header.value.data();
        target.size = static_cast<ssize_t>(header.value.size());
    }
    const auto enqueued = enqueue();
    header_names_.clear();
    WEIR_TRY(enqueued);

    const auto partition = static_cast<size_t>(partition_.load(std::memory_order_relaxed));
    if (partition < output.waiting.size())
        fullest_ = std::max(fullest_, output.waiting[partition] += share);
    else
        elsewhere_ += share;
    return {};
}

Result<void> KafkaSink::enqueue() {
    for (bool full = false;; full = true) {
        rd_kafka_error_t* const error = rd_kafka_produceva(producer_.get(), fields_.data(), fields_.size());
        if (error == nullptr) [[likely]]
            return {};
        if (full || rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return producer_error(producer_.get(), error,
                                  std::string("produce to ") + rd_kafka_topic_name(fields_.front().u.rkt));
        rd_kafka_error_destroy(error);
        WEIR_TRY(make_room());
    }
}

// A delivery that failed is not the fault of the record that is being produced: its caller must not set that
// one aside, as it does with a record that is refused.
Result<void> KafkaSink::make_room() {
    auto flushed = flush(kMakeRoomMs);
    if (flushed.ok()) return {};
    Error error = std::move(flushed.error());
    if (error.code != Code::kFenced) error.code = Code::kUnavailable;
    return error;
}

void KafkaSink::start_flush() {
    if (producer_ != nullptr) rd_kafka_flush(producer_.get(), 0);  // Sends what linger.ms still holds back.
}

// In short slices: while rd_kafka_flush() runs nothing lingers, but it looks at its counters every 10 ms
// only.
Result<void> KafkaSink::flush(int64_t timeout_ms) {
    const int64_t deadline_ms = clock_.monotonic_ms() + timeout_ms;
    rd_kafka_poll(producer_.get(), 0);
    while (rd_kafka_outq_len(producer_.get()) > 0 && !failed_delivery_) {
        if (clock_.monotonic_ms() >= deadline_ms) return out_of_time("flush of the outputs");
        rd_kafka_flush(producer_.get(), 2);
    }
    if (!failed_delivery_) {
        for (Output& output : outputs_) std::fill(output.waiting.begin(), output.waiting.end(), 0);
        fullest_ = elsewhere_ = 0;
        return {};
    }
    Error error = std::move(*failed_delivery_);
    failed_delivery_.reset();
    char text[512] = "";
    const auto fatal = rd_kafka_fatal_error(producer_.get(), text, sizeof(text));
    if (fatal != RD_KAFKA_RESP_ERR_NO_ERROR) return kafka_error(fatal, "flush of the outputs", text);
    return error;
}

PartitionsHandle KafkaSink::to_partitions(std::span<const processor::OffsetCommit> offsets) const {
    PartitionsHandle list = make_partitions(offsets.size());
    for (const processor::OffsetCommit& commit : offsets) {
        WEIR_CHECK(commit.metadata.find('\0') == std::string::npos, "NUL in commit metadata");
        rd_kafka_topic_partition_t* const element = rd_kafka_topic_partition_list_add(
            list.get(), input(commit.partition).c_str(), commit.partition.partition);
        element->offset = commit.offset;
        element->metadata_size = commit.metadata.size();
        element->metadata = rd_kafka_mem_malloc(nullptr, commit.metadata.size() + 1);  // The list frees it.
        std::copy_n(commit.metadata.c_str(), commit.metadata.size() + 1,
                    static_cast<char*>(element->metadata));
    }
    return list;
}

Result<void> KafkaSink::send_offsets(std::span<const processor::OffsetCommit> offsets, int64_t timeout_ms) {
    const int64_t deadline_ms = clock_.monotonic_ms() + timeout_ms;
    const PartitionsHandle list = to_partitions(offsets);
    const std::unique_ptr<rd_kafka_consumer_group_metadata_t, void (*)(rd_kafka_consumer_group_metadata_t*)>
        group(rd_kafka_consumer_group_metadata_new(settings_.group_id.c_str()),
              rd_kafka_consumer_group_metadata_destroy);
    while (true) {
        const int64_t left_ms = std::max<int64_t>(1, deadline_ms - clock_.monotonic_ms());
        rd_kafka_error_t* const error = rd_kafka_send_offsets_to_transaction(
            producer_.get(), list.get(), group.get(), static_cast<int>(left_ms));
        if (error == nullptr) return {};
        if (!rd_kafka_error_is_retriable(error) || clock_.monotonic_ms() >= deadline_ms)
            return producer_error(producer_.get(), error, "send offsets to transaction");
        rd_kafka_error_destroy(error);
    }
}

CommitOutcome KafkaSink::commit(int64_t timeout_ms) {
    if (settings_.transactional_id.empty()) return CommitOutcome::kCommitted;
    const int64_t deadline_ms = clock_.monotonic_ms() + timeout_ms;
    while (true) {
        rd_kafka_error_t* const error =
            rd_kafka_commit_transaction(producer_.get(), slice(deadline_ms - clock_.monotonic_ms()));
        if (error == nullptr) {
            const bool repeated = end_requests() > 1 || offset_requests_.load(std::memory_order_acquire) > 1;
            return repeated ? CommitOutcome::kCommittedReplaceSink : CommitOutcome::kCommitted;
        }
        const bool again = rd_kafka_error_is_retriable(error) && clock_.monotonic_ms() < deadline_ms;
        const bool fenced = is_fenced(producer_.get(), rd_kafka_error_code(error));
        const Error reason = producer_error(producer_.get(), error, "commit transaction");
        if (again) continue;
        log_warn("{}; fenced={} end_requests={}", reason.message, fenced, end_requests());
        return fenced ? CommitOutcome::kFenced : CommitOutcome::kUnknown;
    }
}

Result<void> KafkaSink::commit_offsets(std::span<const processor::OffsetCommit> offsets, bool wait) {
    WEIR_TRY(ensure_offsets_client());
    const PartitionsHandle list = to_partitions(offsets);
    auto code = rd_kafka_commit(offsets_client_.get(), list.get(), wait ? 0 : 1);
    for (int i = 0; wait && i < list->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; ++i)
        code = list->elems[i].err;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_error(code, "commit offsets of group '" + settings_.group_id + "'");
    return {};
}

Result<void> KafkaSink::restore(std::string_view position) {
    if (position.empty()) return {};
    return Error{Code::kMismatch, "a remembered position names files, but no output is one"};
}

}  // namespace weir::connectors
