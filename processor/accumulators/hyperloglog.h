// How many different values there were, approximately: HyperLogLog (Flajolet, Fusy, Gandouet, Meunier,
// "HyperLogLog: the analysis of a near-optimal cardinality estimation algorithm", 2007) with 4,096 registers
// over 64-bit hashes, estimated as in Ertl, "New cardinality estimation algorithms for HyperLogLog sketches",
// 2017, which has no bias at small counts.
//
// Error:   standard error 1.04 / √4096 = 1.6 %; 99 of 100 estimates lie within 4.2 %.
// Order:   none: neither the order of values nor of merges changes a bit.
// Memory:  4 bytes per used register up to 64 of them, 4 KiB after that.
// Stored:  one part, whole, when it changed: version(u8) count(u16) then for up to 1,365 used registers each
//          index(u16) rank(u8), else 4,096 ranks(u8).
// Thread:  the worker that owns the state.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "processor/accumulator.h"

namespace weir::processor {

class HyperLogLog final : public AccumulatorObject {
public:
    explicit HyperLogLog(const CallPlan&) {}

    void add(std::string_view value);
    void merge(const HyperLogLog& from);
    [[nodiscard]] int64_t estimate() const;

    void write(bool whole, const WritePart& out) override;
    [[nodiscard]] bool read(std::string_view key, std::string_view value) override;
    [[nodiscard]] size_t bytes() const override;

private:
    static constexpr unsigned kPrecision = 12;
    static constexpr size_t kRegisters = size_t{1} << kPrecision;
    static constexpr unsigned kLargestRank = 64 - kPrecision + 1;
    static constexpr size_t kSparse = 64;
    using Registers = std::array<uint8_t, kRegisters>;

    struct Used {
        uint16_t index;
        uint8_t rank;
    };

    void raise(uint16_t index, uint8_t rank);
    template <class Visit>
    void for_each_used(const Visit& visit) const;

    std::vector<Used> sparse_;  // While few registers are used, these …
    std::unique_ptr<Registers> dense_;  // … then all.
    bool changed_ = false;
};

}  // namespace weir::processor
