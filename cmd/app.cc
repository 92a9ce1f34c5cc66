#include "cmd/app.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "cmd/key_sample.h"
#include "cmd/partition_check.h"
#include "cmd/redeal.h"
#include "cmd/until_answered.h"
#include "connectors/kafka_connector.h"
#include "connectors/routing_connector.h"
#include "state/rocksdb_stores.h"

namespace weir::cmd {
namespace {

constexpr int64_t kTurnWaitMs = 100;
constexpr int64_t kRequestTimeoutMs = 5'000;

std::vector<int32_t> usable_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    std::vector<int32_t> cpus;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return {0};
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(static_cast<size_t>(cpu), &set)) cpus.push_back(cpu);
    return cpus;
}

void pin_this_thread(int32_t cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<size_t>(cpu), &set);
    if (const int failed = pthread_setaffinity_np(pthread_self(), sizeof set, &set); failed != 0)
        log_warn("cannot pin a worker to cpu={}: it runs unpinned errno={}", cpu, failed);
}

bool keeps_file(const processor::PlanOutput& output) { return output.is_file && output.name != "-"; }

}  // namespace

std::unique_ptr<processor::Connector> connect(const config::Pipeline& pipeline, const processor::Plan& plan) {
    std::vector<connectors::Endpoint> inputs;
    std::vector<connectors::Endpoint> outputs;
    for (const processor::PlanInput& input : plan.inputs) inputs.push_back({input.name, input.is_file});
    for (const processor::PlanOutput& output : plan.outputs) outputs.push_back({output.name, output.is_file});
    return connectors::make_connector(pipeline.kafka, pipeline.name, inputs, outputs);
}

processor::StartPolicy start_policy(const config::Start& start, int64_t now_ms) {
    using Kind = processor::StartPolicy::Kind;
    switch (start.kind) {
        case config::Start::Kind::kEarliest: return {Kind::kEarliest, 0};
        case config::Start::Kind::kLatest: return {Kind::kLatest, 0};
        case config::Start::Kind::kInstant: return {Kind::kTimestamp, start.milliseconds};
        case config::Start::Kind::kAgo: return {Kind::kTimestamp, now_ms - start.milliseconds};
    }
    return {};
}

std::string host_name() {
    char name[256] = {};
    if (gethostname(name, sizeof name - 1) != 0) return "unknown";
    return name;
}

struct App::Slot {
    int32_t index = 0;
    std::optional<int32_t> cpu;
    std::vector<ShardId> shards;
    state::Directory* directory = nullptr;
    std::unique_ptr<processor::Worker> worker;  // Set by its own thread; guarded by App::mutex_.
    std::thread thread;
};

App::App(config::Pipeline pipeline, std::unique_ptr<const processor::Plan> plan, RunOptions options,
         Clock& clock)
    : pipeline_(std::move(pipeline)),
      plan_(std::move(plan)),
      options_(options),
      clock_(clock),
      state_limit_(*plan_, static_cast<uint64_t>(pipeline_.max_memory_bytes)) {}

App::~App() {
    request_stop();
    for (const auto& slot : slots_)
        if (slot->thread.joinable()) slot->thread.join();
    if (key_sample_.joinable()) key_sample_.join();
}

void App::warn_about_keys() {
    for (const std::string& warning : key_warnings(*plan_, *connector_, topic_partitions_, clock_, &stop_))
        log_warn("{}", warning);
}

Result<void> App::start() {
    if (options_.exit_when_caught_up && !plan_->internal_topics.empty())
        return Error{Code::kNotFound,
                     "--exit-when-caught-up: what goes through an internal topic ('" +
                         plan_->inputs.back().name +
                         "') has no end that could be known at the start; stop with SIGTERM"};
    connector_ = connect(pipeline_, *plan_);
    WEIR_TRY(check_inputs());
    using processor::Decider;
    const bool kafka_inputs = !plan_->inputs.front().is_file;
    const bool exactly_once = pipeline_.guarantee == config::Guarantee::kExactlyOnce;
    const bool uses_log = plan_->stateful || !kafka_inputs ||
                          std::any_of(plan_->outputs.begin(), plan_->outputs.end(), keeps_file);
    decider_ = kafka_inputs && exactly_once ? Decider::kTransaction
               : uses_log                   ? Decider::kWal
                                            : Decider::kOffsets;
    WEIR_TRY(make_slots());
    if (uses_log || !plan_->scratch_tables.empty()) WEIR_TRY(open_state_directory());
    if (uses_log) WEIR_TRY(open_state());
    {
        const std::lock_guard lock(mutex_);
        running_ = slots_.size();
    }
    for (const auto& slot : slots_) slot->thread = std::thread([this, &slot = *slot] { run_worker(slot); });
    // While the workers read already: a start does not take longer for it.
    if (!plan_->co_partitioned.empty()) key_sample_ = std::thread([this] { warn_about_keys(); });
    warn_about_retention();
    return {};
}

