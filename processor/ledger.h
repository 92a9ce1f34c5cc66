// Whether the books balance: what went into sources and streams is in exactly one bucket each, what one of
// them handed on arrived in those that read it, and what was merged into windows or buffered by joins and has
// not left them is in the state. Workers ask at every commit.
//
// Thread:  the worker that owns the counters.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "processor/counters.h"
#include "processor/plan.h"

namespace weir::processor {

class Ledger {
public:
    explicit Ledger(const Plan& plan);

    // What does not balance, in one sentence; empty: all does.
    [[nodiscard]] std::string imbalance(const Counters& counters) const;

    // The same for the state: how many records it holds, by stream. State that was read back must hold what
    // the counters say, too; the first one, which they know nothing of, is what they are counted from.
    [[nodiscard]] std::string state_imbalance(const Counters& counters, std::span<const uint64_t> held);

private:
    // Where the rows that enter a stream come from.
    struct Arrivals {
        std::vector<size_t> sources;
        std::vector<size_t> results;  // Streams whose results it reads …
        std::vector<size_t> late;     // … and those whose late rows.
    };

    const Plan* plan_;
    std::vector<Arrivals> arrivals_;                // By stream.
    std::optional<std::vector<uint64_t>> before_;  // By stream: held, and taken by another process.
};

}  // namespace weir::processor
