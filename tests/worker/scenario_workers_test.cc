// The tables of tests/scenarios under real workers: three shards live through each table at once, dealt to
// one, two or three workers; then also with a crash after every line, each time dealt to another number of
// them; and with what is due given group by group, an epoch each, by which everything may crash, too.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "cmd/redeal.h"
#include "config/load.h"
#include "connectors/memory_broker.h"
#include "processor/graph.h"
#include "processor/ledger.h"
#include "processor/worker.h"
#include "state/memory_directory.h"
#include "state/memory_row_stores.h"
#include "tests/processor/scenario.h"

using namespace weir;

namespace {

constexpr int32_t kShards = 3;
constexpr int64_t kNeverMs = 365LL * 86'400'000;

// What a table says of the inputs.
struct Inputs {
    std::set<TopicId> caught_up;
    bool ended = false;
};

// The memory connector, but the end of a topic is seen when the table says so.
class TableSource final : public processor::Source {
public:
    TableSource(std::unique_ptr<processor::Source> source, const Inputs& inputs)
        : source_(std::move(source)), inputs_(inputs) {}

    Result<void> assign(std::span<const processor::StartOffset> starts) override {
        starts_.assign(starts.begin(), starts.end());
        return source_->assign(starts);
    }
    Result<processor::Poll> poll(int64_t wait_ms, size_t max_records) override {
        WEIR_ASSIGN(processor::Poll poll, source_->poll(wait_ms, max_records));
        caught_up_.clear();
        if (!poll.runs.empty()) return processor::Poll{poll.runs, caught_up_, inputs_.ended};
        for (const processor::StartOffset& start : starts_) {
            if (!inputs_.caught_up.contains(start.partition.topic)) continue;
            WEIR_ASSIGN(const int64_t end, source_->end_offset(start.partition, 0));
            caught_up_.push_back({start.partition, end});
        }
        return processor::Poll{poll.runs, caught_up_, inputs_.ended};
    }
    void hold(std::span<const TopicPartition> partitions) override { source_->hold(partitions); }
    void read_headers(const processor::InputRecord& record,
                      std::vector<processor::Header>& out) const override {
        source_->read_headers(record, out);
    }
    Result<int64_t> end_offset(TopicPartition partition, int64_t timeout_ms) override {
        return source_->end_offset(partition, timeout_ms);
    }

private:
    std::unique_ptr<processor::Source> source_;
    const Inputs& inputs_;
    std::vector<processor::StartOffset> starts_;
    std::vector<processor::CaughtUp> caught_up_;
};

class TableConnector final : public processor::Connector {
public:
    TableConnector(connectors::MemoryConnector memory, const Inputs& inputs)
        : memory_(std::move(memory)), inputs_(inputs) {}

    Result<std::string> cluster_id(int64_t timeout_ms) override { return memory_.cluster_id(timeout_ms); }
    Result<processor::TopicInfo> describe(TopicId topic, int64_t timeout_ms) override {
        return memory_.describe(topic, timeout_ms);
    }
    Result<processor::OffsetRange> offset_range(TopicPartition partition, int64_t timeout_ms) override {
        return memory_.offset_range(partition, timeout_ms);
    }
    Result<int64_t> resolve_start(TopicPartition partition, const processor::StartPolicy& policy,
                                  int64_t timeout_ms) override {
        return memory_.resolve_start(partition, policy, timeout_ms);
    }
    Result<std::unique_ptr<processor::Source>> make_source(
        const processor::WorkerIdentity& identity) override {
        WEIR_ASSIGN(auto source, memory_.make_source(identity));
        return std::unique_ptr<processor::Source>(
            std::make_unique<TableSource>(std::move(source), inputs_));
    }
    Result<std::unique_ptr<processor::Sink>> make_sink(const processor::WorkerIdentity& identity,
                                                       bool transactional) override {
        return memory_.make_sink(identity, transactional);
    }

private:
    connectors::MemoryConnector memory_;
    const Inputs& inputs_;
};

std::vector<std::string> names_of(const auto& topics) {
    std::vector<std::string> names;
    for (const auto& topic : topics) names.push_back(topic.name);
    return names;
}

// An epoch gives one group of what is due; then all goes on, or other processes do.
enum class Slices { kNone, kGroups, kGroupsAndCrashes };

class Fleet {
public:
    Fleet(const std::string& yaml, size_t workers, Slices slices)
        : slices_(slices),
          clock_(1'000'000),
          broker_(clock_, kNeverMs),
          disk_(state::make_memory_directory("disk")) {
        auto loaded = config::load_text("table.yaml", yaml, {});
        auto plan = processor::compile(loaded.pipeline, loaded.diagnostics);
        INFO(loaded.diagnostics.render("table.yaml", loaded.source));
        REQUIRE(plan != nullptr);
        // Operators on disk keep nothing in memory that they do not have to.
        for (auto& stage : const_cast<processor::Graph&>(*plan->graph).stages) stage.cache_bytes = 0;
        plan_ = std::move(plan);
        for (const auto& names : {names_of(plan_->inputs), names_of(plan_->outputs)})
            for (const std::string& name : names) broker_.create_topic(name, kShards);
        connector_ = std::make_unique<TableConnector>(
            connectors::MemoryConnector(broker_, plan_->name, names_of(plan_->inputs),
                                        names_of(plan_->outputs)),
            inputs_);
        counts_.assign(plan_->inputs.size(), kShards);
        dealing_ = dealt_to(workers);
        open_state();
        start();
    }