Result<void> App::check_inputs() {
    const int64_t deadline_ms = clock_.monotonic_ms() + options_.startup_timeout_ms;
    for (size_t i = 0; i < plan_->inputs.size(); ++i) {
        const auto info = until_answered(clock_, deadline_ms, &stop_, [&] {
            const int64_t left_ms =
                std::clamp<int64_t>(deadline_ms - clock_.monotonic_ms(), 100, kRequestTimeoutMs);
            return describe_input(TopicId{static_cast<uint16_t>(i)}, left_ms);
        });
        if (!info.ok()) return info.error();
        topic_partitions_.push_back(info->partition_count);
        for (const std::string& warning : input_warnings(*plan_, TopicId{static_cast<uint16_t>(i)}, *info))
            log_warn("{}", warning);
    }
    partition_counts_ = processor::sharded_partition_counts(*plan_, topic_partitions_);
    WEIR_TRY(check_partition_counts(*plan_, topic_partitions_));
    WEIR_ASSIGN(cluster_id_, until_answered(clock_, deadline_ms, &stop_,
                                            [&] { return connector_->cluster_id(kRequestTimeoutMs); }));
    return {};
}

// An internal topic comes after all that it is fed by, and is made where it is not there.
Result<processor::TopicInfo> App::describe_input(TopicId topic, int64_t timeout_ms) {
    auto info = connector_->describe(topic, timeout_ms);
    if (plan_->inputs[static_cast<size_t>(topic)].internal < 0) return info;
    const int32_t partitions = internal_partitions(*plan_, topic, topic_partitions_);
    if (!info.ok() && info.error().code == Code::kNotFound) {
        WEIR_TRY(connector_->create_topic(topic, partitions, processor::kInternalTopicSettings, timeout_ms));
        info = connector_->describe(topic, timeout_ms);
        // Not every broker has heard of it yet.
        if (!info.ok() && info.error().code == Code::kNotFound)
            return Error{Code::kUnavailable, info.error().message};
        if (info.ok())
            log_info("created internal topic={} partitions={}",
                     plan_->inputs[static_cast<size_t>(topic)].name, info->partition_count);
    }
    if (info.ok())
        WEIR_TRY(check_internal_partitions(*plan_, topic, topic_partitions_, info->partition_count));
    return info;
}

// Results carry event time, so a topic with ordinary retention deletes results of old data at once.
void App::warn_about_retention() {
    if (!pipeline_.kafka.present) return;
    connectors::KafkaConnector kafka(pipeline_.kafka, pipeline_.name, {}, {});
    for (const processor::PlanOutput& output : plan_->outputs) {
        if (output.is_file) continue;
        const auto info = kafka.describe_topic(output.name, kRequestTimeoutMs);
        if (!info.ok()) continue;  // An absent output topic is the worker's error, in the sink's words.
        if (info->retention_ms.value_or(-1) >= 0 && !info->compacted)
            log_warn(
                "output topic={} keeps records for {} ms: results carry event time, so results of older data "
                "are "
                "deleted at once; set retention.ms=-1, or longer than the data's age",
                output.name, *info->retention_ms);
    }
}

Result<void> App::check_world() {
    if (plan_->inputs.front().is_file) return {};
    for (size_t i = 0; i < topic_partitions_.size(); ++i) {
        const auto info = connector_->describe(TopicId{static_cast<uint16_t>(i)}, kRequestTimeoutMs / 5);
        if (!info.ok() || info->partition_count == topic_partitions_[i]) continue;
        return Error{
            Code::kMismatch,
            fmt::format(
                "topic '{}' has {} partitions now, it had {} when this process started: keys may have "
                "moved between partitions; the open epochs were finished",
                plan_->inputs[i].name, info->partition_count, topic_partitions_[i])};
    }
    return {};
}

Result<void> App::make_slots() {
    const std::vector<int32_t> cpus = usable_cpus();
    const config::Workers& workers = pipeline_.workers;
    int32_t count = workers.automatic ? static_cast<int32_t>(cpus.size()) : workers.count;
    if (std::any_of(plan_->outputs.begin(), plan_->outputs.end(),
                    [](const auto& output) { return output.is_file; })) {
        if (!workers.automatic && count != 1)
            return Error{Code::kNotFound,
                         "workers: a file or standard output has one writer: set workers: 1"};
        count = 1;
    }
    // More slots than shards would only be idle threads.
    if (workers.automatic) count = std::clamp(owned_shards(), 1, count);

    const std::lock_guard lock(mutex_);
    for (int32_t i = 0; i < count; ++i) {
        auto slot = std::make_unique<Slot>();
        slot->index = i;
        if (!workers.cpus.empty())
            slot->cpu = workers.cpus[static_cast<size_t>(i)];
        else if (count > 1 && count <= static_cast<int32_t>(cpus.size()))
            slot->cpu = cpus[static_cast<size_t>(i)];
        for (const ShardId shard : shards_of(i, count)) slot->shards.push_back(shard);
        slots_.push_back(std::move(slot));
    }
    return {};
}

