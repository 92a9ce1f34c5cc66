#include "tests/sim/scenario.h"

#include <algorithm>
#include <random>
#include <string>

#include <fmt/format.h>

#include "base/result.h"
#include "config/load.h"
#include "processor/graph.h"
#include "tests/sim/model.h"

namespace weir::sim {
namespace {

const std::string kOrders = R"yaml(
name: sim
kafka: {bootstrap.servers: none}
commit_interval: 100ms
on_error: {dead_letter: dlq}
sources:
  orders:
    topic: orders
    keyed_by: k
    timestamp: t
    watermark: {max_delay: 1s, idle_timeout: 2s}
)yaml";

const std::string kOrdersAndPayments = kOrders + R"yaml(  payments:
    topic: payments
    keyed_by: k
    timestamp: t
    watermark: {max_delay: 1s, idle_timeout: 2s}
)yaml";

const std::string kTumbling = kOrders + R"yaml(streams:
  sums:
    from: orders
    steps:
      - aggregate:
          by: k
          window: {tumbling: 2s, grace: 500ms}
          emit: on_close
          fields: {n: count(*), total: sum(v), largest: max(v)}
    to: sums
  late:
    from: sums.late
    to: late
  big:
    from: orders
    steps: [{filter: v > 50}]
    to: big
)yaml";

const std::string kAtLeastOnce = "guarantee: at_least_once" + kTumbling;

// Two topics in one shard, each with its own event time; sets, texts and averages in the state.
const std::string kTwoTopics = kOrders + R"yaml(  payments:
    topic: payments
    keyed_by: k
    timestamp: t
    watermark: {max_delay: 500ms, idle_timeout: 2s}
streams:
  kinds:
    from: orders
    steps:
      - set: {kind: "CASE WHEN v > 40 THEN 'big' ELSE 'small' END"}
      - aggregate:
          by: k
          window: {tumbling: 3s}
          emit: on_close
          fields: {distinct_values: "count(DISTINCT v)", mean: avg(v), least: min(kind), most: max(kind),
                   few: "count(*) FILTER (WHERE v < 10)"}
    to: kinds
  paid:
    from: payments
    steps:
      - aggregate:
          by: k
          window: {tumbling: 1s, grace: 2s}
          emit: on_close
          fields: {n: count(*), paid: sum(v)}
    to: paid
)yaml";

const std::string kStateless = R"yaml(
name: sim
kafka: {bootstrap.servers: none}
commit_interval: 100ms
on_error: {dead_letter: dlq}
sources:
  orders:
    topic: orders
    keyed_by: k
streams:
  big:
    from: orders
    steps: [{filter: v > 30}, {set: {twice: v * 2}}]
    to: big
)yaml";

// Every kind of state that windows keep: panes, sessions that grow and join, counts, and sketches.
const std::string kWindows = kOrders + R"yaml(streams:
  hops:
    from: orders
    steps:
      - aggregate:
          by: k
          window: {hopping: {size: 3s, step: 1s}, grace: 500ms}
          emit: on_close
          fields: {n: count(*), total: sum(v), spread: stddev_samp(v)}
    to: hops
  late:
    from: hops.late
    to: late
  visits:
    from: orders
    steps:
      - aggregate:
          by: k
          window: {session: 1s, max: 6s}
          emit: on_close
          fields: {n: count(*), largest: max(v), about: approx_count_distinct(i)}
    to: visits
  threes:
    from: orders
    steps:
      - aggregate: {by: k, window: {count: 3}, emit: on_close, fields: {n: count(*), total: sum(v)}}
    to: threes
  so_far:
    from: orders
    steps:
      - aggregate:
          by: k
          window: {cumulate: {size: 4s, step: 2s}}
          emit: on_close
          fields: {n: count(*), kinds: count(DISTINCT v)}
    to: so_far
)yaml";

// What passes once, what is held back, and results that are counted again.
const std::string kSteps = kOrders + R"yaml(streams:
  few:
    from: orders
    steps:
      - dedupe: {by: k, within: 400ms}
      - throttle: {by: k, max: 2, per: 2s}
    to: few
  late:
    from: few.late
    to: late
  lasts:
    from: orders
    steps:
      - dedupe: {by: k, within: 1s, keep: last}
      - top_n: {n: 2, by: k, largest: v, as: place, window: {tumbling: 3s}}
    to: lasts
  longer:
    from: lasts
    steps:
      - aggregate: {by: k, window: {tumbling: 6s}, fields: {n: count(*), total: sum(v), worst: max(place)}}
    to: longer
)yaml";

