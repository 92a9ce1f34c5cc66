#include "processor/accumulators/kll_sketch.h"

#include <algorithm>
#include <cmath>

namespace weir::processor {
namespace {

constexpr uint8_t kVersion = 1;
constexpr double kLargestLevel = 512;  // k
constexpr double kShrink = 2.0 / 3;    // c: a level's capacity to that of the level above.
constexpr size_t kSmallestLevel = 8;
constexpr size_t kMaxLevels = 61;

bool less(double a, double b) { return a < b || (std::isnan(b) && !std::isnan(a)); }

}  // namespace

size_t KllSketch::capacity(size_t level) const {
    const auto depth = static_cast<double>(levels_.size() - 1 - level);
    return std::max(kSmallestLevel, static_cast<size_t>(std::ceil(kLargestLevel * std::pow(kShrink, depth))));
}

size_t KllSketch::total_capacity() const {
    size_t total = 0;
    for (size_t level = 0; level < levels_.size(); ++level) total += capacity(level);
    return total;
}

bool KllSketch::flip() {
    coin_ ^= coin_ << 13;
    coin_ ^= coin_ >> 7;
    coin_ ^= coin_ << 17;
    return (coin_ >> 33 & 1) != 0;
}

void KllSketch::include(double smallest, double largest, uint64_t count) {
    if (count_ == 0 || less(smallest, smallest_)) smallest_ = smallest;
    if (count_ == 0 || less(largest_, largest)) largest_ = largest;
    count_ += count;
    changed_ = true;
}

void KllSketch::add(double value) {
    include(value, value, 1);
    levels_[0].push_back(value);
    ++kept_;
    compress();
}

void KllSketch::merge(const KllSketch& from) {
    if (from.count_ == 0) return;
    include(from.smallest_, from.largest_, from.count_);
    if (levels_.size() < from.levels_.size()) {
        levels_.resize(from.levels_.size());
        limit_ = 0;
    }
    for (size_t level = 0; level < from.levels_.size(); ++level) {
        const auto& values = from.levels_[level];
        levels_[level].insert(levels_[level].end(), values.begin(), values.end());
    }
    kept_ += from.kept_;
    compress();
    shrink();
}

void KllSketch::shrink() {
    for (auto& level : levels_) level.shrink_to_fit();
}

// The lowest full level is sorted, and every second of its values goes up with twice the weight.
void KllSketch::compress() {
    if (limit_ == 0) limit_ = total_capacity();
    while (kept_ > limit_) {
        size_t level = 0;
        while (levels_[level].size() < capacity(level)) ++level;
        if (level + 1 == levels_.size()) {
            levels_.emplace_back();
            limit_ = total_capacity();
            shrink();  // The levels below have smaller capacities now.
        }
        std::vector<double>& from = levels_[level];
        std::vector<double>& to = levels_[level + 1];
        std::sort(from.begin(), from.end(), less);
        const size_t stays = from.size() % 2;  // Then one value waits for a partner.
        to.reserve(to.size() + from.size() / 2);  // No more than needed: there are many sketches.
        for (size_t i = stays + (flip() ? 1 : 0); i < from.size(); i += 2) to.push_back(from[i]);
        kept_ -= from.size() / 2;
        from.resize(stays);
    }
}

double KllSketch::percentile(double fraction) const {
    if (fraction <= 0) return smallest_;
    if (fraction >= 1) return largest_;
    std::vector<std::pair<double, uint64_t>> weighted;
    weighted.reserve(kept_);
    for (size_t level = 0; level < levels_.size(); ++level) {
        for (const double value : levels_[level]) weighted.emplace_back(value, uint64_t{1} << level);
    }
    std::sort(weighted.begin(), weighted.end(),
              [](const auto& a, const auto& b) { return less(a.first, b.first); });
    const auto wanted = static_cast<uint64_t>(std::ceil(fraction * static_cast<double>(count_)));
    uint64_t rank = 0;
    for (const auto& [value, weight] : weighted) {
        rank += weight;
        if (rank >= wanted) return value;
    }
    return largest_;
}

void KllSketch::write(bool whole, const WritePart& out) {
    if (!changed_ && !whole) return;
    std::string part;
    put_le<uint8_t>(part, kVersion);
    put_varint(part, count_);
    put_le(part, coin_);
    put_le(part, smallest_);
    put_le(part, largest_);
    put_varint(part, levels_.size());
    for (const auto& level : levels_) {
        put_varint(part, level.size());
        for (const double value : level) put_le(part, value);
    }
    out({}, part);
    changed_ = false;
}

bool KllSketch::read(std::string_view key, std::string_view value) {
    ByteReader in(value);
    if (!key.empty() || in.le<uint8_t>() != kVersion) return false;
    count_ = in.varint();
    coin_ = in.le<uint64_t>();
    smallest_ = in.le<double>();
    largest_ = in.le<double>();
    const uint64_t levels = in.varint();
    if (in.failed() || levels < 1 || levels > kMaxLevels || coin_ == 0) return false;
    levels_.assign(levels, {});
    kept_ = 0;
    limit_ = 0;
    uint64_t weight = 0;
    for (size_t i = 0; i < levels; ++i) {
        const uint64_t size = in.varint();
        if (size > in.remaining() / sizeof(double)) return false;
        for (uint64_t k = 0; k < size; ++k) levels_[i].push_back(in.le<double>());
        weight += size << i;
        kept_ += size;
    }
    changed_ = false;
    return in.done() && !in.failed() && weight == count_;
}

size_t KllSketch::bytes() const {
    size_t total = sizeof(*this) + levels_.capacity() * sizeof(levels_[0]);
    for (const auto& level : levels_) total += level.capacity() * sizeof(double);
    return total;
}

}  // namespace weir::processor
