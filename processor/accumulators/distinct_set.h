// The values of one call with DISTINCT, each as group_key.h writes it, in the order in which they came.
//
// Stored:  a part per value, with the value as key and an empty value. A write gives those that are new.
// Memory:  per value its bytes, 4 bytes for where they end and about 8 in the index. With more than kBytes of
//          values it is full, and the caller gives the call up.
// Thread:  the worker that owns the state.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_set.h>

#include "processor/accumulator.h"

namespace weir::processor {

class DistinctSet final : public AccumulatorObject {
public:
    explicit DistinctSet(const CallPlan&) : index_(0, Hash{this}, Equal{this}) {}

    // False: it was there.
    bool add(std::string_view value);
    [[nodiscard]] bool full() const { return bytes_.size() > kBytes; }
    [[nodiscard]] size_t size() const { return ends_.size(); }
    [[nodiscard]] std::string_view operator[](size_t i) const {
        const size_t start = i == 0 ? 0 : ends_[i - 1];
        return std::string_view(bytes_).substr(start, ends_[i] - start);
    }

    void write(bool whole, const WritePart& out) override;
    [[nodiscard]] bool read(std::string_view key, std::string_view value) override;
    [[nodiscard]] size_t bytes() const override;

    static constexpr size_t kBytes = 64 << 20;
    static constexpr std::string_view kFull =
        "DISTINCT holds more than 64 MiB; approx_count_distinct does not";

private:
    // The index holds numbers of values and finds them by their bytes.
    struct Hash {
        using is_transparent = void;
        const DistinctSet* set;
        size_t operator()(std::string_view value) const;
        size_t operator()(uint32_t i) const { return (*this)((*set)[i]); }
    };
    struct Equal {
        using is_transparent = void;
        const DistinctSet* set;
        bool operator()(uint32_t a, uint32_t b) const { return a == b; }
        bool operator()(uint32_t i, std::string_view value) const { return (*set)[i] == value; }
        bool operator()(std::string_view value, uint32_t i) const { return (*set)[i] == value; }
    };

    std::string bytes_;
    std::vector<uint32_t> ends_;
    absl::flat_hash_set<uint32_t, Hash, Equal> index_;
    size_t written_ = 0;  // So many of the first ones are stored.
};

}  // namespace weir::processor
