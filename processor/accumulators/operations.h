// What one kind of aggregate call does with its cells. accumulator.cc chooses the kind by the call's function
// and does what is common: an operation never sees a call that has failed for good, unless it says so.
//
// Thread:  pure functions over the worker's state.
// Failure: AccumulatorStore::fail on the call's first cell.
#pragma once

#include <string>
#include <string_view>

#include "processor/accumulator.h"

namespace weir::processor {

struct AccumulatorOperations {
    uint32_t cell_count = 1;
    // `cell` is the number of the call's first cell within the group's. `scratch` is reused from call to
    // call. Cells may have failed for good.
    void (*accumulate)(const CallPlan& call, uint32_t cell, const AccumulatorRows& input,
                       std::string& scratch);
    void (*merge)(const CallPlan& call, Accumulator* into, AccumulatorStore& into_store,
                  const Accumulator* from, const AccumulatorStore& from_store);
    Value (*result)(const CallPlan& call, const Accumulator* cells, const AccumulatorStore& store,
                    Arena& arena);
    // For calls that keep an object: the cell's, made when there is none.
    AccumulatorObject& (*object)(const CallPlan& call, Accumulator& cell, AccumulatorStore& store) = nullptr;
};

extern const AccumulatorOperations kCountRows;
extern const AccumulatorOperations kCountValues;
extern const AccumulatorOperations kCountDistinct;
extern const AccumulatorOperations kSum;
extern const AccumulatorOperations kAverage;
extern const AccumulatorOperations kSumDistinct;
extern const AccumulatorOperations kAverageDistinct;
extern const AccumulatorOperations kVariance;
extern const AccumulatorOperations kMinimum;
extern const AccumulatorOperations kMaximum;
extern const AccumulatorOperations kEvery;
extern const AccumulatorOperations kAny;
extern const AccumulatorOperations kFirst;
extern const AccumulatorOperations kLast;
extern const AccumulatorOperations kArgMin;
extern const AccumulatorOperations kArgMax;
extern const AccumulatorOperations kArray;
extern const AccumulatorOperations kText;
extern const AccumulatorOperations kObject;
extern const AccumulatorOperations kPercentileContinuous;
extern const AccumulatorOperations kPercentileDiscrete;
extern const AccumulatorOperations kApproximatePercentile;
extern const AccumulatorOperations kApproximateCount;
extern const AccumulatorOperations kTopK;
extern const AccumulatorOperations kTopRows;
extern const AccumulatorOperations kTimedRows;

template <class T>
AccumulatorObject& object_of(const CallPlan& call, Accumulator& cell, AccumulatorStore& store) {
    return store.object<T>(cell, call);
}

// Calls change(row, cells, value) for each row whose value is not NULL and whose call has not failed.
template <class Change>
void for_each_value(uint32_t cell, const AccumulatorRows& input, const Change& change) {
    const Column& values = *input.arguments[0];
    for (const uint32_t row : input.rows) {
        Accumulator* const cells = input.cells[row] + cell;
        if (!values[row].is_null() && !cells->value.is_error()) change(row, cells, values[row]);
    }
}

[[nodiscard]] inline Value failed_for_good(std::string_view message) {
    return Value::of_bytes(Type::kError, message);
}

}  // namespace weir::processor
