// What the operators of a pipeline keep in memory in this process, and the most that it may be
// (state.max_memory_mib). Workers say what theirs take; one that finds the sum above the limit stops the
// process, between two epochs, so that nothing is lost or half done.
//
// Counts:  the bytes() of aggregates, joins, dedupe, throttle and tables; a global table once per worker, as
//          every worker holds it. Not: buffers of the Kafka client, the open epoch's changes, the program.
// Thread:  any. The only thing that workers change together: relaxed atomics, at most once per commit.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <span>
#include <string>

#include "base/result.h"
#include "processor/plan.h"

namespace weir::processor {

// By operator: the plan's stages, then its tables.
struct OperatorUse {
    uint64_t bytes = 0;
    uint64_t entries = 0;  // Groups, buffered records, keys, rows.
};

class StateLimit {
public:
    // `max_bytes` 0: there is no limit, and only the sum is known.
    StateLimit(const Plan& plan, uint64_t max_bytes);

    // A worker's operators took `before`, and take `now`; empty: nothing. Warns when most of the limit is
    // used.
    void change(std::span<const OperatorUse> before, std::span<const OperatorUse> now);
    // kStateLimit when they take more than they may; the message names the largest.
    [[nodiscard]] Result<void> check() const;

    [[nodiscard]] uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
    [[nodiscard]] uint64_t max_bytes() const { return max_bytes_; }
    [[nodiscard]] size_t operators() const { return operators_.size(); }

private:
    struct Operator {
        std::string name;
        const char* entries_are;
        std::atomic<uint64_t> bytes{0};
        std::atomic<uint64_t> entries{0};

        Operator(std::string its_name, const char* what) : name(std::move(its_name)), entries_are(what) {}
    };
    [[nodiscard]] std::string largest() const;

    const uint64_t max_bytes_;
    std::deque<Operator> operators_;
    std::atomic<uint64_t> bytes_{0};
    std::atomic<bool> warned_{false};
};

}  // namespace weir::processor
