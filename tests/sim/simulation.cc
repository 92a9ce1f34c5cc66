#include "tests/sim/simulation.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "processor/ledger.h"
#include "state/recovery.h"
#include "tests/sim/faults.h"
#include "tests/sim/instance.h"
#include "tests/sim/process.h"

namespace weir::sim {
namespace {

using connectors::Api;
using connectors::Fault;
using processor::Decider;
using Turn = processor::Worker::Turn;

constexpr int64_t kStormTurnsMax = 700;
constexpr int64_t kCalmTurnsMax = 500;
constexpr int64_t kCalmTurnMs = 150;
constexpr int64_t kCalmTurns = 80;  // Time for the idle timeout, the largest window with its grace, and some.
constexpr const char* kSlot = "slot-1-0";

class Simulation final : public Process {
public:
    Simulation(const Scenario& scenario, uint64_t seed, const RunOptions& options)
        : scenario_(scenario),
          pipeline_(*scenario.pipeline),
          stateful_(scenario.plan->stateful),
          faults_(options.faults),
          random_(seed * 0x9e3779b97f4a7c15u + 1),
          entropy_(seed ^ 0x5851f42d4c957f2du),
          trace_(options.trace),
          broker_(clock_),
          inputs_(names(scenario.plan->inputs)),
          connector_(broker_, "sim", inputs_, names(scenario.plan->outputs)) {
        for (const auto* topics : {&inputs_, &pipeline_.outputs})
            for (const std::string& topic : *topics) broker_.create_topic(topic, kPartitions);
        clock_.on_advance = [this] { deliver_arrivals(); };
        broker_.observe([this](Api api) { on_request(api); });
        last_offsets_.resize(inputs_.size() * kPartitions, -1);
        main_.disk = add_disk(std::make_unique<SimDisk>());
        if (pipeline_.orderly)
            arrivals_from_ms_ = 0;  // No topic is ever empty: none is left out of event time.
        deliver_arrivals();
    }

    Report run() {
        run_as(this);
        storm();
        calm();
        run_as(nullptr);
        if (!failed()) final_checks();
        count(Event::kLateRequests, broker_.ended().by_late_request);
        count(Event::kAbortedTransactions, broker_.ended().aborted);
        report_.trace_hash = trace_.hash();
        zombie_.reset();
        main_.stop();
        return std::move(report_);
    }

private:
    static std::vector<std::string> names(const auto& endpoints) {
        std::vector<std::string> result;
        for (const auto& endpoint : endpoints) result.push_back(endpoint.name);
        return result;
    }

    // --- What the process and its surroundings tell ---

    uint64_t random() override { return entropy_(); }

    void reached(const char* point) override {
        trace_.add("point", point);
        if (current_ == nullptr) return;
        if (std::strcmp(point, "during_recovery") == 0) on_recovery();
        if (std::strcmp(point, "after_recovery_switch") == 0) on_recovered();
        if (faults_ && one_in(8)) count(Event::kSnapshots, current_->snapshotter->run());  // As if beside it.
        count_down(points_left_);
    }

    void on_request(Api api) {
        trace_.add("request", {},
                   static_cast<uint64_t>(api) << 48 | static_cast<uint64_t>(clock_.monotonic_ms()));
        if (api == Api::kCommit && std::erase(unknown_commits_, broker_.calls(api) + 1) > 0)
            committed_before_unknown_ = broker_.ended().committed;
        // The other process does not wait until a recovery is over.
        if (faults_ && zombie_ && zombie_->worker && current_ == &main_ && one_in(3)) step(*zombie_);
        count_down(requests_left_);
    }

    void on_disk(const SimDisk::Call& call) {
        trace_.add(call.kind, call.name, call.offset, call.bytes);
        count_down(disk_calls_left_);
    }

    void count_down(uint64_t& left) {
        if (current_ == nullptr || left == 0 || --left > 0) return;
        throw ProcessDied{};
    }

