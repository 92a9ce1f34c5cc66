// Which request to the broker goes wrong next, and how.
#pragma once

#include <cstdint>
#include <random>

#include "connectors/memory_broker.h"

namespace weir::sim {

inline constexpr int64_t kSlowMarkersMsMax = 8'000;

struct PlannedFault {
    connectors::Api api{};
    uint64_t nth = 1;  // Of the calls from now on.
    connectors::Fault fault;

    // The caller cannot tell whether the transaction was committed.
    [[nodiscard]] bool leaves_commit_unknown() const {
        using Kind = connectors::Fault::Kind;
        return api == connectors::Api::kCommit &&
               (fault.kind == Kind::kFail || fault.kind == Kind::kLoseAnswer ||
                fault.kind == Kind::kArriveLater);
    }
};

[[nodiscard]] PlannedFault draw_request_fault(std::mt19937_64& random);

}  // namespace weir::sim
