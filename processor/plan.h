// A pipeline file made executable: names resolved, expressions compiled, partitioning checked, every operator
// and its state numbered. The graph behind it is internal to this folder (processor/graph.h).
//
// Thread:  compile on any thread; a Plan is immutable and shared by all workers.
// Failure: what is wrong with the file goes to Diagnostics, with its place; nothing is asked of the world, so
//          what depends on a cluster (topics, partition counts) is checked later.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "config/diagnostic.h"
#include "config/pipeline.h"
#include "processor/endpoint.h"
#include "state/row_store.h"

namespace weir::processor {

struct Graph;

struct PlanInput {
    std::string name;  // The topic, or the file's path ("-": standard input).
    bool is_file = false;
    size_t source = 0;  // Index into source_names: sources, tables, then one per internal topic.
    bool is_table = false;
    bool global = false;    // Of a global table: every worker reads all of its partitions.
    int32_t internal = -1;  // Index into Plan::internal_topics; -1: the user's.
    // The longest time for which a step keeps what it knows of a record, for others that may follow: window
    // or distance of partners, and grace. 0: no step does, or for no time that is known.
    int64_t reach_ms = 0;
    size_t reach_stream = 0;  // The stream of that step.
};

struct PlanOutput {
    std::string name;  // The topic, or the file's path ("-": standard output).
    bool is_file = false;
};

// A topic of weir's own between two parts of the pipeline. Made at the start, with these settings.
struct InternalTopic {
    TopicId input{};
    int32_t partitions = 0;         // As the file says; 0: as many as the most of `sized_by`.
    std::vector<TopicId> fed_by;    // Topics whose records end up in it.
    std::vector<TopicId> sized_by;  // The same, or with those of the join that it brings a side to …
    bool meets_topics = false;  // … or those of the other side, which lie as they are: the file has no say.
};
inline constexpr TopicSetting kInternalTopicSettings[] = {
    {"cleanup.policy", "delete"},  // Compaction would lose rows.
    {"retention.ms", "-1"},        // A record lives until it was consumed, however long that takes …
    {"retention.bytes", "-1"},
    {"segment.bytes", "52428800"},  // … and then its segment goes soon.
    {"message.timestamp.type", "CreateTime"},
};

// Inputs that a step of this stream needs to be partitioned alike.
struct CoPartitioned {
    size_t stream = 0;
    std::vector<TopicId> inputs;
    enum class Why : uint8_t { kGroups, kJoins, kLooksUp } why = Why::kGroups;
    int32_t table = -1;  // The input of the table in which records of the others are looked up; -1: none.
};

enum class ExplainFormat : uint8_t { kText, kJson, kDot };

struct Plan {
    std::string name;
    // Index = TopicId of the Source: every source's topics in file order, then the tables', global ones last,
    // then internal ones.
    std::vector<PlanInput> inputs;
    std::vector<PlanOutput>
        outputs;  // Index = TopicId of the Sink: routes, then dead letters; no duplicates.
    std::vector<std::string> source_names;  // The file's sources, its tables, then internal topics.
    std::vector<std::string> stream_names;
    std::vector<InternalTopic> internal_topics;
    std::vector<CoPartitioned> co_partitioned;
    std::vector<state::StoredTables> stored_tables;  // Of stages, then tables: those on disk.
    std::vector<state::StoredTables> scratch_tables;  // Global tables on disk, which are in no state.
    bool stateful = false;     // Some operator keeps state; otherwise no WAL is needed.
    int64_t max_drift_ms = 0;  // Alignment; 0: none.

    // Changes exactly when stored state would change its meaning: over every source's name, topics, format,
    // keyed_by, timestamp and watermark strategy, every table that is not global, and for every aggregate
    // its stream's name and inputs, the steps before it, its place among the steps, by, window and fields,
    // and for every join its sides, match, times and the columns that it keeps (which later steps decide).
    // Not over what lookups use of a row, which is stored whole, nor over routes, outputs, error policies,
    // idleness, or steps after the last aggregate: those may change between runs and the state stays valid.
    std::string state_hash;

    std::unique_ptr<const Graph> graph;

    Plan();
    ~Plan();
    Plan(const Plan&) = delete;
    Plan& operator=(const Plan&) = delete;

    // The operators in file order, how keys keep every group on one partition, what is stored, how event time
    // advances, and the defaults in force.
    [[nodiscard]] std::string explain(ExplainFormat format) const;
};

// Null when the file has errors.
[[nodiscard]] std::unique_ptr<const Plan> compile(const config::Pipeline& pipeline,
                                                  config::Diagnostics& diagnostics);

}  // namespace weir::processor
