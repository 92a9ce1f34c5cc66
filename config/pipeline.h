// A pipeline file as plain data: what load() makes of the YAML and what the planner reads. No behaviour,
// no operator, no Kafka. Expressions are kept as text with their place in the file.
//
// Units: durations are milliseconds, sizes bytes, instants milliseconds since the Unix epoch.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace weir::config {

// A place in a file, 1-based. `length` is in bytes and stays within the line.
struct Mark {
    int32_t line = 0;
    int32_t column = 0;
    int32_t length = 1;
};

// A scalar with its place. For an expression, position(i) is the place of its i-th byte, also in
// quoted and block scalars.
struct Text {
    std::string value;
    Mark mark;
    std::vector<Mark> positions;   // Empty: the bytes follow `mark` on one line.
    bool is_plain_number = false;  // Written as a bare YAML number or boolean: a literal in map and set.

    [[nodiscard]] Mark position(size_t byte) const {
        if (byte < positions.size()) return positions[byte];
        return {mark.line, mark.column + static_cast<int32_t>(byte), 1};
    }
};

enum class Guarantee : uint8_t { kExactlyOnce, kAtLeastOnce };
enum class ErrorAction : uint8_t { kFail, kSkip, kDeadLetter };

struct ErrorPolicy {
    ErrorAction action = ErrorAction::kFail;
    std::string dead_letter_topic;  // For kDeadLetter.
};

// `on_error`, whole or per stage.
struct OnError {
    ErrorPolicy decode;
    ErrorPolicy expression;
    ErrorPolicy produce;
    Mark mark;
};

struct KafkaProperty {
    std::string name;
    std::string value;
    bool secret = false;
    Mark mark;
};

struct KafkaConfig {
    std::vector<KafkaProperty> common;
    std::vector<KafkaProperty> consumer;
    std::vector<KafkaProperty> producer;
    bool present = false;  // A pipeline of files needs no `kafka:`.
    Mark mark;
};

struct Workers {
    bool automatic = true;      // As many as there are CPUs to run on.
    int32_t count = 0;          // Otherwise this many …
    std::vector<int32_t> cpus;  // … pinned to these CPUs, when given (then count == cpus.size()).
};

struct Instance {
    int32_t index = 0;
    int32_t count = 1;
};

enum class Format : uint8_t { kJson, kString, kBytes };

struct Start {
    enum class Kind : uint8_t { kEarliest, kLatest, kInstant, kAgo } kind = Kind::kEarliest;
    int64_t milliseconds = 0;  // kInstant: since the epoch; kAgo: before now, positive.
};

enum class WatermarkStrategy : uint8_t { kBoundedOutOfOrderness, kAscending, kPunctuated, kSourceProvided };
enum class WhenAllIdle : uint8_t { kTick, kHold, kAdvance };

struct Watermark {
    WatermarkStrategy strategy = WatermarkStrategy::kBoundedOutOfOrderness;
    int64_t max_delay_ms = 5'000;  // kAscending: 0. kSourceProvided: the fallback's.
    int64_t idle_timeout_ms = 30'000;
    WhenAllIdle when_all_idle = WhenAllIdle::kTick;
    int64_t max_ahead_ms = 600'000;
    int64_t emit_every_ms = 1'000;
    std::optional<Text> mark;     // kPunctuated: `when`; kSourceProvided: `from`.
    std::optional<Text> markers;  // Records that only carry a watermark.
    bool prefer_source = true;    // kSourceProvided.
};

struct Source {
    std::string name;
    std::vector<std::string> topics;  // Kafka; empty for a file.
    std::string file;                 // A path, or "-" for standard input; empty for Kafka.
    Format format = Format::kJson;
    std::string keyed_by;  // Field path; empty: not declared.
    Mark keyed_by_mark;
    std::optional<Text> timestamp;
    Watermark watermark;
    Start start;
    Mark mark;
};

// Where an operator or a table keeps its state.
struct StateRule {
    bool on_disk = false;  // In RocksDB; else in memory.
    Mark mark;             // Of its `backend`.
};

// A compacted topic, or a file, as a table: the latest record of every key, which lookups find. `input` reads
// it as a source reads its topic; of a file `keyed_by` names the key.
struct Table {
    Source input;
    bool global = false;  // Every worker holds all partitions, instead of those that its shards have.
    StateRule state;
    std::optional<int64_t> history_ms;  // Rows are found as of a time, which may lie this far back.
    std::optional<Text> from;  // The stream whose results are its rows; then `input` is but a name.
};

struct NamedExpression {
    std::string name;
    Mark name_mark;
    Text expression;
};

