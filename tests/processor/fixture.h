// One shard in a world of virtual time: records go in by hand, outputs are collected, and a crash throws away
// all that no epoch has recorded, outputs too, as a transaction does.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/time.h"
#include "config/load.h"
#include "processor/counters.h"
#include "processor/endpoint.h"
#include "processor/graph.h"
#include "processor/ledger.h"
#include "processor/plan.h"
#include "processor/shard.h"
#include "state/delta.h"
#include "state/memory_row_stores.h"

namespace weir::processor {

struct Output {
    std::string topic;
    std::string key;  // "<null>" for null.
    std::string value;
    int64_t timestamp_ms = 0;
    int32_t partition = 0;
    std::map<std::string, std::string> headers;

    [[nodiscard]] std::string line() const { return topic + " " + key + " " + value; }
};

inline std::string shown(MaybeBytes bytes) { return bytes.data() == nullptr ? "<null>" : std::string(bytes); }

struct FakeSink final : Sink {
    explicit FakeSink(const Plan& its_plan) : plan(its_plan) {}

    Result<void> open(int64_t) override { return {}; }
    Result<std::vector<std::optional<CommittedOffset>>> committed(std::span<const TopicPartition>,
                                                                  int64_t) override {
        return std::vector<std::optional<CommittedOffset>>{};
    }
    Result<void> begin() override { return {}; }
    Result<void> produce(const OutputRecord& record) override {
        Output output;
        output.topic = plan.outputs[static_cast<size_t>(record.topic)].name;
        output.key = shown(record.key);
        output.value = shown(record.value);
        if (output.value.size() > largest_value) return Error{Code::kInvalid, "the record is too large"};
        output.timestamp_ms = record.timestamp_ms;
        output.partition = record.partition;
        for (const Header& header : record.headers)
            output.headers[std::string(header.name)] = shown(header.value);
        outputs.push_back(std::move(output));
        return {};
    }
    void start_flush() override {}
    Result<void> flush(int64_t) override { return {}; }
    Result<void> send_offsets(std::span<const OffsetCommit>, int64_t) override { return {}; }
    CommitOutcome commit(int64_t) override { return CommitOutcome::kCommitted; }
    Result<void> commit_offsets(std::span<const OffsetCommit>, bool) override { return {}; }
    [[nodiscard]] std::string position() const override { return {}; }
    Result<void> restore(std::string_view) override { return {}; }

    const Plan& plan;
    std::vector<Output> outputs;
    size_t largest_value = SIZE_MAX;
};

struct FakeSource final : Source {
    Result<void> assign(std::span<const StartOffset>) override { return {}; }
    Result<Poll> poll(int64_t, size_t) override { return Poll{}; }
    void hold(std::span<const TopicPartition>) override {}
    void read_headers(const InputRecord& record, std::vector<Header>& out) const override {
        if (record.native == nullptr) return;
        for (const auto& [name, value] :
             *static_cast<const std::map<std::string, std::string>*>(record.native)) {
            out.push_back({name, value});
        }
    }
    Result<int64_t> end_offset(TopicPartition partition, int64_t) override { return ends[partition]; }

    std::map<TopicPartition, int64_t> ends;
};

inline std::shared_ptr<const Plan> plan_of(const std::string& yaml, std::string* errors = nullptr) {
    config::Loaded loaded = config::load_text("p.yaml", yaml, {});
    std::shared_ptr<const Plan> plan;
    if (!loaded.diagnostics.has_errors()) plan = compile(loaded.pipeline, loaded.diagnostics);
    const std::string text = loaded.diagnostics.render("p.yaml", loaded.source);
    if (errors != nullptr) {
        *errors = text;
    } else {
        INFO(text);
        REQUIRE(plan != nullptr);
    }
    return plan;
}

// Steps on disk keep nothing in memory that they do not have to.
inline void with_cache(const Plan& plan, size_t bytes) {
    for (Stage& stage : const_cast<Graph&>(*plan.graph).stages) stage.cache_bytes = bytes;
}
inline void without_cache(const Plan& plan) { with_cache(plan, 0); }

struct Record {
    std::optional<std::string> key;
    std::optional<std::string> value;
    int64_t timestamp_ms = 0;
    std::map<std::string, std::string> headers;
};

class World {
public:
    explicit World(std::shared_ptr<const Plan> its_plan, int64_t wall_ms = 1'000'000)
        : plan(std::move(its_plan)),
          clock(wall_ms),
          counters(*this->plan),
          ledger(*this->plan),
          sink(*this->plan) {
        start();
        REQUIRE(imbalance() == "");  // What counts from here on.
    }
    explicit World(const std::string& yaml) : World(plan_of(yaml)) {}

