#include "cmd/test_run.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <random>
#include <set>
#include <utility>

#include "cmd/redeal.h"
#include "connectors/partitioner.h"
#include "processor/worker.h"
#include "state/memory_directory.h"
#include "state/memory_row_stores.h"
#include "state/state_directory.h"

namespace weir::cmd {
namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
constexpr int64_t kNeverMs = 365LL * 86'400'000;
constexpr int kTurnsAtOnce = 1'000;

int32_t partition_of(const config::TestEvent& event, int32_t partitions) {
    if (event.partition) return *event.partition;
    return event.key.bytes ? connectors::partition_for_key(*event.key.bytes, partitions) : 0;
}

// The events, each with its time.
std::vector<config::TestEvent> timed(const config::TestCase& test) {
    std::vector<config::TestEvent> events = test.feed;
    int64_t now_ms = 0;
    for (config::TestEvent& event : events) {
        if (event.kind == config::TestEvent::Kind::kAdvance) now_ms += event.time_ms;
        now_ms = event.at_ms.value_or(now_ms);
        event.at_ms = now_ms;
        if (!event.timestamp_ms) event.timestamp_ms = test.start_ms + now_ms;
    }
    return events;
}

// Records of different partitions are mixed, each partition in its own order, within blocks that no record
// waits longer than `bound_ms` for.
void shuffle(std::vector<config::TestEvent>& events, int32_t partitions, int64_t bound_ms, uint64_t seed) {
    std::mt19937_64 random(seed);
    for (size_t first = 0; first < events.size();) {
        size_t last = first;
        std::map<std::pair<std::string, int32_t>, std::vector<config::TestEvent>> queues;
        std::vector<int64_t> times;
        for (; last < events.size() && events[last].kind == config::TestEvent::Kind::kRecord &&
               *events[last].at_ms - *events[first].at_ms <= bound_ms;
             ++last) {
            times.push_back(*events[last].at_ms);
            queues[{events[last].to.value, partition_of(events[last], partitions)}].push_back(events[last]);
        }
        for (size_t i = first; i < last; ++i) {
            auto from = std::next(queues.begin(), static_cast<ptrdiff_t>(random() % queues.size()));
            events[i] = from->second.front();
            events[i].at_ms = times[i - first];
            from->second.erase(from->second.begin());
            if (from->second.empty()) queues.erase(from);
        }
        first = std::max(last, first + 1);
    }
}

class TestRun {
public:
    TestRun(const config::Pipeline& pipeline, const processor::Plan& plan, const config::TestCase& test,
            const TestMode& mode)
        : pipeline_(pipeline),
          plan_(plan),
          test_(test),
          mode_(mode),
          clock_(test.start_ms),
          broker_(clock_, kNeverMs),
          disk_(state::make_memory_directory("disk")),
          topic_partitions_(plan.inputs.size(), test.partitions),
          partition_counts_(processor::sharded_partition_counts(plan, topic_partitions_)),
          dealing_(1) {
        for (ShardId shard = 0; shard < test.partitions; ++shard) dealing_[0].push_back(shard);
        std::vector<std::string> outputs;
        for (const processor::PlanInput& input : plan.inputs) inputs_.push_back(input.name);
        for (const processor::PlanOutput& output : plan.outputs) outputs.push_back(output.name);
        std::set<std::string> topics(inputs_.begin(), inputs_.end());
        topics.insert(outputs.begin(), outputs.end());
        for (const std::string& topic : topics) broker_.create_topic(topic, test.partitions);
        for (const processor::PlanInput& input : plan.inputs)
            if (input.internal >= 0) internal_.insert(input.name);
        for (const std::string& topic : outputs)
            if (!internal_.contains(topic)) seen_[topic].resize(static_cast<size_t>(test.partitions));
        connector_ =
            std::make_unique<connectors::MemoryConnector>(broker_, plan.name, inputs_, std::move(outputs));
        using processor::Decider;
        decider_ = pipeline.guarantee == config::Guarantee::kExactlyOnce ? Decider::kTransaction
                   : plan.stateful                                       ? Decider::kWal
                                                                         : Decider::kOffsets;
    }

    Result<Written> run() {
        std::vector<config::TestEvent> events = timed(test_);
        write_table_files(events);
        WEIR_TRY(start(0));
        WEIR_TRY(settle());
        int64_t bound_ms = kNeverMs;
        for (const config::Source& source : pipeline_.sources)
            bound_ms = std::min(bound_ms, source.watermark.max_delay_ms);
        if (mode_.shuffle) shuffle(events, test_.partitions, bound_ms, *mode_.shuffle);
        for (const config::TestEvent& event : events) WEIR_TRY(play(event));
        if (test_.flush.value_or(plan_.inputs.front().is_file)) {
            config::TestEvent end;
            end.kind = config::TestEvent::Kind::kWatermark;
            end.time_ms = kEndOfTime;
            WEIR_TRY(play(end));
        }
        return std::move(written_);
    }

private:
    // --- The process ---

