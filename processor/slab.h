// Bump allocation for what lives as long as its owner: groups' rows, kept texts. Blocks double from 4 KiB to
// 256 KiB and are freed together.
//
// Thread:  the worker that owns the state.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

namespace weir::processor {

class Slab {
public:
    static constexpr size_t kAlignment = 8;

    [[nodiscard]] char* allocate(size_t bytes) {
        bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
        if (bytes > static_cast<size_t>(end_ - next_)) grow(bytes);
        char* const result = next_;
        next_ += bytes;
        return result;
    }
    [[nodiscard]] size_t bytes() const { return bytes_; }

private:
    static constexpr size_t kFirstBytes = 4 << 10;
    static constexpr size_t kLargestBytes = 256 << 10;

    void grow(size_t bytes) {
        const size_t size = std::max(std::clamp(2 * bytes_, kFirstBytes, kLargestBytes), bytes);
        blocks_.push_back(std::make_unique_for_overwrite<char[]>(size));
        bytes_ += size;
        next_ = blocks_.back().get();
        end_ = next_ + size;
    }

    std::vector<std::unique_ptr<char[]>> blocks_;
    char* next_ = nullptr;
    char* end_ = nullptr;
    size_t bytes_ = 0;
};

}  // namespace weir::processor
