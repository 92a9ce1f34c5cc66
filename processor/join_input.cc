#include "processor/join_input.h"

#include <algorithm>

#include "processor/compact_value.h"
#include "processor/encode.h"
#include "processor/executor.h"
#include "processor/group_key.h"
#include "processor/group_table.h"
#include "processor/join_buffer.h"

namespace weir::processor {

Result<void> JoinInput::evaluate(Executor& executor, const Node& node, const JoinInputNode& input,
                                 Batch& batch, std::vector<uint32_t>& rows) {
    failures_.assign(batch.row_count, {});
    bool failed = false;
    const auto check = [&](const Column& column) {
        for (const uint32_t row : rows) {
            if (!column[row].is_error()) [[likely]]
                continue;
            failures_[row] = column[row].bytes();
            failed = true;
        }
    };
    keys_.resize(input.keys.size());
    key_scratch_.resize(input.keys.size());
    for (size_t i = 0; i < input.keys.size(); ++i) {
        keys_[i] = &executor.evaluate(input.keys[i], batch, rows, key_scratch_[i]);
        check(*keys_[i]);
    }
    columns_.resize(input.columns.size());
    column_scratch_.resize(input.columns.size());
    for (size_t i = 0; i < input.columns.size(); ++i) {
        Column& scratch = column_scratch_[i];
        if (input.columns[i]) {
            columns_[i] = &executor.evaluate(*input.columns[i], batch, rows, scratch);
            check(*columns_[i]);
            continue;
        }
        scratch.resize(std::max(scratch.size(), batch.row_count));
        for (const uint32_t row : rows) {
            const MaybeBytes whole = encode_value(input.whole, batch, row, buffer_);
            const bool own = whole.data() == buffer_.data();
            scratch[row] =
                whole.data() == nullptr
                    ? Value::null()
                    : Value::of_bytes(input.whole_text ? Type::kText : Type::kJsonb,
                                      own ? executor.arena().copy(whole) : std::string_view(whole));
        }
        columns_[i] = &scratch;
    }
    for (const uint32_t row : rows) {
        if (batch.times[row] >= JoinBuffer::kFirstTime && batch.times[row] < JoinBuffer::kEndTime) [[likely]]
            continue;
        failures_[row] = "event times in a join are from 1900 to 2160";
        failed = true;
    }
    if (failed) {
        for (const uint32_t row : rows) {
            if (failures_[row].data() == nullptr) continue;
            WEIR_TRY(executor.reject(node, batch, row, input.layout, ErrorName::kExpressionFailed,
                                     failures_[row]));
        }
        std::erase_if(rows, [&](uint32_t row) { return failures_[row].data() != nullptr; });
    }
    encode_keys(rows);
    return {};
}

void JoinInput::encode_keys(const std::vector<uint32_t>& rows) {
    key_bytes_.clear();
    key_ends_.clear();
    hashes_.clear();
    for (const uint32_t row : rows) {
        const size_t begin = key_bytes_.size();
        for (const Column* key : keys_) {
            if ((*key)[row].is_null()) {  // Equals nothing.
                key_bytes_.resize(begin);
                break;
            }
            append_group_key((*key)[row], key_bytes_);
        }
        key_ends_.push_back(key_bytes_.size());
        hashes_.push_back(hash_group_key(std::string_view(key_bytes_).substr(begin)));
    }
}

void JoinInput::append_values(uint32_t row, std::string& out) const {
    for (const Column* column : columns_) append_compact_value((*column)[row], out);
}

}  // namespace weir::processor
