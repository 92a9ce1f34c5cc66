#include <algorithm>
#include <utility>

#include "connectors/memory_broker.h"
#include "connectors/memory_log.h"
#include "connectors/partitioner.h"

namespace weir::connectors {
namespace {

using processor::CommitOutcome;
using Kind = Fault::Kind;

processor::MaybeBytes view(const std::optional<std::string>& text) {
    // An empty std::string still has a non-null data(), as the empty, non-null value needs.
    return text ? processor::MaybeBytes{*text} : processor::MaybeBytes{};
}

std::optional<std::string> copy(processor::MaybeBytes bytes) {
    if (bytes.data() == nullptr) return std::nullopt;
    return std::string(bytes);
}

bool fails(const std::optional<Fault>& fault) { return fault && fault->kind == Kind::kFail; }
bool loses_answer(const std::optional<Fault>& fault) { return fault && fault->kind == Kind::kLoseAnswer; }
bool arrives_later(const std::optional<Fault>& fault) { return fault && fault->kind == Kind::kArriveLater; }

Error not_found(const std::string& topic) {
    return {Code::kNotFound, "topic '" + topic + "' does not exist"};
}

}  // namespace

class MemorySource final : public processor::Source {
public:
    MemorySource(MemoryBroker& broker, std::vector<std::string> topics)
        : broker_(broker), topics_(std::move(topics)) {}

    Result<void> assign(std::span<const processor::StartOffset> starts) override {
        const auto fault = broker_.enter(Api::kAssign);
        if (fails(fault)) return fault->error;
        assigned_.clear();
        for (const processor::StartOffset& start : starts) {
            const std::string& name = topics_.at(static_cast<size_t>(start.partition.topic));
            const MemoryBroker::Topic* const topic = broker_.find(name);
            if (topic == nullptr) return not_found(name);
            if (static_cast<size_t>(start.partition.partition) >= topic->partitions.size())
                return Error{Code::kNotFound, "topic '" + name + "' has no such partition"};
            assigned_.push_back(
                {start.partition, start.offset, -1, &broker_.log(name, start.partition.partition)});
        }
        return {};
    }

    Result<processor::Poll> poll(int64_t, size_t max_records) override {
        runs_.clear();
        ranges_.clear();
        records_.clear();
        caught_up_.clear();
        const auto fault = broker_.enter(Api::kPoll);
        if (!broker_.available_) return processor::Poll{};
        if (fails(fault)) return fault->error;
        for (size_t i = 0; i < assigned_.size(); ++i) {
            Assigned& from = assigned_[(first_ + i) % assigned_.size()];
            if (!from.held) WEIR_TRY(read(from, max_records));
        }
        if (!assigned_.empty()) first_ = (first_ + 1) % assigned_.size();
        for (const Range& range : ranges_)
            runs_.push_back({range.partition, std::span(records_).subspan(range.begin, range.count)});
        return processor::Poll{runs_, caught_up_, false};
    }

    void hold(std::span<const TopicPartition> partitions) override {
        for (Assigned& from : assigned_)
            from.held = std::find(partitions.begin(), partitions.end(), from.partition) != partitions.end();
    }

    void read_headers(const processor::InputRecord& record,
                      std::vector<processor::Header>& out) const override {
        for (const auto& [name, value] : static_cast<const MemoryRecord*>(record.native)->headers)
            out.push_back({name, view(value)});
    }

    Result<int64_t> end_offset(TopicPartition partition, int64_t) override {
        const auto fault = broker_.enter(Api::kEndOffset);
        if (fails(fault)) return fault->error;
        return broker_.log(topics_.at(static_cast<size_t>(partition.topic)), partition.partition).end();
    }

    void forget(std::span<const processor::StartOffset> before) override {
        if (!broker_.available_) return;
        for (const processor::StartOffset& to : before)
            broker_.delete_records_before(topics_.at(static_cast<size_t>(to.partition.topic)),
                                          to.partition.partition, to.offset);
    }

private:
    struct Assigned {
        TopicPartition partition;
        int64_t position;
        int64_t reported_end;  // The end that a CaughtUp told last.
        MemoryBroker::Log* log;
        bool held = false;
    };
    struct Range {
        TopicPartition partition;
        size_t begin;
        size_t count;
    };

