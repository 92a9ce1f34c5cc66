#include "connectors/routing_connector.h"

#include <algorithm>

#include "connectors/file_connector.h"
#include "connectors/kafka_connector.h"

namespace weir::connectors {
namespace {

// How long a wait for Kafka may keep standard input waiting.
constexpr int64_t kStreamDelayMs = 10;

bool has(const std::vector<Endpoint>& endpoints, bool files) {
    return std::any_of(endpoints.begin(), endpoints.end(),
                       [&](const Endpoint& end) { return end.is_file == files; });
}

// The names of one kind by TopicId, the others empty.
std::vector<std::string> names(const std::vector<Endpoint>& endpoints, bool files) {
    std::vector<std::string> result;
    for (const Endpoint& endpoint : endpoints)
        result.push_back(endpoint.is_file == files ? endpoint.name : "");
    return result;
}

bool is_file(const std::vector<Endpoint>& endpoints, TopicId topic) {
    return endpoints.at(static_cast<size_t>(topic)).is_file;
}

class RoutingSource final : public processor::Source {
public:
    RoutingSource(std::unique_ptr<processor::Source> kafka, std::unique_ptr<processor::Source> files,
                  std::vector<Endpoint> inputs)
        : kafka_(std::move(kafka)), files_(std::move(files)), inputs_(std::move(inputs)) {}

    Result<void> assign(std::span<const processor::StartOffset> starts) override {
        std::vector<processor::StartOffset> topics;
        std::vector<processor::StartOffset> files;
        for (const processor::StartOffset& start : starts)
            (is_file(inputs_, start.partition.topic) ? files : topics).push_back(start);
        reads_kafka_ = !topics.empty();
        if (reads_kafka_) WEIR_TRY(kafka_->assign(topics));
        files_done_ = files.empty();
        return files_->assign(files);
    }

    Result<processor::Poll> poll(int64_t wait_ms, size_t max_records) override {
        runs_.clear();
        caught_up_.clear();
        const int64_t file_wait_ms = reads_kafka_ ? 0 : wait_ms;
        WEIR_ASSIGN(const processor::Poll from_files, files_->poll(file_wait_ms, max_records));
        append(from_files);
        files_done_ = from_files.end_of_input;
        if (reads_kafka_) {
            int64_t kafka_wait_ms = wait_ms;
            if (!runs_.empty())
                kafka_wait_ms = 0;
            else if (!files_done_)
                kafka_wait_ms = std::min(wait_ms, kStreamDelayMs);
            WEIR_ASSIGN(const processor::Poll from_kafka, kafka_->poll(kafka_wait_ms, max_records));
            append(from_kafka);
        }
        return processor::Poll{runs_, caught_up_, files_done_ && !reads_kafka_};
    }

    void hold(std::span<const TopicPartition> partitions) override {
        std::vector<TopicPartition> topics;
        std::vector<TopicPartition> files;
        for (const TopicPartition& partition : partitions)
            (is_file(inputs_, partition.topic) ? files : topics).push_back(partition);
        if (reads_kafka_) kafka_->hold(topics);
        files_->hold(files);
    }

    void read_headers(const processor::InputRecord& record,
                      std::vector<processor::Header>& out) const override {
        if (record.native != nullptr) kafka_->read_headers(record, out);  // A file's records have none.
    }

    Result<int64_t> end_offset(TopicPartition partition, int64_t timeout_ms) override {
        return (is_file(inputs_, partition.topic) ? files_ : kafka_)->end_offset(partition, timeout_ms);
    }

    void forget(std::span<const processor::StartOffset> before) override { kafka_->forget(before); }

private:
    void append(const processor::Poll& poll) {
        runs_.insert(runs_.end(), poll.runs.begin(), poll.runs.end());
        caught_up_.insert(caught_up_.end(), poll.caught_up.begin(), poll.caught_up.end());
    }

    std::unique_ptr<processor::Source> kafka_;
    std::unique_ptr<processor::Source> files_;
    std::vector<Endpoint> inputs_;
    bool reads_kafka_ = false;
    bool files_done_ = true;
    std::vector<processor::InputRun> runs_;
    std::vector<processor::CaughtUp> caught_up_;
};

class RoutingSink final : public processor::Sink {
public:
    RoutingSink(std::unique_ptr<processor::Sink> kafka, std::unique_ptr<processor::Sink> files,
                std::vector<Endpoint> inputs, std::vector<Endpoint> outputs)
        : kafka_(std::move(kafka)),
          files_(std::move(files)),
          inputs_(std::move(inputs)),
          outputs_(std::move(outputs)) {}

    void set_transaction_timeout(int64_t timeout_ms) override { kafka_->set_transaction_timeout(timeout_ms); }

    Result<void> open(int64_t timeout_ms) override {
        WEIR_TRY(kafka_->open(timeout_ms));  // First: it keeps a predecessor from writing to the files.
        return files_->open(timeout_ms);
    }

    Result<std::vector<std::optional<processor::CommittedOffset>>> committed(
        std::span<const TopicPartition> partitions, int64_t timeout_ms) override {
        std::vector<TopicPartition> topics;
        for (const TopicPartition& partition : partitions)
            if (!is_file(inputs_, partition.topic)) topics.push_back(partition);
        std::vector<std::optional<processor::CommittedOffset>> result(partitions.size());
        if (topics.empty()) return result;
        WEIR_ASSIGN(auto found, kafka_->committed(topics, timeout_ms));
        size_t next = 0;
        for (size_t i = 0; i < partitions.size(); ++i)
            if (!is_file(inputs_, partitions[i].topic)) result[i] = std::move(found[next++]);
        return result;
    }

