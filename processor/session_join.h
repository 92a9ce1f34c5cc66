// A join in session windows in one shard. The records of both sides with one key make sessions, as those of
// an aggregate's group do, and by the same code: span_windows.h. A later record can join two sessions to
// one, so pairs are made when a session closes. Rules: docs/joins.md.
//
//   order     sessions in the order in which they are due, then of their first records. Of one: the pairs,
//             by left record, then by right one, in order of their times, then arrival; then the records
//             without a partner, left before right, in the same order.
//   NULL      a record without a key is a session of its own, where its side is kept.
//   clocks    what is due by the watermark before a record is done before it is taken, however records are
//             cut into batches.
//
// Stored form: an aggregate's (group_table.h) with one call, whose parts are the session's records
//              (timed_rows.h): row := side(u8) values, as compact_value.h has them. A session without a key
//              has the group key 0x00 number(i64); 0x00 is NULL, with which no other one begins.
//              Table T, key "w": a clock, and the rest of windows.h.
// On disk:     an aggregate's, too (stored_spans.h): of a key that nothing came to memory may have nothing. A
//              session that closes is in memory as a whole.
//
// Thread:  the worker that owns the shard.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "processor/accumulator.h"
#include "processor/join_input.h"
#include "processor/join_results.h"
#include "processor/span_windows.h"
#include "processor/stage_operator.h"
#include "processor/stored_groups.h"
#include "processor/watermark.h"

namespace weir::processor {

class SessionJoin final : public StageOperator, private Settler, private WindowListener {
public:
    SessionJoin(const Graph& graph, StageId id);

    // `batch` is the node's.
    [[nodiscard]] Result<void> take(Executor& executor, const Node& node, const JoinInputNode& input,
                                    Batch& batch, Rows rows);

    [[nodiscard]] Result<bool> advance(Executor& executor, EventTime watermark, bool idle) override;
    [[nodiscard]] Result<void> finish_epoch(Executor&) override { return stored_.failure(); }
    [[nodiscard]] EventTime next_due() override { return windows_->next_due(); }
    [[nodiscard]] EventTime clock() const override { return windows_->now(); }
    [[nodiscard]] bool has_rest() const override { return windows_->has_rest(); }
    [[nodiscard]] EventTime many_due(size_t few) override { return windows_->many_due(few); }
    [[nodiscard]] std::optional<OpenWindow> next_window() override { return windows_->next_window(); }
    void append_open(std::string_view key, std::vector<OpenWindow>& out) override {
        windows_->append_open(key, out);
    }
    [[nodiscard]] uint64_t records() override { return windows_->records(); }
    [[nodiscard]] uint64_t count_records() override { return windows_->count_records(); }
    [[nodiscard]] uint64_t open_windows() const override { return windows_->open_windows(); }
    [[nodiscard]] uint64_t entries() const override { return windows_->groups(); }
    [[nodiscard]] uint64_t bytes() const override { return windows_->bytes(); }
    [[nodiscard]] size_t changed_bytes() const override { return windows_->changed_bytes(); }
    void write_changes(EventTime watermark, state::DeltaWriter& out) override;
    [[nodiscard]] Result<void> restore(uint32_t table, std::string_view key, std::string_view value,
                                       EventTime& watermark) override;
    void restore_erased(uint32_t table, std::string_view key) override;
    void open(state::StoredRows& rows, size_t cache_bytes) override { stored_.open(rows, cache_bytes); }
    [[nodiscard]] Result<void> restore_stored(EventTime& watermark) override;

private:
    struct Record {
        EventTime time;
        std::string_view values;
        bool matched;
    };

    void pack(Executor& executor, Side side, const Batch& batch);
    void settle() override;
    // A session closes.
    void add(int64_t prefix, const WindowResult& session, const Accumulator* cells,
             const AccumulatorStore& store) override;
    // Nothing of a session is shown before.
    void because(Reason, EventTime) override {}
    void withdraw(int64_t, std::string_view) override {}
    void forget(int64_t, std::string_view) override {}
    void forget(int64_t) override {}
    [[nodiscard]] bool full() override;
    [[nodiscard]] Result<void> give_pairs(const WindowResult& session);
    [[nodiscard]] Result<void> give_alone(const WindowResult& session, Side side);
    [[nodiscard]] bool restore_now(std::string_view value, EventTime& watermark);
    void begin_result(size_t row, const WindowResult& session);
    [[nodiscard]] Result<void> flush_pairs();
    void count_closed();

    const Stage& stage_;
    const StageId id_;
    const std::array<bool, 2> keeps_;
    const Node* input_node_ = nullptr;  // One of them.
    Accumulators accumulators_;
    StoredGroups stored_;  // On disk.
    const std::unique_ptr<SpanWindows> windows_;
    JoinResults results_;

    Executor* executor_ = nullptr;  // During a call.
    bool stops_ = false;            // It may stop when the epoch is full.
    Result<void> given_;            // Whether results could be written in the middle of it.
    // Of the slice that is taken:
    const Batch* batch_ = nullptr;  // Null: none is.
    JoinInput input_;
    std::vector<uint32_t> rows_;
    std::vector<uint32_t> late_;
    std::vector<uint32_t> placed_;           // Have a session; …
    size_t settled_ = 0;                     // … so many of them are in it.
    std::vector<Accumulator*> cells_;        // By row.
    std::vector<AccumulatorStore*> stores_;  // By row.
    Column packed_;                          // By row.
    std::string key_;
    // Of the session that closes:
    std::array<std::vector<Record>, 2> records_;
    std::vector<std::pair<Record*, Record*>> pairs_;  // The rows of `results_`.
};

}  // namespace weir::processor
