// Pipeline → Graph. Internal to plan.cc; the only switch over the kinds of steps.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/diagnostic.h"
#include "config/pipeline.h"
#include "processor/expr/match.h"
#include "processor/graph.h"
#include "processor/plan.h"
#include "processor/planner_scope.h"

namespace weir::processor {

// The steps that need rows together that are not, by stream and step, and why. All arrivals of a stream at
// such a step go through its internal topic, also those that alone would not have to.
using Apart = std::map<std::pair<size_t, size_t>, std::string>;

class Planner {
public:
    Planner(const config::Pipeline& pipeline, config::Diagnostics& diagnostics, Apart& apart);
    ~Planner();
    Planner(const Planner&) = delete;
    Planner& operator=(const Planner&) = delete;

    // False when the file has errors, or a further step was added to `apart`, so that a new planner has to
    // begin anew; `plan` and `graph` are then of no use.
    [[nodiscard]] bool run(Plan& plan, Graph& graph);
    [[nodiscard]] bool found_apart() const { return found_apart_; }

private:
    // What rows come from: a source, or a stage whose windows close.
    struct Origin {
        bool is_stage = false;
        size_t index = 0;
    };
    // A place where rows of one shape can be taken on.
    struct Flow {
        enum class Kind : uint8_t { kSource, kNode, kLate, kStage, kHeld, kChannel } kind = Kind::kSource;
        size_t id = 0;
        size_t channel = 0;       // kChannel: of the repartition `id`.
        size_t first_source = 0;  // Of the file, where its rows came from at first.
        bool rekeyed = false;     // `_key` is no longer what its rows are partitioned by.
        Shape shape;
        Origin origin;
        std::vector<expr::Slot> default_key;
        std::vector<size_t> partitioned;  // Which of them, in this order, its rows are partitioned by.
        bool late = false;      // Rows that came too late for a step.
        bool of_table = false;  // Rows of joined tables, and their deletions.
        std::string unsettled;  // Why no step that keeps state can read them; empty: it can.
        uint64_t meaning = 0;   // Hash of the source's name and of the steps up to here.
    };

    void plan_endpoints(Plan& plan);
    TopicId output(const std::string& topic, const std::string& file);
    void plan_sources();
    void plan_source(const config::Source& source);
    void plan_tables();
    void plan_marks(size_t source, const config::Watermark& rule, const Shape& shape);
    [[nodiscard]] std::vector<size_t> order_streams();
    void plan_stream(size_t stream);
    // Where rows of that name come from; a stream with several inputs has several flows.
    [[nodiscard]] std::vector<Flow> flows_of(const config::Text& from);
    void enter(size_t stream, Flow& flow);
    void plan_steps(size_t stream, size_t first_step, Flow flow);
    void finish_stages();
    void finish_tables();
    // planner_stored.cc
    void list_stored_tables();
    void finish_repartitions();
    [[nodiscard]] std::vector<Feed> feeds_of(const std::vector<Origin>& origins) const;
    template <class Fed>
    void settle_time(Fed& fed) const;  // Idleness and period, from the sources that feed it.
    void settle_channel(const RepartitionPlan& repartition, Channel& channel) const;
    void warn_unused();
    void plan_alignment();