    Result<void> begin() override { return kafka_->begin(); }
    Result<void> produce(const processor::OutputRecord& record) override {
        return (is_file(outputs_, record.topic) ? files_ : kafka_)->produce(record);
    }
    void start_flush() override {
        kafka_->start_flush();
        files_->start_flush();
    }
    Result<void> flush(int64_t timeout_ms) override {
        kafka_->start_flush();
        WEIR_TRY(files_->flush(timeout_ms));
        return kafka_->flush(timeout_ms);
    }
    Result<void> send_offsets(std::span<const processor::OffsetCommit> offsets, int64_t timeout_ms) override {
        return kafka_->send_offsets(of_topics(offsets), timeout_ms);
    }
    processor::CommitOutcome commit(int64_t timeout_ms) override { return kafka_->commit(timeout_ms); }
    Result<void> commit_offsets(std::span<const processor::OffsetCommit> offsets, bool wait) override {
        const auto topics = of_topics(offsets);
        if (topics.empty()) return {};
        return kafka_->commit_offsets(topics, wait);
    }
    std::string position() const override { return files_->position(); }
    Result<void> restore(std::string_view position) override { return files_->restore(position); }

private:
    [[nodiscard]] std::vector<processor::OffsetCommit> of_topics(
        std::span<const processor::OffsetCommit> offsets) const {
        std::vector<processor::OffsetCommit> result;
        for (const processor::OffsetCommit& commit : offsets)
            if (!is_file(inputs_, commit.partition.topic)) result.push_back(commit);
        return result;
    }

    std::unique_ptr<processor::Sink> kafka_;
    std::unique_ptr<processor::Sink> files_;
    std::vector<Endpoint> inputs_;
    std::vector<Endpoint> outputs_;
};

}  // namespace

std::unique_ptr<processor::Connector> make_connector(const config::KafkaConfig& kafka,
                                                     const std::string& pipeline,
                                                     const std::vector<Endpoint>& inputs,
                                                     const std::vector<Endpoint>& outputs) {
    const bool any_topic = has(inputs, false) || has(outputs, false);
    const bool any_file = has(inputs, true) || has(outputs, true);
    auto files = std::make_unique<FileConnector>(names(inputs, true), names(outputs, true));
    if (!any_topic) return files;
    auto topics =
        std::make_unique<KafkaConnector>(kafka, pipeline, names(inputs, false), names(outputs, false));
    if (!any_file) return topics;
    return std::make_unique<RoutingConnector>(std::move(topics), std::move(files), inputs, outputs);
}

RoutingConnector::RoutingConnector(std::unique_ptr<processor::Connector> kafka,
                                   std::unique_ptr<processor::Connector> files, std::vector<Endpoint> inputs,
                                   std::vector<Endpoint> outputs)
    : kafka_(std::move(kafka)),
      files_(std::move(files)),
      inputs_(std::move(inputs)),
      outputs_(std::move(outputs)) {}

processor::Connector& RoutingConnector::behind(TopicId input) const {
    return is_file(inputs_, input) ? *files_ : *kafka_;
}

Result<std::string> RoutingConnector::cluster_id(int64_t timeout_ms) {
    return kafka_->cluster_id(timeout_ms);
}

Result<processor::TopicInfo> RoutingConnector::describe(TopicId topic, int64_t timeout_ms) {
    return behind(topic).describe(topic, timeout_ms);
}

Result<processor::OffsetRange> RoutingConnector::offset_range(TopicPartition partition, int64_t timeout_ms) {
    return behind(partition.topic).offset_range(partition, timeout_ms);
}

Result<int64_t> RoutingConnector::resolve_start(TopicPartition partition,
                                                const processor::StartPolicy& policy, int64_t timeout_ms) {
    return behind(partition.topic).resolve_start(partition, policy, timeout_ms);
}

Result<void> RoutingConnector::create_topic(TopicId topic, int32_t partitions,
                                            std::span<const processor::TopicSetting> settings,
                                            int64_t timeout_ms) {
    return behind(topic).create_topic(topic, partitions, settings, timeout_ms);
}

Result<std::unique_ptr<processor::Source>> RoutingConnector::make_source(
    const processor::WorkerIdentity& identity) {
    WEIR_ASSIGN(auto kafka, kafka_->make_source(identity));
    WEIR_ASSIGN(auto files, files_->make_source(identity));
    return std::unique_ptr<processor::Source>(
        std::make_unique<RoutingSource>(std::move(kafka), std::move(files), inputs_));
}

Result<std::unique_ptr<processor::Sink>> RoutingConnector::make_sink(
    const processor::WorkerIdentity& identity, bool transactional) {
    WEIR_ASSIGN(auto kafka, kafka_->make_sink(identity, transactional));
    WEIR_ASSIGN(auto files, files_->make_sink(identity, transactional));
    return std::unique_ptr<processor::Sink>(
        std::make_unique<RoutingSink>(std::move(kafka), std::move(files), inputs_, outputs_));
}

}  // namespace weir::connectors
