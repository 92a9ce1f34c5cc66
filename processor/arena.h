// Bump allocation for the bytes that one batch needs: unescaped strings, computed texts, error messages.
// Everything is freed at once by reset(), which keeps the first block for the next batch.
//
// Thread:  the worker that owns the batch.
// Memory:  blocks of 64 KiB, larger for one large request.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace weir::processor {

class Arena {
public:
    [[nodiscard]] char* allocate(size_t bytes) {
        if (bytes > static_cast<size_t>(end_ - next_)) grow(bytes);
        char* const result = next_;
        next_ += bytes;
        return result;
    }

    [[nodiscard]] std::string_view copy(std::string_view text) {
        char* const to = allocate(text.size());
        if (!text.empty()) std::memcpy(to, text.data(), text.size());
        return {to, text.size()};
    }

    void reset() {
        if (blocks_.size() > 1) blocks_.resize(1);
        next_ = blocks_.empty() ? nullptr : blocks_.front().data.get();
        end_ = blocks_.empty() ? nullptr : next_ + blocks_.front().bytes;
    }

private:
    static constexpr size_t kBlockBytes = 64 << 10;

    struct Block {
        std::unique_ptr<char[]> data;
        size_t bytes;
    };

    void grow(size_t bytes) {
        const size_t size = bytes > kBlockBytes ? bytes : kBlockBytes;
        blocks_.push_back({std::make_unique_for_overwrite<char[]>(size), size});
        next_ = blocks_.back().data.get();
        end_ = next_ + size;
    }

    std::vector<Block> blocks_;
    char* next_ = nullptr;
    char* end_ = nullptr;
};

}  // namespace weir::processor
