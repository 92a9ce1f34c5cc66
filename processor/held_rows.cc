#include "processor/held_rows.h"

#include <algorithm>

#include "processor/executor.h"
#include "processor/shard.h"
#include "processor/stage_operator.h"
#include "processor/stored_value.h"

namespace weir::processor {
namespace {

constexpr uint8_t kRowVersion = 1;
constexpr uint8_t kHasRecord = 1;
constexpr uint8_t kHasKey = 2;
constexpr uint8_t kHasValue = 4;

const Value& cell(const Batch& batch, expr::Slot slot, uint32_t row) {
    return batch.columns[static_cast<size_t>(slot)][row];
}

}  // namespace

HeldRows::HeldRows(const Graph& graph, const Stage& stage) : graph_(graph), stage_(stage) {
    for (const uint32_t index : stage.held) {
        const HeldPlan& plan = graph.held[index];
        const bool reads = plan.value_slot != PathTree::kNoSlot || !plan.paths.root().children.empty();
        decoders_.push_back(reads ? std::make_unique<Decoder>(plan.format, plan.paths, plan.value_slot)
                                  : nullptr);
    }
}

void HeldRows::pack(uint32_t input, const Batch& batch, Rows rows, Arena& arena, Column& out) {
    const HeldPlan& plan = graph_.held[stage_.held[input]];
    if (out.size() < batch.row_count) out.resize(batch.row_count);
    for (const uint32_t row : rows) {
        const InputRecord* const record = batch.records[row];
        packed_.clear();
        put_le<uint8_t>(packed_, kRowVersion);
        put_varint(packed_, input);
        put_le<int64_t>(packed_, batch.times[row]);
        const bool has_key = record != nullptr && record->key.data() != nullptr;
        const bool has_value = record != nullptr && plan.raw && record->value.data() != nullptr;
        put_le<uint8_t>(packed_, static_cast<uint8_t>((record != nullptr ? kHasRecord : 0) |
                                                      (has_key ? kHasKey : 0) | (has_value ? kHasValue : 0)));
        if (record != nullptr) put_le<int64_t>(packed_, record->timestamp_ms);
        if (has_key) put_bytes(packed_, record->key);
        if (has_value) put_bytes(packed_, record->value);
        for (const SlotCopy& column : plan.columns)
            append_stored_value(cell(batch, column.from, row), packed_);
        out[row] = Value::of_text(arena.copy(packed_));
    }
}

Result<void> HeldRows::give(Executor& executor, bool nested, std::string_view packed, int64_t rank,
                            EventTime time, const ResultMeta& meta) {
    ByteReader in(packed);
    const auto version = in.le<uint8_t>();
    const uint64_t input = in.varint();
    if (version != kRowVersion || input >= stage_.held.size()) return unreadable_state(stage_);
    if (!given_.empty() && (input != input_ || given_.size() == kSliceRows))
        WEIR_TRY(flush(executor, nested));
    input_ = input;
    const auto own_time = in.le<int64_t>();
    const auto flags = in.le<uint8_t>();
    InputRecord record;
    if ((flags & kHasRecord) != 0) record.timestamp_ms = in.le<int64_t>();
    if ((flags & kHasKey) != 0) record.key = in.bytes();
    if ((flags & kHasValue) != 0) record.value = in.bytes();
    if (in.failed()) return unreadable_state(stage_);
    given_.push_back(
        {in, record, (flags & kHasRecord) != 0, stage_.keeps_row_times ? own_time : time, rank, meta});
    return {};
}

Result<void> HeldRows::flush(Executor& executor, bool nested) {
    const size_t count = given_.size();
    if (count == 0) return {};
    const HeldPlan& plan = graph_.held[stage_.held[input_]];
    Batch& batch =
        nested ? executor.begin_nested_slice(plan.frame, count) : executor.begin_slice(plan.frame, count);
    batch.watermarks.clear();
    batch.late_by_ms.clear();
    batch.results.resize(count);
    records_.resize(count);
    for (uint32_t row = 0; row < count; ++row) {
        Given& given = given_[row];
        records_[row] = given.record;
        batch.records[row] = given.has_record ? &records_[row] : nullptr;
        batch.times[row] = given.time;
        batch.results[row] = given.meta;
        for (const SlotCopy& column : plan.columns) {
            Value& value = batch.columns[static_cast<size_t>(column.to)][row];
            if (!read_stored_value(given.values, value)) return unreadable_state(stage_);
        }
    }
    const auto fill = [&](expr::Slot slot, const auto& value_of) {
        if (slot == PathTree::kNoSlot) return;
        for (uint32_t row = 0; row < count; ++row)
            batch.columns[static_cast<size_t>(slot)][row] = value_of(row);
    };
    rows_.clear();
    errors_.clear();
    // They were decoded when they came: none fails.
    if (decoders_[input_])
        decoders_[input_]->decode({records_.data(), count}, executor.arena(), batch.columns, rows_, errors_);
    for (const expr::Slot slot : graph_.frames[plan.frame].null_slots)
        fill(slot, [](uint32_t) { return Value::null(); });
    fill(plan.metadata[static_cast<size_t>(expr::Metadata::kKey)], [&](uint32_t row) {
        const MaybeBytes key = records_[row].key;
        return key.data() == nullptr ? Value::null() : Value::of_text(key);
    });
    fill(plan.metadata[static_cast<size_t>(expr::Metadata::kTimestamp)], [&](uint32_t row) {
        const int64_t ms = records_[row].timestamp_ms;
        return ms < 0 ? Value::null() : Value::of_timestamptz(ms * 1000);
    });
    fill(plan.rank, [&](uint32_t row) { return Value::of_int8(given_[row].rank); });
    executor.counters(stage_.stream).derived += count;
    given_.clear();
    rows_.resize(count);
    for (uint32_t row = 0; row < count; ++row) rows_[row] = row;
    return executor.run(plan.next, rows_);
}

}  // namespace weir::processor
