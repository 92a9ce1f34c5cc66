// The compiled graph that every shard of a plan runs: sources feed nodes, nodes feed nodes in the same batch,
// explode nodes and stages start new batches. Immutable after planning; internal to processor/.
//
// A stream that reads several sources has one chain of nodes per source, because columns differ; its
// aggregates are shared: each chain ends in its own AccumulateNode of the same Stage. A join is a stage, too:
// what feeds its sides ends in JoinInputNodes of it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "config/pipeline.h"
#include "processor/decode.h"
#include "processor/expr/expression.h"

namespace weir::processor {

using NodeId = uint32_t;
using FrameId = uint32_t;  // Which batch a node's rows live in.
using StageId = uint32_t;
using TableId = uint32_t;

// State tables of a stage, from Stage::table on. An aggregate's: groups, their parts, results that were
// shown, and on disk what is known of windows. A join's: records of the left side, which of them found a
// partner, the same of the right side; in session windows as an aggregate's.
inline constexpr uint32_t kTablesPerStage = 4;
inline constexpr uint32_t kPartTable = 1;
inline constexpr uint32_t kShownTable = 2;
inline constexpr uint32_t kPaneTable = 3;
inline constexpr uint32_t kTablesPerSide = 2;

struct FieldSlot {
    FieldSlot(std::string its_name, expr::Slot its_slot);

    std::string name;
    expr::Slot slot;
    std::string json_name;  // Quoted, with the colon.
};

// How a row's output value is written.
struct Layout {
    bool raw = false;               // The input record's bytes are the base …
    std::vector<FieldSlot> fields;  // … whose members these replace or join; not raw: these are the members.
    std::vector<std::string> removed;  // Only for raw: members left out.
    std::optional<StageId> kept_of;    // While planning: this join's columns are to come first.