int32_t App::owned_shards() const {
    const int32_t shard_count = *std::max_element(partition_counts_.begin(), partition_counts_.end());
    const config::Instance& instance = pipeline_.instance;
    return std::max(0, (shard_count - instance.index + instance.count - 1) / instance.count);
}

// Shard p belongs to instance p mod n, and there to slot (p / n) mod slots.
std::vector<ShardId> App::shards_of(int32_t slot, int32_t slot_count) const {
    const int32_t shard_count = *std::max_element(partition_counts_.begin(), partition_counts_.end());
    const config::Instance& instance = pipeline_.instance;
    std::vector<ShardId> shards;
    for (ShardId shard = instance.index; shard < shard_count; shard += instance.count)
        if (shard / instance.count % slot_count == slot) shards.push_back(shard);
    return shards;
}

Result<void> App::open_state_directory() {
    WEIR_ASSIGN(auto parent, state::open_posix_directory(pipeline_.state_dir, true));
    WEIR_ASSIGN(auto root, parent->subdirectory(pipeline_.name, true));
    WEIR_ASSIGN(state_, state::StateDirectory::open(std::move(root)));
    if (plan_->stored_tables.empty() && plan_->scratch_tables.empty()) return {};
    WEIR_ASSIGN(row_stores_,
                state::open_rocksdb_stores(state_->root(), pipeline_.name + '/' + plan_->state_hash));
    return {};
}

Result<void> App::open_state() {
    state::Manifest now;
    now.cluster_id = cluster_id_;
    now.pipeline = pipeline_.name;
    now.state_hash = plan_->state_hash;
    for (size_t i = 0; i < plan_->inputs.size() && !plan_->inputs[i].global; ++i)
        now.inputs.push_back({plan_->inputs[i].name, partition_counts_[i]});
    now.instance = pipeline_.instance.index;
    now.instances = pipeline_.instance.count;
    now.slots = static_cast<int32_t>(slots_.size());
    if (!state_->manifest()) {
        WEIR_TRY(state_->create(now));
    } else {
        WEIR_TRY(state::compare_manifest(*state_->manifest(), now));
        if (state_->slot_count() != now.slots) WEIR_TRY(redeal_slots(now));
    }
    for (const auto& slot : slots_) slot->directory = &state_->slot(slot->index);
    snapshotter_ = std::make_unique<state::SnapshotThread>();
    return {};
}

// Another number of workers than last time.
Result<void> App::redeal_slots(const state::Manifest& now) {
    const int32_t old_count = state_->slot_count();
    log_info("pipeline={} dealing state anew: workers {} -> {}", pipeline_.name, old_count, now.slots);
    Redealing redealing{{},
                        {},
                        partition_counts_,
                        decider_,
                        !plan_->inputs.front().is_file,
                        options_.startup_timeout_ms,
                        plan_->stored_tables,
                        row_stores_.get()};
    for (int32_t slot = 0; slot < old_count; ++slot) redealing.from.push_back(shards_of(slot, old_count));
    for (const auto& slot : slots_) redealing.to.push_back(slot->shards);
    return redeal(*state_, now, *connector_, redealing, clock_);
}

void App::request_stop() { stop_ = true; }

bool App::wait(int64_t wait_ms) {
    std::unique_lock lock(mutex_);
    ended_.wait_for(lock, std::chrono::milliseconds(wait_ms), [this] { return running_ == 0; });
    return running_ == 0;
}

std::optional<Error> App::error() const {
    const std::lock_guard lock(mutex_);
    return error_;
}

int64_t App::stalled_ms() const {
    const std::lock_guard lock(mutex_);
    int64_t stalled = 0;
    for (const auto& slot : slots_)
        if (slot->worker) stalled = std::max(stalled, clock_.monotonic_ms() - slot->worker->heartbeat_ms());
    return running_ == 0 ? 0 : stalled;
}

std::string loading_text(const processor::WorkerStatus& worker) {
    std::string text;
    for (const processor::TableProgress& table : worker.loading)
        text += fmt::format("{}{} {} of {} records", text.empty() ? "" : ", ", table.name, table.read,
                            table.total);
    return text;
}

