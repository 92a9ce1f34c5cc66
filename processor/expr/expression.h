// PostgreSQL scalar expressions over records: parsed by PostgreSQL's own grammar (libpg_query), compiled
// once into typed code over slots, evaluated a column at a time over the selected rows of a batch.
//
// Meaning is PostgreSQL's; the short list of intended differences is in docs/expressions.md and a
// differential test against a real PostgreSQL holds the rest. A JSON number is numeric, a JSON string
// text, true and false boolean, an object or array jsonb, null and a missing field NULL.
//
// Thread:  compile on any one thread; a compiled Expression is immutable and may be evaluated by several
//          workers at once, each with its own EvalContext.
// Failure: compile() returns what is wrong with its byte position in the text; evaluation never fails as a
//          whole: a row whose expression fails gets a kError value.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "processor/arena.h"
#include "processor/expr/aggregate_functions.h"
#include "processor/value.h"

namespace weir::processor::expr {

using Slot = int32_t;  // Index of a column of the batch.

// `_key`, `_topic`, … of the input record.
enum class Metadata : uint8_t { kKey, kTopic, kPartition, kOffset, kTimestamp, kHeaders };

struct CompileError {
    std::string message;  // One line, as a user reads it.
    size_t position = 0;  // Byte offset in the expression's text.
    size_t length = 1;    // Bytes to underline.
    std::string help;     // What to do, e.g. the nearest name. May be empty.
};

template <class T>
using Compiled = std::variant<T, CompileError>;

// Where names get their meaning; implemented by the planner for each step's input.
class Scope {
public:
    virtual ~Scope() = default;

    struct Binding {
        Slot slot;
        size_t segments_used;  // The first so many path segments are in the slot; the rest is looked up in
                               // its jsonb.
        std::optional<Type> type;  // Known statically (metadata, window bounds, aggregates); else per row.
    };
    // `path` is a dotted name as the user spelled it, quotes removed.
    virtual Compiled<Binding> bind(std::span<const std::string> path) = 0;
    virtual Compiled<Binding> bind_metadata(
        Metadata which) = 0;  // kHeaders: jsonb object, last value per name wins.
};

// Binds a name as expressions do: the record's metadata, else the scope's fields.
[[nodiscard]] Compiled<Scope::Binding> bind_name(std::span<const std::string> path, Scope& scope);

struct EvalContext {
    Arena& arena;                     // Results that need bytes live here.
    int64_t now_us;                   // now(): the epoch's processing time, microseconds since 1970.
    std::span<const Column> columns;  // By slot; each covers every row that is selected.
};

class Node;  // Compiled code; processor/expr/node.h.

class Expression {
public:
    static Compiled<Expression> compile(std::string_view text, Scope& scope);
    // The value of a field, or of the record's metadata, by its path.
    static Compiled<Expression> path(std::vector<std::string> path, Scope& scope);
    // A literal of YAML's (number or boolean), where map and set take one.
    static Compiled<Expression> literal(std::string_view yaml_scalar);

    // Sets out[row] for every row of `rows` (ascending); `out` is grown to `row_count` first.
    void evaluate(EvalContext& context, std::span<const uint32_t> rows, size_t row_count, Column& out) const;

    [[nodiscard]] std::optional<Type> static_type() const;
    // The slot when the expression is nothing but a bound name, so that callers need no copy.
    [[nodiscard]] std::optional<Slot> plain_slot() const;
    [[nodiscard]] const std::string& text() const { return text_; }

    Expression(std::string text, std::shared_ptr<const Node> root);

private:
    std::string text_;
    std::shared_ptr<const Node> root_;  // Shared by the copies in each worker's plan view; immutable.
};

struct AggregateCall {
    AggregateSpec spec;
    std::vector<Expression> arguments;  // What is taken from records, ORDER BY last; none for count(*).
    std::optional<Expression> filter;   // FILTER (WHERE …).
    size_t position = 0;
};

// `sum(amount) / count(*)`: the calls, and what to make of their results. The result expression reads
// call i at slot i and the group's `by` values at the slots that `group` binds.
struct AggregateExpression {
    std::vector<AggregateCall> calls;
    Expression result;
};

// Arguments and filters bind in `input`; names outside of aggregate calls bind in `group`. Call i of this
// expression is bound to slot `first_call_slot + i` of the result's columns.
Compiled<AggregateExpression> compile_aggregate(std::string_view text, Scope& input, Scope& group,
                                                Slot first_call_slot);

}  // namespace weir::processor::expr