    Result<void> read(Assigned& from, size_t max_records) {
        if (from.position < from.log->begin || from.position > from.log->end())
            return Error{Code::kMismatch, "offset " + std::to_string(from.position) + " is out of range"};
        const int64_t stop = from.log->last_stable_offset();
        const size_t begin = records_.size();
        for (; from.position < stop && records_.size() < max_records; ++from.position) {
            const MemoryBroker::Entry& entry = from.log->at(from.position);
            if (!entry.visible()) continue;
            const MemoryRecord& record = entry.record;
            records_.push_back(
                {view(record.key), view(record.value), record.offset, record.timestamp_ms, &record});
        }
        if (records_.size() > begin) ranges_.push_back({from.partition, begin, records_.size() - begin});
        if (from.position >= stop && from.reported_end != from.position) {
            from.reported_end = from.position;
            caught_up_.push_back({from.partition, from.position});
        }
        return {};
    }

    MemoryBroker& broker_;
    std::vector<std::string> topics_;
    std::vector<Assigned> assigned_;
    size_t first_ = 0;  // Which partition the next poll begins with, so that none starves.
    std::vector<processor::InputRecord> records_;
    std::vector<Range> ranges_;
    std::vector<processor::InputRun> runs_;
    std::vector<processor::CaughtUp> caught_up_;
};

class MemorySink final : public processor::Sink {
public:
    MemorySink(MemoryBroker& broker, std::string group, std::string transactional_id,
               std::vector<std::string> inputs, std::vector<std::string> outputs)
        : broker_(broker),
          group_(std::move(group)),
          transactional_id_(std::move(transactional_id)),
          inputs_(std::move(inputs)),
          outputs_(std::move(outputs)) {}

    void set_transaction_timeout(int64_t timeout_ms) override { transaction_timeout_ms_ = timeout_ms; }

    Result<void> open(int64_t timeout_ms) override {
        const auto fault = broker_.enter(Api::kOpen);
        if (fails(fault)) return fault->error;
        if (transactional()) {
            auto& known = broker_.producers_[transactional_id_];
            if (known == nullptr) known = std::make_unique<MemoryBroker::Producer>();
            if (!broker_.wait_for_markers(*known, timeout_ms))
                return Error{Code::kTimedOut, "the predecessor's transaction is still being ended"};
            broker_.decide(*known, false, 0);
            producer_ = known.get();
            epoch_ = ++producer_->epoch;
            producer_->timeout_ms = transaction_timeout_ms_.value_or(broker_.transaction_timeout_ms_);
        }
        if (loses_answer(fault)) return fault->error;
        opened_ = true;
        return {};
    }

    Result<std::vector<std::optional<processor::CommittedOffset>>> committed(
        std::span<const TopicPartition> partitions, int64_t timeout_ms) override {
        const auto fault = broker_.enter(Api::kCommitted);
        if (fails(fault) || loses_answer(fault)) return fault->error;
        constexpr int64_t kStepMs = 10;
        const auto undecided = [&] {
            if (!opened_) return false;
            return std::any_of(partitions.begin(), partitions.end(), [&](const TopicPartition& partition) {
                return broker_.unstable(group_, input(partition), partition.partition);
            });
        };
        for (int64_t waited = 0; undecided(); waited += kStepMs) {
            if (waited >= timeout_ms) return Error{Code::kTimedOut, "committed offsets are still undecided"};
            broker_.clock_.sleep_ms(kStepMs);
            broker_.expire_transactions();
        }
        std::vector<std::optional<processor::CommittedOffset>> result;
        for (const TopicPartition& partition : partitions)
            result.push_back(broker_.committed(group_, input(partition), partition.partition));
        return result;
    }

    Result<void> begin() override {
        const auto fault = broker_.enter(Api::kBegin);
        if (fails(fault) && broker_.available_)
            return fault->error;  // Local: an absent broker does not matter.
        if (!transactional()) return {};
        if (!opened_ || in_transaction_ || broken_)
            return Error{Code::kInvalid, "begin() in the wrong state"};
        in_transaction_ = true;
        sent_ = repeated_ = false;
        return {};
    }

