#include "connectors/kafka_source.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "base/time.h"

namespace weir::connectors {
namespace {

processor::MaybeBytes bytes(const void* data, size_t size) {
    return {static_cast<const char*>(data), size};  // A null pointer stays null.
}

}  // namespace

KafkaSource::KafkaSource(config::KafkaConfig config, KafkaClientSettings settings,
                         std::vector<std::string> topics, rd_kafka_t* admin)
    : config_(std::move(config)), settings_(std::move(settings)), topics_(std::move(topics)), admin_(admin) {}

KafkaSource::~KafkaSource() { close(); }

void KafkaSource::release_records() {
    for (rd_kafka_message_t* message : std::span(messages_).first(message_count_))
        rd_kafka_message_destroy(message);
    message_count_ = 0;
    records_.clear();
    runs_.clear();
    caught_up_.clear();
}

void KafkaSource::close() {
    release_records();
    known_topics_.clear();
    for (const Assigned& assigned : assigned_)
        if (assigned.queue != nullptr) rd_kafka_queue_io_event_enable(assigned.queue.get(), -1, nullptr, 0);
    assigned_.clear();
    if (queue_ != nullptr) rd_kafka_queue_io_event_enable(queue_.get(), -1, nullptr, 0);
    queue_.reset();
    consumer_.reset();
    if (wake_fd_ >= 0) ::close(wake_fd_);
    wake_fd_ = -1;
}

Result<void> KafkaSource::assign(std::span<const processor::StartOffset> starts) {
    close();
    wake_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wake_fd_ < 0) return Error{Code::kIo, std::string("eventfd: ") + std::strerror(errno)};
    WEIR_ASSIGN(consumer_, make_kafka_client(config_, KafkaRole::kConsumer, settings_));
    rd_kafka_poll_set_consumer(consumer_.get());
    queue_.reset(rd_kafka_queue_get_consumer(consumer_.get()));
    constexpr uint64_t kWake = 1;
    rd_kafka_queue_io_event_enable(queue_.get(), wake_fd_, &kWake, sizeof(kWake));

    const PartitionsHandle partitions = make_partitions(starts.size());
    wakes_left_ = 0;
    for (const processor::StartOffset& start : starts) {
        Assigned& assigned = assigned_.emplace_back();
        assigned.partition = start.partition;
        const std::string& topic = topics_.at(static_cast<size_t>(start.partition.topic));
        if (start.may_be_held) {
            // Before it is assigned, so that no record of it ever reaches the consumer's queue.
            assigned.queue.reset(
                rd_kafka_queue_get_partition(consumer_.get(), topic.c_str(), start.partition.partition));
            if (assigned.queue == nullptr) return Error{Code::kUnavailable, "a partition has no queue"};
            rd_kafka_queue_forward(assigned.queue.get(), nullptr);
            rd_kafka_queue_io_event_enable(assigned.queue.get(), wake_fd_, &kWake, sizeof(kWake));
        }
        rd_kafka_topic_partition_list_add(partitions.get(), topic.c_str(), start.partition.partition)
            ->offset = start.offset;
    }
    const auto code = rd_kafka_assign(consumer_.get(), partitions.get());
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return kafka_error(code, "assign partitions");
    return {};
}

