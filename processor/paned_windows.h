// Tumbling, hopping and cumulate windows: a table of groups per cell of the grid (a pane). A record is added
// to one pane; a window's result is the merge of its panes, made when it is shown. A pane is freed when the
// last window that covers it closes.
//
// Order:   windows in order of their ends; groups in the order of their panes, then of their first records.
// Thread:  the worker that owns the shard.
#pragma once

#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "processor/window_grid.h"
#include "processor/windows.h"

namespace weir::processor {

class PanedWindows final : public Windows {
public:
    PanedWindows(const Stage& stage, Accumulators& accumulators, WindowListener& results, Settler& settler)
        : Windows(stage, accumulators, results, settler), grid_(stage.window) {}

    [[nodiscard]] EventTime late_from(EventTime time) override;
    [[nodiscard]] Place place(std::string_view key, uint64_t hash, EventTime time,
                              EventTime watermark) override;
    [[nodiscard]] EventTime next_due() override;
    void advance(EventTime now, Reason reason) override;
    void restore_now(EventTime now) override;
    [[nodiscard]] bool has_changed() override { return changed_panes_ > 0; }
    void show_changed() override;
    [[nodiscard]] std::optional<OpenWindow> next_window() override;
    void append_open(std::string_view key, std::vector<OpenWindow>& out) override;
    [[nodiscard]] uint64_t count_records() override;
    [[nodiscard]] uint64_t open_windows() const override;
    [[nodiscard]] uint64_t groups() const override;
    [[nodiscard]] size_t bytes() const override;
    void write_changes(state::DeltaWriter& out) override;
    [[nodiscard]] bool restore_group(std::string_view key, std::string_view row) override;
    [[nodiscard]] bool restore_part(std::string_view key, std::string_view value) override;
    void restore_erased(std::string_view prefix) override;

private:
    using Cell = WindowGrid::Cell;

    struct Pane {
        explicit Pane(const Accumulators& accumulators) : groups(accumulators) {}

        EventTime start = 0;
        EventTime end = 0;
        EventTime first_fire = 0;  // When the first window that covers it fires.
        EventTime late_from = 0;   // When the last one closes.
        uint64_t records = 0;
        GroupTable groups;
        std::vector<Group*> changed;  // Since they were last shown.
        bool stored = false;          // Something of it is in the stored state.
    };
    using Panes = std::map<Cell, std::unique_ptr<Pane>>;

    // A window (by its last cell) of which some pane exists, and when something is to be done about it.
    struct Due {
        EventTime at = kEndOfTime;
        Cell last = 0;
    };

    void seek(EventTime time);
    Pane& pane(Cell cell);
    // The first window whose end + delay is still to come.
    [[nodiscard]] Due next(int64_t delay_ms) const;
    [[nodiscard]] Cell first_open(Cell cell, int64_t delay_ms) const;
    void close(Cell last);
    // Shows all groups of a window, or those that changed.
    void show(Cell last, bool changed_only);
    [[nodiscard]] OpenWindow describe(Cell last, int64_t records) const;
    void add(Cell last, Group& group, const AccumulatorStore& store);

    const WindowGrid grid_;
    Panes panes_;
    Pane* latest_ = nullptr;  // The one used last …
    EventTime span_start_ = 0;
    EventTime span_end_ = 0;  // … and, pane or not, the cell looked at last.
    EventTime span_late_from_ = 0;
    EventTime due_ = kEndOfTime;
    bool due_known_ = false;
    size_t changed_panes_ = 0;
    std::vector<EventTime> erased_;  // Stored panes freed in this epoch, by start.
};

}  // namespace weir::processor