    Result<void> produce(const processor::OutputRecord& record) override {
        const auto fault = broker_.enter(Api::kProduce);
        if (fails(fault) && broker_.available_) return fault->error;
        if (!opened_ || (transactional() && !in_transaction_))
            return Error{Code::kInvalid, "produce() in the wrong state"};
        const std::string& name = outputs_.at(static_cast<size_t>(record.topic));
        const MemoryBroker::Topic* const topic = broker_.find(name);
        if (topic == nullptr) return not_found(name);
        if (fault && fault->kind == Kind::kDropRecords) {
            failed_delivery_ = fault->error;
            return {};
        }
        QueuedRecord queued{name, record.partition, {}};
        const auto count = static_cast<int32_t>(topic->partitions.size());
        if (queued.partition == processor::kPartitionByKey)
            queued.partition = record.key.data() != nullptr
                                   ? partition_for_key(record.key, count)
                                   : static_cast<int32_t>(unkeyed_++ % topic->partitions.size());
        if (queued.partition < 0 || queued.partition >= count)
            return Error{Code::kInvalid,
                         "topic '" + name + "' has no partition " + std::to_string(queued.partition)};
        queued.record.key = copy(record.key);
        queued.record.value = copy(record.value);
        queued.record.timestamp_ms = record.timestamp_ms < 0 ? broker_.clock_.wall_ms() : record.timestamp_ms;
        for (const processor::Header& header : record.headers)
            queued.record.headers.emplace_back(std::string(header.name), copy(header.value));
        queue_.push_back(std::move(queued));
        return {};
    }

    void start_flush() override {
        if (broker_.available_ && !fenced()) deliver();
    }

    Result<void> flush(int64_t) override {
        const auto fault = broker_.enter(Api::kFlush);
        if (fails(fault)) return fault->error;
        if (fenced()) return fenced_error();
        if (arrives_later(fault)) {
            send_late(*fault).records = std::exchange(queue_, {});
            failed_delivery_ = fault->error;
        }
        deliver();
        if (failed_delivery_) return *failed_delivery_;
        if (loses_answer(fault)) return fault->error;
        return {};
    }

    Result<void> send_offsets(std::span<const processor::OffsetCommit> offsets, int64_t) override {
        const auto fault = broker_.enter(Api::kSendOffsets);
        if (fails(fault)) return fault->error;
        if (!in_transaction_) return Error{Code::kInvalid, "send_offsets() outside a transaction"};
        if (fenced()) return fenced_error();
        ensure_open();
        std::map<MemoryBroker::GroupPartition, processor::CommittedOffset> sent;
        for (const processor::OffsetCommit& commit : offsets)
            sent.insert_or_assign({group_, {input(commit.partition), commit.partition.partition}},
                                  processor::CommittedOffset{commit.offset, commit.metadata});
        if (arrives_later(fault)) {
            send_late(*fault).offsets = std::move(sent);
            return fault->error;
        }
        for (const auto& [key, offset] : sent) producer_->pending_offsets.insert_or_assign(key, offset);
        if (loses_answer(fault)) return fault->error;
        if (fault && fault->kind == Kind::kRepeat) {
            repeated_ = true;
            producer_->late_offsets_epoch = epoch_;
            producer_->late_offsets = std::move(sent);
            offsets_sent_late_in_ = producer_->transaction;
        }
        return {};
    }

