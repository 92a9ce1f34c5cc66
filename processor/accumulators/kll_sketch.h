// Percentiles of many numbers, approximately: Karnin, Lang, Liberty, "Optimal quantile approximation in
// streams", 2016, with k = 512.
//
// Error:   of a percentile's rank, with 99 % certainty at most 1 % of the number of values (the value that is
//          given for 0.95 lies between the exact ones for 0.94 and 0.96); up to 512 values it is exact.
//          fraction 0 and 1 are the smallest and the largest value, exactly.
// Order:   the value depends on the order of values and merges, its error bound does not. The coin is a
//          generator whose state is part of the sketch, so the same input gives the same result.
// Memory:  8 bytes per kept value, at most about 1,600 of them; below 48 KB with the room that vectors leave.
// Stored:  one part, whole, when it changed: version(u8) count(varint) coin(u64) smallest(f64) largest(f64)
//          levels(varint), per level size(varint) and values(f64).
// Thread:  the worker that owns the state.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "processor/accumulator.h"

namespace weir::processor {

class KllSketch final : public AccumulatorObject {
public:
    explicit KllSketch(const CallPlan&) : levels_(1) {}

    void add(double value);
    void merge(const KllSketch& from);
    // At least one value was added; fraction is 0 … 1. NaN is the largest value.
    [[nodiscard]] double percentile(double fraction) const;

    void write(bool whole, const WritePart& out) override;
    [[nodiscard]] bool read(std::string_view key, std::string_view value) override;
    [[nodiscard]] size_t bytes() const override;

private:
    [[nodiscard]] size_t capacity(size_t level) const;
    [[nodiscard]] size_t total_capacity() const;
    void include(double smallest, double largest, uint64_t count);
    void compress();
    void shrink();
    [[nodiscard]] bool flip();

    std::vector<std::vector<double>> levels_;  // A value of level i stands for 2^i.
    uint64_t count_ = 0;
    uint64_t coin_ = 0x9E3779B97F4A7C15;
    double smallest_ = 0;
    double largest_ = 0;
    size_t kept_ = 0;
    size_t limit_ = 0;  // total_capacity(), kept until a level is added.
    bool changed_ = false;
};

}  // namespace weir::processor