// Two topics feed the same windows: event time is the minimum over two partitions.
const std::string kUnion = kOrdersAndPayments + R"yaml(streams:
  both:
    from: [orders, payments]
    steps:
      - aggregate:
          by: k
          window: {tumbling: 2s}
          emit: on_close
          fields: {n: count(*), total: sum(v)}
    to: both
  late:
    from: both.late
    to: late
)yaml";

// Every kind of join. A result's key names its pair, because the order between pairs is that of reading.
const std::string kJoins = kOrdersAndPayments + R"yaml(streams:
  paid:
    join: {left: orders, right: payments, kind: full, match: orders.k = payments.k AND orders.v > payments.v,
           within: {before: 300ms, after: 900ms}}
    steps: [{map: {k: _key, a: orders.i, b: payments.i, v: orders.v}}]
    to: [{topic: paid, key: "concat(k, '/', a, '/', b)"}]
  hops:
    join: {left: orders, right: payments, kind: left, match: orders.k = payments.k,
           window: {hopping: {size: 3s, step: 1s}}}
    steps: [{map: {k: _key, a: orders.i, b: payments.i, at: window_start}}]
    to: [{topic: hops, key: "concat(k, '/', a, '/', b)"}]
  visits:
    join: {left: orders, right: payments, kind: right, match: orders.k = payments.k, window: {session: 700ms}}
    steps: [{map: {k: _key, a: orders.i, b: payments.i, from: window_start, until: window_end}}]
    to: [{topic: visits, key: "concat(k, '/', a, '/', b)"}]
  nearest:
    join: {left: orders, right: payments, kind: left, match: orders.k = payments.k,
           as_of: {direction: nearest, tolerance: 1s}}
    steps: [{map: {k: _key, a: orders.i, b: payments.i}}]
    to: [{topic: nearest, key: "concat(k, '/', a, '/', b)"}]
)yaml";

// All rows of the tables are there before anything else, so which row a record finds does not depend on when
// it is read; they are state, and come back with it.
const std::string kTables = kOrders + R"yaml(tables:
  users: {topic: users}
  rates: {topic: rates, timestamp: t, history: 2s}
streams:
  priced:
    from: orders
    steps:
      - lookup: {table: users, by: k, missing: keep}
      - lookup: {table: rates, by: k, as_of: event_time, missing: keep}
      - map: {k: k, i: i, tier: users.v, rate: rates.v}
    to: priced
  sums:
    from: priced
    steps:
      - aggregate:
          by: k
          window: {tumbling: 2s}
          fields: {n: count(*), tiers: sum(tier), rates: sum(rate)}
    to: sums
)yaml";

// Operators whose rows are in stores beside the log, which fall behind it when the process dies.
const std::string kOnDisk = kOrdersAndPayments + R"yaml(tables:
  users: {topic: users, state: {backend: rocksdb}}
  rates: {topic: rates, timestamp: t, history: 2s, state: {backend: rocksdb}}
  names: {topic: names, global: true, state: {backend: rocksdb}}