    void append(const processor::ScenarioLine& line) {
        connectors::MemoryRecord record;
        record.key = line.key();
        record.value = line.value();
        record.timestamp_ms = line.timestamp_ms;
        for (int32_t shard = 0; shard < kShards; ++shard) broker_.append(line.first, shard, record);
        inputs_.caught_up.erase(input(line.first));
        settle();
    }
    void caught_up(const std::string& topic) {
        inputs_.caught_up.insert(input(topic));
        settle();
    }
    void advance(int64_t milliseconds) {
        clock_.advance_ms(milliseconds);
        settle();
    }
    void end() {
        inputs_.ended = true;
        settle();
    }
    void settle() {
        for (int turn = 0; turn < 3 || (slices_ == Slices::kGroups && closing()); ++turn) {
            for (const auto& worker : workers_) {
                const auto done = worker->step(0);
                INFO((done.ok() ? std::string() : done.error().message));
                REQUIRE(done.ok());
            }
            if (slices_ != Slices::kGroupsAndCrashes || !closing()) continue;
            ++crashes_;
            return crash(workers_.size() % kShards + 1);
        }
    }
    // How often they crashed between two groups.
    [[nodiscard]] size_t crashes() const { return crashes_; }
    // The processes are gone; others with so many workers go on.
    void crash(size_t workers) {
        for (const auto& worker : workers_) {
            CHECK(worker->status().ledger_imbalances == 0);
            CHECK(processor::Ledger(*plan_).imbalance(worker->status().counters) == "");
        }
        workers_.clear();
        row_stores_.crash(random_);
        const cmd::Dealing from = std::exchange(dealing_, dealt_to(workers));
        if (plan_->stateful && from != dealing_) {
            const auto decider = processor::Decider::kTransaction;
            const cmd::Redealing redealing{from, dealing_, counts_,              decider,
                                           true, 1'000,    plan_->stored_tables, &row_stores_};
            REQUIRE(cmd::redeal(*state_, manifest(), *connector_, redealing, clock_).ok());
        }
        start();
        settle();
    }

    // What readers see, each line with its topic; every shard wrote the same.
    [[nodiscard]] std::vector<std::string> lines() {
        std::vector<std::string> all;
        for (const auto& output : plan_->outputs)
            for (int32_t partition = 0; partition < kShards; ++partition)
                for (const auto& record : broker_.read(output.name, partition))
                    all.push_back(output.name + " " + record.key.value_or("<null>") + " " +
                                  record.value.value_or("<null>"));
        std::sort(all.begin(), all.end());
        return all;
    }

private:
    [[nodiscard]] bool closing() const {
        return std::any_of(workers_.begin(), workers_.end(),
                           [](const auto& worker) { return worker->closing(); });
    }
    static cmd::Dealing dealt_to(size_t workers) {
        cmd::Dealing dealing(workers);
        for (ShardId shard = 0; shard < kShards; ++shard)
            dealing[static_cast<size_t>(shard) % workers].push_back(shard);
        return dealing;
    }
    [[nodiscard]] TopicId input(const std::string& topic) const {
        const auto names = names_of(plan_->inputs);
        const auto found = std::find(names.begin(), names.end(), topic);
        REQUIRE(found != names.end());
        return static_cast<TopicId>(found - names.begin());
    }
    [[nodiscard]] state::Manifest manifest() const {
        state::Manifest now;
        now.cluster_id = "memory";
        now.pipeline = plan_->name;
        now.state_hash = plan_->state_hash;
        for (const auto& name : names_of(plan_->inputs)) now.inputs.push_back({name, kShards});
        now.slots = static_cast<int32_t>(dealing_.size());
        return now;
    }
    void open_state() {
        auto opened = state::StateDirectory::open(disk_->subdirectory("state", true).value());
        state_ = std::move(opened).value();
        REQUIRE(state_->create(manifest()).ok());
    }
    void start() {
        for (size_t slot = 0; slot < dealing_.size(); ++slot) {
            processor::WorkerSettings settings;
            settings.identity = {plan_->name, 0, static_cast<int32_t>(slot)};
            settings.host = "test";
            settings.shards = dealing_[slot];
            settings.partition_counts = counts_;
            settings.start_policies.assign(plan_->inputs.size(), {});
            settings.commit_interval_ms = 0;  // Every turn commits.
            settings.transaction_timeout_ms = kNeverMs;
            settings.row_stores = &row_stores_;
            if (slices_ != Slices::kNone) settings.epoch_bytes = 1;
            state::SlotOptions options;
            options.segment_bytes = options.grow_bytes = 64u << 10;
            workers_.push_back(std::make_unique<processor::Worker>(
                std::move(settings), *plan_, *connector_,
                plan_->stateful ? &state_->slot(static_cast<int32_t>(slot)) : nullptr, options, clock_));
        }
        settle();
    }

    const Slices slices_;
    size_t crashes_ = 0;
    ManualClock clock_;
    connectors::MemoryBroker broker_;
    Inputs inputs_;
    std::unique_ptr<const processor::Plan> plan_;
    std::unique_ptr<TableConnector> connector_;
    std::unique_ptr<state::Directory> disk_;
    std::unique_ptr<state::StateDirectory> state_;
    std::vector<int32_t> counts_;
    cmd::Dealing dealing_;
    state::MemoryRowStores row_stores_;
    std::mt19937_64 random_{1};  // What a crash leaves of them.
    std::vector<std::unique_ptr<processor::Worker>> workers_;
};

size_t run(const processor::Scenario& scenario, size_t workers, bool crashes, Slices slices) {
    Fleet fleet(scenario.yaml, workers, slices);
    std::vector<std::string> expected;
    const auto check = [&] {
        std::sort(expected.begin(), expected.end());
        CHECK(fleet.lines() == expected);
    };
    for (const processor::ScenarioLine& line : scenario.lines) {
        CAPTURE(line.number);
        CAPTURE(line.text);
        if (line.is_next()) check();
        if (line.verb == "in") fleet.append(line);
        if (line.verb == "out") expected.insert(expected.end(), kShards, line.first + " " + line.rest);
        if (line.verb == "caught_up") fleet.caught_up(line.first);
        if (line.verb == "advance") fleet.advance(std::stoll(line.first));
        if (line.verb == "end") fleet.end();
        if (crashes && line.is_event() && line.verb != "end") {
            workers = workers % kShards + 1;
            fleet.crash(workers);
        }
    }
    check();
    return fleet.crashes();
}

// By one, two and three workers, and with a crash after every line, and in slices. How often it crashed
// between two slices.
size_t run_all(const processor::Scenario& scenario) {
    CAPTURE(scenario.name);
    for (size_t workers = 1; workers <= kShards; ++workers) {
        CAPTURE(workers);
        run(scenario, workers, false, Slices::kNone);
    }
    run(scenario, 1, true, Slices::kNone);
    run(scenario, 2, false, Slices::kGroups);
    return run(scenario, 2, true, Slices::kGroupsAndCrashes);
}

}  // namespace

TEST_CASE("scenarios give the same outputs with one, two and three workers, also when that changes") {
    const std::vector<processor::Scenario> scenarios =
        processor::all_scenarios(WEIR_SOURCE_DIR "/tests/scenarios");
    CHECK(!scenarios.empty());
    size_t crashes = 0;
    for (const processor::Scenario& scenario : scenarios) crashes += run_all(scenario);
    CHECK(crashes > 50);
}

TEST_CASE("scenarios of dedupe and throttle give the same outputs with their state on disk") {
    size_t on_disk = 0;
    for (processor::Scenario scenario : processor::all_scenarios(WEIR_SOURCE_DIR "/tests/scenarios")) {
        size_t moved = 0;
        for (const char* const step : {"- dedupe: {", "- throttle: {"}) {
            const size_t at = scenario.yaml.find(step);
            const size_t end = at == std::string::npos ? at : scenario.yaml.find('\n', at);
            if (end == std::string::npos) continue;
            scenario.yaml.insert(end - 1, ", state: {backend: rocksdb}");
            ++moved;
        }
        if (moved == 0) continue;
        run_all(scenario);
        ++on_disk;
    }
    CHECK(on_disk >= 3);
}

// Goal: rows on disk are the same rows, of topics, of streams' results, in joins of tables, of global tables
// and with a history, also in the hands of other workers.
TEST_CASE("scenarios of tables give the same outputs with their rows on disk") {
    size_t on_disk = 0;
    for (processor::Scenario scenario : processor::all_scenarios(WEIR_SOURCE_DIR "/tests/scenarios")) {
        const size_t tables = scenario.yaml.find("\ntables:\n");
        size_t moved = 0;
        for (size_t line = tables; line != std::string::npos;) {
            line = scenario.yaml.find('\n', line + 1);
            const size_t end = scenario.yaml.find('\n', line + 1);
            if (end == std::string::npos || !scenario.yaml.substr(line + 1).starts_with("  ")) break;
            const std::string text = scenario.yaml.substr(line, end - line);
            if (!text.ends_with("}")) continue;
            scenario.yaml.insert(end - 1, ", state: {backend: rocksdb}");
            ++moved;
        }
        if (moved == 0) continue;
        run_all(scenario);
        ++on_disk;
    }
    CHECK(on_disk >= 5);
}

// Goal: a join whose records are all on disk, but for those of the open epoch, gives the same.
TEST_CASE("scenarios of joins give the same outputs with their buffers on disk") {
    size_t on_disk = 0;
    for (processor::Scenario scenario : processor::all_scenarios(WEIR_SOURCE_DIR "/tests/scenarios")) {
        const std::string join = "    join: {";
        size_t moved = 0;
        for (size_t at = 0; (at = scenario.yaml.find(join, at)) != std::string::npos; ++moved) {
            at += join.size();
            scenario.yaml.insert(at, "state: {backend: rocksdb}, ");
        }
        if (moved == 0) continue;
        run_all(scenario);
        ++on_disk;
    }
    CHECK(on_disk >= 12);
}

// Goal: groups on disk are the same groups, in windows of all kinds, also in the hands of other workers.
// Method: every scenario with aggregates or top_ns, on disk.
TEST_CASE("scenarios of windows give the same outputs with their groups on disk") {
    size_t on_disk = 0;
    for (processor::Scenario scenario : processor::all_scenarios(WEIR_SOURCE_DIR "/tests/scenarios")) {
        size_t moved = 0;
        for (const std::string step : {"- aggregate:", "- top_n:"})
            for (size_t at = scenario.yaml.find(step); at != std::string::npos;
                 at = scenario.yaml.find(step, at + 1)) {
                size_t end = scenario.yaml.find('\n', at);
                if (scenario.yaml[end - 1] == '}')
                    scenario.yaml.insert(end - 1, ", state: {backend: rocksdb}");
                else
                    scenario.yaml.insert(end, "\n          state: {backend: rocksdb}");
                ++moved;
            }
        if (moved == 0) continue;
        run_all(scenario);
        ++on_disk;
    }
    CHECK(on_disk >= 30);
}