struct FilterStep {
    Text condition;
};
struct MapStep {  // The record becomes exactly these fields.
    std::vector<NamedExpression> fields;
};
struct SetStep {  // Adds or replaces top-level fields.
    std::vector<NamedExpression> fields;
};
struct RemoveStep {
    std::vector<Text> fields;  // Top-level names.
};
struct ExplodeStep {  // One record per element; the element replaces the field, or goes to `as`.
    Text field;
    std::string as;  // Empty: the field itself.
};

// Puts a table's row beside the record, as `as`.
struct LookupStep {
    enum class Missing : uint8_t { kKeep, kDrop, kError };
    enum class AsOf : uint8_t { kLatest, kEventTime };

    Text table;
    std::vector<Text> by;  // Expressions; several make the key a JSON array.
    std::string as;
    AsOf as_of = AsOf::kLatest;
    Missing missing = Missing::kKeep;
};

// Which records of a group belong together. What a kind does not use stays 0.
struct Window {
    enum class Kind : uint8_t { kTumbling, kHopping, kCumulate, kSession, kSliding, kCount, kNone };
    enum class Time : uint8_t { kEvent, kProcessing };

    Kind kind = Kind::kTumbling;
    Time time = Time::kEvent;
    int64_t size_ms = 0;  // Session: the gap that ends it.
    int64_t step_ms = 0;  // Hopping, cumulate.
    int64_t max_ms = 0;   // Session: its greatest length; 0: any.
    int64_t count = 0;    // Records of a count window.
    int64_t offset_ms = 0;
    int64_t grace_ms = 0;
    std::string timezone;  // IANA name; empty: UTC, and days of 24 hours.
    Mark mark;

    // Windows whose borders do not depend on the records.
    [[nodiscard]] bool is_grid() const { return kind <= Kind::kCumulate; }
    // Records are told apart by time, so they can be late.
    [[nodiscard]] bool is_timed() const { return kind <= Kind::kSliding; }
};

struct Emit {
    enum class Kind : uint8_t { kOnClose, kOnWatermark, kEvery, kOnUpdate, kChanges };

    Kind kind = Kind::kOnClose;
    int64_t every_ms = 0;
    Mark mark;
};

struct KeyByStep {  // From here on a record is with its equals in these fields.
    std::vector<Text> fields;
};

struct AggregateStep {
    std::vector<Text> by;  // Field paths; may be empty: one group per shard.
    Window window;
    Emit emit;
    std::vector<NamedExpression> fields;
    std::optional<Text> having;
    StateRule state;
    Mark mark;
};

struct DedupeStep {
    enum class Keep : uint8_t { kFirst, kLast };

    std::vector<Text> by;
    int64_t within_ms = 0;
    Keep keep = Keep::kFirst;
    StateRule state;
    Mark mark;
};

struct ThrottleStep {
    std::vector<Text> by;
    int64_t max = 0;
    int64_t per_ms = 0;
    StateRule state;
    Mark mark;
};

struct TopNStep {
    std::vector<Text> by;
    int64_t n = 0;
    Text order;
    bool smallest = false;  // They come first; else the largest.
    std::string rank;       // `as`; empty: no field.
    Window window;
    StateRule state;
    Mark mark;
};

struct Step {
    std::variant<FilterStep, MapStep, SetStep, RemoveStep, ExplodeStep, LookupStep, AggregateStep,
                 DedupeStep, ThrottleStep, TopNStep, KeyByStep>
        step;
    Mark mark;

    // Of a step that keeps something between records; else null.
    [[nodiscard]] const StateRule* state() const {
        return std::visit(
            [](const auto& one) -> const StateRule* {
                if constexpr (requires { one.state; }) return &one.state;
                return nullptr;
            },
            step);
    }
    // Such steps go by time, so records can be too late for them.
    [[nodiscard]] bool has_state() const { return state() != nullptr; }
};

struct Route {
    std::string topic;  // Kafka; empty for a file.
    std::string file;   // A path, or "-" for standard output.
    std::optional<Text> when;
    std::optional<Text> key;
    std::optional<Text> partition;
    std::vector<NamedExpression> headers;
    Mark mark;
};

// One input of a join, under the name that expressions use.
struct JoinSide {
    std::string name;
    Mark mark;
};

// Pairs of records, one of each side. Times are event time.
struct Join {
    enum class Kind : uint8_t { kInner, kLeft, kRight, kFull };
    enum class By : uint8_t { kWithin, kWindow, kAsOf };
    enum class Direction : uint8_t { kBackward, kForward, kNearest };

    JoinSide left;
    JoinSide right;
    Kind kind = Kind::kInner;
    Text match;
    By by = By::kWithin;
    Window window;                               // kWindow: tumbling, hopping, session.
    Direction direction = Direction::kBackward;  // kAsOf; the tolerance is in the two below.
    int64_t before_ms = 0;  // The right record lies at most so long before the left one …
    int64_t after_ms = 0;   // … or after it.
    int64_t grace_ms = 0;
    StateRule state;
    Mark mark;

