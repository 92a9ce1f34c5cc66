// CPU per record inside the processor, without any broker: 200-byte JSON records through reading alone, a
// CPU per record inside the processor, without any broker: 200-byte JSON records through reading alone, a
// filter, count/sum/max per key in windows of several kinds, the other steps with state, and a join. Prints
// one JSON line per case, what a record in the join's buffers takes in memory and encoded, then what hopping
// windows of 60 s every 10 s cost compared to tumbling ones; exit code 1 when either is more than twice as
// much. And what an internal topic costs on both of its sides, brokers aside.
#include <ctime>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "config/load.h"
#include "processor/plan.h"
#include "processor/shard.h"

namespace {

using namespace weir;
using namespace weir::processor;

constexpr size_t kRecords = 200'000;
constexpr size_t kRunRecords = 1000;
constexpr int kRounds = 20;  // The best one counts: other processes only ever add.

// Takes records and forgets them, those of an internal topic aside.
class NullSink final : public Sink {
public:
    Result<void> open(int64_t) override { return {}; }
    Result<std::vector<std::optional<CommittedOffset>>> committed(std::span<const TopicPartition>,
                                                                  int64_t) override {
        return std::vector<std::optional<CommittedOffset>>{};
    }
    Result<void> begin() override { return {}; }
    Result<void> produce(const OutputRecord& record) override {
        bytes += record.value.size();
        if (internal_output && record.topic == *internal_output) {
            InputRecord& kept = internal.emplace_back();
            const std::string_view value = keep(record.value);
            kept.key = keep(record.key);
            kept.value = value;
            kept.offset = next_offset++;
            kept.timestamp_ms = record.timestamp_ms;
        }
        return {};
    }
    void start_flush() override {}
    Result<void> flush(int64_t) override { return {}; }
    Result<void> send_offsets(std::span<const OffsetCommit>, int64_t) override { return {}; }
    CommitOutcome commit(int64_t) override { return CommitOutcome::kCommitted; }
    Result<void> commit_offsets(std::span<const OffsetCommit>, bool) override { return {}; }
    [[nodiscard]] std::string position() const override { return {}; }
    Result<void> restore(std::string_view) override { return {}; }

    std::string_view keep(std::string_view text) {
        if (used + text.size() > arena.size()) return {};
        std::copy(text.begin(), text.end(), arena.begin() + static_cast<ptrdiff_t>(used));
        used += text.size();
        return std::string_view(arena).substr(used - text.size(), text.size());
    }

    size_t bytes = 0;
    std::optional<TopicId> internal_output;
    std::vector<InputRecord> internal;  // Not read yet; texts in `arena`.
    std::string arena;
    size_t used = 0;
    int64_t next_offset = 0;
};

class NullSource final : public Source {
public:
    Result<void> assign(std::span<const StartOffset>) override { return {}; }
    Result<Poll> poll(int64_t, size_t) override { return Poll{}; }
    void hold(std::span<const TopicPartition>) override {}
    void read_headers(const InputRecord&, std::vector<Header>&) const override {}
    Result<int64_t> end_offset(TopicPartition, int64_t) override { return int64_t{0}; }
};

std::vector<std::string> payloads() {
    std::vector<std::string> result;
    uint64_t random = 88172645463325252u;
    for (size_t i = 0; i < kRecords; ++i) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        char text[320];
        std::snprintf(text, sizeof text,
                      "{\"order_id\":%zu,\"customer_id\":\"c%04llu\",\"status\":\"%s\",\"amount\":%llu.%"
                      "02llu,\"currency\":\"EUR\","
                      "\"created_at\":%zu,\"channel\":\"web\",\"note\":\"%060llu\"}",
                      i, static_cast<unsigned long long>(random % 1000), random % 4 == 0 ? "OPEN" : "PAID",
                      static_cast<unsigned long long>(random % 500),
                      static_cast<unsigned long long>(random % 100), 1'700'000'000'000 + i,
                      static_cast<unsigned long long>(random));
        result.emplace_back(text);
    }
    return result;
}

int64_t cpu_ns() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