    void deliver_arrivals() {
        for (; next_arrival_ < scenario_.arrivals.size(); ++next_arrival_) {
            const Arrival& arrival = scenario_.arrivals[next_arrival_];
            if (!arrivals_from_ms_ || *arrivals_from_ms_ + arrival.at_ms > clock_.since_start_ms()) return;
            broker_.append(arrival.topic, arrival.partition, arrival.record);
        }
    }

    // What Kafka holds for the slot; nullopt: nothing.
    std::optional<CommitId> kafka_commit() {
        const auto committed = broker_.committed("sim", inputs_.front(), 0);
        const auto metadata = committed ? state::parse_commit_metadata(committed->metadata) : std::nullopt;
        return metadata ? std::optional(metadata->id) : std::nullopt;
    }

    static std::optional<state::SlotImage> load(SimDisk& disk) {
        const auto root = disk.root();
        const auto slot = root->subdirectory(kSlot, false);
        if (!slot.ok()) return std::nullopt;
        auto image = state::load_slot(**slot);
        if (!image.ok()) return std::nullopt;
        return std::move(*image);
    }

    static bool knows(const std::optional<state::SlotImage>& image, const CommitId& id) {
        return image && image->epochs_upto(id).ok();
    }

    // After Kafka was asked, before the disk is.
    void on_recovery() {
        current_->ready = false;
        ++recoveries_;
        const auto kafka = kafka_commit();
        if (committed_before_unknown_) {
            const bool committed = broker_.ended().committed > *committed_before_unknown_;
            count(committed ? Event::kUnknownCommitted : Event::kUnknownAborted);
            committed_before_unknown_.reset();
        }
        if (!stateful_) return;
        const auto image = load(*current_->disk);
        if (!image) return;
        count(Event::kTornTails, image->end == state::WalEnd::kTorn ? 1 : 0);
        if (pipeline_.decider != Decider::kTransaction) return;
        current_->must_refuse = kafka && !knows(image, *kafka);
        if (!kafka || current_->must_refuse) return;
        const size_t kept = image->epochs_upto(*kafka).value();
        count(Event::kRollForwards, kept > 0 ? 1 : 0);
        count(Event::kDiscards, image->epochs.size() - kept);
    }

    void on_recovered() {
        if (current_->must_refuse)
            fail(Check::kStarted, "a start on a disk that does not hold what Kafka holds");
        if (current_ == &main_) rotten_ = wrong_disk_ = false;  // What was read verified.
        current_->ready = true;
    }

    // --- Processes ---

    SimDisk* add_disk(std::unique_ptr<SimDisk> disk) {
        disk->observe([this](const SimDisk::Call& call) { on_disk(call); });
        disks_.push_back(std::move(disk));
        return disks_.back().get();
    }

    // Runs a part of a process's life; false when it ended there.
    bool live(Instance& who, const std::function<Result<void>()>& part) {
        Instance* const outer = std::exchange(current_, &who);
        std::optional<ProcessDied> died;
        Result<void> ended;
        try {
            ended = part();
        } catch (const ProcessDied& death) {
            died = death;
        }
        current_ = outer;
        if (died)
            on_death(who, *died);
        else if (!ended.ok())
            on_exit(who, ended.error());
        return !died && ended.ok();
    }

    void start(Instance& who) {
        trace_.add("start");
        who.must_refuse = who.was_ready = false;
        live(who, [&]() -> Result<void> {
            state::Directory* slot = nullptr;
            if (stateful_) {
                WEIR_ASSIGN(who.state, state::StateDirectory::open(who.disk->root()));
                state::Manifest now{"memory", "sim", scenario_.plan->state_hash, {}, 0, 1, 1, 1};
                for (const std::string& input : inputs_) now.inputs.push_back({input, kPartitions});
                if (!who.state->manifest())
                    WEIR_TRY(who.state->create(now));
                else
                    WEIR_TRY(state::compare_manifest(*who.state->manifest(), now));
                slot = &who.state->slot(0);
            }
            auto [settings, options] = worker_settings(scenario_, who);
            // Half of the processes give what is due a few groups at a time.
            if (faults_ && one_in(2)) settings.epoch_bytes = 1 + draw(600);
            who.worker = std::make_unique<processor::Worker>(std::move(settings), *scenario_.plan, connector_,
                                                             slot, options, clock_);
            return {};
        });
    }