    CommitOutcome commit(int64_t) override {
        const auto fault = broker_.enter(Api::kCommit);
        if (!transactional()) return CommitOutcome::kCommitted;
        if (!in_transaction_) return CommitOutcome::kUnknown;
        broken_ = true;
        if (fails(fault)) return CommitOutcome::kUnknown;
        if (fenced()) return loses_answer(fault) ? CommitOutcome::kUnknown : CommitOutcome::kFenced;
        deliver();
        if (failed_delivery_) return CommitOutcome::kUnknown;
        if (arrives_later(fault)) {
            send_late(*fault).ends = true;
            return CommitOutcome::kUnknown;
        }
        if (producer_->late_offsets_epoch == epoch_ && offsets_sent_late_in_ != producer_->transaction) {
            producer_->late_offsets_epoch.reset();
            for (auto& [key, offset] : producer_->late_offsets)
                producer_->pending_offsets.insert_or_assign(key, std::move(offset));
        }
        const bool slow = fault && fault->kind == Kind::kSlowMarkers;
        // Nothing was sent: nothing is asked. Otherwise somebody else ended it: INVALID_TXN_STATE.
        const bool decided = broker_.decide(*producer_, true, slow ? fault->delay_ms : 0);
        if (sent_ && !decided) return CommitOutcome::kUnknown;
        if (loses_answer(fault)) return CommitOutcome::kUnknown;
        in_transaction_ = false;
        broken_ = false;
        if (fault && fault->kind == Kind::kRepeat) {
            repeated_ = true;
            producer_->late_end_epoch = epoch_;
        }
        return repeated_ ? CommitOutcome::kCommittedReplaceSink : CommitOutcome::kCommitted;
    }

    Result<void> commit_offsets(std::span<const processor::OffsetCommit> offsets, bool) override {
        const auto fault = broker_.enter(Api::kCommitOffsets);
        if (fails(fault)) return fault->error;
        for (const processor::OffsetCommit& commit : offsets)
            broker_.set_committed(group_, input(commit.partition), commit.partition.partition,
                                  processor::CommittedOffset{commit.offset, commit.metadata});
        if (loses_answer(fault)) return fault->error;
        return {};
    }

    std::string position() const override { return {}; }
    Result<void> restore(std::string_view position) override {
        if (position.empty()) return {};
        return Error{Code::kMismatch, "a broker has no positions to restore"};
    }

private:
    [[nodiscard]] bool transactional() const { return !transactional_id_.empty(); }
    [[nodiscard]] bool fenced() const { return producer_ != nullptr && producer_->epoch != epoch_; }
    [[nodiscard]] Error fenced_error() const {
        return {Code::kFenced, "transactional.id '" + transactional_id_ + "' was taken over"};
    }
    [[nodiscard]] const std::string& input(const TopicPartition& partition) const {
        return inputs_.at(static_cast<size_t>(partition.topic));
    }

    // The caller fills in what arrives.
    MemoryBroker::Late& send_late(const Fault& fault) {
        MemoryBroker::Late& late = broker_.late_.emplace_back();
        late.arrives_at = broker_.requests_ + fault.requests;
        late.producer = producer_;
        late.epoch = epoch_;
        return late;
    }

    void ensure_open() {
        (void)broker_.wait_for_markers(*producer_, INT64_MAX);
        sent_ = true;
        if (producer_->open) return;
        producer_->open = true;
        producer_->transaction = ++broker_.last_transaction_;
        producer_->begun_ms = broker_.clock_.monotonic_ms();
    }

    void deliver() {
        for (QueuedRecord& queued : queue_) {
            MemoryBroker::Log& to = broker_.log(queued.topic, queued.partition);
            if (!transactional()) {
                to.append(std::move(queued.record), EntryState::kPlain, 0);
                continue;
            }
            ensure_open();
            const int64_t offset =
                to.append(std::move(queued.record), EntryState::kOpen, producer_->transaction);
            producer_->partitions.try_emplace({queued.topic, queued.partition}, offset);
            if (producer_->late_end_epoch == epoch_) {
                producer_->late_end_epoch.reset();
                ++broker_.ended_.by_late_request;
                broker_.end_transaction(*producer_, true);
            }
        }
        queue_.clear();
    }