    // A new one over what the old one left behind. With an interval of 0 every turn commits.
    Result<void> start(int64_t commit_interval_ms) {
        workers_.clear();
        row_stores_.crash(random_);
        commit_interval_ms_ = commit_interval_ms;
        if (plan_.stateful) WEIR_TRY(open_state());
        for (size_t slot = 0; slot < dealing_.size(); ++slot) {
            if (dealing_[slot].empty()) continue;
            processor::WorkerSettings settings;
            settings.identity = {plan_.name, 0, static_cast<int32_t>(slot)};
            settings.host = "test";
            settings.shards = dealing_[slot];
            settings.partition_counts = topic_partitions_;
            settings.start_policies.assign(plan_.inputs.size(), {});
            settings.decider = decider_;
            settings.commit_interval_ms = commit_interval_ms;
            settings.transaction_timeout_ms = kNeverMs;
            settings.row_stores = &row_stores_;
            state::SlotOptions options;
            options.segment_bytes = options.grow_bytes = 64u << 10;
            workers_.push_back(std::make_unique<processor::Worker>(
                std::move(settings), plan_, *connector_,
                plan_.stateful ? &state_->slot(static_cast<int32_t>(slot)) : nullptr, options, clock_));
        }
        return {};
    }

    Result<void> open_state() {
        state_.reset();
        WEIR_ASSIGN(auto root, disk_->subdirectory(plan_.name, true));
        WEIR_ASSIGN(state_, state::StateDirectory::open(std::move(root)));
        const state::Manifest now = manifest();
        return state_->manifest() ? state::compare_manifest(*state_->manifest(), now) : state_->create(now);
    }

    [[nodiscard]] state::Manifest manifest() const {
        state::Manifest now;
        now.cluster_id = "memory";
        now.pipeline = plan_.name;
        now.state_hash = plan_.state_hash;
        for (size_t i = 0; i < inputs_.size() && !plan_.inputs[i].global; ++i)
            now.inputs.push_back({inputs_[i], test_.partitions});
        now.slots = static_cast<int32_t>(dealing_.size());
        return now;
    }

    // Two workers from here on: the second one owns these shards.
    Result<void> rebalance(const std::vector<int32_t>& moved) {
        Dealing to(2);
        for (ShardId shard = 0; shard < test_.partitions; ++shard)
            to[std::find(moved.begin(), moved.end(), shard) != moved.end() ? 1 : 0].push_back(shard);
        workers_.clear();
        row_stores_.crash(random_);
        const Dealing from = std::exchange(dealing_, to);
        if (!plan_.stateful) return start(0);
        const Redealing redealing{from,     to,   partition_counts_,    decider_,
                                  true,     kNeverMs, plan_.stored_tables, &row_stores_};
        WEIR_TRY(redeal(*state_, manifest(), *connector_, redealing, clock_));
        return start(0);
    }

    [[nodiscard]] int64_t next_deadline_us() const {
        int64_t next = kNever;
        for (const auto& worker : workers_) next = std::min(next, worker->next_deadline_us());
        return next;
    }

    [[nodiscard]] int64_t input_count() {
        int64_t count = 0;
        for (const std::string& input : inputs_)
            for (int32_t partition = 0; partition < test_.partitions; ++partition)
                count += broker_.end_offset(input, partition);
        return count;
    }

    // Does everything that is due now, also with what the pipeline writes for itself to read; then commits,
    // so that a kill loses nothing, no time either.
    Result<void> settle() {
        for (int turn = 0; turn < kTurnsAtOnce; ++turn) {
            const int64_t before = input_count();
            for (const auto& worker : workers_) {
                const auto done = worker->step(0);
                if (!done.ok()) return done.error();
            }
            if (next_deadline_us() > clock_.monotonic_us() && input_count() == before) return commit();
        }
        return Error{Code::kUnknown, "the pipeline does not come to rest"};
    }

    Result<void> commit() {
        if (commit_interval_ms_ == 0)
            for (const auto& worker : workers_) WEIR_TRY(worker->commit());
        collect();
        return {};
    }

    // --- What happens to it ---

