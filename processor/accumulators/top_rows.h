// The n rows of a group that are largest or smallest by a value: what top_n keeps. A row is bytes to it.
//
// Order: numbers by value, texts by their bytes; values of different types by type; NULL last, whichever end
//        counts. Of equal ones the row that came first is before.
// Stored: one part, key "", value version(u8), then per row, best first: its value (stored_value.h),
//         length(varint) and bytes. Written whole when it changed.
// Memory: n rows; a row that is not among them costs a comparison.
// Thread: the worker that owns the state.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "processor/accumulator.h"

namespace weir::processor {

class TopRows final : public AccumulatorObject {
public:
    explicit TopRows(const CallPlan& call)
        : most_(static_cast<size_t>(call.k)), descending_(call.descending) {}

    void add(const Value& order, std::string_view row);
    void add(const TopRows& from);
    // Best first, each with its length before it.
    [[nodiscard]] std::string rows() const;

    void write(bool whole, const WritePart& out) override;
    [[nodiscard]] bool read(std::string_view key, std::string_view value) override;
    [[nodiscard]] size_t bytes() const override;

private:
    struct Entry {
        Value order;  // Its bytes, if any, are in `text`.
        std::string text;
        std::string row;

        [[nodiscard]] Value value() const;
    };

    [[nodiscard]] bool before(const Value& a, const Value& b) const;

    const size_t most_;
    const bool descending_;
    std::vector<Entry> entries_;
    bool dirty_ = false;
};

}  // namespace weir::processor
