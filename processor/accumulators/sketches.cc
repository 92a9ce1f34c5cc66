// Calls with an approximate result and a state of bounded size: approx_count_distinct, approx_percentile,
// top_k.
#include <fmt/format.h>

#include "processor/accumulators/hyperloglog.h"
#include "processor/accumulators/kll_sketch.h"
#include "processor/accumulators/operations.h"
#include "processor/accumulators/space_saving.h"
#include "processor/expr/jsonb.h"
#include "processor/expr/operators.h"
#include "processor/group_key.h"

namespace weir::processor {
namespace {

constexpr std::string_view kTopFull = "top_k holds more than 16 MiB of values";

void accumulate_count(const CallPlan& call, uint32_t cell, const AccumulatorRows& input, std::string& key) {
    for_each_value(cell, input, [&](uint32_t row, Accumulator* at, const Value& value) {
        key.clear();
        append_group_key(value, key);
        input.stores[row]->object<HyperLogLog>(*at, call).add(key);
    });
}

void merge_counts(const CallPlan& call, Accumulator* into, AccumulatorStore& store, const Accumulator* from,
                  const AccumulatorStore& from_store) {
    const auto* const sketch = static_cast<const HyperLogLog*>(from_store.find(*from));
    if (sketch != nullptr) store.object<HyperLogLog>(*into, call).merge(*sketch);
}

Value count_result(const CallPlan&, const Accumulator* cell, const AccumulatorStore& store, Arena&) {
    const auto* const sketch = static_cast<const HyperLogLog*>(store.find(*cell));
    return Value::of_int8(sketch == nullptr ? 0 : sketch->estimate());
}

void accumulate_percentile(const CallPlan& call, uint32_t cell, const AccumulatorRows& input, std::string&) {
    for_each_value(cell, input, [&](uint32_t row, Accumulator* at, const Value& value) {
        input.stores[row]->object<KllSketch>(*at, call).add(expr::number_as_double(value));
    });
}

void merge_percentiles(const CallPlan& call, Accumulator* into, AccumulatorStore& store,
                       const Accumulator* from, const AccumulatorStore& from_store) {
    const auto* const sketch = static_cast<const KllSketch*>(from_store.find(*from));
    if (sketch != nullptr) store.object<KllSketch>(*into, call).merge(*sketch);
}

Value percentile_result(const CallPlan& call, const Accumulator* cell, const AccumulatorStore& store,
                        Arena&) {
    const auto* const sketch = static_cast<const KllSketch*>(store.find(*cell));
    if (sketch == nullptr) return Value::null();
    return Value::of_float8(sketch->percentile(call.descending ? 1 - call.fraction : call.fraction));
}

void accumulate_top(const CallPlan& call, uint32_t cell, const AccumulatorRows& input, std::string& key) {
    for_each_value(cell, input, [&](uint32_t row, Accumulator* at, const Value& value) {
        key.clear();
        append_group_key(value, key);
        AccumulatorStore& store = *input.stores[row];
        if (!store.object<SpaceSaving>(*at, call).add(key)) store.fail(*at, failed_for_good(kTopFull));
    });
}

void merge_tops(const CallPlan& call, Accumulator* into, AccumulatorStore& store, const Accumulator* from,
                const AccumulatorStore& from_store) {
    const auto* const counters = static_cast<const SpaceSaving*>(from_store.find(*from));
    if (counters == nullptr || store.object<SpaceSaving>(*into, call).merge(*counters)) return;
    store.fail(*into, failed_for_good(kTopFull));
}

Value top_result(const CallPlan& call, const Accumulator* cell, const AccumulatorStore& store, Arena& arena) {
    const auto* const counters = static_cast<const SpaceSaving*>(store.find(*cell));
    if (counters == nullptr) return Value::null();
    std::string text = "[";
    for (const SpaceSaving::Counter* const counter : counters->top(static_cast<size_t>(call.k))) {
        if (text.size() > 1) text.push_back(',');
        text.append("{\"value\":");
        ByteReader in(counter->value);
        Value value;
        read_group_key(in, value);
        expr::append_json_element(value, text);
        fmt::format_to(std::back_inserter(text), ",\"count\":{},\"error\":{}}}", counter->count,
                       counter->error);
    }
    text.push_back(']');
    std::string canonical;
    expr::append_canonical_json(text, canonical);
    return Value::of_bytes(Type::kJsonb, arena.copy(canonical));
}

}  // namespace

const AccumulatorOperations kApproximateCount = {1, accumulate_count, merge_counts, count_result,
                                                 object_of<HyperLogLog>};
const AccumulatorOperations kApproximatePercentile = {1, accumulate_percentile, merge_percentiles,
                                                      percentile_result, object_of<KllSketch>};
const AccumulatorOperations kTopK = {1, accumulate_top, merge_tops, top_result, object_of<SpaceSaving>};

}  // namespace weir::processor
