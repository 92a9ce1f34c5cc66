// A slice of records on its way through the steps: columns by slot, one row per record, and for each row what
// the record's way out needs (the raw record, its event time). A step never moves rows; it narrows the list
// of selected rows, or fills further columns. Explode and aggregates start a new batch.
//
// Memory:  buffers are reused from slice to slice. Texts live in the records, in the arena or in window state
//          and die with the slice.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "processor/endpoint.h"
#include "processor/value.h"

namespace weir::processor {

using Rows = std::span<const uint32_t>;  // Selected rows, ascending.

// Why a window's result was given; what it does to the one before.
enum class Reason : uint8_t { kWatermark, kIdle, kTimer, kLate, kUpdate, kCount };
enum class Op : uint8_t { kNone, kInsert, kUpdateBefore, kUpdateAfter, kDelete, kTombstone };

struct ResultMeta {
    Reason reason = Reason::kWatermark;
    Op op = Op::kNone;
    EventTime watermark = kNoTime;  // The stage's clock then.
    int64_t records = 0;            // So many are in it.
};

struct Batch {
    size_t row_count = 0;
    std::vector<Column> columns;              // By slot; each holds at least row_count values.
    std::vector<const InputRecord*> records;  // The record a row comes from; null for a window's result.
    std::vector<EventTime> times;             // Event time, already checked.
    // The partition's watermark before the record; empty for windows' results, which are never late.
    std::vector<EventTime> watermarks;
    std::vector<ResultMeta> results;  // Empty but for windows' results.
    std::vector<int64_t> late_by_ms;  // Of late rows: how far the watermark was past their event time.
    size_t partition = 0;            // Index among the shard's partitions; meaningless for windows' results.
    const Source* source = nullptr;  // For the records' headers.
    int64_t wall_ms = 0;

    void resize(size_t rows) {
        row_count = rows;
        records.resize(rows);
        times.resize(rows);
        for (Column& column : columns) {
            if (column.size() < rows) column.resize(rows);
        }
    }
};

}  // namespace weir::processor