    void plan_filter(const config::FilterStep& step, Flow& flow, Node node);
    void plan_map(const config::MapStep& step, Flow& flow, Node node);
    void plan_set(const config::SetStep& step, const config::Mark& mark, Flow& flow, Node node);
    void plan_remove(const config::RemoveStep& step, const config::Mark& mark, Flow& flow);
    void plan_explode(const config::ExplodeStep& step, const config::Mark& mark, Flow& flow, Node node);
    // The stage of a step; `is_new`: this is its first flow.
    StageId stage_for(size_t step_index, const config::Mark& mark, const Flow& flow, const Node& node,
                      bool& is_new);
    // `by` on one flow: what makes the groups, checked to lie on one partition.
    struct ByPlan {
        std::vector<expr::Expression> expressions;
        std::vector<ShapeField> fields;  // Their names and types.
        bool by_record_key = false;
    };
    [[nodiscard]] ByPlan plan_by(const std::vector<config::Text>& by, const config::Mark& mark,
                                 const Flow& flow);
    // Appends a node of a stage, and lets `<stream>.late` start there.
    void append_stage_node(StageId id, Flow& flow, Node node);
    // planner_tables.cc
    void plan_lookup(const config::LookupStep& step, const config::Mark& mark, Flow& flow, Node node);
    void check_lookup_key(const config::LookupStep& step, const Flow& flow, const FieldPath* path,
                          bool by_record_key);
    // Of a key of so many parts, which ones the shape's rows are partitioned by: `at` finds a field among
    // them. Empty: that is not known.
    template <class Place>
    [[nodiscard]] static std::vector<size_t> partitioned_parts(const Shape& shape, size_t parts, Place at) {
        if (parts == 1) return {0};  // A group lies on one partition, so this is it.
        std::vector<size_t> result;
        if (shape.key) result.push_back(at(*shape.key));
        for (const FieldPath& further : shape.key_rest) result.push_back(at(further));
        const bool known = std::all_of(result.begin(), result.end(), [&](size_t part) {
            return part < parts;
        });
        if (!known) result.clear();
        return result;
    }
    // Tables whose rows are the stream's results, once those are planned.
    void plan_computed_tables(size_t stream);
    // What lookups in a stream's table need to know of it.
    struct Computed {
        std::vector<Origin> origins;      // Where its rows come from.
        size_t key_parts = 1;             // So many values make a row's key …
        std::vector<size_t> partitioned;  // … and these, in this order, decide which shard has it.
    };
    void check_computed_key(const config::LookupStep& step, const Flow& flow, const Computed& table,
                            const std::vector<std::optional<FieldPath>>& paths, bool by_record_key);
    void find_one_by_one();
    // True when the stage is new, so that the steps after it are still to be planned.
    bool plan_aggregate(const config::AggregateStep& step, size_t step_index, Flow& flow, Node node);
    void plan_window_fields(const config::AggregateStep& step, StageId id, bool is_new, Shape& groups);
    [[nodiscard]] static std::string unsettled_results(const config::AggregateStep& step);
    void plan_results(const config::AggregateStep& step, Flow& flow, std::optional<expr::Expression> having,
                      const Node& node);
    void plan_dedupe(const config::DedupeStep& step, size_t step_index, Flow& flow, Node node);
    void plan_throttle(const config::ThrottleStep& step, size_t step_index, Flow& flow, Node node);
    void plan_top_n(const config::TopNStep& step, size_t step_index, Flow& flow, Node node);
    // A step of which at most so many records of a group pass at once.
    StageId plan_limit(const std::vector<config::Text>& by, const config::Mark& mark, size_t step_index,
                       Flow& flow, Node node);
    // A step whose results are records of its windows.
    struct Hold {
        const std::vector<config::Text>& by;
        const config::Mark& mark;
        config::Window window;
        CallPlan call;
        const config::Text* order = nullptr;
        std::string rank;
        bool keeps_row_times = false;
    };
    void plan_hold(const Hold& hold, size_t step_index, Flow& flow, Node node);
    void plan_key_by(const config::KeyByStep& step, const config::Mark& mark, size_t step_index, Flow& flow,
                     const Node& node);
    // Sends the flow through an internal topic where rows with equal `by` may be apart, and where that is
    // allowed. False: it may not, or `by` is no list of fields, which is told elsewhere.
    bool bring_together(const std::vector<config::Text>& by, bool always, size_t step_index, Flow& flow,
                        const Node& node);
    // Whether equal rows lie on one partition. Fills `paths`; empty when `by` is no list of fields.
    [[nodiscard]] bool together(const std::vector<config::Text>& by, const Flow& flow,
                                std::vector<FieldPath>& paths);
    [[nodiscard]] std::string why_apart(const Flow& flow) const;
    // Its rows lie as the key of its source says, under the same name.
    [[nodiscard]] bool has_source_key(const Flow& flow) const;
    // The guarantee allows it; else that is told. `by` and `reason` are for the message.
    bool may_repartition(const std::string& by, const std::string& reason, const config::Mark& mark);
    // A step with a `by`, or a side of a stream's join.
    struct Place {
        size_t stream = 0;
        std::optional<Side> side;
        size_t step_index = 0;

        friend auto operator<=>(const Place&, const Place&) = default;
    };
    // The repartition there; made by the first arrival.
    uint32_t repartition_at(const Place& place, const std::string& reason, const Flow& flow, const Node& node,
                            const config::Mark& mark);
    // Ends the flow in that internal topic, and lets it begin again behind it.
    void send_through(uint32_t repartition, std::vector<expr::Slot> by, Flow& flow, const Node& node);
    void plan_exit(const config::Stream& stream, Flow& flow, Node node);

