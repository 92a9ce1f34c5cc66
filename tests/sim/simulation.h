// One seed: the real worker, operators, log, snapshots and recovery code on a model broker, a simulated disk
// and virtual time, with every fault drawn from the seed, and all that was promised checked at the end. What
// is modelled and what is not: docs/simulation.md.
//
// Deterministic: the same scenario and seed give the same trace, bit by bit. Thread: one per simulation.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/scenario.h"

namespace weir::sim {

// What a run can break. The first violation ends it.
enum class Check : uint8_t {
    kNone,
    kLost,           // A result of the model never became visible.
    kDoubled,        // A result became visible twice.
    kWrong,          // A result that the model does not have.
    kOrder,          // The results of one key in another order.
    kRefused,        // A refusal to start, or a stop, without a reason.
    kStarted,        // A start where only a refusal was right.
    kDurability,     // No disk holds what Kafka holds.
    kOffsetsBack,    // Committed offsets went back.
    kPartialCommit,  // Partitions of one slot committed by different epochs.
    kLedger,         // The record ledger does not add up.
    kOpenLeft,       // A transaction stayed open.
    kInternal,       // A WEIR_CHECK failed that no failing disk explains.
    kStuck,          // The run did not come to its end.
    kNotRepeatable,  // The second run of the seed left another trace.
};
[[nodiscard]] const char* check_name(Check check);

// What happened; a full run in which one of these never did proves nothing.
enum class Event : uint8_t {
    kKills,
    kPowerCuts,
    kDeathsInRecovery,
    kDoubleDeaths,
    kTripleDeaths,
    kRollForwards,
    kDiscards,
    kTornTails,
    kSnapshots,
    kFences,
    kUnknownCommitted,
    kUnknownAborted,
    kLateRequests,
    kSinksReplaced,
    kSlowMarkers,
    kAbortedTransactions,
    kFullDisks,
    kFailedSyncs,
    kBitsRotted,
    kRotRefused,
    kWrongDisksRefused,
    kOldDisksRefused,
    kClockJumps,
    kDeathsWhileTicking,
    kDeathsWhileClosing,
};
inline constexpr size_t kEventCount = 25;
[[nodiscard]] const char* event_name(Event event);
using Events = std::array<uint64_t, kEventCount>;

struct Report {
    Check check = Check::kNone;
    std::string detail;
    Events events{};
    uint64_t turns = 0;
    uint64_t trace_hash = 0;
    Outputs outputs;  // Of an undisturbed run only.
};

struct Verdict {
    Check check = Check::kNone;
    std::string detail;
};
// Per key and in order; where results may be repeated (not `once`), only that none is missing and none is
// wrong.
[[nodiscard]] Verdict compare(const Outputs& want, const Outputs& have, bool once);

struct RunOptions {
    bool faults = true;
    std::vector<std::string>* trace = nullptr;
};

[[nodiscard]] Report simulate(const Scenario& scenario, uint64_t seed, const RunOptions& options = {});

}  // namespace weir::sim