    void step(Instance& who) {
        const bool alive = live(who, [&]() -> Result<void> {
            WEIR_ASSIGN(const Turn turn, who.worker->step(0));
            static_cast<void>(turn);
            return {};
        });
        if (!alive) return;
        if (who.ready) deaths_in_a_row_ = 0;
        if (who.worker->status().phase == processor::WorkerPhase::kRunning) who.was_ready = true;
        // It starts at the topics' ends, so that an offset that was not pinned means records that are lost.
        if (!arrivals_from_ms_ && who.worker->status().phase == processor::WorkerPhase::kRunning)
            arrivals_from_ms_ = clock_.since_start_ms();
        check_offsets();
    }

    void on_death(Instance& who, const ProcessDied& death) {
        trace_.add("death", death.why.empty() ? "killed" : "aborted");
        const bool disk_failed = death.why.find("simulated") != std::string::npos;
        if (death.aborted && !disk_failed) fail(Check::kInternal, death.why);
        count(Event::kFailedSyncs, death.aborted && disk_failed ? 1 : 0);
        if (!who.ready) {
            count(Event::kDeathsInRecovery);
            ++deaths_in_a_row_;
            count(Event::kDoubleDeaths, deaths_in_a_row_ == 2 ? 1 : 0);
            count(Event::kTripleDeaths, deaths_in_a_row_ == 3 ? 1 : 0);
        }
        kill(who);
    }

    void check_ledger(const processor::WorkerStatus& status, const char* when) {
        const std::string wrong = processor::Ledger(*scenario_.plan).imbalance(status.counters);
        if (!wrong.empty()) fail(Check::kLedger, wrong + ", " + when);
        if (status.ledger_imbalances > 0) fail(Check::kLedger, std::string("at a commit, seen ") + when);
    }

    // The process is gone; with it, half of the time, what the disk had not synced.
    void kill(Instance& who) {
        if (who.worker && who.ready) {
            const auto status = who.worker->status();
            const bool whole = status.phase == processor::WorkerPhase::kRunning;
            if (whole) check_ledger(status, "at a kill");
            count(Event::kDeathsWhileClosing, who.worker->closing() ? 1 : 0);
            for (const auto& shard : status.shards)
                for (const auto& stage : shard.stages)
                    count(Event::kDeathsWhileTicking, stage.ticking ? 1 : 0);
            count(Event::kSinksReplaced, status.sinks_replaced);
        }
        const bool power = one_in(2);
        count(power ? Event::kPowerCuts : Event::kKills);
        if (power)
            who.disk->cut_power(random_);
        else
            who.disk->kill();
        who.stop();
        disarm();
        if (&who != &main_) return;
        if (faults_ && !one_in(3)) arm(3);  // Soon: inside the recovery that follows.
    }

    void on_exit(Instance& who, const Error& error) {
        trace_.add("exit", error.message);
        who.disk->kill();
        who.stop();
        switch (error.code) {
            case Code::kFenced: count(Event::kFences); return;
            case Code::kUnavailable:
            case Code::kTimedOut: return;
            case Code::kNoSpace:
                // A first start gives up when the disk stays full for the whole startup timeout.
                if (who.was_ready) fail(Check::kRefused, "does not wait for space: " + error.message);
                return;
            case Code::kIo:
                if (error.message.find("simulated") == std::string::npos)
                    fail(Check::kRefused, error.message);
                return;
            case Code::kMismatch:
            case Code::kCorrupt: return on_refusal(who, error);
            default: fail(Check::kRefused, error.message);
        }
    }