    // Appends to the input's partition 0 and hands it to the shard, all as one run.
    Result<void> in(const std::string& topic, std::vector<Record> records) {
        const TopicPartition partition = input(topic);
        auto& log = logs_[partition];
        const size_t first = log.size();
        for (Record& record : records) {
            arrivals_.emplace_back(partition, log.size());
            log.push_back(std::move(record));
        }
        source.ends[partition] = static_cast<int64_t>(log.size());
        return feed(partition, first, log.size());
    }
    Result<void> in(const std::string& topic, std::string key, std::string value, int64_t timestamp_ms = 0) {
        return in(topic, {Record{std::move(key), std::move(value), timestamp_ms, {}}});
    }

    void caught_up(const std::string& topic) {
        const TopicPartition partition = input(topic);
        shard->caught_up({partition, source.ends[partition]});
        caught_up_.insert_or_assign(partition, true);
    }
    void advance(int64_t milliseconds) {
        clock.advance_ms(milliseconds);
        REQUIRE(shard->advance_time(source, sink).ok());
        REQUIRE(close_rest().ok());
    }
    // The input ends.
    void end() {
        size_t slices = 0;
        do {  // Another process finds the end again.
            slices = slices_;
            REQUIRE(shard->advance_watermark(kEndOfTime, 0, sink).ok());
            REQUIRE(close_rest().ok());
        } while (slices_ > slices);
    }

    // From the next crash() on an epoch gives so many bytes of what is due, then the next one goes on;
    // `crashing`: in another process.
    void close_in_slices(size_t bytes, bool crashing) {
        budget_.emplace(bytes);
        crashing_ = crashing;
    }
    [[nodiscard]] size_t slices() const { return slices_; }
    // Outputs of an epoch that others followed for that reason.
    [[nodiscard]] size_t most_in_a_slice() const { return most_in_a_slice_; }

    void epoch() {
        REQUIRE(shard->finish_epoch(sink).ok());
        std::string delta;
        state::DeltaWriter writer(delta);
        shard->take_delta(writer);
        deltas_.push_back(delta);
        REQUIRE(globals_->apply_global_rows().ok());
        // A worker applies when it is known to be committed, so some epochs later.
        if (random_() % 2 == 0) apply_rows();
        progress_ = shard->progress();
        committed_records_ = records();
        committed_outputs_ = sink.outputs.size();
    }
    // What is committed of rows on disk goes into their stores.
    void apply_rows() { REQUIRE(shard->apply_rows(commit_id(deltas_.size())).ok()); }
    void crash() {
        restart();
        REQUIRE(close_rest().ok());
        const bool crashing = std::exchange(crashing_, false);
        for (const bool tables : {true, false}) {  // As a start reads tables before streams.
            for (const auto& [partition, offset] : arrivals_) {
                if (plan->inputs[static_cast<size_t>(partition.topic)].is_table != tables) continue;
                const bool read = std::any_of(
                    progress_.begin(), progress_.end(),
                    [&, at = partition, end = offset](const auto& progress) {
                        return progress.partition == at && progress.next_offset > static_cast<int64_t>(end);
                    });
                if (!read) REQUIRE(feed(partition, offset, offset + 1).ok());
            }
        }
        crashing_ = crashing;
        for (const auto& [partition, yes] : caught_up_) shard->caught_up({partition, source.ends[partition]});
        advance(0);  // A worker's first turn.
    }

    // How many records the windows of each stream hold.
    [[nodiscard]] std::vector<uint64_t> records() const {
        std::vector<uint64_t> by_stream(plan->stream_names.size());
        shard->add_records(by_stream, true);
        return by_stream;
    }
    // What is wrong with the record ledger; empty: it balances.
    [[nodiscard]] std::string imbalance() const {
        const std::string wrong = ledger.imbalance(counters);
        return wrong.empty() ? ledger.state_imbalance(counters, records()) : wrong;
    }

    // Entries of the state that the commits so far leave behind.
    [[nodiscard]] size_t stored_entries() const {
        std::set<std::pair<uint32_t, std::string>> entries;
        for (const std::string& delta : deltas_) {
            state::DeltaReader reader(delta);
            state::StateOp op;
            while (reader.next(op)) {
                const std::pair entry(op.table, std::string(op.key));
                if (op.kind == state::StateOp::Kind::kPut) entries.insert(entry);
                if (op.kind == state::StateOp::Kind::kErase) entries.erase(entry);
                if (op.kind == state::StateOp::Kind::kErasePrefix)
                    std::erase_if(entries, [&](const auto& known) {
                        return known.first == op.table && known.second.starts_with(op.key);
                    });
            }
        }
        return entries.size();
    }

    // How many rows of a table the last epoch put whose keys begin with `prefix`.
    [[nodiscard]] size_t last_puts(uint32_t table, std::string_view prefix) const {
        size_t count = 0;
        state::DeltaReader reader(deltas_.back());
        state::StateOp op;
        while (reader.next(op))
            count += op.kind == state::StateOp::Kind::kPut && op.table == table && op.key.starts_with(prefix);
        return count;
    }

