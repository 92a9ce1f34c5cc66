#include "processor/accumulators/hyperloglog.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cmath>

namespace weir::processor {
namespace {

constexpr uint8_t kVersion = 1;

// The two series of Ertl's estimator.
double sigma(double x) {
    if (x == 1) return INFINITY;
    double power = 1;
    double sum = x;
    for (double before = -1; before != sum; power *= 2) {
        x *= x;
        before = sum;
        sum += x * power;
    }
    return sum;
}

double tau(double x) {
    if (x == 0 || x == 1) return 0;
    double power = 1;
    double sum = 1 - x;
    for (double before = -1; before != sum;) {
        x = std::sqrt(x);
        before = sum;
        power /= 2;
        sum -= (1 - x) * (1 - x) * power;
    }
    return sum / 3;
}

}  // namespace

void HyperLogLog::add(std::string_view value) {
    const uint64_t hash = XXH3_64bits(value.data(), value.size());
    const uint64_t rest = hash << kPrecision;
    const unsigned rank = rest == 0 ? kLargestRank : static_cast<unsigned>(std::countl_zero(rest)) + 1;
    raise(static_cast<uint16_t>(hash >> (64 - kPrecision)), static_cast<uint8_t>(rank));
}

void HyperLogLog::raise(uint16_t index, uint8_t rank) {
    if (!dense_) {
        const auto at = std::find_if(sparse_.begin(), sparse_.end(),
                                     [&](const Used& used) { return used.index == index; });
        if (at != sparse_.end()) {
            changed_ = changed_ || rank > at->rank;
            at->rank = std::max(at->rank, rank);
            return;
        }
        changed_ = true;
        if (sparse_.size() < kSparse) {
            sparse_.push_back({index, rank});
            return;
        }
        dense_ = std::make_unique<Registers>();
        dense_->fill(0);
        for (const Used& used : sparse_) (*dense_)[used.index] = used.rank;
        sparse_ = {};
    }
    uint8_t& kept = (*dense_)[index];
    changed_ = changed_ || rank > kept;
    kept = std::max(kept, rank);
}

template <class Visit>
void HyperLogLog::for_each_used(const Visit& visit) const {
    for (const Used& used : sparse_) visit(used.index, used.rank);
    if (!dense_) return;
    for (size_t i = 0; i < kRegisters; ++i) {
        if ((*dense_)[i] != 0) visit(static_cast<uint16_t>(i), (*dense_)[i]);
    }
}

void HyperLogLog::merge(const HyperLogLog& from) {
    from.for_each_used([&](uint16_t index, uint8_t rank) { raise(index, rank); });
}

int64_t HyperLogLog::estimate() const {
    std::array<double, kLargestRank + 1> registers{};  // How many have that rank.
    registers[0] = kRegisters;
    for_each_used([&](uint16_t, uint8_t rank) {
        ++registers[rank];
        --registers[0];
    });
    constexpr auto kAll = static_cast<double>(kRegisters);
    double z = kAll * tau(1 - registers[kLargestRank] / kAll);
    for (unsigned rank = kLargestRank - 1; rank >= 1; --rank) z = (z + registers[rank]) / 2;
    z += kAll * sigma(registers[0] / kAll);
    return std::llround(kAll * kAll / (2 * std::log(2.0) * z));
}

void HyperLogLog::write(bool whole, const WritePart& out) {
    if (!changed_ && !whole) return;
    std::string part;
    std::string used;
    put_le<uint8_t>(part, kVersion);
    for_each_used([&](uint16_t index, uint8_t rank) {
        put_le(used, index);
        put_le(used, rank);
    });
    put_le(part, static_cast<uint16_t>(used.size() / 3));
    if (used.size() < kRegisters) {
        part.append(used);
    } else {
        for (const uint8_t rank : *dense_) put_le(part, rank);
    }
    out({}, part);
    changed_ = false;
}

bool HyperLogLog::read(std::string_view key, std::string_view value) {
    ByteReader in(value);
    if (!key.empty() || in.le<uint8_t>() != kVersion) return false;
    const auto count = in.le<uint16_t>();
    const bool all = size_t{3} * count >= kRegisters;
    for (size_t i = 0; i < (all ? kRegisters : count); ++i) {
        const auto index = all ? static_cast<uint16_t>(i) : in.le<uint16_t>();
        const auto rank = in.le<uint8_t>();
        if (index >= kRegisters || rank > kLargestRank) return false;
        if (rank != 0) raise(index, rank);
    }
    changed_ = false;
    return in.done() && !in.failed();
}

size_t HyperLogLog::bytes() const {
    return sizeof(*this) + sparse_.capacity() * sizeof(Used) + (dense_ ? sizeof(Registers) : 0);
}

}  // namespace weir::processor