    void on_refusal(Instance& who, const Error& error) {
        clock_.advance_ms(kSlowMarkersMsMax);  // Until somebody looks; what is decided is visible by then.
        const auto kafka = kafka_commit();
        const bool knows_it = kafka && knows(load(*who.disk), *kafka);
        const bool right = &who == &main_ && rotten_ ? true : kafka && !knows_it;
        if (!right) return fail(Check::kRefused, error.message);
        if (&who != &main_) return;
        count(rotten_       ? Event::kRotRefused
              : wrong_disk_ ? Event::kWrongDisksRefused
                            : Event::kOldDisksRefused);
        const SimDisk* const refused = main_.disk;
        const bool discard = rotten_;
        rotten_ = wrong_disk_ = false;
        // Where the log decides, Kafka's offsets may be older than the disk.
        attach_right_disk(pipeline_.decider == Decider::kTransaction ? kafka : std::nullopt);
        if (discard) std::erase_if(disks_, [&](const auto& disk) { return disk.get() == refused; });
    }

    // What the operator does who reads the message.
    void attach_right_disk(const std::optional<CommitId>& kafka) {
        if (zombie_) {
            zombie_->stop();
            zombie_->disk->kill();
            zombie_.reset();
        }
        for (auto disk = disks_.rbegin(); disk != disks_.rend(); ++disk) {
            if (disk->get() == main_.disk || (kafka && !knows(load(**disk), *kafka))) continue;
            main_.disk = disk->get();
            return;
        }
        fail(Check::kDurability, "no disk holds what Kafka holds");
    }

    // --- Faults ---

    uint64_t draw(uint64_t below) { return random_() % below; }
    bool one_in(uint64_t n) { return draw(n) == 0; }

    void disarm() { points_left_ = disk_calls_left_ = requests_left_ = 0; }
    // The process will die at one of the next calls of one kind.
    void arm(uint64_t nearness) {
        switch (draw(3)) {
            case 0: points_left_ = 1 + draw(12 / nearness); return;
            case 1: disk_calls_left_ = 1 + draw(60 / nearness); return;
            case 2: requests_left_ = 1 + draw(24 / nearness); return;
        }
    }

    void draw_fault() {
        switch (draw(20)) {
            case 0:
            case 1: return kill(main_);
            case 2:
            case 3:
            case 4: return arm(1);
            case 5: return stop_broker();
            case 6: return main_.disk->fail_at(1 + draw(15), Code::kIo);
            case 7: return fill_disk();
            case 8: return rot();
            case 9: return replace_disk();
            case 10: return split_brain();
            case 11:
                count(Event::kClockJumps);
                return clock_.jump_wall_ms((one_in(2) ? 1 : -1) * static_cast<int64_t>(draw(3'600'000)));
            case 12:
                return clock_.advance_ms(1'000 + static_cast<int64_t>(draw(14'000)));  // A paused process.
            default: return fail_a_request();
        }
    }

    void fail_a_request() {
        PlannedFault planned = draw_request_fault(random_);
        const Fault::Kind kind = planned.fault.kind;
        if (planned.leaves_commit_unknown())
            unknown_commits_.push_back(broker_.calls(planned.api) + planned.nth);
        count(Event::kSlowMarkers, kind == Fault::Kind::kSlowMarkers ? 1 : 0);
        broker_.inject(planned.api, planned.nth, std::move(planned.fault));
    }

    void stop_broker() {
        broker_.set_available(false);
        broker_back_turn_ = turn_ + 1 + static_cast<int64_t>(draw(60));
    }