    class JoinColumns;
    void plan_join(size_t stream);
    class TableJoinNames;
    void plan_table_join(size_t stream);
    // How a row that fails is written; of joined tables with both sides, where somebody keeps it.
    [[nodiscard]] Layout failed_layout(const Flow& flow);
    // Whether the step may follow joined tables; told where not.
    bool check_after_table_join(const config::Step& step, const Flow& flow);
    // `match`, cut into the join key and conditions on pairs.
    struct MatchPlan {
        // One side of an equality, as one flow has it.
        struct Key {
            expr::Expression value;
            std::optional<FieldPath> path;  // It is nothing but this field …
            std::optional<size_t> part;     // … and this one of what the flow's rows are partitioned by.
            std::string name;               // For people.
        };
        expr::Match match;
        std::vector<std::array<std::vector<Key>, 2>> equalities;  // By side, then flow.
        std::vector<size_t> conditions;                           // The other parts of `match`.

        // The equalities by which all rows of these flows are partitioned, in the key's order; none: rows
        // with equal join keys may be apart.
        [[nodiscard]] std::optional<std::vector<size_t>> partitioned_by(
            const std::array<std::vector<Flow>, 2>& flows, std::initializer_list<Side> sides) const;
    };
    using Sides = std::array<std::vector<Flow>, 2>;
    [[nodiscard]] std::optional<MatchPlan> plan_match(const config::Join& join, const Sides& flows);
    // Sends the sides whose rows are not partitioned by the join key through internal topics; `match` is then
    // of the flows behind them. False: that is not allowed, and told.
    bool bring_sides_together(size_t stream, MatchPlan& match, Sides& flows);
    void refuse_apart(const config::Join& join, const MatchPlan& match, const Sides& flows);
    void finish_joins();

    // Whether every group of `by` stays on one partition of the flow's source.
    void check_partitioning(const std::vector<config::Text>& by, const config::Mark& mark, const Flow& flow,
                            const std::vector<FieldPath>& paths, bool by_record_key);

    // One named value of a map or set: its slot, and what the node has to do for it.
    std::optional<ShapeField> plan_value(const config::NamedExpression& named, const Flow& flow,
                                         ComputeNode& node, std::optional<FieldPath>& plain_path);
    std::optional<expr::Expression> compile_expression(const config::Text& text, expr::Scope& scope);
    void report(const config::Text& text, const expr::CompileError& error);

    NodeId append(Flow& flow, Node node);
    static void add_meaning(Flow& flow, std::string_view text);
    [[nodiscard]] const config::Source& source_of(const Flow& flow) const;

    const config::Pipeline& pipeline_;
    config::Diagnostics& diagnostics_;
    Apart& apart_;
    bool found_apart_ = false;
    Plan* plan_ = nullptr;
    Graph* graph_ = nullptr;
    std::optional<FrameTable> frames_;
    std::vector<Shape> source_shapes_;  // The file's sources, then its tables.
    std::vector<std::vector<Flow>> results_;                        // By stream: its ends.
    std::vector<std::vector<Flow>> late_;                           // By stream: its aggregates' late rows.
    std::map<std::pair<size_t, size_t>, StageId> stage_of_;         // By stream and step.
    std::vector<std::vector<Origin>> stage_origins_;                // By stage.
    std::map<Place, uint32_t> repartition_of_;
    std::vector<std::vector<Origin>> repartition_origins_;          // By repartition.
    std::vector<std::vector<Origin>> repartition_sizes_;  // What its topic is as wide as; none: these.
    std::vector<std::unique_ptr<JoinColumns>> join_columns_;
    std::vector<std::unique_ptr<JoinNames>> table_join_names_;
    struct Lookup {
        size_t stream;
        TableId table;
        Origin of;     // Where the records that are looked up come from.
        bool joins = false;  // They are another table's, which is joined with it.
    };
    std::vector<Lookup> lookups_;  // In tables that are not global.
    std::map<TableId, Computed> computed_;
};

// How a step reads in explain and in the state hash, e.g. "filter status = 'PAID'".
[[nodiscard]] std::string describe(const config::Step& step);
[[nodiscard]] std::string describe(const config::Join& join);
[[nodiscard]] std::string describe(const config::TableJoin& join);
[[nodiscard]] std::string duration_text(int64_t milliseconds);  // "1m30s"
[[nodiscard]] std::string list_of(const std::vector<config::Text>& texts);  // "a, b"

// Fills the explain texts of the graph (explain.cc).
void write_explain(const config::Pipeline& pipeline, const Plan& plan, Graph& graph);

}  // namespace weir::processor