// Nanoseconds per record; 0: it failed.
double measure(const char* name, const std::string& streams, const std::vector<InputRecord>& records,
               const std::string& keyed_by = "customer_id") {
    const std::string yaml =
        "name: bench\nkafka: {bootstrap.servers: none}\n"
        "sources: {orders: {topic: orders, keyed_by: " +
        keyed_by + ", timestamp: created_at, watermark: 1s}}\n" + streams;
    config::Loaded loaded = config::load_text("bench.yaml", yaml, {});
    const auto plan = compile(loaded.pipeline, loaded.diagnostics);
    if (plan == nullptr) {
        std::fputs(loaded.diagnostics.render("bench.yaml", yaml).c_str(), stderr);
        return 0;
    }
    int64_t best = INT64_MAX;
    for (int round = 0; round < kRounds; ++round) {
        const ManualClock clock(2'000'000'000'000);
        Counters counters(*plan);
        const TopicPartition partition{TopicId{0}, 0};
        const std::vector<TopicPartition> partitions = {partition, {TopicId{1}, 0}};
        const std::vector<int32_t> counts(plan->inputs.size(), 1);
        Shard shard(*plan, 0, std::span(partitions).first(counts.size()), counts, clock, counters);
        NullSink sink;
        if (counts.size() > 1) {
            sink.arena.resize(kRunRecords * 512);
            for (size_t i = 0; i < plan->outputs.size(); ++i)
                if (plan->outputs[i].name == plan->inputs[1].name)
                    sink.internal_output = TopicId{static_cast<uint16_t>(i)};
        }
        const NullSource source;
        const int64_t start = cpu_ns();
        for (size_t first = 0; first < records.size(); first += kRunRecords) {
            const InputRun run{partition, std::span(records).subspan(first, kRunRecords)};
            if (!shard.process(run, source, clock.wall_ms(), sink).ok()) return 0;
            if (!sink.internal_output) continue;
            if (!shard.finish_epoch(sink).ok()) return 0;
            const InputRun again{partitions[1], sink.internal};
            if (!shard.process(again, source, clock.wall_ms(), sink).ok()) return 0;
            sink.internal.clear();
            sink.used = 0;
        }
        best = std::min(best, cpu_ns() - start);
    }
    const double ns = static_cast<double>(best) / static_cast<double>(records.size());
    std::printf("{\"case\":\"%s\",\"ns_per_record\":%.1f,\"payload_bytes\":%zu}\n", name, ns,
                records.front().value.size());
    return ns;
}

std::string one_step(const char* step) {
    return std::string("streams: {s: {from: orders, steps: [{") + step + "}], to: out}}\n";
}

// Orders with the visits of their customers within ±10 s, one visit for twenty orders. False: it failed, or
// buffered records take too much.
bool measure_join(const std::vector<InputRecord>& orders) {
    const std::string yaml =
        "name: bench\nkafka: {bootstrap.servers: none}\nsources:\n"
        "  orders: {topic: orders, keyed_by: customer_id, timestamp: created_at, watermark: 1s}\n"
        "  visits: {topic: visits, keyed_by: customer, timestamp: at, watermark: 1s}\n"
        "streams:\n  both:\n"
        "    join: {left: orders, right: visits, match: orders.customer_id = visits.customer AND "
        "orders.amount > visits.least, within: 10s}\n"
        "    steps: [{map: {order: orders.order_id, amount: orders.amount, channel: orders.channel, "
        "page: visits.page}}]\n    to: out\n";
    config::Loaded loaded = config::load_text("bench.yaml", yaml, {});
    const auto plan = compile(loaded.pipeline, loaded.diagnostics);
    if (plan == nullptr) {
        std::fputs(loaded.diagnostics.render("bench.yaml", yaml).c_str(), stderr);
        return false;
    }
    std::vector<std::string> values;
    std::vector<InputRecord> visits;
    for (size_t i = 0; i < orders.size(); i += 20) {
        values.push_back("{\"customer\":\"" + std::string(orders[i].key) +
                         "\",\"at\":" + std::to_string(1'700'000'000'000 + i) +
                         ",\"least\":450,\"page\":\"/shop/" + std::to_string(i % 1000) + "\"}");
    }
    for (const std::string& value : values) {
        InputRecord record;
        record.value = value;
        record.key = orders[20 * visits.size()].key;
        record.offset = static_cast<int64_t>(visits.size());
        record.timestamp_ms = 1'700'000'000'000;
        visits.push_back(record);
    }
    constexpr size_t kVisitsPerRun = kRunRecords / 20;
    int64_t best = INT64_MAX;
    StageStatus state;
    std::string delta;
    uint64_t pairs = 0;
    for (int round = 0; round < kRounds; ++round) {
        const ManualClock clock(2'000'000'000'000);
        Counters counters(*plan);
        const TopicPartition partitions[] = {{TopicId{0}, 0}, {TopicId{1}, 0}};
        const int32_t counts[] = {1, 1};
        Shard shard(*plan, 0, partitions, counts, clock, counters);
        NullSink sink;
        const NullSource source;
        const int64_t start = cpu_ns();
        for (size_t run = 0; run * kRunRecords < orders.size(); ++run) {
            const InputRun left{partitions[0], std::span(orders).subspan(run * kRunRecords, kRunRecords)};
            const InputRun right{partitions[1],
                                 std::span(visits).subspan(run * kVisitsPerRun, kVisitsPerRun)};
            if (!shard.process(left, source, clock.wall_ms(), sink).ok() ||
                !shard.process(right, source, clock.wall_ms(), sink).ok())
                return false;
        }
        best = std::min(best, cpu_ns() - start);
        pairs = counters.streams[0].matched;
        state = shard.status().stages[0];
        delta.clear();
        state::DeltaWriter writer(delta);
        shard.take_delta(writer);
    }
    const auto buffered = static_cast<double>(state.groups);
    const double ratio = static_cast<double>(state.state_bytes) / static_cast<double>(delta.size());
    std::printf(
        "{\"case\":\"join 10 s\",\"ns_per_record\":%.1f,\"pairs\":%llu,\"buffered\":%.0f,"
        "\"memory_per_buffered_record\":%.1f,\"encoded_bytes\":%.1f,\"memory_to_encoded\":%.2f,"
        "\"at_most\":2}\n",
        static_cast<double>(best) / static_cast<double>(orders.size() + visits.size()),
        static_cast<unsigned long long>(pairs), buffered, static_cast<double>(state.state_bytes) / buffered,
        static_cast<double>(delta.size()) / buffered, ratio);
    return ratio <= 2;
}

