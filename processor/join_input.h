// The rows of a slice that enter a join: the key of each, as bytes that are equal where the join's
// equalities hold, and the values that are kept of it.
//
// Thread:  the worker that owns the shard.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "processor/batch.h"
#include "processor/graph.h"

namespace weir::processor {

class Executor;

class JoinInput {
public:
    // Rejects those of `rows` that fail and takes them out: whatever can fail for a row does so before any
    // state changes.
    [[nodiscard]] Result<void> evaluate(Executor& executor, const Node& node, const JoinInputNode& input,
                                        Batch& batch, std::vector<uint32_t>& rows);

    // Of the i-th of these rows. Empty: NULL, which equals nothing.
    [[nodiscard]] std::string_view key(size_t i) const {
        return {key_bytes_.data() + key_begins_[i], key_ends_[i] - key_begins_[i]};
    }
    [[nodiscard]] std::span<const uint64_t> hashes() const { return hashes_; }
    // By column of the JoinPlan and row of the batch.
    [[nodiscard]] const Value& value(size_t column, uint32_t row) const { return (*columns_[column])[row]; }
    // All of the row's values, as they are stored, behind `first`. Valid until the next call.
    [[nodiscard]] std::string_view encode(std::string_view first, uint32_t row);
    // The i-th of these rows, as a JoinBuffer holds it. Valid until the next call.
    [[nodiscard]] std::string_view encode_row(size_t i, uint32_t row) {
        const size_t begin = i == 0 ? 0 : key_ends_[i - 1];
        return encode({key_bytes_.data() + begin, key_ends_[i] - begin}, row);
    }

private:
    void encode_keys(const std::vector<uint32_t>& rows);

    std::vector<const Column*> keys_;
    std::vector<Column> key_scratch_;
    std::vector<const Column*> columns_;
    std::vector<Column> column_scratch_;
    std::vector<std::string_view> failures_;  // By row; data() is null for good rows.
    std::string key_bytes_;                   // Of all rows, each with its length (varint) before it, …
    std::vector<size_t> key_begins_;          // … from here …
    std::vector<size_t> key_ends_;            // … up to here.
    std::vector<uint64_t> hashes_;
    std::string encoded_;
    std::string buffer_;
};

}  // namespace weir::processor
