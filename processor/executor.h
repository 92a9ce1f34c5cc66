// Runs the graph's nodes over a slice of rows: filters narrow, computes fill slots, explode starts a new
// batch, stages take rows in or give results, exits write. Depth first: a row's way ends before the
// next node of the same level sees it; the order of outputs follows from the graph and the input alone.
//
// Thread:  the worker that owns the shard.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "processor/arena.h"
#include "processor/batch.h"
#include "processor/close_budget.h"
#include "processor/counters.h"
#include "processor/dead_letter.h"
#include "processor/encode.h"
#include "processor/graph.h"
#include "processor/join.h"
#include "processor/plan.h"
#include "processor/stage_operator.h"
#include "processor/table.h"
#include "processor/watermark.h"

namespace weir::processor {

class Executor {
public:
    // `globals`: whose global tables this one looks up; null: its own. `budget`: null: there is no limit.
    Executor(const Plan& plan, ShardId shard, Watermarks& watermarks, Counters& counters,
             const Executor* globals, CloseBudget* budget);

    // What holds until the next call: where outputs go, where headers come from, what now() is.
    void begin(Sink& sink, const Source* source, int64_t wall_ms);
    // Starts a slice: everything computed for the previous one is dropped.
    Batch& begin_slice(FrameId frame, size_t rows);

    // The same while a batch of another frame is still in use.
    Batch& begin_nested_slice(FrameId frame, size_t rows);

    [[nodiscard]] Result<void> run(const std::vector<NodeId>& nodes, Rows rows);

    // Fires and closes what the stage's clock has passed, until the epoch is full; true when that changed
    // something. To be called stage by stage, in their order: one gets its time after the results of those
    // before it, so not while one of them has a rest.
    [[nodiscard]] Result<bool> close_due(StageId stage);
    // Shows, stage by stage, what changed in the epoch and is shown once per commit.
    [[nodiscard]] Result<void> finish_epoch();

    // The partition's watermark before a record at which a slice ends, because much is due then: what is
    // given in the middle of a slice is given whole.
    [[nodiscard]] EventTime slice_end(size_t partition);

    // --- For the operators ---

    // Results are given because they are due.
    void count_given(size_t bytes) {
        if (budget_ != nullptr) budget_->spend(bytes);
    }
    // No more of them in this epoch, `waiting` bytes being about to be given.
    [[nodiscard]] bool epoch_is_full(size_t waiting) const {
        return budget_ != nullptr && budget_->spent_with(waiting);
    }

    // The expression's values: a column of the batch, or `scratch`.
    [[nodiscard]] const Column& evaluate(const expr::Expression& expression, const Batch& batch, Rows rows,
                                         Column& scratch);
    // A row of a stream failed; `layout` is how it would be written.
    [[nodiscard]] Result<void> reject(const Node& node, const Batch& batch, uint32_t row,
                                      const Layout& layout, ErrorName error, std::string_view message);

    [[nodiscard]] Batch& batch(FrameId frame) { return batches_[frame]; }
    [[nodiscard]] Arena& arena() { return arena_; }
    [[nodiscard]] int64_t wall_ms() const { return wall_ms_; }
    [[nodiscard]] Sink& sink() { return *sink_; }
    [[nodiscard]] DeadLetters& dead_letters() { return dead_letters_; }
    [[nodiscard]] const Watermarks& watermarks() const { return watermarks_; }
    [[nodiscard]] StreamCounters& counters(size_t stream) { return counters_.streams[stream]; }
    [[nodiscard]] StageOperator& stage(StageId stage) { return *stages_[stage]; }
    [[nodiscard]] Table& table(TableId table) { return *tables_[table]; }
    [[nodiscard]] const Table& table(TableId table) const { return *tables_[table]; }
    [[nodiscard]] const Graph& graph() const { return graph_; }

private:
    // Buffers of one node, reused from slice to slice.
    struct Scratch {
        std::vector<uint32_t> rows;
        std::vector<uint16_t> routes;
        std::vector<Column> columns;
        std::vector<std::string> texts;
        std::vector<Header> headers;
        std::array<std::string, 2> numbers;  // Texts of headers.
    };

    [[nodiscard]] Result<void> run_node(NodeId id, Rows rows);
    [[nodiscard]] Result<void> filter(const Node& node, const FilterNode& filter, Scratch& scratch,
                                      Rows rows);
    [[nodiscard]] Result<void> compute(const Node& node, const ComputeNode& compute, Scratch& scratch,
                                       Rows rows);
    [[nodiscard]] Result<void> explode(const Node& node, const ExplodeNode& explode, Scratch& scratch,
                                       Rows rows);
    // lookup.cc
    [[nodiscard]] Result<void> lookup(const Node& node, const LookupNode& lookup, Scratch& scratch,
                                      Rows rows);
    [[nodiscard]] Result<void> store(const Node& node, const StoreNode& store, Scratch& scratch, Rows rows);
    [[nodiscard]] Result<void> store_results(const Node& node, const StoreNode& store, Scratch& scratch,
                                             Rows rows);
    // `change` stores or deletes the table's row of `key`, and says whether it did; the table's joins give
    // what that makes of their rows.
    template <class Change>
    [[nodiscard]] Result<void> change_row(TableId table, std::string_view key, EventTime time, Change change);
    [[nodiscard]] Result<void> join_row(NodeId join, std::string_view key, EventTime time, bool deleted);
    // Writes rows to an internal topic (repartition.cc).
    [[nodiscard]] Result<void> repartition(const Node& node, const RepartitionNode& enter, Scratch& scratch,
                                           Rows rows);
    [[nodiscard]] Result<void> exit(const Node& node, const ExitNode& exit, Scratch& scratch, Rows rows);
    [[nodiscard]] Result<void> emit(const Node& node, const ExitNode& exit, size_t route, Scratch& scratch,
                                    uint32_t row);
    static void add_result_headers(const ExitNode& exit, const Batch& batch, uint32_t row, Scratch& scratch);
    [[nodiscard]] Result<void> choose_routes(const Node& node, const ExitNode& exit, Scratch& scratch,
                                             Rows rows);

    const Plan& plan_;
    const Graph& graph_;
    const ShardId shard_;
    Watermarks& watermarks_;
    Counters& counters_;
    DeadLetters dead_letters_;
    Arena arena_;
    std::vector<Batch> batches_;                          // By frame.
    std::vector<Scratch> scratch_;                        // By node.
    std::vector<std::unique_ptr<StageOperator>> stages_;
    std::vector<std::shared_ptr<Table>> tables_;  // By TableId; a worker's shards share the global ones.
    std::vector<const Column*> lookup_keys_;
    KeyText key_text_;
    CloseBudget* const budget_;
    Sink* sink_ = nullptr;
    const Source* source_ = nullptr;
    int64_t wall_ms_ = 0;
};

}  // namespace weir::processor
