// Windows on disk: tumbling, hopping, cumulate, and none, which here is a pane that never ends. A pane's
// table of groups is a cache: a group that is not in it is read from the stored rows when a record comes to
// it. After write_changes() everything is stored, so the tables are dropped when they have become large.
// Memory: the groups that the open epoch touched, and as much as StoredGroups::cache_bytes() of the others.
//
//   shown     window by window as a merge of its panes by key, of tables and stored rows, one group at a
//             time: a window may hold more than memory.
//   changed   which groups changed since they were last shown ({every: …}) is stored for itself: the row of
//             a group does not say it, so that being shown does not write it again.
//
// Stored form: as group_table.h has it, without the flag for changed; and table T + 3:
//   "p" prefix             of an open pane: version(u8) records(varint) groups(varint)
//   "c" prefix group-key   of a group that changed: empty
// A start reads what begins with "p", nothing that grows with the groups.
//
// Order:   windows in order of their ends; groups in order of their keys as bytes (group_key.h).
// Thread:  the worker that owns the shard.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "processor/paned_windows.h"
#include "processor/stored_groups.h"

namespace weir::processor {

class StoredWindows final : public PanedWindows {
public:
    StoredWindows(const Stage& stage, Accumulators& accumulators, WindowListener& results, Settler& settler,
                  StoredGroups& stored)
        : PanedWindows(stage, accumulators, results, settler),
          stored_(stored),
          read_(accumulators),
          merged_(accumulators) {}

    [[nodiscard]] Place place(std::string_view key, uint64_t hash, EventTime time,
                              EventTime watermark) override;
    [[nodiscard]] uint64_t count_records() override;
    [[nodiscard]] uint64_t open_windows() const override;
    [[nodiscard]] uint64_t groups() const override;
    [[nodiscard]] size_t changed_bytes() const override { return changed_bytes_; }
    void write_changes(state::DeltaWriter& out) override;
    void restore_stored() override;

private:
    void sort(std::vector<Group*>& groups) const override;
    bool show(Cell last, bool changed_only) override;
    [[nodiscard]] size_t group_count(const Pane& pane) const override { return pane.group_count; }
    void forget_changed(Pane& pane) override;
    [[nodiscard]] std::optional<int64_t> records_of(const Pane& pane, std::string_view key,
                                                    uint64_t hash) override;

    [[nodiscard]] GroupCursor groups_of(Pane& pane, std::string_view from);
    [[nodiscard]] GroupCursor changed_of(Pane& pane);
    // A key's group in a pane, which may be read into a scratch group; null: it has none.
    [[nodiscard]] Place look_up(Pane& pane, std::string_view key);
    [[nodiscard]] Place look_at(Pane& pane, const GroupCursor& cursor);
    [[nodiscard]] Place read(const Pane& pane, std::string_view key, std::string_view row);
    void merge(const Place& from);
    void write_pane(Pane& pane, state::DeltaWriter& out);
    void drop_tables();

    StoredGroups& stored_;
    ScratchGroup read_;    // A row …
    ScratchGroup merged_;  // … and a window's group.
    size_t changed_bytes_ = 0;    // Of groups that the open epoch touched.
    bool changes_shown_ = false;  // What is stored as changed is not, from the next write on.
};

}  // namespace weir::processor
