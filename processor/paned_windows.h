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

class PanedWindows : public Windows {
public:
    PanedWindows(const Stage& stage, Accumulators& accumulators, WindowListener& results, Settler& settler)
        : Windows(stage, accumulators, results, settler), grid_(stage.window) {}

    [[nodiscard]] EventTime late_from(EventTime time) override;
    [[nodiscard]] Place place(std::string_view key, uint64_t hash, EventTime time,
                              EventTime watermark) override;
    [[nodiscard]] EventTime next_due() override;
    [[nodiscard]] EventTime many_due(size_t few) override;
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

protected:
    using Cell = WindowGrid::Cell;

    [[nodiscard]] bool advance_to(EventTime now, Reason reason) override;

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

        // On disk (stored_windows.h):
        uint64_t group_count = 0;      // In memory or not.
        uint64_t stored_records = 0;   // `records` as stored.
        size_t changes_stored = 0;     // So many of `changed` are stored as such …
        bool changes_dropped = false;  // … and others that are not in memory any more.
        std::vector<Group*> by_key;    // `groups`, sorted for show(), which may come back; empty: not.

        [[nodiscard]] bool has_changed() const { return changes_dropped || !changed.empty(); }
    };
    using Panes = std::map<Cell, std::unique_ptr<Pane>>;

    // A window (by its last cell) of which some pane exists, and when something is to be done about it.
    struct Due {
        EventTime at = kEndOfTime;
        Cell last = 0;
    };

    void seek(EventTime time);
    Pane& pane(Cell cell);
    // A record comes to a group.
    Place take(Pane& pane, Group& group) {
        ++group.records;
        ++pane.records;
        ++records_;
        // on_watermark: what changes before its first window fires needs no second word.
        if (tracks_changes_ && !group.changed &&
            (emit_ != EmitKind::kOnWatermark || pane.first_fire <= now_)) {
            group.changed = true;
            if (!pane.has_changed()) ++changed_panes_;
            pane.changed.push_back(&group);
        }
        pane.groups.touch(group);
        return {&group, &pane.groups.store()};
    }
    // Every window has closed, for ever.
    [[nodiscard]] bool over() const { return now_ == kEndOfTime && !grid_.endless(); }
    // The first window whose end + delay is still to come.
    [[nodiscard]] Due next(int64_t delay_ms) const;
    [[nodiscard]] Cell first_open(Cell cell, int64_t delay_ms) const;
    void close(Cell last);
    // Puts groups in the order in which they are shown.
    virtual void sort(std::vector<Group*>& groups) const;
    // Shows all groups of a window, or those that changed, which are sorted. All: from from_ on, and false,
    // with from_, when the listener is full.
    virtual bool show(Cell last, bool changed_only);
    // How many groups a pane has, at most.
    [[nodiscard]] virtual size_t group_count(const Pane& pane) const { return pane.groups.size(); }
    // What changed in a pane has been shown.
    virtual void forget_changed(Pane& pane);
    // Of a group; none: the pane does not have it.
    [[nodiscard]] virtual std::optional<int64_t> records_of(const Pane& pane, std::string_view key,
                                                            uint64_t hash);
    [[nodiscard]] OpenWindow describe(Cell last, int64_t records) const;
    void add(Cell last, std::string_view key, Group& group, const AccumulatorStore& store);
    // Gives a table's groups as show() does.
    [[nodiscard]] bool give(Cell last, GroupTable& table);

    const WindowGrid grid_;
    Panes panes_;
    Pane* latest_ = nullptr;  // The one used last …
    EventTime span_start_ = 0;
    EventTime span_end_ = 0;  // … and, pane or not, the cell looked at last.
    EventTime span_late_from_ = 0;
    EventTime due_ = kEndOfTime;
    bool due_known_ = false;
    size_t changed_panes_ = 0;
    std::unique_ptr<GroupTable> in_parts_;  // The groups of the window that is given so.
    std::vector<EventTime> erased_;  // Stored panes freed in this epoch, by start.
};

}  // namespace weir::processor