    // `work` settles the process, and says all of it again when the first attempt is lost.
    template <class Work>
    Result<void> through(const Work& work) {
        if (!mode_.restart_everywhere) return work();
        WEIR_TRY(start(kNeverMs));
        WEIR_TRY(work());
        WEIR_TRY(start(0));
        WEIR_TRY(work());
        WEIR_TRY(start(0));
        return settle();
    }

    Result<void> go_on_to(int64_t wall_ms) {
        while (clock_.wall_ms() < wall_ms) {
            const int64_t next_us = next_deadline_us();
            const int64_t wait_ms =
                next_us == kNever ? kNeverMs
                                  : std::max<int64_t>(1, (next_us - clock_.monotonic_us() + 999) / 1000);
            clock_.advance_ms(std::min(wait_ms, wall_ms - clock_.wall_ms()));
            WEIR_TRY(settle());
        }
        return {};
    }

    Result<void> play(const config::TestEvent& event) {
        if (event.at_ms) WEIR_TRY(go_on_to(test_.start_ms + *event.at_ms));
        if (event.kind == config::TestEvent::Kind::kRecord) append(event);
        return through([&] { return happen(event); });
    }

    // A record waits in the broker, and time has passed already.
    Result<void> happen(const config::TestEvent& event) {
        using Kind = config::TestEvent::Kind;
        WEIR_TRY(settle());
        switch (event.kind) {
            case Kind::kRecord:
            case Kind::kAdvance: return {};
            case Kind::kWatermark:
                // What closes before an internal topic is read behind it before that one's time goes on.
                for (size_t depth = 0; depth <= plan_.internal_topics.size(); ++depth) {
                    for (const auto& worker : workers_)
                        WEIR_TRY(worker->advance_watermark(event.time_ms, depth));
                    WEIR_TRY(settle());
                }
                return {};
            case Kind::kRestart: WEIR_TRY(start(0)); return settle();
            case Kind::kRebalance: WEIR_TRY(rebalance(event.moved)); return settle();
        }
        return {};
    }

    // A table's file is read at the start, so all its lines are there by then.
    void write_table_files(std::vector<config::TestEvent>& events) {
        std::erase_if(events, [&](const config::TestEvent& event) {
            const auto takes_it = [&](const processor::PlanInput& input) {
                return input.is_table && input.is_file && input.name == event.to.value;
            };
            const bool is_line = std::any_of(plan_.inputs.begin(), plan_.inputs.end(), takes_it);
            if (is_line) append(event);
            return is_line;
        });
    }

    void append(const config::TestEvent& event) {
        connectors::MemoryRecord record;
        record.key = event.key.bytes;
        record.value = event.value.bytes;
        record.timestamp_ms = *event.timestamp_ms;
        for (const auto& [name, value] : event.headers) record.headers.emplace_back(name, value);
        broker_.append(event.to.value, partition_of(event, test_.partitions), std::move(record));
    }

    void collect() {
        for (auto& [topic, counts] : seen_) {
            for (size_t partition = 0; partition < counts.size(); ++partition) {
                auto records = broker_.read(topic, static_cast<int32_t>(partition));
                for (size_t i = counts[partition]; i < records.size(); ++i)
                    written_[topic].push_back(std::move(records[i]));
                counts[partition] = records.size();
            }
        }
    }

    const config::Pipeline& pipeline_;
    const processor::Plan& plan_;
    const config::TestCase& test_;
    const TestMode& mode_;
    ManualClock clock_;
    connectors::MemoryBroker broker_;
    std::unique_ptr<state::Directory> disk_;
    std::unique_ptr<state::StateDirectory> state_;
    std::unique_ptr<connectors::MemoryConnector> connector_;
    processor::Decider decider_ = processor::Decider::kTransaction;
    std::vector<std::string> inputs_;
    std::set<std::string> internal_;  // Topics between the pipeline's parts; nobody else sees them.
    std::vector<int32_t> topic_partitions_;
    std::vector<int32_t> partition_counts_;  // What shards read.
    Dealing dealing_;
    state::MemoryRowStores row_stores_;
    std::mt19937_64 random_{1};  // What a crash leaves of them.
    std::vector<std::unique_ptr<processor::Worker>> workers_;
    int64_t commit_interval_ms_ = 0;
    std::map<std::string, std::vector<size_t>> seen_;  // By topic and partition: records collected.
    Written written_;
};

}  // namespace

Result<Written> run_test(const config::Pipeline& pipeline, const processor::Plan& plan,
                         const config::TestCase& test, const TestMode& mode) {
    return TestRun(pipeline, plan, test, mode).run();
}

}  // namespace weir::cmd
