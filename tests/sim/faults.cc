#include "tests/sim/faults.h"

#include <utility>
#include <vector>

namespace weir::sim {

PlannedFault draw_request_fault(std::mt19937_64& random) {
    using connectors::Api;
    using Kind = connectors::Fault::Kind;
    static const std::vector<std::pair<Api, std::vector<Kind>>> kinds{
        {Api::kCommit,
         {Kind::kFail, Kind::kLoseAnswer, Kind::kDelay, Kind::kRepeat, Kind::kArriveLater,
          Kind::kSlowMarkers}},
        {Api::kCommit,
         {Kind::kFail, Kind::kLoseAnswer, Kind::kRepeat, Kind::kArriveLater, Kind::kSlowMarkers}},
        {Api::kSendOffsets,
         {Kind::kFail, Kind::kLoseAnswer, Kind::kDelay, Kind::kRepeat, Kind::kArriveLater}},
        {Api::kFlush, {Kind::kFail, Kind::kLoseAnswer, Kind::kDelay, Kind::kArriveLater}},
        {Api::kProduce, {Kind::kFail, Kind::kDropRecords, Kind::kDelay}},
        {Api::kOpen, {Kind::kFail, Kind::kLoseAnswer, Kind::kDelay}},
        {Api::kCommitted, {Kind::kFail, Kind::kDelay}},
        {Api::kBegin, {Kind::kFail}},
        {Api::kAssign, {Kind::kFail}},
        {Api::kPoll, {Kind::kFail, Kind::kDelay}},
        {Api::kEndOffset, {Kind::kFail, Kind::kDelay}},
        {Api::kCommitOffsets, {Kind::kFail, Kind::kLoseAnswer}},
    };
    const auto draw = [&](uint64_t below) { return random() % below; };
    const auto& [api, possible] = kinds[draw(kinds.size())];
    PlannedFault planned;
    planned.api = api;
    planned.fault.kind = possible[draw(possible.size())];
    planned.fault.error.code = draw(2) == 0 ? Code::kUnavailable : Code::kTimedOut;
    planned.fault.delay_ms = planned.fault.kind == Kind::kSlowMarkers
                                 ? 1 + static_cast<int64_t>(draw(kSlowMarkersMsMax))
                                 : static_cast<int64_t>(draw(15'000));
    planned.fault.requests = 1 + draw(6);
    planned.nth = 1 + draw(3);
    return planned;
}

}  // namespace weir::sim