    [[nodiscard]] bool untouched() const { return raw && fields.empty() && removed.empty(); }
};

// What has to be copied into a batch that explode starts.
struct SlotCopy {
    expr::Slot from;
    expr::Slot to;
};

struct Frame {
    uint32_t slot_count = 0;
    std::vector<expr::Slot> null_slots;  // Always NULL: removed fields.
    std::vector<SlotCopy> copies;        // For explode.
};

// What is read of records into a frame.
struct RecordPlan {
    config::Format format = config::Format::kJson;
    FrameId frame = 0;
    PathTree paths;
    expr::Slot value_slot = PathTree::kNoSlot;
    std::array<expr::Slot, 6> metadata = {-1, -1, -1, -1, -1, -1};  // By expr::Metadata.
};

struct SourcePlan : RecordPlan {
    std::string name;
    std::optional<expr::Expression> timestamp;
    std::string keyed_by;
    expr::Slot key_slot = PathTree::kNoSlot;  // The field that keyed_by names.
    config::Watermark watermark;
    std::optional<expr::Expression> mark;     // The watermark that a record carries.
    std::optional<expr::Expression> markers;  // Records that carry nothing else.
    std::optional<TableId> table;             // It reads a table's topic: a record is a row, or deletes one.
    bool global = false;                      // Of a global table: outside the epoch.
    bool needs_time = false;  // Its records' event times are used although no stage waits for them.
    bool one_by_one = false;  // A record's results are rows that the next record may look up.
    int32_t repartition =
        -1;  // Reads this internal topic, and nothing above but the watermark's idleness counts.
    std::vector<NodeId> next;
};

// A column of a table: what a lookup can get of a row. A slot of the source's frame, or one of these.
inline constexpr expr::Slot kWholeRow = -1;  // The value as jsonb.
inline constexpr expr::Slot kRowKey = -2;

struct TablePlan {
    std::string name;
    size_t source = 0;  // That reads its topic.
    bool global = false;
    bool computed = false;  // Its rows are a stream's results; the source reads no topic.
    std::optional<int64_t> history_ms;  // Rows have versions, which hold from their event times on.
    bool on_disk = false;      // Its rows are in a store (state/row_store.h), not in memory.
    uint32_t state_table = 0;  // Of its rows in the shard's state; global tables are in none.
    std::vector<expr::Slot> columns;  // That lookups use.
    std::vector<NodeId> joins;        // TableJoinNodes that it is a side of.
};

// One arrival of rows in a stream.
struct EnterNode {};

struct FilterNode {
    expr::Expression condition;
    Layout layout;  // Of a row that fails, here and below.
    bool of_table = false;  // Rows of joined tables: one that does not pass is deleted.
};

// map and set: fills slots; rows whose value failed, also in `checked` slots, go to on_error.
struct ComputeNode {
    std::vector<std::pair<expr::Slot, expr::Expression>> outputs;
    std::vector<expr::Slot> checked;
    Layout layout;
    bool of_table = false;  // Rows of joined tables: deletions have no values that could fail.
};

struct ExplodeNode {
    expr::Expression array;
    FrameId frame;       // Of the rows it makes.
    expr::Slot element;  // In that frame.
    Layout layout;
};

// Records that a stage keeps and gives out later, as they were: a frame of its own, filled from what is kept.
struct HeldPlan : RecordPlan {
    bool raw = false;               // The record's bytes are kept and read again.
    std::vector<SlotCopy> columns;  // Values that are kept, from the frame before.
    expr::Slot rank = PathTree::kNoSlot;
    std::vector<NodeId> next;
};

// The end of a table's records.
struct StoreNode {
    TableId table;
    // Of a stream's results: what they are found by (empty: the record's own key), and how they are kept.
    std::vector<expr::Slot> key;
    Layout row;
};

// A row of either table changed: the joined row under its key, or its deletion.
struct TableJoinNode {
    std::array<TableId, 2> tables;  // Left, right.
    config::Join::Kind kind = config::Join::Kind::kInner;
    FrameId frame = 0;  // Of the joined rows …
    expr::Slot key = 0;  // … and where their key is in it.
};

struct LookupNode {
    // A column of the table and where it goes in the rows' frame.
    struct Output {
        size_t column;
        expr::Slot slot;
    };
    TableId table;
    std::string as;
    std::vector<expr::Expression> by;
    bool as_of_event_time;
    config::LookupStep::Missing missing;
    std::vector<Output> outputs;  // What later steps use.
    Layout layout;
    bool of_join = false;  // Fetches a side of joined tables: no row is no miss.
};

struct CallInput {
    std::vector<expr::Expression> arguments;
    std::optional<expr::Expression> filter;
};

struct AccumulateNode {
    StageId stage;
    std::vector<expr::Expression> by;
    std::vector<CallInput> calls;
    std::optional<uint32_t> held;  // Rows themselves are kept: which of the stage's inputs this is.
    std::vector<NodeId> late;      // Where late rows go on, as they stand here.
    Layout layout;
};

struct LimitNode {
    StageId stage;
    std::vector<expr::Expression> by;
    std::vector<NodeId> late;
    Layout layout;
};

enum class Side : uint8_t { kLeft, kRight };

struct JoinInputNode {
    StageId stage;
    Side side;
    std::vector<expr::Expression> keys;
    std::vector<std::optional<expr::Expression>> columns;  // As the JoinPlan's; none: `whole`.
    Layout whole;                                          // The record as one value …
    bool whole_text = false;                               // … which is text, not JSON.
    std::vector<NodeId> late;                              // Where late rows go on, as they stand here.
    Layout layout;
};

// Rows that go on as records of an internal topic.
struct RepartitionNode {
    uint32_t repartition;        // Index into Graph::repartitions …
    uint32_t channel;            // … and into its channels.
    std::vector<expr::Slot> by;  // What equal rows are brought together by.
    Layout layout;
};

struct RoutePlan {
    TopicId output{};
    std::optional<expr::Expression> when;
    std::optional<expr::Expression> key;
    std::optional<expr::Expression> partition;
    std::vector<std::pair<std::string, expr::Expression>> headers;
};

// The end of a stream's steps.
struct ExitNode {
    std::vector<RoutePlan> routes;
    Layout layout;
    std::vector<expr::Slot> default_key;  // Empty: the record's own key, bytes as they are.
    bool late = false;                    // Its rows are an aggregate's late ones.
};

struct Node {
    std::variant<EnterNode, FilterNode, ComputeNode, ExplodeNode, LookupNode, AccumulateNode, LimitNode,
                 JoinInputNode, StoreNode, TableJoinNode, RepartitionNode, ExitNode>
        operation;
    FrameId frame = 0;
    size_t stream = 0;
    std::string step;  // "streams.paid.steps[1].filter"
    std::vector<NodeId> next;
};

using CallPlan = expr::AggregateSpec;

struct ResultField {
    std::string name;
    expr::Slot slot;
    expr::Expression result;
};

// A value that a join keeps of each record of a side.
struct JoinColumn {
    std::string path;  // Empty: the whole record.
    expr::Slot slot;   // In the results.
    std::optional<Type> type;
    bool in_match = false;  // A condition reads it.
};

struct JoinPlan {
    config::Join rule;
    std::array<std::vector<JoinColumn>, 2> columns;  // By Side, in the order in which they are stored.
    std::vector<expr::Expression> conditions;        // What a pair must satisfy beside equal keys.
    size_t key_count = 0;                            // The key's values are in slots 0 ….
    bool key_in_match = false;                       // A condition reads them.
    Layout layout;                                   // Of a pair whose condition fails.
};

// How far event time at a stage stands behind a source's watermark: what the stages between hold back.
struct Feed {
    size_t source;
    int64_t lag_ms;
};

struct Stage {
    size_t stream = 0;
    std::optional<size_t> step_index;  // None: the stream's join.
    std::string step;                  // "streams.per_minute.steps[1].aggregate"
    int64_t behind_ms = 0;             // How far a result's time may lie behind the stage's watermark.
    uint32_t table = 0;                // The first of its state tables.
    bool on_disk = false;              // They are in a store (state/row_store.h), not in memory.
    // dedupe and throttle: so many records of a group pass within limit_ms. 0: the stage has windows.
    int64_t limit = 0;
    int64_t limit_ms = 0;
    bool limits_duplicates = false;
    bool holds_rows = false;       // The results are records that were kept …
    std::vector<uint32_t> held;    // … as these HeldPlans say, one per input …
    bool keeps_row_times = false;  // … and with their own event times, not their windows'.
    config::Window window;
    config::Emit emit;
    std::vector<std::string> by;
    std::vector<CallPlan> calls;
    std::vector<ResultField> fields;
    std::optional<JoinPlan> join;  // In session windows with `window` and one call; else without those above.
    std::vector<Feed> feeds;
    size_t depth = 0;  // So many internal topics are before it.
    config::WhenAllIdle when_all_idle = config::WhenAllIdle::kTick;
    int64_t emit_every_ms = 0;  // The shortest of its sources'.
    size_t cache_bytes = 0;  // On disk: of what is clean so much may be in memory, all shards together.
    FrameId frame = 0;  // Of the results: slots 0 … are `by`, window_start, window_end, calls, fields.
    expr::Slot window_start = -1;  // Without windows there are none.
    expr::Slot window_end = -1;
    expr::Slot first_call = 0;
    std::vector<NodeId> next;
};

// One of the places where rows enter an internal topic; each has columns of its own.
struct Channel {
    FrameId frame = 0;  // Of the rows that come out; its `copies` are the columns that travel.
    FrameId from = 0;   // Of the rows that go in.
    bool keeps_key =
        false;  // The key and the value of the record that a row comes from travel too: something
    bool keeps_value = false;  // downstream writes them.
    uint32_t fingerprint = 0;  // Of the columns' meaning.
    std::vector<NodeId> next;
};

// An internal topic that brings equal rows to one partition (docs/repartition.md).
struct RepartitionPlan {
    std::string topic;
    TopicId input{};    // The topic as the plan's input …
    TopicId output{};   // … and output.
    size_t source = 0;  // It is a source, too: index into Graph::sources.
    size_t stream = 0;
    std::optional<Side>
        side;  // Of the stream's join, which it brings to the join key; none: it is of a step.
    size_t step_index = 0;
    std::string step;  // "streams.per_customer.steps[1].aggregate"
    std::vector<std::string> by;
    std::string reason;        // Why it is needed, as a clause.
    bool carries_time = true;  // Some stage downstream waits for the upstream shards' watermarks.
    std::vector<Feed> feeds;
    std::vector<size_t> sources;  // Those whose rows reach it without a stage between.
    std::vector<StageId> after;   // The stages whose results reach it …
    std::vector<StageId> stages;  // … and all before it: their open windows are rows that are still to come.
    config::WhenAllIdle when_all_idle = config::WhenAllIdle::kTick;
    int64_t emit_every_ms = 0;
    std::vector<Channel> channels;
};

struct ErrorPlan {
    config::ErrorAction action = config::ErrorAction::kFail;
    TopicId dead_letter{};
};

struct Graph {
    std::vector<SourcePlan> sources;  // The file's sources, then its tables' topics.
    std::vector<TablePlan> tables;    // In file order.
    std::vector<HeldPlan> held;
    std::vector<Frame> frames;
    std::vector<Node> nodes;
    std::vector<Stage> stages;  // A stage's inputs come from sources and from stages before it.
    std::vector<RepartitionPlan> repartitions;  // Each after those that it reads from.
    ErrorPlan on_decode_error;
    ErrorPlan on_expression_error;
    ErrorPlan on_produce_error;
    std::string explain_text;
    std::string explain_json;
    std::string explain_dot;
};

}  // namespace weir::processor
