// The first step of every record: decode it, find its event time, move its partition's watermark, hand it to
// the streams that read the source. A source's slice is decoded once, whoever reads it.
//
// Records that cannot be decoded, have no readable event time or watermark, or lie further in the future than
// max_ahead end here: counted per source and handled by on_error; they never move a watermark. So do markers,
// which only carry one.
//
// Thread:  the worker that owns the shard.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "processor/counters.h"
#include "processor/decode.h"
#include "processor/executor.h"
#include "processor/plan.h"
#include "processor/watermark.h"

namespace weir::processor {

class SourceReader {
public:
    SourceReader(const Plan& plan, size_t source, Watermarks& watermarks, Counters& counters);

    // `partition`: index among the shard's. How many records it took, one or more: those before the first one
    // at which a slice has to end (Executor::slice_end()).
    [[nodiscard]] Result<size_t> read(Executor& executor, size_t partition,
                                      std::span<const InputRecord> records, const Source& source,
                                      int64_t wall_ms, Sink& sink);

private:
    // `key`: of the source, which the record does not satisfy.
    [[nodiscard]] Result<void> reject(Executor& executor, size_t partition, const InputRecord& record,
                                      ErrorName error, const char* key, std::string_view message,
                                      const Source& source, Sink& sink);
    // Records of a file's table with the keys that their fields say; valid as long as the slice.
    [[nodiscard]] std::span<const InputRecord> keyed(Executor& executor, Batch& batch,
                                                     std::span<const InputRecord> records);
    [[nodiscard]] Result<void> check_row_keys(Executor& executor, size_t partition,
                                              std::span<const InputRecord> records, const Source& source,
                                              Sink& sink);
    [[nodiscard]] Result<void> reject_time(Executor& executor, size_t partition, const InputRecord& record,
                                           const Value* value, int64_t ahead_ms, const Source& source,
                                           Sink& sink);
    void fill_metadata(Executor& executor, Batch& batch, size_t partition,
                       std::span<const InputRecord> records, const Source& source);
    [[nodiscard]] Result<size_t> assign_times(Executor& executor, Batch& batch, size_t partition,
                                              std::span<const InputRecord> records, const Source& source,
                                              Sink& sink);
    void check_keys(const Batch& batch, size_t partition, int64_t wall_ms);

    const Plan& plan_;
    const SourcePlan& source_;
    Watermarks& watermarks_;
    SourceCounters& counters_;
    Decoder decoder_;
    const bool needs_time_;  // A stage depends on it; otherwise a record may go without.
    const bool keys_rows_;   // A file's table: a field is the key.
    std::vector<InputRecord> keyed_records_;
    std::vector<uint32_t> rows_;
    std::vector<DecodeError> errors_;
    Column times_;
    Column marks_;
    Column markers_;
    std::vector<Header> headers_;
    std::string text_;
    int64_t warned_wall_ms_ = 0;
};

}  // namespace weir::processor
