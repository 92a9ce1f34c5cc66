#include "processor/accumulator.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "processor/accumulators/operations.h"
#include "processor/expr/aggregate_functions.h"
#include "processor/expr/functions.h"
#include "processor/stored_value.h"

namespace weir::processor {
namespace {

const AccumulatorOperations& operations_of(const CallPlan& call) {
    using F = expr::AggregateFunction;
    switch (call.function) {
        case F::kCountStar: return kCountRows;
        case F::kCount: return call.distinct ? kCountDistinct : kCountValues;
        case F::kSum: return call.distinct ? kSumDistinct : kSum;
        case F::kAvg: return call.distinct ? kAverageDistinct : kAverage;
        case F::kMin: return kMinimum;
        case F::kMax: return kMaximum;
        case F::kVariance: return kVariance;
        case F::kBoolAnd: return kEvery;
        case F::kBoolOr: return kAny;
        case F::kFirst: return kFirst;
        case F::kLast: return kLast;
        case F::kArgMin: return kArgMin;
        case F::kArgMax: return kArgMax;
        case F::kPercentileCont: return kPercentileContinuous;
        case F::kPercentileDisc: return kPercentileDiscrete;
        case F::kArrayAgg: return kArray;
        case F::kStringAgg: return kText;
        case F::kJsonbObjectAgg: return kObject;
        case F::kApproxCountDistinct: return kApproximateCount;
        case F::kApproxPercentile: return kApproximatePercentile;
        case F::kTopK: return kTopK;
        case F::kTopRows: return kTopRows;
        case F::kTimedRows: return kTimedRows;
    }
    return kCountRows;
}

}  // namespace

void AccumulatorStore::keep_bytes(Accumulator& cell, const Value& value) {
    char* to = const_cast<char*>(cell.value.data);
    if (cell.capacity < value.length || cell.capacity == 0) {
        const size_t capacity = std::bit_ceil(std::max<size_t>(16, value.length));
        if (cell.capacity != 0) give_back(to, cell.capacity);
        to = take(capacity);
        cell.capacity = static_cast<uint32_t>(capacity);
    }
    std::copy_n(value.data, value.length, to);
    cell.value = Value::of_bytes(value.type, {to, value.length});
}

void AccumulatorStore::drop_bytes(Accumulator& cell) {
    if (cell.capacity != 0) give_back(const_cast<char*>(cell.value.data), cell.capacity);
    cell.capacity = 0;
    cell.value = Value::null();
}

char* AccumulatorStore::take(size_t capacity) {
    char*& head = free_texts_[static_cast<size_t>(std::countr_zero(capacity))];
    if (head == nullptr) return texts_.allocate(capacity);
    char* const result = head;
    std::memcpy(&head, result, sizeof head);
    return result;
}

void AccumulatorStore::give_back(char* bytes, size_t capacity) {
    char*& head = free_texts_[static_cast<size_t>(std::countr_zero(capacity))];
    std::memcpy(bytes, &head, sizeof head);
    head = bytes;
}

void AccumulatorStore::add(Accumulator& cell, std::unique_ptr<AccumulatorObject> object) {
    if (free_objects_.empty()) {
        objects_.push_back(std::move(object));
        cell.object = static_cast<uint32_t>(objects_.size());
        return;
    }
    cell.object = free_objects_.back();
    free_objects_.pop_back();
    objects_[cell.object - 1] = std::move(object);
}

void AccumulatorStore::release(Accumulator& cell) {
    drop_bytes(cell);
    if (cell.object != 0) {
        objects_[cell.object - 1].reset();
        free_objects_.push_back(cell.object);
    }
    cell = {};
}

void AccumulatorStore::fail(Accumulator& cell, const Value& error) {
    release(cell);
    keep_bytes(cell, error);
}

size_t AccumulatorStore::bytes() const {
    size_t total = texts_.bytes() + objects_.capacity() * sizeof(objects_[0]);
    for (const auto& object : objects_) total += object ? object->bytes() : 0;
    return total;
}

Accumulators::Accumulators(const std::vector<CallPlan>& plans) {
    for (const CallPlan& plan : plans) {
        const AccumulatorOperations& operations = operations_of(plan);
        const expr::AggregateFunctionSpec& spec = expr::spec_of(plan);
        Call call{plan, operations, static_cast<uint32_t>(cell_count_), spec.accepts, {}};
        // An argument of ORDER BY alone.
        if (plan.ordered && call.accepts[1] == 0) call.accepts[1] = expr::kAnyArgument;
        call.refusal.append(spec.signature).append(" does not take a value of this type");
        calls_.push_back(std::move(call));
        cell_count_ += operations.cell_count;
        has_objects_ = has_objects_ || operations.object != nullptr;
    }
}

uint16_t Accumulators::accepts(size_t call, size_t argument) const { return calls_[call].accepts[argument]; }

std::string_view Accumulators::refusal(size_t call) const { return calls_[call].refusal; }

void Accumulators::accumulate(size_t call, const AccumulatorRows& input) {
    const Call& it = calls_[call];
    it.operations.accumulate(it.plan, it.first_cell, input, scratch_);
}

void Accumulators::merge(Accumulator* into, AccumulatorStore& into_store, const Accumulator* from,
                         const AccumulatorStore& from_store) const {
    for (const Call& call : calls_) {
        Accumulator* const to = into + call.first_cell;
        const Accumulator* const other = from + call.first_cell;
        if (to->value.is_error()) continue;
        if (other->value.is_error()) {
            into_store.fail(*to, other->value);
        } else {
            call.operations.merge(call.plan, to, into_store, other, from_store);
        }
    }
}

Value Accumulators::result(size_t call, const Accumulator* cells, const AccumulatorStore& store,
                           Arena& arena) const {
    const Call& it = calls_[call];
    const Accumulator* const mine = cells + it.first_cell;
    return mine->value.is_error() ? mine->value : it.operations.result(it.plan, mine, store, arena);
}

void Accumulators::write(const Accumulator* cells, std::string& out) const {
    for (size_t i = 0; i < cell_count_; ++i) {
        put_varint(out, static_cast<uint64_t>(cells[i].count));
        append_stored_value(cells[i].value, out);
    }
}

bool Accumulators::read(ByteReader& in, Accumulator* cells, AccumulatorStore& store) const {
    for (size_t i = 0; i < cell_count_; ++i) {
        Accumulator& cell = cells[i];
        const auto count = static_cast<int64_t>(in.varint());
        Value stored;
        if (!read_stored_value(in, stored)) return false;
        if (stored.is_error()) {
            store.fail(cell, stored);
        } else {
            store.keep(cell, stored);
        }
        cell.count = count;
    }
    return true;
}

void Accumulators::write_parts(const Accumulator* cells, AccumulatorStore& store, bool whole,
                               const WritePart& out) const {
    if (!has_objects_) return;
    for (size_t call = 0; call < calls_.size(); ++call) {
        AccumulatorObject* const object = store.find(cells[calls_[call].first_cell]);
        if (object == nullptr) continue;
        object->write(whole, [&](std::string_view key, std::string_view value) { out(call, key, value); });
    }
}

bool Accumulators::read_part(size_t call, std::string_view key, std::string_view value, Accumulator* cells,
                             AccumulatorStore& store) const {
    if (call >= calls_.size() || calls_[call].operations.object == nullptr) return false;
    const Call& it = calls_[call];
    Accumulator& cell = cells[it.first_cell];
    if (cell.value.is_error()) return true;  // It failed after that was written.
    return it.operations.object(it.plan, cell, store).read(key, value);
}

void Accumulators::release(Accumulator* cells, AccumulatorStore& store) const {
    for (size_t i = 0; i < cell_count_; ++i) store.release(cells[i]);
}

}  // namespace weir::processor
