// What becomes of a record that fails: the run stops, the record is counted and left out, or it goes to the
// dead letter topic as it came (raw key, value, headers, timestamp) with these headers added. A header of
// that name that the record already has is never replaced.
//
//   __streams.errors.exception   the error's stable name (ErrorName)     .stacktrace   the step's path
//   __streams.errors.message .topic .partition .offset                   as text
//   weir.pipeline, weir.stream, weir.step
//
// The names are Kafka Streams', so that its tools read them. Nothing of the moment (time, host) is written:
// the same input gives the same dead letters.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "processor/endpoint.h"
#include "processor/graph.h"
#include "processor/plan.h"

namespace weir::processor {

enum class ErrorName : uint8_t {
    kDecodeFailed,
    kTimestampUnreadable,
    kTimestampAhead,
    kExpressionFailed,
    kLookupMissed,
    kProduceFailed,
};
[[nodiscard]] std::string_view error_name_text(ErrorName name);  // "decode_failed"

struct FailedRecord {
    const InputRecord* record = nullptr;  // Null for a window's result; then `key` and `value` stand for it.
    TopicPartition partition;             // With `record`.
    MaybeBytes key;
    MaybeBytes value;
    int64_t timestamp_ms = -1;
    ErrorName error = ErrorName::kExpressionFailed;
    std::string_view stream;  // Empty: it failed before any stream.
    std::string_view step;
    std::string_view message;
};

class DeadLetters {
public:
    explicit DeadLetters(const Plan& plan) : plan_(plan) {}

    // Counts into one of the two buckets, or fails with kRecordFailed. `source` may be null without a record.
    [[nodiscard]] Result<void> reject(const ErrorPlan& policy, const FailedRecord& failed,
                                      const Source* source, Sink& sink, uint64_t& dead_lettered,
                                      uint64_t& skipped);

private:
    const Plan& plan_;
    std::vector<Header> headers_;
};

}  // namespace weir::processor