streams:
  priced:
    from: orders
    steps:
      - lookup: {table: users, by: k, missing: keep}
      - lookup: {table: rates, by: k, as_of: event_time, missing: keep}
      - lookup: {table: names, by: "replace(k, 'x0', 'x1')", missing: keep}
      - map: {k: k, i: i, tier: users.v, rate: rates.v, name: names.v}
    to: priced
  paid:
    join: {left: orders, right: payments, kind: full, match: orders.k = payments.k AND orders.v > payments.v,
           within: {before: 300ms, after: 900ms}, state: {backend: rocksdb}}
    steps: [{map: {k: _key, a: orders.i, b: payments.i, v: orders.v}}]
    to: [{topic: paid, key: "concat(k, '/', a, '/', b)"}]
  hops:
    join: {left: orders, right: payments, kind: full, match: orders.k = payments.k,
           window: {hopping: {size: 3s, step: 1s}}, state: {backend: rocksdb}}
    steps: [{map: {k: _key, a: orders.i, b: payments.i, at: window_start}}]
    to: [{topic: hops, key: "concat(k, '/', a, '/', b)"}]
  meetings:
    join: {left: orders, right: payments, kind: right, match: orders.k = payments.k, window: {session: 700ms},
           state: {backend: rocksdb}}
    steps: [{map: {k: _key, a: orders.i, b: payments.i, from: window_start, until: window_end}}]
    to: [{topic: meetings, key: "concat(k, '/', a, '/', b)"}]
  few:
    from: payments
    steps: [{throttle: {by: k, max: 2, per: 1s, state: {backend: rocksdb}}}]
    to: few
  sums:
    from: [orders, payments]
    steps:
      - aggregate:
          by: k
          window: {hopping: {size: 2s, step: 1s}}
          fields: {n: count(*), total: sum(v), kinds: count(DISTINCT i)}
          state: {backend: rocksdb}
    to: sums
  best:
    from: payments
    steps:
      - top_n: {n: 2, by: k, largest: v, window: {tumbling: 2s}, state: {backend: rocksdb}}
      - map: {k: k, i: i, v: v}
    to: best
  visits:
    from: orders
    steps:
      - aggregate:
          by: k
          window: {session: 1s}
          fields: {n: count(*), total: sum(v), kinds: count(DISTINCT i)}
          state: {backend: rocksdb}
    to: visits
  lasts:
    from: payments
    steps: [{dedupe: {by: k, within: 1s, keep: last, state: {backend: rocksdb}}}]
    to: lasts
)yaml";

// Groups that are not the topic's: their records go through an internal topic, with their event time.
const std::string kRepartition = kOrders + R"yaml(streams:
  sums:
    from: orders
    steps:
      - set: {size: "CASE WHEN v > 60 THEN 'big' WHEN v > 30 THEN 'middle' ELSE 'small' END"}
      - aggregate:
          by: size
          window: {tumbling: 1s}
          fields: {n: count(*), total: sum(v), least: min(k), most: max(k)}
    to: sums
)yaml";

const std::string kStatelessAtLeastOnce = "guarantee: at_least_once" + kStateless;

constexpr int64_t kFirstEventMs = 1'690'000'000'000;

// One partition's records: a little disorder; unless `orderly`, also some late, some broken, and perhaps one
// long silence.
void add_arrivals(const std::string& topic, int32_t partition, bool orderly, std::mt19937_64& random,
                  std::vector<Arrival>& arrivals) {
    int64_t at_ms = 0;
    int64_t event_ms = kFirstEventMs;
    const uint64_t count = 14 + random() % 14;
    const uint64_t silence_before = random() % (2 * count);
    for (uint64_t i = 0; i < count; ++i) {
        at_ms += random() % 4 == 0 || (i == 0 && orderly) ? 0 : static_cast<int64_t>(random() % 200);
        event_ms += static_cast<int64_t>(random() % (orderly ? 300 : 700));
        if (i == silence_before && !orderly) {
            at_ms += 2'500 + static_cast<int64_t>(random() % 3'000);
            event_ms += 600'000;
        }
        int64_t t = event_ms - static_cast<int64_t>(random() % 900);
        if (random() % 12 == 0 && !orderly) t -= 4'000 + static_cast<int64_t>(random() % 20'000);
        const std::string key = fmt::format("{}{}-{}", orderly ? 'x' : topic[0], partition, random() % 3);
        std::string value =
            fmt::format(R"({{"k":"{}","t":{},"v":{}.{},"i":{}}})", key, t, random() % 100, random() % 10, i);
        if (random() % 16 == 0 && !orderly) value = fmt::format("{{broken {}", i);
        Arrival arrival{at_ms, topic, partition, {}};
        arrival.record.key = key;
        arrival.record.value = std::move(value);
        arrival.record.timestamp_ms = t;
        arrivals.push_back(std::move(arrival));
    }
}

