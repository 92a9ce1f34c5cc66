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
    key_begins_.resize(rows.size());
    key_ends_.resize(rows.size());
    hashes_.resize(rows.size());
    size_t used = 0;
    const auto reserve = [&](size_t bytes) {
        if (key_bytes_.size() < used + bytes) key_bytes_.resize(2 * (used + bytes));
    };
    for (size_t i = 0; i < rows.size(); ++i) {
        const uint32_t row = rows[i];
        const size_t length_at = used;
        reserve(kMostVarintBytes);
        size_t begin = used += 1;
        for (const Column* key : keys_) {
            const Value& value = (*key)[row];
            if (value.is_null()) {  // Equals nothing.
                used = begin;
                break;
            }
            reserve(kMostShortGroupKey);
            if (char* const end = write_short_group_key(value, key_bytes_.data() + used)) {
                used = static_cast<size_t>(end - key_bytes_.data());
                continue;
            }
            buffer_.clear();
            append_group_key(value, buffer_);
            reserve(buffer_.size());
            used = static_cast<size_t>(std::copy(buffer_.begin(), buffer_.end(), key_bytes_.data() + used) -
                                       key_bytes_.data());
        }
        const size_t length = used - begin;
        if (length < kLongVarint) [[likely]] {
            key_bytes_[length_at] = static_cast<char>(length);
        } else {  // Its length takes more than the byte that was left for it.
            char bytes[kMostVarintBytes];
            const auto more = static_cast<size_t>(write_varint(bytes, length) - bytes) - 1;
            reserve(more);
            char* const from = key_bytes_.data() + begin;
            std::copy_backward(from, from + length, from + length + more);
            std::copy_n(bytes, more + 1, key_bytes_.data() + length_at);
            begin += more;
            used += more;
        }
        key_begins_[i] = begin;
        key_ends_[i] = used;
    }
    // Not above: what was written a moment before in narrower parts is slow to read.
    for (size_t i = 0; i < rows.size(); ++i) hashes_[i] = hash_group_key(key(i));
}

std::string_view JoinInput::encode(std::string_view first, uint32_t row) {
    size_t most = first.size();
    for (const Column* column : columns_) most += compact_bytes_at_most((*column)[row]);
    if (encoded_.size() < most) encoded_.resize(most);
    char* to = std::copy(first.begin(), first.end(), encoded_.data());
    for (const Column* column : columns_) to = write_compact_value((*column)[row], to);
    return {encoded_.data(), static_cast<size_t>(to - encoded_.data())};
}

}  // namespace weir::processor
