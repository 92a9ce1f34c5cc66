#include "connectors/memory_broker.h"

#include <algorithm>

#include "connectors/memory_log.h"

namespace weir::connectors {

MemoryBroker::MemoryBroker(Clock& clock, int64_t transaction_timeout_ms)
    : clock_(clock), transaction_timeout_ms_(transaction_timeout_ms) {}
MemoryBroker::~MemoryBroker() = default;

void MemoryBroker::create_topic(const std::string& name, int32_t partitions, MemoryTopicSettings settings) {
    WEIR_CHECK(partitions > 0 && !topics_.contains(name), name);
    auto topic = std::make_unique<Topic>();
    topic->settings = settings;
    topic->partitions.resize(static_cast<size_t>(partitions));
    topics_.emplace(name, std::move(topic));
}

MemoryBroker::Topic* MemoryBroker::find(const std::string& name) {
    const auto found = topics_.find(name);
    return found == topics_.end() ? nullptr : found->second.get();
}

MemoryBroker::Log& MemoryBroker::log(const std::string& topic, int32_t partition) {
    Topic* const found = find(topic);
    WEIR_CHECK(
        found != nullptr && partition >= 0 && static_cast<size_t>(partition) < found->partitions.size(),
        topic + "/" + std::to_string(partition));
    return found->partitions[static_cast<size_t>(partition)];
}

int64_t MemoryBroker::append(const std::string& topic, int32_t partition, MemoryRecord record) {
    if (record.timestamp_ms < 0) record.timestamp_ms = clock_.wall_ms();
    return log(topic, partition).append(std::move(record), EntryState::kPlain, 0);
}

std::vector<MemoryRecord> MemoryBroker::read(const std::string& topic, int32_t partition,
                                             Isolation isolation) {
    expire_transactions();
    const Log& from = log(topic, partition);
    const bool all = isolation == Isolation::kReadUncommitted;
    const int64_t stop = all ? from.end() : from.last_stable_offset();
    std::vector<MemoryRecord> records;
    for (int64_t offset = from.begin; offset < stop; ++offset) {
        const Entry& entry = from.at(offset);
        if (entry.visible() || (all && entry.state != EntryState::kMarker)) records.push_back(entry.record);
    }
    return records;
}

int64_t MemoryBroker::end_offset(const std::string& topic, int32_t partition) {
    expire_transactions();
    return log(topic, partition).end();
}

int64_t MemoryBroker::last_stable_offset(const std::string& topic, int32_t partition) {
    expire_transactions();
    return log(topic, partition).last_stable_offset();
}

void MemoryBroker::delete_records_before(const std::string& topic, int32_t partition, int64_t offset) {
    Log& from = log(topic, partition);
    WEIR_CHECK(offset <= from.last_stable_offset());
    while (from.begin < offset) {
        from.entries.pop_front();
        ++from.begin;
    }
}

std::optional<processor::CommittedOffset> MemoryBroker::committed(const std::string& group,
                                                                  const std::string& topic,
                                                                  int32_t partition) {
    expire_transactions();
    const auto found = offsets_.find({group, {topic, partition}});
    if (found == offsets_.end()) return std::nullopt;
    return found->second;
}

void MemoryBroker::set_committed(const std::string& group, const std::string& topic, int32_t partition,
                                 std::optional<processor::CommittedOffset> offset) {
    const GroupPartition key{group, {topic, partition}};
    if (offset)
        offsets_.insert_or_assign(key, std::move(*offset));
    else
        offsets_.erase(key);
}

void MemoryBroker::inject(Api api, uint64_t nth, Fault fault) {
    WEIR_CHECK(nth > 0);
    faults_[static_cast<size_t>(api)].insert_or_assign(calls(api) + nth, std::move(fault));
}

size_t MemoryBroker::open_transactions() {
    expire_transactions();
    return static_cast<size_t>(std::count_if(producers_.begin(), producers_.end(),
                                             [](const auto& entry) { return entry.second->open; }));
}

std::optional<Fault> MemoryBroker::enter(Api api) {
    if (observer_) observer_(api);
    const auto index = static_cast<size_t>(api);
    ++requests_;
    for (size_t i = 0; i < late_.size();) {
        if (late_[i].arrives_at > requests_) {
            ++i;
            continue;
        }
        Late late = std::move(late_[i]);
        late_.erase(late_.begin() + static_cast<std::ptrdiff_t>(i));
        arrive(late);
    }
    const uint64_t call = ++calls_[index];
    std::optional<Fault> fault;
    if (const auto found = faults_[index].find(call); found != faults_[index].end()) {
        fault = std::move(found->second);
        faults_[index].erase(found);
        if (fault->kind == Fault::Kind::kDelay) clock_.sleep_ms(fault->delay_ms);
    }
    if (!available_) fault = Fault{Fault::Kind::kFail, {Code::kUnavailable, "the broker is away"}, 0};
    expire_transactions();
    return fault;
}

void MemoryBroker::arrive(Late& late) {
    if (late.producer == nullptr) {  // No transactions: what arrives counts.
        for (QueuedRecord& queued : late.records)
            log(queued.topic, queued.partition).append(std::move(queued.record), EntryState::kPlain, 0);
        return;
    }
    Producer& producer = *late.producer;
    if (producer.epoch != late.epoch || !producer.open || producer.markers_ms) return;
    for (QueuedRecord& queued : late.records) {
        const int64_t offset = log(queued.topic, queued.partition)
                                   .append(std::move(queued.record), EntryState::kOpen, producer.transaction);
        producer.partitions.try_emplace({queued.topic, queued.partition}, offset);
    }
    for (auto& [key, offset] : late.offsets)
        producer.pending_offsets.insert_or_assign(key, std::move(offset));
    if (!late.ends) return;
    ++ended_.by_late_request;
    end_transaction(producer, true);
}

bool MemoryBroker::decide(Producer& producer, bool commit, int64_t markers_ms) {
    if (!producer.open || producer.markers_ms) return false;
    if (commit && markers_ms > 0)
        producer.markers_ms = clock_.monotonic_ms() + markers_ms;
    else
        end_transaction(producer, commit);
    return true;
}

// What a client sees as CONCURRENT_TRANSACTIONS, and asks again.
bool MemoryBroker::wait_for_markers(Producer& producer, int64_t timeout_ms) {
    if (!producer.markers_ms) return true;
    const int64_t left_ms = std::max<int64_t>(0, *producer.markers_ms - clock_.monotonic_ms());
    clock_.sleep_ms(std::min(left_ms, timeout_ms));
    expire_transactions();
    return !producer.markers_ms;
}

void MemoryBroker::end_transaction(Producer& producer, bool commit) {
    ++(commit ? ended_.committed : ended_.aborted);
    producer.markers_ms.reset();
    for (const auto& [where, first] : producer.partitions) {
        Log& to = log(where.first, where.second);
        for (int64_t offset = std::max(first, to.begin); offset < to.end(); ++offset) {
            Entry& entry = to.at(offset);
            if (entry.state == EntryState::kOpen && entry.transaction == producer.transaction)
                entry.state = commit ? EntryState::kCommitted : EntryState::kAborted;
        }
        to.open.erase(producer.transaction);
        to.append({}, EntryState::kMarker, producer.transaction);
    }
    if (commit)
        for (auto& [key, offset] : producer.pending_offsets)
            offsets_.insert_or_assign(key, std::move(offset));
    producer.partitions.clear();
    producer.pending_offsets.clear();
    producer.open = false;
}

void MemoryBroker::expire_transactions() {
    for (auto& [id, producer] : producers_) {
        if (!producer->open) continue;
        if (producer->markers_ms) {
            if (clock_.monotonic_ms() >= *producer->markers_ms) end_transaction(*producer, true);
            continue;
        }
        if (clock_.monotonic_ms() - producer->begun_ms <= producer->timeout_ms) continue;
        end_transaction(*producer, false);
        ++producer
              ->epoch;  // Its owner finds itself fenced, as with a broker that clients below KIP-588 talk to.
    }
}

bool MemoryBroker::unstable(const std::string& group, const std::string& topic, int32_t partition) const {
    const GroupPartition key{group, {topic, partition}};
    return std::any_of(producers_.begin(), producers_.end(), [&](const auto& entry) {
        return entry.second->open && entry.second->pending_offsets.contains(key);
    });
}

}  // namespace weir::connectors