    void fill_disk() {
        if (!stateful_) return;
        main_.disk->set_capacity(1 + draw(4'000));
        disk_back_turn_ = turn_ + 1 + static_cast<int64_t>(draw(60));
    }

    void rot() {
        if (!stateful_ || rotten_ || wrong_disk_ || !kafka_commit()) return;
        kill(main_);
        const std::vector<std::string> files = main_.disk->files();
        if (files.empty()) return;
        add_disk(main_.disk->clone());
        const std::string& file = files[draw(files.size())];
        const std::string& bytes = main_.disk->bytes(file);
        if (bytes.empty()) return;
        uint64_t at = draw(bytes.size());
        for (int i = 0; i < 4 && bytes[at] == '\0'; ++i) at = draw(bytes.size());
        trace_.add("rot", file, at);
        main_.disk->flip_bit(file, at * 8 + draw(8));
        rotten_ = true;
        count(Event::kBitsRotted);
    }

    // An empty disk, or one that was in use earlier.
    void replace_disk() {
        if (!stateful_ || rotten_ || wrong_disk_ || zombie_ || pipeline_.decider != Decider::kTransaction)
            return;
        kill(main_);
        const bool empty = disks_.size() == 1 || one_in(2);
        wrong_disk_ = empty;
        main_.disk = empty ? add_disk(std::make_unique<SimDisk>()) : disks_[draw(disks_.size())].get();
    }

    // The node is cut off, the volume moves to another one, and a second process starts while the first still
    // runs on what was its disk.
    void split_brain() {
        if (zombie_ || !main_.worker || !main_.ready || rotten_ || pipeline_.decider != Decider::kTransaction)
            return;
        disarm();
        zombie_ = std::make_unique<Instance>(std::exchange(main_, Instance{}));
        main_.disk = add_disk(zombie_->disk->clone());
    }

    void surroundings() {
        if (turn_ == broker_back_turn_) broker_.set_available(true);
        if (turn_ != disk_back_turn_) return;
        if (main_.worker && main_.worker->status().disk_full) count(Event::kFullDisks);
        for (const auto& disk : disks_) disk->set_capacity(UINT64_MAX);
    }

    // --- The run ---

    void storm() {
        const uint64_t rate = 6 + draw(60);  // A fault every so many turns.
        const auto over = [&] {
            return arrivals_from_ms_ &&
                   clock_.since_start_ms() - *arrivals_from_ms_ > scenario_.arrivals.back().at_ms + 1'500;
        };
        for (; turn_ < kStormTurnsMax && !over() && !failed(); ++turn_) {
            clock_.advance_ms(10 + static_cast<int64_t>(draw(60)));
            surroundings();
            if (faults_ && one_in(rate)) draw_fault();
            if (!main_.worker) start(main_);
            if (zombie_ && !zombie_->worker) zombie_.reset();
            if (zombie_ && one_in(2))
                step(*zombie_);
            else if (main_.worker)
                step(main_);
            if (faults_ && one_in(8)) snapshot();
        }
        report_.turns = static_cast<uint64_t>(turn_);
    }

    void snapshot() {
        if (!main_.worker) return;
        live(main_, [&]() -> Result<void> {
            count(Event::kSnapshots, main_.snapshotter->run());
            return {};
        });
    }

    // No more faults: everything must come to its end, once.
    void calm() {
        faults_ = false;
        disarm();
        broker_.set_available(true);
        for (const auto& disk : disks_) {
            disk->set_capacity(UINT64_MAX);
            disk->fail_nothing();
        }
        if (zombie_) {
            zombie_->stop();
            zombie_.reset();
        }
        int64_t calm_turns = 0;
        for (int64_t turns = 0; !failed(); ++turns, ++report_.turns) {
            if (turns > kCalmTurnsMax) return fail(Check::kStuck, "it does not come to rest without faults");
            clock_.advance_ms(kCalmTurnMs);
            if (!main_.worker) start(main_);
            const uint64_t recoveries = recoveries_;
            if (main_.worker) step(main_);
            const bool all_arrived = next_arrival_ == scenario_.arrivals.size();
            const bool at_rest = main_.ready && !main_.worker->closing() && all_arrived;
            calm_turns = recoveries != recoveries_ || !at_rest ? 0 : calm_turns + 1;
            if (calm_turns == kCalmTurns) return;
        }
    }

    // --- Checks ---

    [[nodiscard]] bool failed() const { return report_.check != Check::kNone; }
    void fail(Check check, std::string detail) {
        if (failed()) return;
        report_.check = check;
        report_.detail = std::move(detail);
        trace_.add("violation", check_name(check));
    }
    void count(Event event, uint64_t times = 1) { report_.events[static_cast<size_t>(event)] += times; }

    void check_offsets() {
        if (broker_.ended().committed == checked_commits_) return;
        checked_commits_ = broker_.ended().committed;
        std::string metadata;
        for (size_t input = 0; input < inputs_.size(); ++input) {
            if (scenario_.plan->inputs[input].global) continue;  // In no commit.
            const std::string& topic = inputs_[input];
            size_t i = input * kPartitions;
            for (int32_t partition = 0; partition < kPartitions; ++partition, ++i) {
                const auto committed = broker_.committed("sim", topic, partition);
                const int64_t offset = committed ? committed->offset : -1;
                if (offset < last_offsets_[i])
                    fail(Check::kOffsetsBack,
                         fmt::format("{}[{}]: {} after {}", topic, partition, offset, last_offsets_[i]));
                last_offsets_[i] = offset;
                const std::string id =
                    committed ? committed->metadata.substr(0, committed->metadata.find(";w=")) : "";
                if (i > 0 && id != metadata)
                    fail(Check::kPartialCommit,
                         fmt::format("{}[{}]: {}, others {}", topic, partition, id, metadata));
                metadata = id;
            }
        }
    }

    Outputs committed_outputs() {
        Outputs outputs;
        for (const std::string& topic : pipeline_.outputs)
            for (int32_t partition = 0; partition < kPartitions; ++partition)
                for (auto& record : broker_.read(topic, partition)) {
                    trace_.add("out", *record.key, static_cast<uint64_t>(record.offset), *record.value);
                    outputs[topic][*record.key].push_back(std::move(*record.value));
                }
        return outputs;
    }

    void final_checks() {
        const Outputs outputs = committed_outputs();
        if (!scenario_.expected.empty()) {
            const bool once = pipeline_.decider == Decider::kTransaction;
            const Verdict verdict = compare(scenario_.expected, outputs, once);
            if (verdict.check != Check::kNone) fail(verdict.check, verdict.detail);
        }
        if (broker_.open_transactions() > 0) fail(Check::kOpenLeft, "a transaction is open");
        for (const std::string& topic : pipeline_.outputs)
            for (int32_t partition = 0; partition < kPartitions; ++partition)
                if (broker_.last_stable_offset(topic, partition) != broker_.end_offset(topic, partition))
                    fail(Check::kOpenLeft, topic + ": the last stable offset stays behind");
        check_ledger(main_.worker->status(), "at the end");
        count(Event::kSinksReplaced, main_.worker->status().sinks_replaced);
        report_.outputs = outputs;
    }

    const Scenario& scenario_;
    const PipelineCase& pipeline_;
    const bool stateful_;
    bool faults_;
    std::mt19937_64 random_;
    std::mt19937_64 entropy_;
    Trace trace_;
    Report report_;
    SimClock clock_;
    connectors::MemoryBroker broker_;
    const std::vector<std::string> inputs_;  // Of the plan: sources, tables, internal topics.
    connectors::MemoryConnector connector_;
    std::vector<std::unique_ptr<SimDisk>> disks_;
    Instance main_;
    std::unique_ptr<Instance> zombie_;
    Instance* current_ = nullptr;              // Whose code runs.
    std::optional<int64_t> arrivals_from_ms_;  // When the first process was ready.
    size_t next_arrival_ = 0;
    int64_t turn_ = 0;
    int64_t broker_back_turn_ = -1;
    int64_t disk_back_turn_ = -1;
    uint64_t points_left_ = 0;  // Until the process dies; 0: it does not.
    uint64_t disk_calls_left_ = 0;
    uint64_t requests_left_ = 0;
    uint64_t recoveries_ = 0;
    uint64_t deaths_in_a_row_ = 0;
    bool rotten_ = false;                    // A bit of the main disk was flipped, and not read yet.
    bool wrong_disk_ = false;                // An empty one was attached.
    std::vector<uint64_t> unknown_commits_;  // Numbers of commit calls that get no answer.
    std::optional<uint64_t> committed_before_unknown_;
    uint64_t checked_commits_ = 0;
    std::vector<int64_t> last_offsets_;
};

}  // namespace

Report simulate(const Scenario& scenario, uint64_t seed, const RunOptions& options) {
    return Simulation(scenario, seed, options).run();
}

}  // namespace weir::sim
