// Goal: the sketches keep the error bounds that their headers state, fed straight and merged from many
// pieces. Method: fixed seeds, so that a run repeats itself; the truth is computed beside them.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "processor/accumulators/hyperloglog.h"
#include "processor/accumulators/kll_sketch.h"
#include "processor/accumulators/space_saving.h"

namespace weir::processor {
namespace {

CallPlan plan(expr::AggregateFunction function, int32_t k = 0) {
    CallPlan result;
    result.function = function;
    result.k = k;
    return result;
}

TEST_CASE("approx_count_distinct: standard error 1.6 %, 99 of 100 within 4.2 %") {
    const CallPlan call = plan(expr::AggregateFunction::kApproxCountDistinct);
    for (const int64_t distinct : {1, 10, 64, 65, 100, 1000, 4096, 10000, 30000, 200000}) {
        CAPTURE(distinct);
        const int trials = distinct > 50000 ? 10 : 40;
        double squares = 0;
        double sum = 0;
        int outside = 0;
        for (int trial = 0; trial < trials; ++trial) {
            HyperLogLog straight(call);
            HyperLogLog pieces[4] = {HyperLogLog(call), HyperLogLog(call), HyperLogLog(call),
                                     HyperLogLog(call)};
            for (int64_t i = 0; i < distinct; ++i) {
                const std::string value = std::to_string(trial) + "/" + std::to_string(i);
                straight.add(value);
                pieces[i % 4].add(value);
                if (i % 3 == 0) pieces[(i + 1) % 4].add(value);  // Seen by several.
            }
            for (int i = 1; i < 4; ++i) pieces[0].merge(pieces[i]);
            CHECK(pieces[0].estimate() == straight.estimate());
            const double error =
                static_cast<double>(straight.estimate() - distinct) / static_cast<double>(distinct);
            squares += error * error;
            sum += error;
            if (std::fabs(error) > 0.042) ++outside;
        }
        CHECK(std::sqrt(squares / trials) < 0.016 * 1.5);
        CHECK(std::fabs(sum / trials) < 0.016);  // No bias.
        CHECK(outside <= trials / 20);
    }
}

// How far the rank of `value` in `sorted` is from `fraction`, in parts of the whole.
double rank_error(const std::vector<double>& sorted, double value, double fraction) {
    const auto n = static_cast<double>(sorted.size());
    const auto low =
        static_cast<double>(std::lower_bound(sorted.begin(), sorted.end(), value) - sorted.begin()) / n;
    const auto high =
        static_cast<double>(std::upper_bound(sorted.begin(), sorted.end(), value) - sorted.begin()) / n;
    return fraction < low ? low - fraction : fraction > high ? fraction - high : 0;
}

TEST_CASE("approx_percentile: a rank error of at most 1 %, exact up to 512 values") {
    const CallPlan call = plan(expr::AggregateFunction::kApproxPercentile);
    std::mt19937_64 random(7);
    const double fractions[] = {0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1};
    int outside = 0;
    int queries = 0;
    for (const size_t size : {1U, 2U, 511U, 512U, 513U, 5000U, 100000U}) {
        for (int shape = 0; shape < 4; ++shape) {
            for (const size_t pieces : {1U, 7U, 100U}) {
                CAPTURE(size);
                CAPTURE(shape);
                CAPTURE(pieces);
                std::vector<double> values(size);
                for (size_t i = 0; i < size; ++i) {
                    const double uniform = std::uniform_real_distribution<double>(0, 1)(random);
                    values[i] = shape == 0   ? uniform
                                : shape == 1 ? static_cast<double>(i)               // Ascending.
                                : shape == 2 ? -static_cast<double>(i)              // Descending.
                                             : std::floor(std::exp(10 * uniform));  // Skewed, with ties.
                }
                std::deque<KllSketch> sketches;
                for (size_t i = 0; i < pieces; ++i) sketches.emplace_back(call);
                for (size_t i = 0; i < size; ++i) sketches[i * pieces / size].add(values[i]);
                KllSketch merged(call);
                for (const KllSketch& sketch : sketches) merged.merge(sketch);
                std::sort(values.begin(), values.end());
                for (const double fraction : fractions) {
                    const double error = rank_error(values, merged.percentile(fraction), fraction);
                    ++queries;
                    if (error > 0.01) ++outside;
                    CHECK(error <= 0.02);
                    if (size <= 512) {
                        const double rank = std::max(1.0, std::ceil(fraction * static_cast<double>(size)));
                        CHECK(merged.percentile(fraction) == values[static_cast<size_t>(rank) - 1]);
                    }
                }
                CHECK(merged.percentile(0) == values.front());
                CHECK(merged.percentile(1) == values.back());
                CHECK(merged.bytes() < 48'000);
                for (const KllSketch& sketch : sketches) CHECK(sketch.bytes() < 48'000);
            }
        }
    }
    CHECK(outside * 100 <= queries);
}

TEST_CASE("top_k: a count is never too small and too large by at most N / m") {
    constexpr int32_t kK = 10;
    constexpr uint64_t kCounters = 100;  // m
    const CallPlan call = plan(expr::AggregateFunction::kTopK, kK);
    std::mt19937_64 random(11);
    for (const int distinct : {50, 100, 101, 5000}) {
        for (const size_t pieces : {1U, 5U, 40U}) {
            CAPTURE(distinct);
            CAPTURE(pieces);
            std::map<std::string, uint64_t> truth;
            std::deque<SpaceSaving> sketches;
            for (size_t i = 0; i < pieces; ++i) sketches.emplace_back(call);
            constexpr uint64_t kValues = 40'000;
            for (uint64_t i = 0; i < kValues; ++i) {
                // Zipf's law, roughly.
                const double uniform = std::uniform_real_distribution<double>(0, 1)(random);
                const int rank = static_cast<int>(std::exp(uniform * std::log(distinct)));
                const std::string value = "v" + std::to_string(std::min(rank, distinct));
                ++truth[value];
                REQUIRE(sketches[i * pieces / kValues].add(value));
            }
            SpaceSaving merged(call);
            for (const SpaceSaving& sketch : sketches) REQUIRE(merged.merge(sketch));
            const auto all = merged.top(kCounters);
            std::map<std::string, bool> counted;
            for (const SpaceSaving::Counter* const counter : all) {
                const uint64_t real = truth[counter->value];
                counted[counter->value] = true;
                CHECK(counter->count >= real);
                CHECK(counter->count - counter->error <= real);
                CHECK(counter->error <= kValues / kCounters);
                if (truth.size() <= kCounters) CHECK(counter->count == real);
            }
            for (const auto& [value, count] : truth) {
                if (count > kValues / kCounters) CHECK(counted.contains(value));
            }
            CHECK(merged.top(kK).size() == kK);
            CHECK(merged.top(1)[0]->value == "v1");
        }
    }
}

}  // namespace
}  // namespace weir::processor