    [[nodiscard]] bool in_sessions() const {
        return by == By::kWindow && window.kind == Window::Kind::kSession;
    }
    // A record without a partner is given for each of its windows in which it has none.
    [[nodiscard]] bool tells_per_window() const {
        return by == By::kWindow && window.kind == Window::Kind::kHopping && kind != Kind::kInner;
    }
    // Records of a side that find no partner are given, too.
    [[nodiscard]] bool keeps_left() const { return kind == Kind::kLeft || kind == Kind::kFull; }
    [[nodiscard]] bool keeps_right() const { return kind == Kind::kRight || kind == Kind::kFull; }
};

// Two tables, row by row under their keys.
struct TableJoin {
    Text left;
    Text right;
    Join::Kind kind = Join::Kind::kInner;
    Mark mark;
};

struct Stream {
    std::string name;
    std::vector<Text> from;  // Names of sources, streams, or "<stream>.late"; with a join left, then right.
    std::optional<Join> join;
    std::optional<TableJoin> join_tables;  // Then `from` is empty.
    std::vector<Step> steps;
    std::vector<Route> to;  // First match wins; empty: feeds other streams only.
    Mark mark;
};

// What a step does that needs records of one group together where they are not.
struct Repartition {
    bool never = false;      // It is a mistake in the file; otherwise they go through an internal topic …
    int32_t partitions = 0;  // … with so many partitions; 0: as many as the most that its sources have.
    Mark mark;
};

// --- Tests: what `weir test` feeds and expects (docs/testing_pipelines.md). No part of what runs. ---

// A key, value or header: not said at all, null, or bytes.
struct Said {
    bool said = false;
    std::optional<std::string> bytes;  // Empty: null.
};

struct TestEvent {
    enum class Kind : uint8_t {
        kRecord,
        kAdvance,    // The clock moves and nothing comes.
        kWatermark,  // Event time moves everywhere.
        kRestart,    // A crash and a recovery.
        kRebalance,  // The partitions are dealt to other workers.
    } kind = Kind::kRecord;
    std::optional<int64_t> at_ms;  // Of a record: since the test's start; none: with the event before.
    int64_t time_ms = 0;           // kAdvance: by how long; kWatermark: the instant.
    std::vector<int32_t> moved;    // kRebalance: the partitions that get a worker of their own.
    Text to;                       // The topic, or the file's path.
    Said key;
    Said value;
    std::vector<std::pair<std::string, std::string>> headers;
    std::optional<int32_t> partition;     // None: by the key, as Kafka's clients do.
    std::optional<int64_t> timestamp_ms;  // None: the clock's.
    Mark mark;
};

// Bytes of the file's normalised text (config/yaml.h), for rewriting it.
struct Span {
    size_t begin = 0;
    size_t end = 0;
};

struct ExpectedRecord {
    Said key;
    Said value;                                                // JSON text; compared as JSON.
    Said raw;                                                  // Compared byte for byte.
    std::vector<std::pair<std::string, std::string>> headers;  // These and perhaps others.
    std::optional<int64_t> timestamp_ms;
    std::optional<Text> match;  // A condition over the record.
    bool partial = false;       // Objects may have members that are not named here.
    Mark mark;
    Span span;
};

struct ExpectedTopic {
    Text topic;
    std::vector<ExpectedRecord> records;
    bool is_flow = false;  // Written as [ … ].
    Span span;             // Of the whole list.
};

struct TestCase {
    std::string name;
    int64_t start_ms = 0;
    int32_t partitions = 1;  // Of every topic.
    std::vector<TestEvent> feed;
    std::optional<bool> flush;  // The input ends after the last event; none: files end, topics do not.
    std::vector<ExpectedTopic> expect;
    bool any_order = false;
    bool only = false;  // Topics that are not named stay empty.
    Mark mark;
};

struct Pipeline {
    std::string path;  // As given on the command line.
    std::string name;
    KafkaConfig kafka;
    Guarantee guarantee = Guarantee::kExactlyOnce;
    int64_t commit_interval_ms = 100;
    Workers workers;
    Instance instance;
    std::string state_dir = "/var/lib/weir";
    int64_t snapshot_after_bytes = int64_t{32} << 20;
    int64_t max_memory_bytes = 0;  // Of the operators' state; 0: no limit.
    std::string admin_listen = "127.0.0.1:8480";  // Empty: no listener.
    OnError on_error;
    int64_t max_drift_ms = 0;  // `align`; 0: none.
    Mark align_mark;
    Repartition repartition;
    std::vector<Source> sources;  // In file order.
    std::vector<Table> tables;    // In file order.
    std::vector<Stream> streams;  // In file order.
    std::vector<TestCase> tests;  // In file order.
};

}  // namespace weir::config
