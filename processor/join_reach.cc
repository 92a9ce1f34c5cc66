#include "processor/join_reach.h"

#include <algorithm>
#include <limits>

namespace weir::processor {
namespace {

constexpr int64_t kLongestClockChangeMs = 2 * 3'600'000;  // What a day in a time zone may have beyond 24 h.

}  // namespace

JoinReach::JoinReach(const config::Join& rule)
    : windowed_(rule.by == config::Join::By::kWindow), grace_ms_(rule.grace_ms) {
    if (rule.in_sessions()) {
        keep_ms_ = {rule.window.size_ms + grace_ms_, rule.window.size_ms + grace_ms_};
        behind_ms_ = grace_ms_;
        return;
    }
    if (windowed_) {
        grid_ = WindowGrid(rule.window);
        const int64_t longest =
            rule.window.size_ms + (rule.window.timezone.empty() ? 0 : kLongestClockChangeMs) + grace_ms_;
        keep_ms_ = {longest, longest};
        behind_ms_ = longest;
        return;
    }
    back_ms_ = {rule.before_ms, rule.after_ms};
    ahead_ms_ = {rule.after_ms, rule.before_ms};
    keep_ms_ = {ahead_ms_[0] + grace_ms_, ahead_ms_[1] + grace_ms_};
    const bool as_of = rule.by == config::Join::By::kAsOf;
    // A left record looks for its partner when it leaves: it must still be there.
    if (as_of) keep_ms_[1] = ahead_ms_[0] + back_ms_[0] + grace_ms_;
    behind_ms_ = grace_ms_ + std::max(rule.keeps_left() || as_of ? ahead_ms_[0] : 0,
                                      rule.keeps_right() ? ahead_ms_[1] : 0);
}

EventTime JoinReach::bound(Side side, EventTime watermark) const {
    if (!windowed_) return Watermarks::less(watermark, keep_ms_[static_cast<size_t>(side)]);
    if (watermark == kNoTime || watermark == kEndOfTime) return watermark;
    return grid_.window_start(first_open(watermark));
}

EventTime JoinReach::reaches(Side side, EventTime bound) const {
    return windowed_ ? last(side, bound - 1) + 1 + grace_ms_ : bound + keep_ms_[static_cast<size_t>(side)];
}

WindowGrid::Cell JoinReach::first_open(EventTime watermark) const {
    if (watermark == kNoTime) return std::numeric_limits<WindowGrid::Cell>::min();
    if (watermark == kEndOfTime) return std::numeric_limits<WindowGrid::Cell>::max();
    return grid_.first_window(grid_.cell_of(Watermarks::less(watermark, grace_ms_)));
}

JoinReach::Shared JoinReach::shared(EventTime one, EventTime other, EventTime watermark) const {
    Shared windows{grid_.first_window(grid_.cell_of(std::max(one, other))),
                   grid_.last_window(grid_.cell_of(std::min(one, other)))};
    if (watermark != kNoTime && watermark != kEndOfTime)
        windows.first = std::max(windows.first, first_open(watermark));
    return windows;
}

}  // namespace weir::processor
