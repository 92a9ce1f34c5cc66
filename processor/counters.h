// The record ledger (where did my record go): plain numbers, one set per worker, written by its thread only.
//
// Every record that a source reads is delivered to the source's streams, dead-lettered or skipped; every row
// that enters a stream, or is made in it by explode, by a join or by a closing window, ends in exactly one
// bucket. Whether that holds: ledger.h.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace weir::processor {

struct Plan;

struct SourceCounters {
    uint64_t records = 0;
    uint64_t bytes = 0;  // Keys and values.
    // Where they went; the four add up to `records`.
    uint64_t delivered = 0;
    uint64_t dead_lettered = 0;
    uint64_t skipped = 0;
    uint64_t markers = 0;  // Only carried a watermark.
    // Why they were not delivered; these add up to dead_lettered + skipped.
    uint64_t decode_errors = 0;
    uint64_t timestamp_errors = 0;  // NULL or unreadable.
    uint64_t ahead = 0;             // Further in the future than max_ahead.
    // Aside: sampled records whose key is not the text of the field that `keyed_by` names.
    uint64_t key_mismatches = 0;
    uint64_t behind = 0;       // Older than their partition's watermark; late only if a window says so.
    uint64_t marks_ahead = 0;  // Watermarks that records carried, further in the future than max_ahead.
};

struct StreamCounters {
    uint64_t in = 0;       // Rows from sources and other streams.
    uint64_t derived = 0;  // Rows that explode and aggregates made.
    // Where they went; these add up to in + derived.
    uint64_t emitted = 0;    // By one of the stream's routes; split in `out`.
    uint64_t forwarded = 0;  // The stream has no `to`: handed to the streams that read it.
    uint64_t filtered = 0;
    uint64_t merged = 0;  // Into a window's state.
    uint64_t repartitioned = 0;  // Into an internal topic; they come in again from there.
    uint64_t duplicates = 0;  // Stopped by dedupe …
    uint64_t throttled = 0;   // … and by throttle.
    uint64_t buffered = 0;  // By a join, until the watermark says that no partner can come.
    uint64_t late = 0;  // Too late for every window; aside, how many of them nobody reads.
    uint64_t expanded = 0;  // By explode, into the derived ones.
    uint64_t dead_lettered = 0;
    uint64_t skipped = 0;
    uint64_t unrouted = 0;  // No route's `when` held.
    // Aside.
    uint64_t passed = 0;    // Came through all steps: the streams that read this one get each of them.
    uint64_t released = 0;  // Merged rows that no open window holds any more.
    uint64_t expression_errors = 0;
    uint64_t produce_errors = 0;
    uint64_t windows_closed = 0;
    uint64_t matched = 0;       // Pairs that a join made …
    uint64_t unmatched = 0;     // … and records that it gave without a partner: both are derived.
    uint64_t expired = 0;       // Buffered records that left; the others are still in the buffers.
    uint64_t late_dropped = 0;  // The other late ones went to `<stream>.late`.
    uint64_t lookups_missed = 0;  // Without a row: gone on with NULLs, filtered, or failed.
    std::vector<uint64_t> out;  // Per route.
};

struct Counters {
    std::vector<SourceCounters> sources;  // In file order.
    std::vector<StreamCounters> streams;  // In file order.

    Counters() = default;
    explicit Counters(const Plan& plan);

    // Adds another worker's counts of the same plan.
    void add(const Counters& other);
};

// Where records went, by the names that /metrics and /pipelines give them: the buckets of a source add up to
// `records`, those of a stream to `in` + `derived`.
struct Bucket {
    const char* name;
    uint64_t count;
};
[[nodiscard]] std::array<Bucket, 4> buckets_of(const SourceCounters& source);
[[nodiscard]] std::array<Bucket, 13> buckets_of(const StreamCounters& stream);

}  // namespace weir::processor
