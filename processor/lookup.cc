// The steps of tables: records of a table's topic become rows, and lookups find them.
#include "processor/encode.h"
#include "processor/executor.h"
#include "processor/stored_value.h"

namespace weir::processor {

Result<void> Executor::store(const Node& node, const StoreNode& store, Scratch& scratch, Rows rows) {
    if (graph_.tables[store.table].computed) return store_results(node, store, scratch, rows);
    const Batch& batch = batches_[node.frame];
    Table& table = *tables_[store.table];
    for (const uint32_t row : rows) {
        const InputRecord& record = *batch.records[row];
        const EventTime time = batch.times[row];
        if (graph_.tables[store.table].history_ms) {
            WEIR_TRY(table.store_version(record.key, record.value, time, batch.columns, row));
            continue;
        }
        WEIR_TRY(change_row(store.table, record.key, time, [&] {
            table.store(record.key, record.value, batch.columns, row);
            return true;
        }));
    }
    return {};
}

template <class Change>
Result<void> Executor::change_row(TableId table, std::string_view key, EventTime time, Change change) {
    const std::vector<NodeId>& joins = graph_.tables[table].joins;
    bool was = false;
    if (!joins.empty()) {
        WEIR_ASSIGN(was, tables_[table]->has(key));
    }
    if (!change() || joins.empty()) return {};
    WEIR_ASSIGN(const bool is, tables_[table]->has(key));
    if (!was && !is) return {};
    for (const NodeId id : joins) {
        const auto& join = std::get<TableJoinNode>(graph_.nodes[id].operation);
        const bool is_left = join.tables[0] == table;
        WEIR_ASSIGN(const bool other, tables_[join.tables[is_left ? 1 : 0]]->has(key));
        const auto shows = [&](bool mine) {
            const bool left = is_left ? mine : other;
            const bool right = is_left ? other : mine;
            switch (join.kind) {
                case config::Join::Kind::kInner: return left && right;
                case config::Join::Kind::kLeft: return left;
                case config::Join::Kind::kRight: return right;
                case config::Join::Kind::kFull: return left || right;
            }
            return false;
        };
        if (shows(was) || shows(is)) WEIR_TRY(join_row(id, key, time, !shows(is)));
    }
    return {};
}

// The steps get at the sides by looking them up, so a row's way ends before another one changes.
Result<void> Executor::join_row(NodeId id, std::string_view key, EventTime time, bool deleted) {
    const Node& node = graph_.nodes[id];
    const auto& join = std::get<TableJoinNode>(node.operation);
    Batch& batch = begin_nested_slice(join.frame, 1);
    for (const expr::Slot slot : graph_.frames[join.frame].null_slots)
        batch.columns[static_cast<size_t>(slot)][0] = Value::null();
    batch.columns[static_cast<size_t>(join.key)][0] = Value::of_text(key);
    batch.records[0] = nullptr;
    batch.times[0] = time;
    batch.results.assign(1, {Reason::kUpdate, deleted ? Op::kTombstone : Op::kNone, kNoTime, 1});
    ++counters_.streams[node.stream].derived;
    constexpr uint32_t kRow = 0;
    return run(node.next, {&kRow, 1});
}

// A result is a row as if it had been written to a topic and read from there; the counters of the table's
// source count it. What a change replaces (update_before) is gone where its successor did not get here.
Result<void> Executor::store_results(const Node& node, const StoreNode& store, Scratch& scratch, Rows rows) {
    const Batch& batch = batches_[node.frame];
    const TablePlan& plan = graph_.tables[store.table];
    SourceCounters& counters = counters_.sources[plan.source];
    Table& table = *tables_[store.table];
    scratch.texts.resize(2);
    for (size_t i = 0; i < rows.size(); ++i) {
        const uint32_t row = rows[i];
        const Op op = batch.results.empty() ? Op::kNone : batch.results[row].op;
        const bool replaced = op == Op::kUpdateBefore && i + 1 < rows.size() && rows[i + 1] == row + 1;
        if (replaced) continue;
        const bool deleted = op == Op::kUpdateBefore || op == Op::kDelete || op == Op::kTombstone;
        MaybeBytes key;
        if (!store.key.empty())
            key = encode_group_key(store.key, batch, row, scratch.texts[0]);
        else if (batch.records[row] != nullptr)
            key = batch.records[row]->key;
        MaybeBytes value;
        if (!deleted) value = encode_value(store.row, batch, row, scratch.texts[1]);
        ++counters.records;
        counters.bytes += key.size() + value.size();
        std::string_view wrong = "its key is NULL, so nothing could find the row";
        if (key.data() != nullptr)
            WEIR_TRY(change_row(store.table, key, batch.times[row], [&] {
                wrong = table.store(key, value);
                return wrong.empty();
            }));
        if (wrong.empty()) {
            ++counters.delivered;
            continue;
        }
        ++counters.decode_errors;
        FailedRecord failed;
        if (batch.results.empty()) failed.record = batch.records[row];
        if (failed.record != nullptr) failed.partition = watermarks_.partitions()[batch.partition].id;
        failed.key = key;
        failed.value = value;
        failed.timestamp_ms = batch.times[row];
        failed.error = ErrorName::kDecodeFailed;
        failed.stream = plan_.stream_names[node.stream];
        failed.step = node.step;
        failed.message = wrong;
        WEIR_TRY(dead_letters_.reject(graph_.on_decode_error, failed, source_, *sink_,
                                      counters.dead_lettered, counters.skipped));
    }
    return {};
}

Result<void> Executor::lookup(const Node& node, const LookupNode& lookup, Scratch& scratch, Rows rows) {
    Batch& batch = batches_[node.frame];
    StreamCounters& counters = counters_.streams[node.stream];
    Table& table = *tables_[lookup.table];
    scratch.columns.resize(lookup.by.size());
    scratch.texts.resize(2);
    std::vector<const Column*>& keys = lookup_keys_;
    keys.clear();
    for (size_t i = 0; i < lookup.by.size(); ++i)
        keys.push_back(&evaluate(lookup.by[i], batch, rows, scratch.columns[i]));

    scratch.rows.clear();
    for (const uint32_t row : rows) {
        const Value* failed = nullptr;
        bool is_null = false;
        for (const Column* key : keys) {
            if ((*key)[row].is_error()) failed = &(*key)[row];
            is_null = is_null || (*key)[row].is_null();
        }
        if (failed != nullptr) {
            WEIR_TRY(reject(node, batch, row, lookup.layout, ErrorName::kExpressionFailed, failed->bytes()));
            continue;
        }
        std::optional<std::string_view> found;
        if (!is_null) {
            const std::string_view key = encode_key(keys, row, scratch.texts[0]);
            if (table.stored() != nullptr) {
                WEIR_ASSIGN(found, lookup.as_of_event_time
                                       ? table.find_stored(key, batch.times[row], arena_)
                                       : table.find_stored(key, arena_));
            } else {
                found = lookup.as_of_event_time ? table.find(key, batch.times[row]) : table.find(key);
            }
        }
        if (!found && !lookup.of_join) {
            ++counters.lookups_missed;
            if (lookup.missing == config::LookupStep::Missing::kDrop) {
                ++counters.filtered;
                continue;
            }
            if (lookup.missing == config::LookupStep::Missing::kError) {
                const std::string message =
                    is_null ? "the key to look up in '" + graph_.tables[lookup.table].name + "' is NULL"
                            : "table '" + graph_.tables[lookup.table].name + "' has no row '" +
                                  std::string(encode_key(keys, row, scratch.texts[0])) + "'";
                WEIR_TRY(reject(node, batch, row, lookup.layout, ErrorName::kLookupMissed, message));
                continue;
            }
        }
        scratch.rows.push_back(row);
        // Columns come one after the other; outputs are in their order.
        ByteReader in(found.value_or(std::string_view()));
        size_t column = 0;
        for (const LookupNode::Output& output : lookup.outputs) {
            Value& value = batch.columns[static_cast<size_t>(output.slot)][row];
            value = Value::null();
            if (!found) continue;
            for (; column <= output.column; ++column) {
                const bool read = read_stored_value(in, value);
                WEIR_CHECK(read, "a row's columns are not what its table stores");
            }
        }
    }
    return run(node.next, scratch.rows);
}

}  // namespace weir::processor