std::string windows(const char* window) {
    return std::string(
               "streams: {sums: {from: orders, steps: [{aggregate: {by: customer_id, fields: {n: count(*), "
               "total: sum(amount), biggest: max(amount)}, window: ") +
           window + "}}], to: out}}\n";
}

}  // namespace

int main() {
    const std::vector<std::string> values = payloads();
    std::vector<InputRecord> records;
    for (size_t i = 0; i < values.size(); ++i) {
        InputRecord record;
        record.key = std::string_view(values[i]).substr(values[i].find("_id\":\"c") + 6, 5);
        record.value = values[i];
        record.offset = static_cast<int64_t>(i);
        record.timestamp_ms = 1'700'000'000'000;
        records.push_back(record);
    }
    bool good = measure("read", "streams: {all: {from: orders, to: out}}\n", records) > 0;
    good = measure("filter",
                   "streams: {paid: {from: orders, steps: [{filter: \"status = 'PAID' AND amount > 100\"}], "
                   "to: out}}\n",
                   records) > 0 &&
           good;
    good = measure_join(records) && good;
    const double tumble = measure("tumble 10 s", windows("{tumbling: 10s}"), records);
    const double hop = measure("hop 60 s / 10 s", windows("{hopping: {size: 60s, step: 10s}}"), records);
    good = measure("session 3 s", windows("{session: 3s}"), records) > 0 && good;
    const std::pair<const char*, const char*> steps[] = {
        {"dedupe, no duplicates", "dedupe: {by: [customer_id, order_id], within: 10s}"},
        {"dedupe, keep last", "dedupe: {by: customer_id, within: 10s, keep: last}"},
        {"throttle 5 per 1 s", "throttle: {by: customer_id, max: 5, per: 1s}"},
        {"top 10 of 10 s", "top_n: {n: 10, by: customer_id, largest: amount, window: {tumbling: 10s}}"},
    };
    for (const auto& [name, step] : steps) good = measure(name, one_step(step), records) > 0 && good;
    const double apart =
        measure("tumble 10 s through an internal topic", windows("{tumbling: 10s}"), records, "order_id");
    if (!good || tumble <= 0 || hop <= 0 || apart <= 0) return 1;
    std::printf("{\"repartitioned_to_tumble\":%.2f}\n", apart / tumble);
    const double ratio = hop / tumble;
    std::printf("{\"hop_to_tumble\":%.2f,\"at_most\":2}\n", ratio);
    return ratio <= 2 ? 0 : 1;
}
