#include "processor/accumulators/space_saving.h"

#include <absl/strings/string_view.h>

#include <algorithm>

namespace weir::processor {
namespace {

constexpr uint8_t kVersion = 1;

absl::string_view key_of(std::string_view value) { return {value.data(), value.size()}; }

}  // namespace

SpaceSaving::SpaceSaving(const CallPlan& call)
    : size_(std::max<size_t>(100, 10 * static_cast<size_t>(call.k))) {}

// Restores the heap below a counter that has grown.
void SpaceSaving::sink(size_t at) {
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap_.size()) break;
        if (child + 1 < heap_.size() && heap_[child + 1].count < heap_[child].count) ++child;
        if (heap_[child].count >= heap_[at].count) break;
        std::swap(heap_[child], heap_[at]);
        index_[heap_[at].value] = static_cast<uint32_t>(at);
        at = child;
    }
    index_[heap_[at].value] = static_cast<uint32_t>(at);
}

void SpaceSaving::index_all() {
    index_.clear();
    value_bytes_ = 0;
    for (size_t i = 0; i < heap_.size(); ++i) {
        index_[heap_[i].value] = static_cast<uint32_t>(i);
        value_bytes_ += heap_[i].value.size();
    }
}

bool SpaceSaving::add(std::string_view value) {
    changed_ = true;
    if (const auto found = index_.find(key_of(value)); found != index_.end()) {
        ++heap_[found->second].count;
        sink(found->second);
        return true;
    }
    value_bytes_ += value.size();
    if (heap_.size() < size_) {
        // A count of 1 is nobody's smaller: it rises to the top, or stays below another 1.
        size_t at = heap_.size();
        heap_.push_back({std::string(value), 1, 0});
        for (; at > 0 && heap_[(at - 1) / 2].count > 1; at = (at - 1) / 2) {
            std::swap(heap_[at], heap_[(at - 1) / 2]);
            index_[heap_[at].value] = static_cast<uint32_t>(at);
        }
        index_[heap_[at].value] = static_cast<uint32_t>(at);
        return value_bytes_ <= kBytes;
    }
    Counter& least = heap_.front();
    value_bytes_ -= least.value.size();
    index_.erase(least.value);
    least.value = value;
    least.error = least.count++;
    sink(0);
    return value_bytes_ <= kBytes;
}

bool SpaceSaving::merge(const SpaceSaving& from) {
    changed_ = true;
    const uint64_t unseen = smallest();  // What a value that is not counted may have.
    const uint64_t unseen_there = from.smallest();
    for (Counter& mine : heap_) {
        const auto found = from.index_.find(mine.value);
        const Counter* const other = found == from.index_.end() ? nullptr : &from.heap_[found->second];
        mine.count += other != nullptr ? other->count : unseen_there;
        mine.error += other != nullptr ? other->error : unseen_there;
    }
    for (const Counter& other : from.heap_) {
        if (!index_.contains(other.value)) {
            heap_.push_back({other.value, other.count + unseen, other.error + unseen});
        }
    }
    const auto more = [](const Counter& a, const Counter& b) {
        return a.count != b.count ? a.count > b.count : a.value < b.value;
    };
    std::sort(heap_.begin(), heap_.end(), more);
    if (heap_.size() > size_) heap_.resize(size_);
    std::reverse(heap_.begin(), heap_.end());  // Ascending: a heap.
    index_all();
    return value_bytes_ <= kBytes;
}

std::vector<const SpaceSaving::Counter*> SpaceSaving::top(size_t k) const {
    std::vector<const Counter*> result;
    for (const Counter& counter : heap_) result.push_back(&counter);
    std::sort(result.begin(), result.end(), [](const Counter* a, const Counter* b) {
        return a->count != b->count ? a->count > b->count : a->value < b->value;
    });
    if (result.size() > k) result.resize(k);
    return result;
}

void SpaceSaving::write(bool whole, const WritePart& out) {
    if (!changed_ && !whole) return;
    std::string part;
    put_le<uint8_t>(part, kVersion);
    put_varint(part, heap_.size());
    for (const Counter& counter : heap_) {
        put_varint(part, counter.count);
        put_varint(part, counter.error);
        put_bytes(part, counter.value);
    }
    out({}, part);
    changed_ = false;
}

bool SpaceSaving::read(std::string_view key, std::string_view value) {
    ByteReader in(value);
    if (!key.empty() || in.le<uint8_t>() != kVersion) return false;
    const uint64_t counters = in.varint();
    if (counters > size_) return false;
    heap_.clear();
    for (uint64_t i = 0; i < counters && !in.failed(); ++i) {
        Counter counter;
        counter.count = in.varint();
        counter.error = in.varint();
        counter.value = in.bytes();
        if (i > 0 && heap_[(i - 1) / 2].count > counter.count) return false;
        heap_.push_back(std::move(counter));
    }
    index_all();
    changed_ = false;
    return in.done() && !in.failed() && index_.size() == heap_.size();
}

size_t SpaceSaving::bytes() const {
    return sizeof(*this) + heap_.capacity() * sizeof(Counter) + 2 * value_bytes_ +
           index_.capacity() * (sizeof(std::string) + sizeof(uint32_t) + 5);
}

}  // namespace weir::processor
