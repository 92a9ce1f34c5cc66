#include "processor/accumulator.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "processor/distinct_set.h"
#include "processor/expr/decimal.h"
#include "processor/expr/functions.h"
#include "processor/expr/operators.h"
#include "processor/group_key.h"
#include "processor/stored_value.h"

namespace weir::processor {
namespace {

using expr::AggregateFunction;

constexpr std::string_view kSumOverflow = "sum is out of range";
constexpr std::string_view kMixedTypes = "min() and max() over values of different types";

Value failed_for_good(std::string_view message) { return Value::of_bytes(Type::kError, message); }

bool is_distinct_count(const CallPlan& call) {
    return call.distinct && call.function == AggregateFunction::kCount;
}

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
    const bool integers = value.type == Type::kInt4 || value.type == Type::kInt8;
    if (integers && !widen && (sum.is_null() || sum.type == Type::kInt8)) {
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

// Sums of integers are bigint; sums of bigint, and what avg divides, are numeric.
bool sums_widely(AggregateFunction function, const Value& value) {
    return function == AggregateFunction::kAvg || value.type == Type::kInt8;
}

// min and max; of equal numbers the one with more digits after the point stays, whatever the order.
void keep_extreme(AccumulatorStore& store, Accumulator& cell, const Value& value, int wanted_order) {
    Value& kept = cell.value;
    if (kept.is_error()) return;
    if (!kept.is_null()) {
        int order = 0;
        if (kept.type == Type::kNumeric && value.type == Type::kNumeric) [[likely]] {
            order = expr::compare(expr::Decimal::of(value), expr::Decimal::of(kept));
        } else {
            const auto compared = expr::compare_values(value, kept);
            if (!compared) {
                store.fail(cell, failed_for_good(kMixedTypes));
                return;
            }
            order = *compared;
        }
        const bool replaces = order == 0 ? kept.type == Type::kNumeric && value.scale > kept.scale
                                         : (order < 0) == (wanted_order < 0);
        if (!replaces) return;
    }
    if (value.type == Type::kText) {
        store.keep_bytes(cell, value);
    } else {
        kept = value;
    }
}

Value average(const Accumulator& cell) {
    if (cell.count == 0 || cell.value.is_error()) return cell.value;
    if (cell.value.type == Type::kFloat8) {
        return Value::of_float8(cell.value.real / static_cast<double>(cell.count));
    }
    expr::Decimal quotient;
    const auto status =
        expr::divide(expr::Decimal::of(cell.value), expr::Decimal::of(cell.count), quotient);
    return status == expr::Status::kOk ? quotient.value() : failed_for_good("avg is out of range");
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

Accumulators::Accumulators(const std::vector<CallPlan>& calls) : calls_(calls) {
    for (const CallPlan& call : calls) {
        first_cell_.push_back(static_cast<uint32_t>(cell_count_));
        cell_count_ += 1;
        has_objects_ = has_objects_ || is_distinct_count(call);
    }
}

uint16_t Accumulators::accepts(size_t call, size_t) const {
    const uint16_t null = expr::type_bit(Type::kNull);
    switch (calls_[call].function) {
        case AggregateFunction::kSum:
        case AggregateFunction::kAvg: return expr::kNumberArgument | null;
        case AggregateFunction::kMin:
        case AggregateFunction::kMax:
            return expr::kNumberArgument | expr::kTextArgument | expr::kTimestampArgument |
                   expr::kIntervalArgument | null;
        case AggregateFunction::kCount:
        case AggregateFunction::kCountStar: return expr::kAnyArgument;
    }
    return null;
}

std::string_view Accumulators::refusal(size_t call) const {
    switch (calls_[call].function) {
        case AggregateFunction::kSum: return "sum() takes numbers";
        case AggregateFunction::kAvg: return "avg() takes numbers";
        default: return "min() and max() take numbers, texts, timestamps and intervals";
    }
}

void Accumulators::accumulate(size_t call, const AccumulatorRows& input) {
    const CallPlan& plan = calls_[call];
    const uint32_t first = first_cell_[call];
    if (plan.function == AggregateFunction::kCountStar) {
        for (const uint32_t row : input.rows) ++input.cells[row][first].count;
        return;
    }
    const Column& values = *input.arguments[0];
    const auto for_each = [&](const auto& change) {
        for (const uint32_t row : input.rows) {
            if (!values[row].is_null()) change(row, input.cells[row][first], values[row]);
        }
    };
    switch (plan.function) {
        case AggregateFunction::kCountStar: return;
        case AggregateFunction::kCount:
            if (plan.distinct) {
                for_each([&](uint32_t row, Accumulator& cell, const Value& value) {
                    key_.clear();
                    append_group_key(value, key_);
                    if (input.stores[row]->object<DistinctSet>(cell).add(key_)) ++cell.count;
                });
            } else {
                for_each([](uint32_t, Accumulator& cell, const Value&) { ++cell.count; });
            }
            return;
        case AggregateFunction::kSum:
            for_each([](uint32_t, Accumulator& cell, const Value& value) {
                add_number(cell.value, value, sums_widely(AggregateFunction::kSum, value));
            });
            return;
        case AggregateFunction::kAvg:
            for_each([](uint32_t, Accumulator& cell, const Value& value) {
                ++cell.count;
                add_number(cell.value, value, true);
            });
            return;
        case AggregateFunction::kMin:
            for_each([&](uint32_t row, Accumulator& cell, const Value& value) {
                keep_extreme(*input.stores[row], cell, value, -1);
            });
            return;
        case AggregateFunction::kMax:
            for_each([&](uint32_t row, Accumulator& cell, const Value& value) {
                keep_extreme(*input.stores[row], cell, value, 1);
            });
            return;
    }
}

void Accumulators::merge(Accumulator* into, AccumulatorStore& into_store, const Accumulator* from,
                         const AccumulatorStore& from_store) {
    for (size_t call = 0; call < calls_.size(); ++call) {
        const CallPlan& plan = calls_[call];
        Accumulator& to = into[first_cell_[call]];
        const Accumulator& other = from[first_cell_[call]];
        if (is_distinct_count(plan)) {
            const auto* const values = static_cast<const DistinctSet*>(from_store.find(other));
            if (values == nullptr) continue;
            auto& set = into_store.object<DistinctSet>(to);
            for (size_t i = 0; i < values->size(); ++i) {
                if (set.add((*values)[i])) ++to.count;
            }
            continue;
        }
        if (other.value.is_error()) {
            into_store.fail(to, other.value);
            continue;
        }
        switch (plan.function) {
            case AggregateFunction::kCountStar:
            case AggregateFunction::kCount: to.count += other.count; break;
            case AggregateFunction::kSum:
            case AggregateFunction::kAvg:
                to.count += other.count;
                if (!other.value.is_null()) {
                    add_number(to.value, other.value, other.value.type != Type::kInt8);
                }
                break;
            case AggregateFunction::kMin:
                if (!other.value.is_null()) keep_extreme(into_store, to, other.value, -1);
                break;
            case AggregateFunction::kMax:
                if (!other.value.is_null()) keep_extreme(into_store, to, other.value, 1);
                break;
        }
    }
}

Value Accumulators::result(size_t call, const Accumulator* cells, const AccumulatorStore&, Arena&) const {
    const Accumulator& cell = cells[first_cell_[call]];
    switch (calls_[call].function) {
        case AggregateFunction::kCountStar:
        case AggregateFunction::kCount: return Value::of_int8(cell.count);
        case AggregateFunction::kAvg: return average(cell);
        case AggregateFunction::kSum:
        case AggregateFunction::kMin:
        case AggregateFunction::kMax: return cell.value;
    }
    return Value::null();
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
        cell.count = static_cast<int64_t>(in.varint());
        Value stored;
        if (!read_stored_value(in, stored)) return false;
        if (stored.type == Type::kText || stored.type == Type::kJsonb || stored.type == Type::kError) {
            store.keep_bytes(cell, stored);
        } else {
            store.drop_bytes(cell);
            cell.value = stored;
        }
    }
    return true;
}

void Accumulators::write_parts(const Accumulator* cells, AccumulatorStore& store, bool whole,
                               const WritePart& out) const {
    if (!has_objects_) return;
    for (size_t call = 0; call < calls_.size(); ++call) {
        AccumulatorObject* const object = store.find(cells[first_cell_[call]]);
        if (object == nullptr) continue;
        object->write(whole, [&](std::string_view key, std::string_view value) { out(call, key, value); });
    }
}

bool Accumulators::read_part(size_t call, std::string_view key, std::string_view value, Accumulator* cells,
                             AccumulatorStore& store) const {
    if (call >= calls_.size() || !is_distinct_count(calls_[call])) return false;
    return store.object<DistinctSet>(cells[first_cell_[call]]).read(key, value);
}

void Accumulators::release(Accumulator* cells, AccumulatorStore& store) const {
    for (size_t i = 0; i < cell_count_; ++i) store.release(cells[i]);
}

}  // namespace weir::processor
