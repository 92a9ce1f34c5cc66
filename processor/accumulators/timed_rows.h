// Rows of a group with their event times, in the order of arrival: what a join in session windows keeps of
// both of its sides. A row is bytes to it.
//
// Stored: a part per write: key the number of its first row (u64, big-endian), value version(u8), then per
//         row time(i64) length(varint) bytes.
// Memory: as stored.
// Thread: the worker that owns the state.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/time.h"
#include "processor/accumulator.h"

namespace weir::processor {

class TimedRows final : public AccumulatorObject {
public:
    explicit TimedRows(const CallPlan&) {}

    void append(EventTime time, std::string_view row);
    void append(const TimedRows& from);
    // Calls use(time, row); rows are views into the list.
    template <class Use>
    void for_each(const Use& use) const {
        ByteReader in(bytes_);
        while (!in.done()) use_next(in, use);
    }
    // The same of a part's value; false when it is not what write() gives.
    template <class Use>
    [[nodiscard]] static bool for_each_of(std::string_view part, const Use& use) {
        ByteReader in(part);
        if (in.le<uint8_t>() != kVersion) return false;
        while (!in.done() && !in.failed()) use_next(in, use);
        return !in.failed();
    }

    void write(bool whole, const WritePart& out) override;
    [[nodiscard]] bool read(std::string_view key, std::string_view value) override;
    [[nodiscard]] size_t bytes() const override { return sizeof(*this) + bytes_.capacity(); }

private:
    static constexpr uint8_t kVersion = 1;

    template <class Use>
    static void use_next(ByteReader& in, const Use& use) {
        const auto time = in.le<int64_t>();
        const std::string_view row = in.bytes();
        if (!in.failed()) use(time, row);
    }

    std::string bytes_;
    size_t count_ = 0;
    size_t written_ = 0;        // Rows that are stored,
    size_t written_bytes_ = 0;  // and their bytes.
};

}  // namespace weir::processor
