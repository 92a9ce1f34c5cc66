// Results of one aggregate on their way from its windows to rows: what a window says its groups are worth
// now, and, where a reader has to be told what that replaces, what was said before.
//
//   shown     kept, per group of a window, with emit: changes, and for sessions with early results, because a
//             session can be joined to another one and so disappear.
//   op        with emit: changes: insert, update_before and update_after, delete; a result that did not
//             change is not repeated. With other early results one that disappears leaves a tombstone: a null
//             value under its key.
//
// On disk what was shown is in the stored rows; memory holds what the open epoch showed, and up to
// StoredGroups::cache_bytes() of the rest.
//
// Stored form (table T + 2): key prefix group-key; value version(u8) records(varint) time(i64) start(i64)
// end(i64), then a value (stored_value.h) per call.
//
// Thread:  the worker that owns the shard.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "processor/accumulator.h"
#include "processor/arena.h"
#include "processor/batch.h"
#include "processor/graph.h"
#include "processor/group_table.h"
#include "processor/stored_groups.h"
#include "state/delta.h"

namespace weir::processor {

struct WindowResult {
    std::string_view key;  // The group's.
    EventTime start = 0;
    EventTime end = 0;
    EventTime time = 0;  // Of the output record.
    ResultMeta meta;
};

// Is told what windows' groups are worth. `prefix` and key tell a group from all others of the stage.
class WindowListener {
public:
    // What the following calls are made for.
    virtual void because(Reason reason, EventTime watermark) = 0;
    // The result of a group is what its cells say.
    virtual void add(int64_t prefix, const WindowResult& result, const Accumulator* cells,
                     const AccumulatorStore& store) = 0;
    // A result that was shown is there no more.
    virtual void withdraw(int64_t prefix, std::string_view key) = 0;
    // It is final: nothing will replace it.
    virtual void forget(int64_t prefix, std::string_view key) = 0;
    virtual void forget(int64_t prefix) = 0;
    // The open epoch has given enough of what was due: the rest is for the next one.
    [[nodiscard]] virtual bool full() { return false; }

protected:
    ~WindowListener() = default;
};

// Turns what waits into rows before it becomes many, however many groups a window has.
class ResultTaker {
public:
    virtual void take_results() = 0;
    // As WindowListener::full().
    [[nodiscard]] virtual bool full() = 0;

protected:
    ~ResultTaker() = default;
};

class Results final : public WindowListener {
public:
    static constexpr size_t kMostWaiting = 1024;
    static constexpr size_t kMostWaitingBytes = 1 << 20;

    // `stored`: for stages on disk.
    Results(const Stage& stage, const Accumulators& accumulators, ResultTaker& taker,
            StoredGroups* stored = nullptr);

    void because(Reason reason, EventTime watermark) override {
        reason_ = reason;
        watermark_ = watermark;
    }
    void add(int64_t prefix, const WindowResult& result, const Accumulator* cells,
             const AccumulatorStore& store) override;
    void withdraw(int64_t prefix, std::string_view key) override;
    void forget(int64_t prefix, std::string_view key) override;
    void forget(int64_t prefix) override;
    [[nodiscard]] bool full() override { return taker_.full(); }

    // --- What waits to become rows ---

    [[nodiscard]] const std::vector<WindowResult>& waiting() const { return waiting_; }
    [[nodiscard]] const Value& value(size_t result, size_t call) const {
        return values_[result * call_count_ + call];
    }
    [[nodiscard]] size_t waiting_bytes() const {
        return waiting_.size() * sizeof(WindowResult) + values_.size() * sizeof(Value) + text_bytes_;
    }
    void clear();

    [[nodiscard]] size_t bytes() const { return shown_bytes_; }
    void write_changes(state::DeltaWriter& out);
    // False when the bytes are not what write_changes() writes.
    [[nodiscard]] bool restore(std::string_view key, std::string_view value);
    void restore_erased(std::string_view prefix);

private:
    using Shown = std::map<std::string, std::string, std::less<>>;  // By prefix and key: the stored form.

    // Of key_.
    [[nodiscard]] Shown::iterator find_shown();
    void add_shown(int64_t prefix, const WindowResult& result, size_t first_value);
    void push(const WindowResult& result, Op op);
    void push_value(Value value);
    void push_shown(std::string_view key, const std::string& row, Op op);
    Shown::iterator erase(Shown::iterator entry);

    const Stage& stage_;
    const Accumulators& accumulators_;
    ResultTaker& taker_;
    StoredGroups* const stored_;
    const size_t call_count_;
    const bool changes_;
    const bool keeps_shown_;
    Reason reason_ = Reason::kWatermark;
    EventTime watermark_ = kNoTime;
    Arena arena_;  // Keys and texts of what waits.
    std::vector<WindowResult> waiting_;
    std::vector<Value> values_;
    size_t text_bytes_ = 0;  // Of those, in the arena.
    Shown shown_;
    size_t shown_bytes_ = 0;
    std::set<std::string> dirty_;
    std::set<std::string> erased_;
    std::vector<std::string> forgotten_;  // On disk: prefixes of windows that ended.
    std::string key_;
};

}  // namespace weir::processor