    MemoryBroker& broker_;
    std::string group_;
    std::string transactional_id_;
    std::optional<int64_t> transaction_timeout_ms_;
    std::vector<std::string> inputs_;
    std::vector<std::string> outputs_;
    MemoryBroker::Producer* producer_ = nullptr;
    int32_t epoch_ = 0;
    bool opened_ = false;
    bool in_transaction_ = false;
    bool broken_ = false;  // A commit ended otherwise than well: only a new sink may go on.
    uint64_t unkeyed_ = 0;
    std::vector<QueuedRecord> queue_;
    bool sent_ = false;                  // The open transaction is known to the broker.
    bool repeated_ = false;              // Some request of the transaction was sent twice.
    uint64_t offsets_sent_late_in_ = 0;  // The transaction whose offsets were.
    std::optional<Error> failed_delivery_;
};

MemoryConnector::MemoryConnector(MemoryBroker& broker, std::string pipeline, std::vector<std::string> inputs,
                                 std::vector<std::string> outputs)
    : broker_(broker),
      pipeline_(std::move(pipeline)),
      inputs_(std::move(inputs)),
      outputs_(std::move(outputs)) {}

Result<std::string> MemoryConnector::cluster_id(int64_t) { return std::string("memory"); }

Result<processor::TopicInfo> MemoryConnector::describe(TopicId topic, int64_t) {
    const auto fault = broker_.enter(Api::kDescribe);
    if (fails(fault)) return fault->error;
    const std::string& name = inputs_.at(static_cast<size_t>(topic));
    const MemoryBroker::Topic* const found = broker_.find(name);
    if (found == nullptr) return not_found(name);
    return processor::TopicInfo{static_cast<int32_t>(found->partitions.size()), found->settings.retention_ms,
                                found->settings.compacted};
}

Result<processor::OffsetRange> MemoryConnector::offset_range(TopicPartition partition, int64_t) {
    const auto fault = broker_.enter(Api::kDescribe);
    if (fails(fault)) return fault->error;
    const std::string& name = inputs_.at(static_cast<size_t>(partition.topic));
    if (broker_.find(name) == nullptr) return not_found(name);
    const MemoryBroker::Log& log = broker_.log(name, partition.partition);
    return processor::OffsetRange{log.begin, log.end()};
}

Result<int64_t> MemoryConnector::resolve_start(TopicPartition partition, const processor::StartPolicy& policy,
                                               int64_t timeout_ms) {
    WEIR_ASSIGN(const processor::OffsetRange range, offset_range(partition, timeout_ms));
    if (policy.kind == processor::StartPolicy::Kind::kEarliest) return range.begin;
    if (policy.kind == processor::StartPolicy::Kind::kLatest) return range.end;
    const MemoryBroker::Log& log =
        broker_.log(inputs_.at(static_cast<size_t>(partition.topic)), partition.partition);
    for (int64_t offset = range.begin; offset < range.end; ++offset)
        if (log.at(offset).visible() && log.at(offset).record.timestamp_ms >= policy.timestamp_ms)
            return offset;
    return range.end;
}

Result<void> MemoryConnector::create_topic(TopicId topic, int32_t partitions,
                                           std::span<const processor::TopicSetting> settings, int64_t) {
    const auto fault = broker_.enter(Api::kDescribe);
    if (fails(fault)) return fault->error;
    const std::string& name = inputs_.at(static_cast<size_t>(topic));
    MemoryTopicSettings memory;
    for (const processor::TopicSetting& setting : settings)
        if (std::string_view(setting.name) == "cleanup.policy")
            memory.compacted = std::string_view(setting.value) == "compact";
    if (broker_.find(name) == nullptr) broker_.create_topic(name, partitions, memory);
    return {};
}

Result<std::unique_ptr<processor::Source>> MemoryConnector::make_source(const processor::WorkerIdentity&) {
    return std::unique_ptr<processor::Source>(std::make_unique<MemorySource>(broker_, inputs_));
}

Result<std::unique_ptr<processor::Sink>> MemoryConnector::make_sink(const processor::WorkerIdentity& identity,
                                                                    bool transactional) {
    std::string id;
    if (transactional)
        id =
            identity.pipeline + "/" + std::to_string(identity.instance) + "/" + std::to_string(identity.slot);
    return std::unique_ptr<processor::Sink>(
        std::make_unique<MemorySink>(broker_, pipeline_, std::move(id), inputs_, outputs_));
}

}  // namespace weir::connectors
