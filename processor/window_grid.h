// Windows whose borders do not depend on the records: tumbling, hopping, cumulate. Time is cut into cells,
// numbered without gaps; a window is a run of whole cells, and a record is kept once, in its cell, however
// many windows cover it.
//
//   tumbling   a window is one cell.
//   hopping    a cell is the greatest common divisor of size and step.
//   cumulate   a cell is one step; the cells of one size share their windows' start.
//   timezone   cells are calendar days of the zone, so 23 or 25 hours long where clocks change; the steps of
//              a cumulate window are counted from local midnight, and the last one of a day ends with it.
//              A local midnight that clocks skip is the moment they skip it; one that comes twice, the first.
//   none       one cell, which is all of time.
//
// Every window is named by its last cell: ends ascend with it. Immutable; any thread.
#pragma once

#include <cstdint>
#include <string>

#include <absl/time/time.h>

#include "base/time.h"
#include "config/pipeline.h"

namespace weir::processor {

class WindowGrid {
public:
    using Cell = int64_t;

    WindowGrid() = default;
    // window.is_grid(), or it never ends; the zone exists.
    explicit WindowGrid(const config::Window& window);

    [[nodiscard]] static bool zone_exists(const std::string& name);

    [[nodiscard]] Cell cell_of(EventTime time) const;
    // A cell lasts from its start to that of the next one. In a zone some cells are empty.
    [[nodiscard]] EventTime start_of(Cell cell) const;

    // --- Windows, by their last cell ---

    // The first window that ends with `cell` or after it, and the one after a window.
    [[nodiscard]] Cell first_window(Cell cell) const;
    [[nodiscard]] Cell next_window(Cell last) const { return first_window(last + 1); }
    // The last window that covers `cell`.
    [[nodiscard]] Cell last_window(Cell cell) const;
    [[nodiscard]] Cell first_cell(Cell last) const;
    [[nodiscard]] EventTime window_start(Cell last) const { return start_of(first_cell(last)); }
    [[nodiscard]] EventTime window_end(Cell last) const { return start_of(last + 1); }
    // Every window is one cell, so nothing overlaps.
    [[nodiscard]] bool single() const { return cells_ == 1; }
    // The only window never ends: its borders are kNoTime and kEndOfTime.
    [[nodiscard]] bool endless() const { return endless_; }

private:
    [[nodiscard]] bool is_window(Cell last) const;
    [[nodiscard]] int64_t midnight_ms(int64_t day) const;

    bool endless_ = false;
    bool cumulate_ = false;
    int64_t cells_ = 1;  // Of a window; cumulate: of the longest.
    int64_t hop_ = 1;    // Cells between the starts of windows.
    int64_t cell_ms_ = 1;
    int64_t offset_ms_ = 0;
    // In a zone: a cell is `cell_days_` days, or one of the `cells_of_day_` steps of one.
    bool zoned_ = false;
    absl::TimeZone zone_;
    int64_t cell_days_ = 1;
    int64_t cells_of_day_ = 1;
};

}  // namespace weir::processor