    [[nodiscard]] std::vector<std::string> lines() const {
        std::vector<std::string> result;
        for (const Output& output : sink.outputs) result.push_back(output.line());
        return result;
    }

    std::shared_ptr<const Plan> plan;  // Shared with tests that start several worlds of one plan.
    ManualClock clock;
    Counters counters;
    mutable Ledger ledger;  // Remembers what it saw first.
    FakeSink sink;
    FakeSource source;
    state::RowStores* stores = nullptr;  // From the next crash() on, instead of …
    state::MemoryRowStores row_stores;   // … these.
    std::unique_ptr<Shard> shard;
    int64_t slice_takes_ms = 0;

private:
    static CommitId commit_id(size_t number) { return {{1, 1}, number}; }

    TopicPartition input(const std::string& topic) const {
        for (size_t i = 0; i < plan->inputs.size(); ++i) {
            if (plan->inputs[i].name == topic) return {static_cast<TopicId>(i), 0};
        }
        REQUIRE_MESSAGE(false, "no input " << topic);
        return {};
    }
    void start() {
        std::vector<TopicPartition> partitions;
        std::vector<TopicPartition> global;
        for (size_t i = 0; i < plan->inputs.size(); ++i)
            (plan->inputs[i].global ? global : partitions).push_back({static_cast<TopicId>(i), 0});
        counters = Counters(*plan);
        ledger = Ledger(*plan);
        shard.reset();
        const std::vector<int32_t> counts(plan->inputs.size(), 1);
        globals_ = std::make_unique<Shard>(*plan, kGlobalTables, global, counts, clock, counters);
        REQUIRE(globals_->make_scratch_stores(&row_stores, 0).ok());
        if (budget_) budget_->renew();
        shard = std::make_unique<Shard>(*plan, 0, partitions, counts, clock, counters, globals_.get(),
                                        budget_ ? &*budget_ : nullptr);
        REQUIRE(shard->open_stores(stores == nullptr ? &row_stores : stores, CommitId{}, 1).ok());
        for (size_t i = 0; i < deltas_.size(); ++i)
            REQUIRE(shard->apply(deltas_[i], commit_id(i + 1)).ok());
        REQUIRE(shard->end_replay().ok());
    }
    void restart() {
        sink.outputs.resize(committed_outputs_);
        shard.reset();
        row_stores.crash(random_);
        start();
        for (const PartitionProgress& progress : progress_) REQUIRE(shard->restore_progress(progress).ok());
        if (!deltas_.empty()) REQUIRE(records() == committed_records_);
        REQUIRE(imbalance() == "");
    }
    // Gives the rest of what is due, as a worker does: epoch by epoch.
    Result<void> close_rest() {
        while (shard->closing()) {
            most_in_a_slice_ = std::max(most_in_a_slice_, sink.outputs.size() - committed_outputs_);
            epoch();
            budget_->renew();
            ++slices_;
            REQUIRE(imbalance() == "");
            if (crashing_) {
                restart();
                REQUIRE(shard->closing());
                for (const auto& [partition, yes] : caught_up_)
                    shard->caught_up({partition, source.ends[partition]});
            }
            clock.advance_ms(slice_takes_ms);
            WEIR_TRY(shard->go_on(sink));
        }
        return {};
    }
    Result<void> feed(TopicPartition partition, size_t first, size_t last) {
        std::vector<InputRecord> records;
        const auto& log = logs_[partition];
        for (size_t i = first; i < last; ++i) {
            InputRecord record;
            if (log[i].key) record.key = *log[i].key;
            if (log[i].value) record.value = *log[i].value;
            record.offset = static_cast<int64_t>(i);
            record.timestamp_ms = log[i].timestamp_ms;
            record.native = &log[i].headers;
            records.push_back(record);
        }
        caught_up_.erase(partition);
        const bool global = plan->inputs[static_cast<size_t>(partition.topic)].global;
        for (std::span<const InputRecord> rest = records; !rest.empty();) {
            WEIR_ASSIGN(const size_t taken,
                        (global ? *globals_ : *shard)
                            .process({partition, rest}, source, clock.wall_ms(), sink));
            rest = rest.subspan(taken);
            WEIR_TRY(close_rest());
        }
        return {};
    }

    std::mt19937_64 random_{1};
    std::unique_ptr<Shard> globals_;
    std::map<TopicPartition, std::deque<Record>> logs_;
    std::vector<std::pair<TopicPartition, size_t>> arrivals_;  // Which records came, in this order.
    std::map<TopicPartition, bool> caught_up_;
    std::vector<std::string> deltas_;
    std::vector<PartitionProgress> progress_;
    std::vector<uint64_t> committed_records_;
    size_t committed_outputs_ = 0;
    std::optional<CloseBudget> budget_;
    bool crashing_ = false;
    size_t slices_ = 0;
    size_t most_in_a_slice_ = 0;
};

}  // namespace weir::processor
