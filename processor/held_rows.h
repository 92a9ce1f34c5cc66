// Rows that a stage keeps whole and gives out later (dedupe with keep: last, top_n): what of a row is kept,
// as bytes, and the way back into a batch.
//
// Kept are the record's key, time stamp and, where later steps may read more of it, its bytes; the values
// that steps before have computed; the event time. Not its topic, partition, offset and headers. Later steps
// get at the record's fields by decoding it again, so they can be changed without losing state.
//
// Stored form (a row is a value of the stage's accumulators, whose format stands elsewhere):
//   row := version(u8) input(varint) time(i64) flags(u8: 1 a record, 2 with key, 4 with value)
//          [timestamp(i64) [key length(varint) bytes] [value length(varint) bytes]]   with a record
//          values (stored_value.h)
//
// Thread:  the worker that owns the shard.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "processor/arena.h"
#include "processor/batch.h"
#include "processor/decode.h"
#include "processor/graph.h"

namespace weir::processor {

class Executor;

class HeldRows {
public:
    HeldRows(const Graph& graph, const Stage& stage);

    // Fills `out` with the rows as texts in the arena. `input`: which of the stage's.
    void pack(uint32_t input, const Batch& batch, Rows rows, Arena& arena, Column& out);

    // One row of a result; its bytes live until flush() returns.
    [[nodiscard]] Result<void> give(Executor& executor, bool nested, std::string_view packed, int64_t rank,
                                    EventTime time, const ResultMeta& meta);
    // Hands what was given to the steps that follow. `nested`: while another batch is in use.
    [[nodiscard]] Result<void> flush(Executor& executor, bool nested);

private:
    struct Given {
        ByteReader values;
        InputRecord record;
        bool has_record;
        EventTime time;
        int64_t rank;
        ResultMeta meta;
    };

    const Graph& graph_;
    const Stage& stage_;
    std::vector<std::unique_ptr<Decoder>> decoders_;  // By input; null: nothing is read again.
    size_t input_ = 0;                                // Of all in given_.
    std::vector<Given> given_;
    std::vector<InputRecord> records_;
    std::vector<uint32_t> rows_;
    std::vector<DecodeError> errors_;
    std::string packed_;
};

}  // namespace weir::processor
