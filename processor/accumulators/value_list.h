// The values of one call that needs all of them: array_agg, string_agg, exact percentiles. Entries in the
// order of arrival; an entry is a value, with ORDER BY followed by what it is sorted by.
//
// Stored:  a part per write: key the number of its first entry (u64, big-endian), value version(u8) and the
//          entries' values (stored_value.h).
// Memory:  as stored; with DISTINCT a DistinctSet beside it. At most limit_bytes(): what does not fit makes
//          append() false, and the caller gives the call up.
// Thread:  the worker that owns the state.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "processor/accumulator.h"
#include "processor/accumulators/distinct_set.h"

namespace weir::processor {

class ValueList final : public AccumulatorObject {
public:
    explicit ValueList(const CallPlan& call);

    [[nodiscard]] bool append(const Value& value, const Value* order);
    [[nodiscard]] bool append(const ValueList& from);
    // The values of all entries, one after the other; texts are views into the list.
    [[nodiscard]] std::vector<Value> values() const;
    [[nodiscard]] size_t size() const { return count_; }

    void write(bool whole, const WritePart& out) override;
    [[nodiscard]] bool read(std::string_view key, std::string_view value) override;
    [[nodiscard]] size_t bytes() const override;

    static constexpr size_t kListBytes = 1 << 20;         // What Kafka takes as a record by default.
    static constexpr size_t kPercentileBytes = 16 << 20;  // 1.8 million numbers.

private:
    [[nodiscard]] bool is_new(const Value& value);

    const size_t values_per_entry_;
    const size_t limit_;
    std::string bytes_;
    size_t count_ = 0;          // Entries.
    size_t written_ = 0;        // Entries that are stored,
    size_t written_bytes_ = 0;  // and their bytes.
    std::unique_ptr<DistinctSet> seen_;
    std::string key_;
};

}  // namespace weir::processor
