// The windows of one aggregate in one shard: which group a record is merged into, and what is to be said
// when. Two kinds of storage, one for windows whose borders do not depend on the records (paned_windows.h),
// one for those that their records make (span_windows.h). How they end and are shown: docs/windows.md.
//
//   place     finds the record's group; what the record adds to the cells is up to the caller, who may
//             collect rows and apply them together: before anything reads cells it is asked to settle().
//   advance   fires and closes what is due by the stage's clock (its watermark, or the wall clock): results
//             in order of their windows' ends. It stops at a group's border when the listener is full
//             (decision 0010); what it did not come to, its rest, is state.
//   show      results of groups that changed since they were last shown.
//
// On disk (stored_windows.h, stored_spans.h) the groups are rows of the shard's store, and memory is a cache
// of them.
//
// What is shown goes to a WindowListener, an aggregate's Results. The caller advances to the watermark before
// a record before it places the record, so nothing here depends on how records are cut into batches.
//
// Stored form: groups as group_table.h has them; prefix := start of the pane, or sequence of the span. Key
// "w" of table T holds the stage's clocks (aggregate.h).
//
// Thread:  the worker that owns the shard.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "processor/accumulator.h"
#include "processor/graph.h"
#include "processor/group_table.h"
#include "processor/question.h"
#include "processor/results.h"
#include "state/delta.h"

namespace weir::processor {

class StoredGroups;

// Applies the rows that were placed but not yet added to their groups' cells.
class Settler {
public:
    virtual void settle() = 0;

protected:
    ~Settler() = default;
};

struct Place {
    Group* group = nullptr;  // Null: the record is late.
    AccumulatorStore* store = nullptr;
};

class Windows {
public:
    // `stored`: for stages on disk.
    static std::unique_ptr<Windows> make(const Stage& stage, Accumulators& accumulators,
                                         WindowListener& results, Settler& settler, StoredGroups* stored);
    virtual ~Windows() = default;
    Windows(const Windows&) = delete;
    Windows& operator=(const Windows&) = delete;

    // From this watermark on a record of this time is late, whatever its group; kEndOfTime where that depends
    // on the group, or never is.
    [[nodiscard]] virtual EventTime late_from(EventTime time) = 0;
    // All that is due at `watermark` has been done.
    [[nodiscard]] virtual Place place(std::string_view key, uint64_t hash, EventTime time,
                                      EventTime watermark) = 0;
    // The placed rows are in their cells now.
    virtual void settled() {}

    // When the stage's clock has to do something next; kEndOfTime: nothing until records come.
    [[nodiscard]] virtual EventTime next_due() = 0;
    // When more than `few` groups are due, about; kEndOfTime: not by what there is.
    [[nodiscard]] virtual EventTime many_due(size_t few) = 0;
    // False: the listener is full. The next call begins with the rest, for the reason that this one was
    // given; no record is placed before.
    bool advance(EventTime now, Reason reason);
    [[nodiscard]] bool has_rest() const { return rest_.has_value(); }
    // How far advance() has come; kNoTime: nowhere.
    [[nodiscard]] EventTime now() const { return now_; }
    virtual void restore_now(EventTime now) { now_ = now; }
    // Stored form of the rest: now(i64) to(i64) reason(u8) from(bytes to the end).
    void append_rest(std::string& out) const;
    // In place of restore_now(). False when the bytes are not what append_rest() writes.
    [[nodiscard]] bool restore_rest(ByteReader& in);
    void restore_no_rest() {
        rest_.reset();
        from_.clear();
    }

    [[nodiscard]] virtual bool has_changed() = 0;
    virtual void show_changed() = 0;

    // For people: the window about which something is due next, and a group's open ones, earliest first, at
    // most kMostOpenWindows in all.
    [[nodiscard]] virtual std::optional<OpenWindow> next_window() = 0;
    virtual void append_open(std::string_view key, std::vector<OpenWindow>& out) = 0;

    [[nodiscard]] uint64_t take_closed() { return std::exchange(closed_, 0); }
    // The ledger: records in open windows, and since the last call those that left them.
    [[nodiscard]] virtual uint64_t records() { return records_; }
    [[nodiscard]] uint64_t take_released() { return std::exchange(released_, 0); }
    // The same as records(), group by group.
    [[nodiscard]] virtual uint64_t count_records() = 0;
    [[nodiscard]] virtual uint64_t open_windows() const = 0;
    [[nodiscard]] virtual uint64_t groups() const = 0;
    [[nodiscard]] virtual size_t bytes() const = 0;

    // On disk: what write_changes() will write, about.
    [[nodiscard]] virtual size_t changed_bytes() const { return 0; }
    virtual void write_changes(state::DeltaWriter& out) = 0;
    // False when the bytes are not what write_changes() writes.
    [[nodiscard]] virtual bool restore_group(std::string_view key, std::string_view row) = 0;
    [[nodiscard]] virtual bool restore_part(std::string_view key, std::string_view value) = 0;
    virtual void restore_erased(std::string_view prefix) = 0;
    // On disk, instead of the three above: takes up what the stored rows say.
    virtual void restore_stored() {}

protected:
    using EmitKind = config::Emit::Kind;

    Windows(const Stage& stage, Accumulators& accumulators, WindowListener& results, Settler& settler)
        : stage_(stage),
          accumulators_(accumulators),
          results_(results),
          settler_(settler),
          emit_(stage.emit.kind),
          tracks_changes_(emit_ != EmitKind::kOnClose) {}

    // As advance(), without a rest.
    [[nodiscard]] virtual bool advance_to(EventTime now, Reason reason) = 0;

    // How long after its end a window fires: gives its result because its time has come.
    [[nodiscard]] int64_t fire_delay_ms() const {
        return emit_ == EmitKind::kOnWatermark ? 0 : stage_.window.grace_ms;
    }
    // on_update and changes have said everything by then.
    [[nodiscard]] bool fires() const { return emit_ != EmitKind::kOnUpdate && emit_ != EmitKind::kChanges; }

    void release(uint64_t records) {
        records_ -= records;
        released_ += records;
    }

    // What follows is said because groups changed.
    void because_changed() {
        results_.because(emit_ == EmitKind::kOnWatermark ? Reason::kLate
                         : emit_ == EmitKind::kEvery     ? Reason::kTimer
                                                         : Reason::kUpdate,
                         now_);
    }

    const Stage& stage_;
    Accumulators& accumulators_;
    WindowListener& results_;
    Settler& settler_;
    const EmitKind emit_;
    const bool tracks_changes_;
    EventTime now_ = kNoTime;
    std::string from_;  // With a rest: the key of the group with which the window that is due goes on.
    uint64_t closed_ = 0;
    uint64_t records_ = 0;
    uint64_t released_ = 0;

private:
    struct Rest {
        EventTime to;
        Reason reason;
    };
    std::optional<Rest> rest_;
};

}  // namespace weir::processor
