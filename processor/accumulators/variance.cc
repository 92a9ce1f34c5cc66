// stddev_… and var_…, as PostgreSQL computes them.
//
//   integers, numeric     N, sum of x and sum of x² exactly; the result is (N·Σx² − (Σx)²) / (N·(N − 1)), or
//                         / N², with PostgreSQL's number of digits. It does not depend on the order. Where
//                         Σx² needs more than 38 digits the call fails.
//   double precision      N, sum of x and sum of squared differences by Youngs and Cramer (Chan, Golub and
//                         LeVeque, "Algorithms for computing the sample variance", 1983); the last bits
//                         depend on the order of records.
//
// cells[0]: N and Σx. cells[1]: Σx², or the sum of squared differences.
#include <algorithm>
#include <cmath>

#include "processor/accumulators/operations.h"
#include "processor/expr/decimal.h"
#include "processor/expr/decimal_math.h"
#include "processor/expr/operators.h"

namespace weir::processor {
namespace {

using expr::Decimal;
using expr::Status;

constexpr std::string_view kOverflow =
    "stddev or variance is out of range: the sum of squares needs more than 38 digits";
constexpr std::string_view kFloatOverflow = "value out of range: overflow";

bool is_exact(const Accumulator* cells) { return cells[0].value.type == Type::kNumeric; }

// From sums of squares to squared differences: some value is double precision.
void make_float(Accumulator* cells) {
    if (!is_exact(cells)) return;
    const double sum = expr::number_as_double(cells[0].value);
    const double squares = expr::number_as_double(cells[1].value);
    cells[0].value = Value::of_float8(sum);
    const double mean = sum / static_cast<double>(cells[0].count);
    cells[1].value = Value::of_float8(std::max(0.0, squares - sum * mean));
}

void set_float(AccumulatorStore& store, Accumulator* cells, double sum, double differences,
               bool from_finite) {
    if (std::isinf(sum) || std::isinf(differences)) {
        if (from_finite) return store.fail(cells[0], failed_for_good(kFloatOverflow));
        differences = std::nan("");
    }
    cells[0].value = Value::of_float8(sum);
    cells[1].value = Value::of_float8(differences);
}

void take_float(AccumulatorStore& store, Accumulator* cells, double value) {
    make_float(cells);
    const bool first = cells[0].count == 0;
    const double sum_before = first ? 0 : cells[0].value.real;
    const double differences_before = first ? 0 : cells[1].value.real;
    const auto before = static_cast<double>(cells[0].count);
    const double count = before + 1;
    const double sum = sum_before + value;
    double differences = differences_before;
    if (first) {
        if (!std::isfinite(value)) differences = std::nan("");
    } else {
        const double difference = value * count - sum;
        differences += difference * difference / (count * before);
    }
    ++cells[0].count;
    set_float(store, cells, sum, differences, std::isfinite(sum_before) && std::isfinite(value));
}

void add_exact(AccumulatorStore& store, Accumulator* cells, const Decimal& sum, const Decimal& squares,
               int64_t count) {
    if (cells[0].count == 0) {
        cells[0].value = sum.value();
        cells[1].value = squares.value();
    } else {
        Decimal total;
        Decimal total_squares;
        if (expr::add(Decimal::of(cells[0].value), sum, total) != Status::kOk ||
            expr::add(Decimal::of(cells[1].value), squares, total_squares) != Status::kOk) {
            return store.fail(cells[0], failed_for_good(kOverflow));
        }
        cells[0].value = total.value();
        cells[1].value = total_squares.value();
    }
    cells[0].count += count;
}

void accumulate_variance(const CallPlan&, uint32_t cell, const AccumulatorRows& input, std::string&) {
    for_each_value(cell, input, [&](uint32_t row, Accumulator* cells, const Value& value) {
        AccumulatorStore& store = *input.stores[row];
        if (value.type == Type::kFloat8 || cells[0].value.type == Type::kFloat8) {
            return take_float(store, cells, expr::number_as_double(value));
        }
        const Decimal number = Decimal::of(value);
        Decimal square;
        if (expr::multiply(number, number, square) != Status::kOk) {
            return store.fail(cells[0], failed_for_good(kOverflow));
        }
        add_exact(store, cells, number, square, 1);
    });
}

void merge_variance(const CallPlan&, Accumulator* into, AccumulatorStore& store, const Accumulator* from,
                    const AccumulatorStore&) {
    if (from->count == 0) return;
    if (is_exact(from) && (into->count == 0 || is_exact(into))) {
        return add_exact(store, into, Decimal::of(from[0].value), Decimal::of(from[1].value), from->count);
    }
    Accumulator other[2] = {from[0], from[1]};
    make_float(other);
    if (into->count == 0) {
        into[0] = other[0];
        into[1] = other[1];
        return;
    }
    make_float(into);
    const auto count = static_cast<double>(into->count);
    const auto other_count = static_cast<double>(from->count);
    const double all = count + other_count;
    const double sum = into[0].value.real + other[0].value.real;
    const double difference = into[0].value.real / count - other[0].value.real / other_count;
    const double differences = into[1].value.real + other[1].value.real +
                               count * other_count * difference * difference / all;
    into->count += from->count;
    set_float(store, into, sum, differences,
              std::isfinite(into[0].value.real) && std::isfinite(other[0].value.real));
}

Value variance_result(const CallPlan& call, const Accumulator* cells, const AccumulatorStore&, Arena& arena) {
    const int64_t count = cells[0].count;
    if (count == 0 || (call.sample && count == 1)) return Value::null();
    if (!is_exact(cells)) {
        const double variance = cells[1].value.real / static_cast<double>(call.sample ? count - 1 : count);
        return Value::of_float8(call.root ? std::sqrt(variance) : variance);
    }
    const Decimal sum = Decimal::of(cells[0].value);
    Decimal numerator;
    Decimal divisor;
    Decimal variance;
    if (expr::multiply_subtract(Decimal::of(count), Decimal::of(cells[1].value), sum, sum, numerator) !=
            Status::kOk ||
        expr::multiply(Decimal::of(count), Decimal::of(call.sample ? count - 1 : count), divisor) !=
            Status::kOk) {
        return failed_for_good(kOverflow);
    }
    if (numerator.mantissa <= 0) return Value::of_numeric(0, 0);
    if (expr::divide(numerator, divisor, variance) != Status::kOk) return failed_for_good(kOverflow);
    return call.root ? expr::decimal_sqrt(variance, variance.scale, arena) : variance.value();
}

}  // namespace

const AccumulatorOperations kVariance = {2, accumulate_variance, merge_variance, variance_result};

}  // namespace weir::processor
