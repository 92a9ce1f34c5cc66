// count, sum, avg, with and without DISTINCT.
#include "processor/accumulators/distinct_set.h"
#include "processor/accumulators/operations.h"
#include "processor/expr/decimal.h"
#include "processor/expr/operators.h"
#include "processor/group_key.h"

namespace weir::processor {
namespace {

constexpr std::string_view kSumOverflow = "sum is out of range";

bool is_integer(Type type) { return type == Type::kInt4 || type == Type::kInt8; }

// `widen`: an integer makes the sum numeric, else bigint.
void add_number(Value& sum, const Value& value, bool widen) {
    if (sum.type == Type::kNumeric && value.type == Type::kNumeric) [[likely]] {
        expr::Decimal result;
        if (expr::add({sum.mantissa(), sum.scale}, {value.mantissa(), value.scale}, result) ==
            expr::Status::kOk) {
            sum = result.value();
        } else {
            sum = failed_for_good(kSumOverflow);
        }
        return;
    }
    if (sum.is_error()) return;
    if (value.type == Type::kFloat8 || sum.type == Type::kFloat8) {
        const double before = sum.is_null() ? 0 : expr::number_as_double(sum);
        sum = Value::of_float8(before + expr::number_as_double(value));
        return;
    }
    if (is_integer(value.type) && !widen && (sum.is_null() || sum.type == Type::kInt8)) {
        int64_t result = 0;
        if (__builtin_add_overflow(sum.is_null() ? 0 : sum.integer, value.integer, &result)) {
            sum = failed_for_good(kSumOverflow);
        } else {
            sum = Value::of_int8(result);
        }
        return;
    }
    expr::Decimal result = expr::Decimal::of(value);
    if (!sum.is_null() &&
        expr::add(expr::Decimal::of(sum), expr::Decimal::of(value), result) != expr::Status::kOk) {
        sum = failed_for_good(kSumOverflow);
        return;
    }
    sum = result.value();
}

// As PostgreSQL: integers sum to bigint; what bigint sums to, and what avg divides, is numeric.
template <bool kIsAverage>
bool sums_widely(const Value& value) {
    return kIsAverage || value.type == Type::kInt8;
}

// A sum of numerics has as many digits after the point as the value with the most.
void raise_scale(Value& sum, uint16_t scale) {
    if (sum.type != Type::kNumeric || sum.scale >= scale) return;
    expr::Decimal result;
    const bool fits = expr::round_to(expr::Decimal::of(sum), scale, result) == expr::Status::kOk;
    sum = fits ? result.value() : failed_for_good(kSumOverflow);
}

template <bool kIsAverage>
void take_number(Accumulator& cell, const Value& value) {
    if (kIsAverage) ++cell.count;
    add_number(cell.value, value, sums_widely<kIsAverage>(value));
}

// The sum is also the error, so that nothing needs a look at failed cells.
template <bool kIsAverage>
void accumulate_numbers(const CallPlan&, uint32_t cell, const AccumulatorRows& input, std::string&) {
    const Column& values = *input.arguments[0];
    for (const uint32_t row : input.rows) {
        if (!values[row].is_null()) take_number<kIsAverage>(input.cells[row][cell], values[row]);
    }
}

void merge_sums(const CallPlan&, Accumulator* into, AccumulatorStore&, const Accumulator* from,
                const AccumulatorStore&) {
    into->count += from->count;
    if (!from->value.is_null()) add_number(into->value, from->value, from->value.type != Type::kInt8);
}

Value sum_result(const CallPlan&, const Accumulator* cell, const AccumulatorStore&, Arena&) {
    return cell->value;
}

Value average_result(const CallPlan&, const Accumulator* cell, const AccumulatorStore&, Arena&) {
    if (cell->count == 0) return Value::null();
    if (cell->value.type == Type::kFloat8) {
        return Value::of_float8(cell->value.real / static_cast<double>(cell->count));
    }
    expr::Decimal quotient;
    const auto status =
        expr::divide(expr::Decimal::of(cell->value), expr::Decimal::of(cell->count), quotient);
    return status == expr::Status::kOk ? quotient.value() : failed_for_good("avg is out of range");
}

void count_rows(const CallPlan&, uint32_t cell, const AccumulatorRows& input, std::string&) {
    for (const uint32_t row : input.rows) ++input.cells[row][cell].count;
}

void count_values(const CallPlan&, uint32_t cell, const AccumulatorRows& input, std::string&) {
    const Column& values = *input.arguments[0];
    for (const uint32_t row : input.rows) {
        if (!values[row].is_null()) ++input.cells[row][cell].count;
    }
}

void merge_counts(const CallPlan&, Accumulator* into, AccumulatorStore&, const Accumulator* from,
                  const AccumulatorStore&) {
    into->count += from->count;
}

Value count_result(const CallPlan&, const Accumulator* cell, const AccumulatorStore&, Arena&) {
    return Value::of_int8(cell->count);
}

// Calls change(cells, value, whether it is new).
template <class Change>
void for_each_distinct(const CallPlan& call, uint32_t cell, const AccumulatorRows& input, std::string& key,
                       const Change& change) {
    for_each_value(cell, input, [&](uint32_t row, Accumulator* at, const Value& value) {
        key.clear();
        append_group_key(value, key);
        auto& set = input.stores[row]->object<DistinctSet>(*at, call);
        change(*at, value, set.add(key));
        if (set.full()) input.stores[row]->fail(*at, failed_for_good(DistinctSet::kFull));
    });
}

void count_distinct(const CallPlan& call, uint32_t cell, const AccumulatorRows& input, std::string& key) {
    for_each_distinct(call, cell, input, key, [](Accumulator& at, const Value&, bool is_new) {
        if (is_new) ++at.count;
    });
}

template <bool kIsAverage>
void sum_distinct(const CallPlan& call, uint32_t cell, const AccumulatorRows& input, std::string& key) {
    for_each_distinct(call, cell, input, key, [](Accumulator& at, const Value& value, bool is_new) {
        if (is_new) {
            take_number<kIsAverage>(at, value);
        } else if (value.type == Type::kNumeric) {
            raise_scale(at.value, value.scale);  // So that it does not matter which came first.
        }
    });
}

// Calls change(value) for each one that `into` did not have.
template <class Change>
void merge_sets(const CallPlan& call, Accumulator* into, AccumulatorStore& into_store,
                const Accumulator* from, const AccumulatorStore& from_store, const Change& change) {
    const auto* const values = static_cast<const DistinctSet*>(from_store.find(*from));
    if (values == nullptr) return;
    auto& set = into_store.object<DistinctSet>(*into, call);
    for (size_t i = 0; i < values->size(); ++i) {
        if (set.add((*values)[i])) change((*values)[i]);
    }
    if (set.full()) into_store.fail(*into, failed_for_good(DistinctSet::kFull));
}

void merge_distinct_counts(const CallPlan& call, Accumulator* into, AccumulatorStore& into_store,
                           const Accumulator* from, const AccumulatorStore& from_store) {
    merge_sets(call, into, into_store, from, from_store, [&](std::string_view) { ++into->count; });
}

void merge_distinct_sums(const CallPlan& call, Accumulator* into, AccumulatorStore& into_store,
                         const Accumulator* from, const AccumulatorStore& from_store) {
    const bool widen = from->value.type != Type::kInt8;
    merge_sets(call, into, into_store, from, from_store, [&](std::string_view key) {
        ++into->count;
        ByteReader in(key);
        Value value;
        read_group_key(in, value);  // Integers come back as numeric.
        if (!widen && value.type == Type::kNumeric) value = Value::of_int8(static_cast<int64_t>(value.low));
        add_number(into->value, value, widen);
    });
    if (from->value.type == Type::kNumeric) raise_scale(into->value, from->value.scale);
}

}  // namespace

const AccumulatorOperations kCountRows = {1, count_rows, merge_counts, count_result};
const AccumulatorOperations kCountValues = {1, count_values, merge_counts, count_result};
const AccumulatorOperations kCountDistinct = {1, count_distinct, merge_distinct_counts, count_result,
                                              object_of<DistinctSet>};
const AccumulatorOperations kSum = {1, accumulate_numbers<false>, merge_sums, sum_result};
const AccumulatorOperations kAverage = {1, accumulate_numbers<true>, merge_sums, average_result};
const AccumulatorOperations kSumDistinct = {1, sum_distinct<false>, merge_distinct_sums, sum_result,
                                            object_of<DistinctSet>};
const AccumulatorOperations kAverageDistinct = {1, sum_distinct<true>, merge_distinct_sums, average_result,
                                                object_of<DistinctSet>};

}  // namespace weir::processor