AppStatus App::status() const {
    AppStatus status;
    status.pipeline = pipeline_.name;
    status.now_ms = clock_.wall_ms();
    status.state_bytes = state_limit_.bytes();
    status.max_state_bytes = state_limit_.max_bytes();
    const std::lock_guard lock(mutex_);
    status.ready = running_ > 0;
    if (slots_.empty())
        status.not_ready_because = "waiting for the brokers";
    else if (running_ == 0)
        status.not_ready_because = error_ ? error_->message : "not started or ended";
    for (const auto& slot : slots_) {
        if (!slot->worker) {
            status.ready = false;
            status.not_ready_because = fmt::format("worker {} is starting", slot->index);
            continue;
        }
        status.workers.push_back(slot->worker->status());
        const processor::WorkerStatus& worker = status.workers.back();
        if (worker.phase == processor::WorkerPhase::kRunning) continue;
        status.ready = false;
        status.not_ready_because = fmt::format("worker {} is recovering", slot->index);
        if (worker.phase != processor::WorkerPhase::kLoading) continue;
        status.not_ready_because =
            fmt::format("worker {} reads tables: {}", slot->index, loading_text(worker));
    }
    return status;
}

std::vector<std::future<processor::OpenWindows>> App::ask(const processor::WindowQuestion& question) {
    const std::lock_guard lock(mutex_);
    std::vector<std::future<processor::OpenWindows>> answers;
    for (const auto& slot : slots_)
        if (slot->worker && !slot->shards.empty() &&
            slot->worker->status().phase != processor::WorkerPhase::kStopped)
            answers.push_back(slot->worker->ask(question));
    return answers;
}

void App::run_worker(Slot& slot) {
    pthread_setname_np(pthread_self(), fmt::format("weir-{}", slot.index).c_str());
    // Before any client is created: librdkafka's threads inherit the affinity.
    if (slot.cpu) pin_this_thread(*slot.cpu);

    processor::WorkerSettings settings;
    settings.identity = {pipeline_.name, pipeline_.instance.index, slot.index};
    settings.host = host_name();
    settings.shards = slot.shards;
    settings.partition_counts = topic_partitions_;
    for (const processor::PlanInput& input : plan_->inputs)
        settings.start_policies.push_back(
            input.is_table || input.internal >= 0
                ? processor::StartPolicy{}
                : start_policy(pipeline_.sources[input.source].start, clock_.wall_ms()));
    settings.decider = decider_;
    settings.kafka_inputs = !plan_->inputs.front().is_file;
    settings.commit_interval_ms = pipeline_.commit_interval_ms;
    settings.state_limit = &state_limit_;
    settings.row_stores = row_stores_.get();
    settings.process_shards = static_cast<size_t>(std::max(owned_shards(), 1));
    settings.startup_timeout_ms = options_.startup_timeout_ms;
    settings.stop_when_caught_up = options_.exit_when_caught_up;
    if (const auto timeout = connectors::kafka_property(pipeline_.kafka, connectors::KafkaRole::kProducer,
                                                        "transaction.timeout.ms"))
        settings.transaction_timeout_ms = std::atoll(timeout->c_str());
    state::SlotOptions slot_options;
    slot_options.snapshotter = snapshotter_.get();
    slot_options.snapshot_after_bytes = static_cast<uint64_t>(pipeline_.snapshot_after_bytes);
    slot_options.segment_bytes = std::min(slot_options.segment_bytes, slot_options.snapshot_after_bytes / 2);
    auto made = std::make_unique<processor::Worker>(std::move(settings), *plan_, *connector_, slot.directory,
                                                    slot_options, clock_);
    processor::Worker& worker = *made;
    {
        const std::lock_guard lock(mutex_);
        slot.worker = std::move(made);
    }

    std::optional<Error> failure;
    while (!stop_) {
        const bool first = !first_poll_logged_.load(std::memory_order_relaxed);
        const auto turn = worker.step(first ? 0 : kTurnWaitMs);
        if (!turn.ok()) {
            failure = turn.error();
            break;
        }
        if (first && !first_poll_logged_.exchange(true))
            log_info("pipeline={} first poll after_ms={}", pipeline_.name,
                     (clock_.monotonic_us() - options_.process_start_us) / 1000);
        if (*turn == processor::Worker::Turn::kFinished) break;
    }
    if (!failure) {
        const auto finished = worker.finish();
        if (!finished.ok()) failure = finished.error();
    }
    if (failure)
        log_error("pipeline={} worker={} stopped: {}", pipeline_.name, slot.index, failure->message);
    else
        log_info("pipeline={} worker={} ended, all committed", pipeline_.name, slot.index);

    const std::lock_guard lock(mutex_);
    if (failure && !error_) error_ = failure;
    if (failure) stop_ = true;
    --running_;
    ended_.notify_all();
}

}  // namespace weir::cmd
