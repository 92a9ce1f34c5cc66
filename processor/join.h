// A join in one shard: a record of either side is paired with those of the other side's buffer that have its
// key and lie within the interval, then waits in its own side's buffer for those to come. Rules:
// docs/joins.md.
//
//   late      a record more than `grace` behind the stage's watermark before it, or whose window ended so
//             long before: to `<stream>.late`, or nowhere when nobody reads that, and counted. All other
//             records find all their partners, however the records of both sides come in turn.
//   leaving   a record leaves when the watermark has passed its time + how far a partner may be ahead +
//             grace; on a side that keeps records without a partner it is given then, once.
//   order     pairs in the order of the records that complete them, each with its partners in order of their
//             times, then arrival; records without a partner in order of the watermark at which they leave,
//             then left before right, by their times, then arrival.
//   hopping   a side that keeps records without a partner gives one for each of its windows that closes
//             before it has one there.
//
// Stored form: join_buffer.h, and table T, key "w": version(u8) clock(i64), and where something that has left
// is still to be given: now(i64), then of each side what JoinBuffer::append_told() writes.
// On disk: the buffers read what they do not have in memory from the stage's rows (join_buffer.h).
//
// Thread:  the worker that owns the shard.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "processor/counters.h"
#include "processor/join_buffer.h"
#include "processor/join_index.h"
#include "processor/join_input.h"
#include "processor/join_reach.h"
#include "processor/join_results.h"
#include "processor/stage_operator.h"
#include "processor/watermark.h"

namespace weir::processor {

class Join final : public StageOperator {
public:
    Join(const Graph& graph, StageId id);

    // `batch` is the node's.
    [[nodiscard]] Result<void> take(Executor& executor, const Node& node, const JoinInputNode& input,
                                    Batch& batch, Rows rows);

    [[nodiscard]] Result<bool> advance(Executor& executor, EventTime watermark, bool idle) override;
    [[nodiscard]] Result<void> finish_epoch(Executor&) override { return failure_; }
    [[nodiscard]] EventTime next_due() override;
    [[nodiscard]] EventTime clock() const override { return now_; }
    [[nodiscard]] bool has_rest() const override { return rest_; }
    // The whole of both buffers, as of which something leaves next.
    [[nodiscard]] std::optional<OpenWindow> next_window() override;
    // A key's records, each with the times that a partner may have.
    void append_open(std::string_view key, std::vector<OpenWindow>& out) override;
    [[nodiscard]] uint64_t records() override { return entries(); }
    [[nodiscard]] uint64_t count_records() override {
        return buffers_[0].count_rows() + buffers_[1].count_rows();
    }
    [[nodiscard]] uint64_t open_windows() const override { return 0; }
    [[nodiscard]] uint64_t entries() const override { return buffers_[0].rows() + buffers_[1].rows(); }
    [[nodiscard]] uint64_t bytes() const override {
        return index_.bytes() + buffers_[0].bytes() + buffers_[1].bytes();
    }
    [[nodiscard]] size_t changed_bytes() const override {
        return stored_ == nullptr ? 0 : buffers_[0].changed_bytes() + buffers_[1].changed_bytes();
    }
    void write_changes(EventTime watermark, state::DeltaWriter& out) override;
    [[nodiscard]] Result<void> restore(uint32_t table, std::string_view key, std::string_view value,
                                       EventTime& watermark) override;
    void restore_erased(uint32_t table, std::string_view key) override;
    void open(state::StoredRows& rows, size_t cache_bytes) override;
    [[nodiscard]] Result<void> restore_stored(EventTime& watermark) override;

private:
    struct Pair {
        uint32_t probe;  // Row of the slice.
        JoinBuffer::Found found;
        JoinReach::Shared windows;
    };

    [[nodiscard]] bool in_windows() const { return stage_.window_start >= 0; }
    // Not null: a side that is kept tells a record for each of its windows.
    [[nodiscard]] const WindowGrid* hopping_windows() const;
    void split_late(const Batch& batch, Rows rows, const Watermarks::Before* before);
    // Pairs row i of rows_ with the other side's buffer. `watermark`: before the row, for joins in windows;
    // kNoTime: it cannot be late.
    [[nodiscard]] Result<void> probe(Executor& executor, const Node& node, const Batch& batch, size_t i,
                                     EventTime watermark);
    // Of its values those that conditions read; complete_pair() fills all.
    void add_pair(const Batch& batch, uint32_t row, const JoinBuffer::Found& found,
                  const JoinReach::Shared& windows, WindowGrid::Cell window);
    void complete_pair(uint32_t at);
    [[nodiscard]] Result<void> flush_pairs(Executor& executor, const Node& node);
    void insert(const Batch& batch, StreamCounters& counters);
    void fill_window(size_t row, WindowGrid::Cell window);
    // At the watermark all of the side before this turn are told.
    [[nodiscard]] JoinBuffer::Turn end_of_told(Side side, EventTime watermark) const;
    // Gives what leaves, until the epoch is full: then there is a rest. True when something left.
    [[nodiscard]] Result<bool> give_leaving(Executor& executor, EventTime watermark);
    void fill_leaving(size_t row, Side side, const JoinBuffer::Found& leaving,
                      const JoinBuffer::Found* partner);
    // The right record for a left one that leaves; null: there is none.
    [[nodiscard]] Result<const JoinBuffer::Found*> nearest(const JoinBuffer::Found& left);
    // `place` of the key in the index.
    [[nodiscard]] Result<void> find(Side side, std::string_view key, JoinIndex::Place place, EventTime first,
                                    EventTime last, std::vector<JoinBuffer::Found>& out);
    [[nodiscard]] JoinIndex::Place place_of(Side side, std::string_view key) const;
    // What was found on disk is used no more.
    void release();
    [[nodiscard]] Result<void> append_open_of(Side side, std::string_view key, std::vector<OpenWindow>& out);
    [[nodiscard]] bool restore_now(std::string_view value, EventTime& watermark);

    const Stage& stage_;
    const StageId id_;
    const JoinPlan& join_;
    const JoinReach reach_;
    const bool as_of_;
    JoinIndex index_;
    std::array<JoinBuffer, 2> buffers_;
    JoinResults results_;
    EventTime now_ = kNoTime;              // With a rest: up to which all is given.
    bool rest_ = false;
    state::StoredRows* stored_ = nullptr;  // Null: the buffers are in memory.
    Result<void> failure_;                 // Of a read for people: it is told with the next change.

    // Of the slice that is taken:
    size_t side_ = 0;
    std::vector<uint32_t> rows_;
    std::vector<uint32_t> late_;
    JoinInput input_;
    std::vector<JoinIndex::Place> places_;  // Of rows_, as they were …
    uint64_t places_as_of_ = 0;             // … then.
    std::vector<uint8_t> matched_;          // By row.
    std::vector<JoinBuffer::Open> open_;    // By row; in a buffer that is per_window().
    std::vector<JoinBuffer::Found> found_;
    std::vector<Pair> pairs_;  // The rows of `results_`.
};

}  // namespace weir::processor
