#include "processor/executor.h"

#include <algorithm>
#include <limits>

#include "processor/aggregate.h"
#include "processor/encode.h"
#include "processor/expr/decimal.h"
#include "processor/expr/jsonb.h"
#include "processor/limiter.h"
#include "processor/session_join.h"
#include "processor/shard.h"

namespace weir::processor {
namespace {

constexpr uint16_t kNoRoute = 0xFFFF;

// By Reason and by Op.
constexpr std::string_view kReasons[] = {"watermark", "idle", "timer", "late", "update", "count"};
constexpr std::string_view kOps[] = {"", "insert", "update_before", "update_after", "delete", "delete"};

// A whole number that can be a partition.
bool partition_of(const Value& value, int64_t& partition) {
    if (value.type == Type::kInt4 || value.type == Type::kInt8) {
        partition = value.integer;
    } else if (value.type == Type::kNumeric) {
        expr::Decimal whole;
        const expr::Decimal decimal = expr::Decimal::of(value);
        if (expr::truncate_to(decimal, 0, whole) != expr::Status::kOk || expr::compare(whole, decimal) != 0 ||
            !expr::to_int64(whole, partition)) {
            return false;
        }
    } else {
        return false;
    }
    return partition >= 0 && partition <= std::numeric_limits<int32_t>::max();
}

std::unique_ptr<StageOperator> make_join(const Graph& graph, StageId id) {
    if (graph.stages[id].join->rule.in_sessions()) return std::make_unique<SessionJoin>(graph, id);
    return std::make_unique<Join>(graph, id);
}

}  // namespace

Executor::Executor(const Plan& plan, ShardId shard, Watermarks& watermarks, Counters& counters,
                   const Executor* globals, CloseBudget* budget)
    : plan_(plan),
      graph_(*plan.graph),
      shard_(shard),
      watermarks_(watermarks),
      counters_(counters),
      dead_letters_(plan),
      batches_(graph_.frames.size()),
      scratch_(graph_.nodes.size()),
      budget_(budget) {
    for (size_t i = 0; i < batches_.size(); ++i) batches_[i].columns.resize(graph_.frames[i].slot_count);
    for (StageId id = 0; id < graph_.stages.size(); ++id) {
        if (graph_.stages[id].limit > 0)
            stages_.push_back(std::make_unique<Limiter>(graph_, id));
        else if (graph_.stages[id].join)
            stages_.push_back(make_join(graph_, id));
        else
            stages_.push_back(std::make_unique<Aggregate>(graph_, id));
    }
    for (TableId id = 0; id < graph_.tables.size(); ++id) {
        const bool shared = globals != nullptr && graph_.tables[id].global;
        tables_.push_back(shared ? globals->tables_[id] : std::make_shared<Table>(graph_, id));
    }
}

void Executor::begin(Sink& sink, const Source* source, int64_t wall_ms) {
    sink_ = &sink;
    source_ = source;
    wall_ms_ = wall_ms;
}

Batch& Executor::begin_slice(FrameId frame, size_t rows) {
    arena_.reset();
    return begin_nested_slice(frame, rows);
}

Batch& Executor::begin_nested_slice(FrameId frame, size_t rows) {
    Batch& batch = batches_[frame];
    batch.resize(rows);
    return batch;
}

const Column& Executor::evaluate(const expr::Expression& expression, const Batch& batch, Rows rows,
                                 Column& scratch) {
    if (const auto slot = expression.plain_slot()) return batch.columns[static_cast<size_t>(*slot)];
    expr::EvalContext context{arena_, wall_ms_ * 1000, batch.columns};
    expression.evaluate(context, rows, batch.row_count, scratch);
    return scratch;
}

Result<void> Executor::reject(const Node& node, const Batch& batch, uint32_t row, const Layout& layout,
                              ErrorName error, std::string_view message) {
    StreamCounters& counters = counters_.streams[node.stream];
    FailedRecord failed;
    std::string value;
    // A record that a step held back is known by what it has become.
    if (batch.results.empty()) failed.record = batch.records[row];
    if (failed.record != nullptr) {
        failed.partition = watermarks_.partitions()[batch.partition].id;
    } else {
        failed.value = encode_value(layout, batch, row, value);
        failed.timestamp_ms = batch.times[row];
        if (batch.records[row] != nullptr) failed.key = batch.records[row]->key;
    }
    failed.error = error;
    failed.stream = plan_.stream_names[node.stream];
    failed.step = node.step;
    failed.message = message;
    const bool produce = error == ErrorName::kProduceFailed;
    ++(produce ? counters.produce_errors : counters.expression_errors);
    return dead_letters_.reject(produce ? graph_.on_produce_error : graph_.on_expression_error, failed,
                                source_, *sink_, counters.dead_lettered, counters.skipped);
}

Result<void> Executor::run(const std::vector<NodeId>& nodes, Rows rows) {
    if (rows.empty()) return {};
    for (const NodeId id : nodes) WEIR_TRY(run_node(id, rows));
    return {};
}

Result<void> Executor::run_node(NodeId id, Rows rows) {
    const Node& node = graph_.nodes[id];
    Scratch& scratch = scratch_[id];
    if (const auto* operation = std::get_if<FilterNode>(&node.operation)) {
        return filter(node, *operation, scratch, rows);
    }
    if (const auto* operation = std::get_if<ComputeNode>(&node.operation)) {
        return compute(node, *operation, scratch, rows);
    }
    if (const auto* operation = std::get_if<ExplodeNode>(&node.operation)) {
        return explode(node, *operation, scratch, rows);
    }
    if (const auto* operation = std::get_if<LookupNode>(&node.operation)) {
        return lookup(node, *operation, scratch, rows);
    }
    if (const auto* operation = std::get_if<StoreNode>(&node.operation))
        return store(node, *operation, scratch, rows);
    if (const auto* operation = std::get_if<AccumulateNode>(&node.operation)) {
        auto& aggregate = static_cast<Aggregate&>(*stages_[operation->stage]);
        return aggregate.accumulate(*this, node, *operation, batches_[node.frame], rows);
    }
    if (const auto* operation = std::get_if<LimitNode>(&node.operation)) {
        auto& limiter = static_cast<Limiter&>(*stages_[operation->stage]);
        return limiter.pass(*this, node, *operation, batches_[node.frame], rows);
    }
    if (const auto* operation = std::get_if<JoinInputNode>(&node.operation)) {
        StageOperator& join = *stages_[operation->stage];
        if (graph_.stages[operation->stage].join->rule.in_sessions())
            return static_cast<SessionJoin&>(join).take(*this, node, *operation, batches_[node.frame], rows);
        return static_cast<Join&>(join).take(*this, node, *operation, batches_[node.frame], rows);
    }
    if (const auto* operation = std::get_if<RepartitionNode>(&node.operation))
        return repartition(node, *operation, scratch, rows);
    if (const auto* operation = std::get_if<ExitNode>(&node.operation))
        return exit(node, *operation, scratch, rows);
    counters_.streams[node.stream].in += rows.size();  // EnterNode.
    return run(node.next, rows);
}

Result<void> Executor::filter(const Node& node, const FilterNode& filter, Scratch& scratch, Rows rows) {
    Batch& batch = batches_[node.frame];
    scratch.columns.resize(1);
    const Column& condition = evaluate(filter.condition, batch, rows, scratch.columns[0]);
    scratch.rows.clear();
    uint64_t filtered = 0;
    for (const uint32_t row : rows) {
        const Value& value = condition[row];
        if (filter.of_table && batch.results[row].op == Op::kTombstone) {
            scratch.rows.push_back(row);
            continue;
        }
        if (value.type == Type::kBool || value.is_null()) [[likely]] {
            if (value.type == Type::kBool && value.boolean) {
                scratch.rows.push_back(row);
            } else if (filter.of_table) {  // What passed before is not known: readers may have it.
                batch.results[row].op = Op::kTombstone;
                scratch.rows.push_back(row);
            } else {
                ++filtered;
            }
            continue;
        }
        const std::string message =
            value.is_error() ? std::string(value.bytes())
                             : std::string("a condition is boolean, this is ") + type_name(value.type);
        WEIR_TRY(reject(node, batch, row, filter.layout, ErrorName::kExpressionFailed, message));
    }
    counters_.streams[node.stream].filtered += filtered;
    return run(node.next, scratch.rows);
}

Result<void> Executor::compute(const Node& node, const ComputeNode& compute, Scratch& scratch, Rows rows) {
    Batch& batch = batches_[node.frame];
    for (const auto& [slot, expression] : compute.outputs) {
        expr::EvalContext context{arena_, wall_ms_ * 1000, batch.columns};
        scratch.columns.resize(1);
        expression.evaluate(context, rows, batch.row_count, scratch.columns[0]);
        std::swap(batch.columns[static_cast<size_t>(slot)], scratch.columns[0]);
    }
    scratch.rows.assign(rows.begin(), rows.end());
    const auto check = [&](expr::Slot slot) -> Result<void> {
        const Column& column = batch.columns[static_cast<size_t>(slot)];
        const auto fails = [&](uint32_t row) {
            return column[row].is_error() &&
                   !(compute.of_table && batch.results[row].op == Op::kTombstone);
        };
        const bool failed = std::any_of(scratch.rows.begin(), scratch.rows.end(), fails);
        if (!failed) [[likely]]
            return {};
        size_t kept = 0;
        for (const uint32_t row : scratch.rows) {
            if (!fails(row)) {
                scratch.rows[kept++] = row;
                continue;
            }
            WEIR_TRY(
                reject(node, batch, row, compute.layout, ErrorName::kExpressionFailed, column[row].bytes()));
        }
        scratch.rows.resize(kept);
        return {};
    };
    for (const auto& [slot, expression] : compute.outputs) WEIR_TRY(check(slot));
    for (const expr::Slot slot : compute.checked) WEIR_TRY(check(slot));
    return run(node.next, scratch.rows);
}

Result<void> Executor::explode(const Node& node, const ExplodeNode& explode, Scratch& scratch, Rows rows) {
    const Batch& from = batches_[node.frame];
    Batch& to = batches_[explode.frame];
    StreamCounters& counters = counters_.streams[node.stream];
    scratch.columns.resize(1);
    const Column& arrays = evaluate(explode.array, from, rows, scratch.columns[0]);
    const Frame& frame = graph_.frames[explode.frame];
    to.partition = from.partition;

    // One input slice may make many rows: they leave in slices, too.
    const auto flush = [&]() -> Result<void> {
        for (const expr::Slot slot : frame.null_slots) {
            std::fill_n(to.columns[static_cast<size_t>(slot)].begin(), to.row_count, Value::null());
        }
        counters.derived += to.row_count;
        std::vector<uint32_t>& all = scratch.rows;
        all.resize(to.row_count);
        for (uint32_t i = 0; i < all.size(); ++i) all[i] = i;
        return run(node.next, all);
    };
    size_t made = 0;
    to.resize(kSliceRows);
    to.watermarks.resize(from.watermarks.empty() ? 0 : kSliceRows);
    to.results.resize(from.results.empty() ? 0 : kSliceRows);
    to.late_by_ms.resize(from.late_by_ms.empty() ? 0 : kSliceRows);
    for (const uint32_t row : rows) {
        const Value& array = arrays[row];
        const bool is_array =
            array.type == Type::kJsonb && expr::json_kind(array.bytes()) == expr::JsonKind::kArray;
        if (!is_array && !array.is_null()) {
            const std::string message = array.is_error() ? std::string(array.bytes())
                                                         : "explode needs a JSON array, this is " +
                                                               std::string(type_name(array.type));
            WEIR_TRY(reject(node, from, row, explode.layout, ErrorName::kExpressionFailed, message));
            continue;
        }
        ++counters.expanded;
        if (array.is_null()) continue;
        size_t position = 0;
        std::string_view element;
        while (expr::json_next_element(array.bytes(), position, element)) {
            if (made == kSliceRows) {
                to.row_count = made;
                WEIR_TRY(flush());
                made = 0;
                to.row_count = kSliceRows;
            }
            for (const SlotCopy& copy : frame.copies) {
                to.columns[static_cast<size_t>(copy.to)][made] =
                    from.columns[static_cast<size_t>(copy.from)][row];
            }
            to.columns[static_cast<size_t>(explode.element)][made] = expr::json_to_value(element, arena_);
            to.records[made] = from.records[row];
            to.times[made] = from.times[row];
            if (!from.watermarks.empty()) to.watermarks[made] = from.watermarks[row];
            if (!from.results.empty()) to.results[made] = from.results[row];
            if (!from.late_by_ms.empty()) to.late_by_ms[made] = from.late_by_ms[row];
            ++made;
        }
    }
    to.row_count = made;
    return made == 0 ? Result<void>{} : flush();
}

Result<void> Executor::choose_routes(const Node& node, const ExitNode& exit, Scratch& scratch, Rows rows) {
    const Batch& batch = batches_[node.frame];
    scratch.routes.assign(batch.row_count, kNoRoute);
    scratch.columns.resize(1);
    scratch.rows.assign(rows.begin(), rows.end());  // Still without a route.
    for (size_t route = 0; route < exit.routes.size() && !scratch.rows.empty(); ++route) {
        const auto& when = exit.routes[route].when;
        if (!when) {
            for (const uint32_t row : scratch.rows) scratch.routes[row] = static_cast<uint16_t>(route);
            scratch.rows.clear();
            break;
        }
        const Column& condition = evaluate(*when, batch, scratch.rows, scratch.columns[0]);
        size_t rest = 0;
        for (const uint32_t row : scratch.rows) {
            const Value& value = condition[row];
            if (value.type == Type::kBool && value.boolean) {
                scratch.routes[row] = static_cast<uint16_t>(route);
            } else if (value.type == Type::kBool || value.is_null()) {
                scratch.rows[rest++] = row;
            } else {
                const std::string message =
                    value.is_error()
                        ? std::string(value.bytes())
                        : std::string("a condition is boolean, this is ") + type_name(value.type);
                WEIR_TRY(reject(node, batch, row, exit.layout, ErrorName::kExpressionFailed, message));
                scratch.routes[row] = kNoRoute - 1;
            }
        }
        scratch.rows.resize(rest);
    }
    counters_.streams[node.stream].unrouted += scratch.rows.size();
    return {};
}

Result<void> Executor::exit(const Node& node, const ExitNode& exit, Scratch& scratch, Rows rows) {
    const Batch& batch = batches_[node.frame];
    counters_.streams[node.stream].passed += rows.size();
    if (exit.routes.empty()) {
        counters_.streams[node.stream].forwarded += rows.size();
        return run(node.next, rows);
    }
    WEIR_TRY(choose_routes(node, exit, scratch, rows));
    for (size_t route = 0; route < exit.routes.size(); ++route) {
        std::vector<uint32_t>& mine = scratch.rows;
        mine.clear();
        for (const uint32_t row : rows) {
            if (scratch.routes[row] == route) mine.push_back(row);
        }
        if (mine.empty()) continue;
        const RoutePlan& plan = exit.routes[route];
        size_t column = 0;
        const size_t needed = 2 + plan.headers.size();
        if (scratch.columns.size() < needed * exit.routes.size())
            scratch.columns.resize(needed * exit.routes.size());
        Column* const columns = scratch.columns.data() + route * needed;
        const auto fill = [&](const expr::Expression& expression) {
            expr::EvalContext context{arena_, wall_ms_ * 1000, batch.columns};
            expression.evaluate(context, mine, batch.row_count, columns[column]);
        };
        if (plan.key) fill(*plan.key);
        column = 1;
        if (plan.partition) fill(*plan.partition);
        for (const auto& [name, expression] : plan.headers) {
            ++column;
            fill(expression);
        }
    }
    for (const uint32_t row : rows) {
        const uint16_t route = scratch.routes[row];
        if (route < exit.routes.size()) WEIR_TRY(emit(node, exit, route, scratch, row));
    }
    return run(node.next, rows);
}

// What readers may want to know of a window's result, or of a late record, beside its value.
void Executor::add_result_headers(const ExitNode& exit, const Batch& batch, uint32_t row, Scratch& scratch) {
    const auto number = [&](std::string_view name, int64_t value, size_t index) {
        scratch.numbers[index] = std::to_string(value);
        scratch.headers.push_back({name, scratch.numbers[index]});
    };
    if (exit.late) number("weir.late_by_ms", batch.late_by_ms[row], 0);
    if (batch.results.empty()) return;
    const ResultMeta& meta = batch.results[row];
    scratch.headers.push_back({"weir.reason", kReasons[static_cast<size_t>(meta.reason)]});
    if (meta.watermark != kNoTime) number("weir.watermark", meta.watermark, 0);
    number("weir.records", meta.records, 1);
    if (meta.op != Op::kNone) scratch.headers.push_back({"weir.op", kOps[static_cast<size_t>(meta.op)]});
}

Result<void> Executor::emit(const Node& node, const ExitNode& exit, size_t route, Scratch& scratch,
                            uint32_t row) {
    const Batch& batch = batches_[node.frame];
    const RoutePlan& plan = exit.routes[route];
    const Column* const columns = scratch.columns.data() + route * (2 + plan.headers.size());
    StreamCounters& counters = counters_.streams[node.stream];
    scratch.texts.resize(std::max(scratch.texts.size(), 2 + plan.headers.size()));
    const auto failed = [&](const Value& value) {
        return reject(node, batch, row, exit.layout, ErrorName::kExpressionFailed, value.bytes());
    };

    OutputRecord out;
    out.topic = plan.output;
    out.timestamp_ms = batch.times[row];
    if (plan.key) {
        const Value& key = columns[0][row];
        if (key.is_error()) return failed(key);
        out.key = encode_text(key, scratch.texts[0]);
    } else if (exit.default_key.empty()) {
        // The results of an aggregate without `by` have none.
        out.key = batch.records[row] != nullptr ? batch.records[row]->key : MaybeBytes{};
    } else {
        out.key = encode_group_key(exit.default_key, batch, row, scratch.texts[0]);
    }
    if (plan.partition) {
        const Value& value = columns[1][row];
        if (value.is_error()) return failed(value);
        int64_t partition = kPartitionByKey;
        const bool readable = value.is_null() || partition_of(value, partition);
        if (!readable) {
            return reject(node, batch, row, exit.layout, ErrorName::kExpressionFailed,
                          "a partition is a whole number from 0");
        }
        out.partition = static_cast<int32_t>(partition);
    }
    scratch.headers.clear();
    for (size_t i = 0; i < plan.headers.size(); ++i) {
        const Value& value = columns[2 + i][row];
        if (value.is_error()) return failed(value);
        scratch.headers.push_back({plan.headers[i].first, encode_text(value, scratch.texts[2 + i])});
    }
    add_result_headers(exit, batch, row, scratch);
    out.headers = scratch.headers;
    const bool tombstone = !batch.results.empty() && batch.results[row].op == Op::kTombstone;
    if (!tombstone) out.value = encode_value(exit.layout, batch, row, scratch.texts[1]);

    const Result<void> produced = sink_->produce(out);
    if (!produced.ok()) {
        if (produced.error().code != Code::kInvalid) return produced;
        return reject(node, batch, row, exit.layout, ErrorName::kProduceFailed, produced.error().message);
    }
    ++counters.emitted;
    ++counters.out[route];
    return {};
}

Result<bool> Executor::close_due(StageId stage) {
    return stages_[stage]->advance(*this, watermarks_.stage(stage), watermarks_.held_by(stage) < 0);
}

EventTime Executor::slice_end(size_t partition) {
    EventTime end = kEndOfTime;
    for (StageId id = 0; id < stages_.size() && budget_ != nullptr; ++id) {
        if (!watermarks_.feeds(partition, id)) continue;
        const EventTime due = stages_[id]->many_due(budget_->few());
        if (due != kEndOfTime) end = std::min(end, watermarks_.before(id, partition).reaches(due));
    }
    return end;
}

Result<void> Executor::finish_epoch() {
    for (const auto& stage : stages_) WEIR_TRY(stage->finish_epoch(*this));
    return {};
}

}  // namespace weir::processor
