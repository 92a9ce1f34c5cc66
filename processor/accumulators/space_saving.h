// The most frequent values, approximately: SpaceSaving (Metwally, Agrawal, El Abbadi, "Efficient computation
// of frequent and top-k elements in data streams", 2005), merged as in Agarwal et al., "Mergeable summaries",
// 2012. It counts m = max(100, 10·k) values.
//
// Error:   with up to m different values everything is exact. Else, of N values, a count is too large by at
//          most N / m, never too small, and every value that came more often than N / m times is counted; how
//          much too large a count may be is known per value.
// Order:   which rare values are counted depends on the order of values and merges, the bounds do not.
// Memory:  the values' bytes (group_key.h) twice and about 100 bytes each. More than kBytes of values make
//          add() false, and the caller gives the call up.
// Stored:  one part, whole, when it changed: version(u8) counters(varint), per counter count(varint)
//          error(varint) length(varint) value; a permutation that is a heap by count.
// Thread:  the worker that owns the state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "processor/accumulator.h"

namespace weir::processor {

class SpaceSaving final : public AccumulatorObject {
public:
    struct Counter {
        std::string value;
        uint64_t count = 0;
        uint64_t error = 0;  // The count is too large by at most that.
    };

    explicit SpaceSaving(const CallPlan& call);

    [[nodiscard]] bool add(std::string_view value);
    [[nodiscard]] bool merge(const SpaceSaving& from);
    // The most frequent ones: by count, then value.
    [[nodiscard]] std::vector<const Counter*> top(size_t k) const;

    void write(bool whole, const WritePart& out) override;
    [[nodiscard]] bool read(std::string_view key, std::string_view value) override;
    [[nodiscard]] size_t bytes() const override;

    static constexpr size_t kBytes = 16 << 20;

private:
    [[nodiscard]] uint64_t smallest() const { return heap_.size() < size_ ? 0 : heap_.front().count; }
    void sink(size_t at);
    void index_all();

    const size_t size_;  // m
    std::vector<Counter> heap_;  // The smallest count first.
    absl::flat_hash_map<std::string, uint32_t> index_;  // Value to its place in the heap.
    size_t value_bytes_ = 0;
    bool changed_ = false;
};

}  // namespace weir::processor