bool KafkaSource::wait_for_records(int64_t wait_ms) {
    pollfd wait{wake_fd_, POLLIN, 0};
    if (::poll(&wait, 1, static_cast<int>(std::min<int64_t>(wait_ms, 60'000))) <= 0) return false;
    uint64_t count;
    // Before the queue is read, so that a record that comes in between wakes the next wait.
    return read(wake_fd_, &count, sizeof(count)) == sizeof(count);
}

// A fetch queue that was full puts librdkafka's broker thread to sleep for up to a second (before 2.2.0,
// which has fetch.queue.backoff.ms), although the queue was drained meanwhile. Any request wakes that thread,
// and it fetches again. Asking costs a round trip, once per drain and only where the log goes on.
void KafkaSource::wake_fetcher() {
    constexpr int kTimeoutMs = 100;
    while (wakes_left_ > 0) {
        --wakes_left_;
        next_wake_ = (next_wake_ + 1) % assigned_.size();
        const Assigned& next = assigned_[next_wake_];
        if (next.caught_up || next.held) continue;
        int64_t begin;
        int64_t end;
        rd_kafka_query_watermark_offsets(consumer_.get(),
                                         topics_.at(static_cast<size_t>(next.partition.topic)).c_str(),
                                         next.partition.partition, &begin, &end, kTimeoutMs);
        return;
    }
}

// The consumer's queue first, which also has the errors, then the partitions' own.
void KafkaSource::take(size_t max_records) {
    const auto from = [&](rd_kafka_queue_t* queue) {
        if (message_count_ == max_records) return;
        const ssize_t count = rd_kafka_consume_batch_queue(queue, 0, messages_.data() + message_count_,
                                                           max_records - message_count_);
        message_count_ += count > 0 ? static_cast<size_t>(count) : 0;
    };
    from(queue_.get());
    for (size_t i = 0; i < assigned_.size(); ++i) {
        const Assigned& next = assigned_[(first_queue_ + i) % assigned_.size()];
        if (next.queue != nullptr && !next.held) from(next.queue.get());
    }
    ++first_queue_;
}

void KafkaSource::hold(std::span<const TopicPartition> partitions) {
    for (Assigned& assigned : assigned_)
        assigned.held =
            std::find(partitions.begin(), partitions.end(), assigned.partition) != partitions.end();
}

Result<processor::Poll> KafkaSource::poll(int64_t wait_ms, size_t max_records) {
    release_records();
    if (consumer_ == nullptr) return Error{Code::kInvalid, "poll() before assign()"};
    if (messages_.size() < max_records) {
        messages_.resize(max_records);
        records_.reserve(max_records);
    }
    take(max_records);
    if (message_count_ == 0 && wakes_left_ > 0) {
        wake_fetcher();
        take(max_records);
    }
    if (message_count_ == 0 && wait_ms > 0) {
        // The eventfd may still tell of records that were taken without waiting: then wait again.
        const SystemClock clock;
        const int64_t deadline_ms = clock.monotonic_ms() + wait_ms;
        for (int64_t left = wait_ms; message_count_ == 0 && left > 0;
             left = deadline_ms - clock.monotonic_ms()) {
            if (!wait_for_records(left)) break;
            take(max_records);
        }
    }
    return sort_out();
}

void KafkaSource::mark_caught_up(TopicPartition partition, bool caught_up) {
    for (Assigned& assigned : assigned_)
        if (assigned.partition == partition) assigned.caught_up = caught_up;
    if (!caught_up) wakes_left_ = assigned_.size();
}

Result<processor::Poll> KafkaSource::sort_out() {
    const rd_kafka_topic_t* run_topic = nullptr;
    int32_t run_partition = -1;
    size_t run_begin = 0;
    TopicPartition run{};
    const auto end_run = [&] {
        if (records_.size() > run_begin) runs_.push_back({run, std::span(records_).subspan(run_begin)});
        run_begin = records_.size();
    };
    for (const rd_kafka_message_t* message : std::span(messages_).first(message_count_)) {
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) [[unlikely]] {
            if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
                caught_up_.push_back({{topic_of(*message), message->partition}, message->offset});
                mark_caught_up(caught_up_.back().partition, true);
            } else if (auto error = classify(*message))
                return std::move(*error);
            continue;
        }
        if (message->rkt != run_topic || message->partition != run_partition) [[unlikely]] {
            end_run();
            run_topic = message->rkt;
            run_partition = message->partition;
            run = {topic_of(*message), run_partition};
            mark_caught_up(run, false);
        }
        rd_kafka_timestamp_type_t type;
        const int64_t timestamp = rd_kafka_message_timestamp(message, &type);
        // In place: a copy would wait for its parts to be written.
        processor::InputRecord& record = records_.emplace_back();
        record.key = bytes(message->key, message->key_len);
        record.value = bytes(message->payload, message->len);
        record.offset = message->offset;
        record.timestamp_ms = timestamp;
        record.native = message;
    }
    end_run();
    return processor::Poll{runs_, caught_up_, false};
}

TopicId KafkaSource::topic_of(const rd_kafka_message_t& message) {
    for (const KnownTopic& known : known_topics_)
        if (known.handle == message.rkt) return known.topic;
    const auto found = std::find(topics_.begin(), topics_.end(), rd_kafka_topic_name(message.rkt));
    WEIR_CHECK(found != topics_.end(), rd_kafka_topic_name(message.rkt));
    const TopicId topic{static_cast<uint16_t>(found - topics_.begin())};
    known_topics_.push_back({message.rkt, topic});
    return topic;
}

std::optional<Error> KafkaSource::classify(const rd_kafka_message_t& event) const {
    std::string what = "consume";
    if (event.rkt != nullptr)
        what = fmt::format("consume {}/{} at offset {}", rd_kafka_topic_name(event.rkt), event.partition,
                           event.offset);
    const char* const detail = rd_kafka_message_errstr(&event);
    Error error = kafka_error(event.err, what, detail != nullptr ? detail : "");
    if (error.code != Code::kUnavailable && error.code != Code::kTimedOut) return error;
    log_warn("{}; retrying", error.message);
    return std::nullopt;
}

void KafkaSource::read_headers(const processor::InputRecord& record,
                               std::vector<processor::Header>& out) const {
    rd_kafka_headers_t* headers = nullptr;
    const auto* const message = static_cast<const rd_kafka_message_t*>(record.native);
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return;
    const char* name;
    const void* value;
    size_t size;
    for (size_t i = 0;
         rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR; ++i)
        out.push_back({name, bytes(value, size)});
}

void KafkaSource::forget(std::span<const processor::StartOffset> before) {
    if (forgotten_ == nullptr) forgotten_.reset(rd_kafka_queue_new(admin_));
    while (rd_kafka_event_t* const event = rd_kafka_queue_poll(forgotten_.get(), 0)) {
        auto code = rd_kafka_event_error(event);
        const auto* const result = rd_kafka_event_DeleteRecords_result(event);
        const auto* const list = result == nullptr ? nullptr : rd_kafka_DeleteRecords_result_offsets(result);
        for (int i = 0; list != nullptr && i < list->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; ++i)
            code = list->elems[i].err;
        // Brokers that come and go are asked again soon; what does not pass is told once.
        const Error error = kafka_error(code, "delete consumed records of internal topics");
        const bool passes = error.code == Code::kUnavailable || error.code == Code::kTimedOut;
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR && !passes && !told_not_forgotten_) {
            told_not_forgotten_ = true;
            log_warn("{}; they stay, and the topics grow", error.message);
        }
        rd_kafka_event_destroy(event);
    }
    const PartitionsHandle list = make_partitions(before.size());
    for (const processor::StartOffset& to : before) {
        const std::string& topic = topics_.at(static_cast<size_t>(to.partition.topic));
        rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), to.partition.partition)->offset =
            to.offset;
    }
    rd_kafka_DeleteRecords_t* request = rd_kafka_DeleteRecords_new(list.get());
    rd_kafka_DeleteRecords(admin_, &request, 1, nullptr, forgotten_.get());
    rd_kafka_DeleteRecords_destroy(request);
}

Result<int64_t> KafkaSource::end_offset(TopicPartition partition, int64_t timeout_ms) {
    const std::string& topic = topics_.at(static_cast<size_t>(partition.topic));
    int64_t begin;
    int64_t end;
    const auto code = rd_kafka_query_watermark_offsets(admin_, topic.c_str(), partition.partition, &begin,
                                                       &end, static_cast<int>(timeout_ms));
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_error(code, fmt::format("end of {}/{}", topic, partition.partition));
    return end;
}

}  // namespace weir::connectors