// One partition of a table's topic: rows that change and go, all there at the start.
void add_rows(const std::string& topic, int32_t partition, std::mt19937_64& random,
              std::vector<Arrival>& arrivals) {
    const uint64_t count = 6 + random() % 14;
    for (uint64_t i = 0; i < count; ++i) {
        const int64_t t = kFirstEventMs + static_cast<int64_t>(random() % 6'000) - 1'000;
        Arrival arrival{0, topic, partition, {}};
        arrival.record.key = fmt::format("x{}-{}", partition, random() % 3);
        if (random() % 5 != 0) arrival.record.value = fmt::format(R"({{"t":{},"v":{}}})", t, random() % 100);
        arrival.record.timestamp_ms = t;
        arrivals.push_back(std::move(arrival));
    }
}

}  // namespace

const std::vector<PipelineCase>& pipeline_cases() {
    using processor::Decider;
    static const std::vector<PipelineCase> cases{
        {"tumbling",
         kTumbling,
         Decider::kTransaction,
         {"sums", "late", "big", "dlq"},
         false,
         tumbling_model},
        {"two_topics",
         kTwoTopics,
         Decider::kTransaction,
         {"kinds", "paid", "dlq"},
         false,
         nullptr},
        {"windows",
         kWindows,
         Decider::kTransaction,
         {"hops", "late", "visits", "threes", "so_far", "dlq"},
         false,
         nullptr},
        {"steps",
         kSteps,
         Decider::kTransaction,
         {"few", "late", "lasts", "longer", "dlq"},
         false,
         nullptr},
        {"union",
         kUnion,
         Decider::kTransaction,
         {"both", "late", "dlq"},
         true,
         nullptr},
        {"joins",
         kJoins,
         Decider::kTransaction,
         {"paid", "hops", "visits", "nearest", "dlq"},
         true,
         nullptr},
        {"tables",
         kTables,
         Decider::kTransaction,
         {"priced", "sums", "dlq"},
         true,
         nullptr},
        {"on_disk",
         kOnDisk,
         Decider::kTransaction,
         {"priced", "paid", "hops", "meetings", "few", "sums", "best", "visits", "lasts", "dlq"},
         true,
         nullptr},
        {"repartition", kRepartition, Decider::kTransaction, {"sums", "dlq"}, true, nullptr},
        {"stateless", kStateless, Decider::kTransaction, {"big", "dlq"}, false, nullptr},
        {"at_least_once",
         kAtLeastOnce,
         Decider::kWal,
         {"sums", "late", "big", "dlq"},
         false,
         tumbling_model},
        {"stateless_at_least_once",
         kStatelessAtLeastOnce,
         Decider::kOffsets,
         {"big", "dlq"},
         false,
         nullptr},
    };
    return cases;
}

Scenario make_scenario(const PipelineCase& pipeline, uint64_t variant) {
    Scenario scenario;
    scenario.pipeline = &pipeline;
    auto loaded = config::load_text("sim.yaml", pipeline.yaml, config::LoadOptions{});
    WEIR_CHECK(!loaded.diagnostics.has_errors(), loaded.diagnostics.render("sim.yaml", loaded.source));
    scenario.plan = processor::compile(loaded.pipeline, loaded.diagnostics);
    WEIR_CHECK(scenario.plan != nullptr, loaded.diagnostics.render("sim.yaml", loaded.source));
    // What is on disk is there alone, as in a deployment with more of it than memory.
    for (auto& stage : const_cast<processor::Graph&>(*scenario.plan->graph).stages) stage.cache_bytes = 0;
    scenario.commit_interval_ms = loaded.pipeline.commit_interval_ms;
    std::mt19937_64 random(variant);
    for (const processor::PlanInput& input : scenario.plan->inputs)
        for (int32_t partition = 0; partition < kPartitions; ++partition)
            if (input.is_table)
                add_rows(input.name, partition, random, scenario.arrivals);
            else if (input.internal < 0)
                add_arrivals(input.name, partition, pipeline.orderly, random, scenario.arrivals);
    std::stable_sort(scenario.arrivals.begin(), scenario.arrivals.end(),
                     [](const Arrival& a, const Arrival& b) { return a.at_ms < b.at_ms; });
    if (pipeline.model != nullptr) scenario.expected = pipeline.model(scenario.arrivals);
    return scenario;
}

}  // namespace weir::sim
