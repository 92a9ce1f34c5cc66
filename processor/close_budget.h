// How much of what is due one epoch may give. A watermark can make a whole state due at once; given in one
// transaction it would need its memory and its time at once, too. When the budget is spent, operators stop
// at the border of a group, the epoch is committed, and the next one goes on from there, before any further
// input (docs/decisions/0010-closing-in-slices.md).
//
// Thread:  the worker's; its shards share one.
#pragma once

#include <cstddef>

namespace weir::processor {

class CloseBudget {
public:
    explicit CloseBudget(size_t bytes) : bytes_(bytes) {}

    // Results that were given.
    void spend(size_t bytes) { spent_ += bytes; }
    // It is spent when so many more bytes are.
    [[nodiscard]] bool spent_with(size_t more) const { return spent_ + more >= bytes_; }
    // The next epoch begins.
    void renew() { spent_ = 0; }

    // So many groups are few: they may be given in the middle of a slice of input, where nothing can stop.
    [[nodiscard]] size_t few() const { return bytes_ / kGroupBytes; }

private:
    static constexpr size_t kGroupBytes = 512;

    const size_t bytes_;
    size_t spent_ = 0;
};

}  // namespace weir::processor
