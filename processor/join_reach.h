// Which times of the other side a record of a join can be paired with, and up to when: an interval around it
// (within, as_of), or the windows that it lies in. Of session windows only how long a record is kept at
// least, and how far a result lies behind. Immutable; any thread.
//
//   bound    what is older than bound(W) has left at the watermark W: no record that is not late can be
//            paired with it any more. It grows with W.
#pragma once

#include <array>
#include <cstdint>

#include "base/time.h"
#include "config/pipeline.h"
#include "processor/graph.h"
#include "processor/watermark.h"
#include "processor/window_grid.h"

namespace weir::processor {

class JoinReach {
public:
    explicit JoinReach(const config::Join& rule);

    // The oldest and the newest time of a partner, both included.
    [[nodiscard]] EventTime first(Side side, EventTime time) const {
        return windowed_ ? grid_.window_start(grid_.first_window(grid_.cell_of(time)))
                         : time - back_ms_[static_cast<size_t>(side)];
    }
    [[nodiscard]] EventTime last(Side side, EventTime time) const {
        return windowed_ ? grid_.window_end(grid_.last_window(grid_.cell_of(time))) - 1
                         : time + ahead_ms_[static_cast<size_t>(side)];
    }
    [[nodiscard]] bool is_late(EventTime watermark, EventTime time) const {
        return (windowed_ ? bound(Side::kLeft, watermark) : Watermarks::less(watermark, grace_ms_)) > time;
    }
    [[nodiscard]] EventTime bound(Side side, EventTime watermark) const;
    // The lowest watermark at which `bound`, that of a record's time + 1, is reached.
    [[nodiscard]] EventTime reaches(Side side, EventTime bound) const;

    // How long a record is kept at most.
    [[nodiscard]] int64_t longest_ms(Side side) const { return keep_ms_[static_cast<size_t>(side)]; }
    // How far a result's time may lie behind the watermark.
    [[nodiscard]] int64_t behind_ms() const { return behind_ms_; }

    // The windows, by name, that hold both times and have not closed at the watermark.
    struct Shared {
        WindowGrid::Cell first;
        WindowGrid::Cell last;
    };
    [[nodiscard]] Shared shared(EventTime one, EventTime other, EventTime watermark) const;
    [[nodiscard]] const WindowGrid& windows() const { return grid_; }
    // The first window that has not closed: the lowest name there is at kNoTime, the highest at kEndOfTime.
    [[nodiscard]] WindowGrid::Cell first_open(EventTime watermark) const;
    // The watermark at which a window closes.
    [[nodiscard]] EventTime closes(WindowGrid::Cell window) const {
        return grid_.window_end(window) + grace_ms_;
    }

private:
    const bool windowed_;
    const int64_t grace_ms_;
    std::array<int64_t, 2> back_ms_{};
    std::array<int64_t, 2> ahead_ms_{};
    std::array<int64_t, 2> keep_ms_{};
    int64_t behind_ms_ = 0;
    WindowGrid grid_;
};

}  // namespace weir::processor
