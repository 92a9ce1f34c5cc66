#include "processor/accumulators/top_rows.h"

#include <algorithm>

#include "processor/accumulators/operations.h"
#include "processor/expr/operators.h"
#include "processor/stored_value.h"

namespace weir::processor {
namespace {

constexpr uint8_t kVersion = 1;

void accumulate_rows(const CallPlan& call, uint32_t cell, const AccumulatorRows& input, std::string&) {
    const Column& order = *input.arguments[0];
    const Column& packed = *input.arguments[1];
    for (const uint32_t row : input.rows)
        input.stores[row]->object<TopRows>(input.cells[row][cell], call).add(order[row], packed[row].bytes());
}

void merge_rows(const CallPlan& call, Accumulator* into, AccumulatorStore& store, const Accumulator* from,
                const AccumulatorStore& from_store) {
    const auto* const rows = static_cast<const TopRows*>(from_store.find(*from));
    if (rows != nullptr) store.object<TopRows>(*into, call).add(*rows);
}

Value rows_result(const CallPlan&, const Accumulator* cell, const AccumulatorStore& store, Arena& arena) {
    const auto* const rows = static_cast<const TopRows*>(store.find(*cell));
    return rows == nullptr ? Value::null() : Value::of_text(arena.copy(rows->rows()));
}

bool has_bytes(const Value& value) { return value.type == Type::kText || value.type == Type::kJsonb; }

}  // namespace

Value TopRows::Entry::value() const { return has_bytes(order) ? Value::of_bytes(order.type, text) : order; }

bool TopRows::before(const Value& a, const Value& b) const {
    if (a.is_null() || b.is_null()) return !a.is_null() && b.is_null();
    const auto order = expr::compare_values(a, b);
    if (!order) return a.type < b.type;
    return descending_ ? *order > 0 : *order < 0;
}

void TopRows::add(const Value& order, std::string_view row) {
    if (entries_.size() == most_ && !before(order, entries_.back().value())) return;
    const auto place = std::upper_bound(
        entries_.begin(), entries_.end(), order,
        [&](const Value& value, const Entry& entry) { return before(value, entry.value()); });
    const auto index = place - entries_.begin();
    if (entries_.size() < most_) entries_.emplace_back();
    Entry& entry = entries_.back();  // New, or the one that leaves.
    entry.order = order;
    entry.text.assign(has_bytes(order) ? order.bytes() : std::string_view{});
    entry.row.assign(row);
    std::rotate(entries_.begin() + index, entries_.end() - 1, entries_.end());
    dirty_ = true;
}

void TopRows::add(const TopRows& from) {
    for (const Entry& entry : from.entries_) add(entry.value(), entry.row);
}

std::string TopRows::rows() const {
    std::string out;
    for (const Entry& entry : entries_) put_bytes(out, entry.row);
    return out;
}

void TopRows::write(bool whole, const WritePart& out) {
    if (!dirty_ && !whole) return;
    std::string part;
    put_le<uint8_t>(part, kVersion);
    for (const Entry& entry : entries_) {
        append_stored_value(entry.value(), part);
        put_bytes(part, entry.row);
    }
    out("", part);
    dirty_ = false;
}

bool TopRows::read(std::string_view key, std::string_view value) {
    ByteReader in(value);
    if (!key.empty() || in.le<uint8_t>() != kVersion) return false;
    entries_.clear();
    while (!in.done()) {
        Value order;
        if (!read_stored_value(in, order)) return false;
        add(order, in.bytes());
        if (in.failed() || entries_.size() > most_) return false;
    }
    dirty_ = false;
    return true;
}

size_t TopRows::bytes() const {
    size_t total = sizeof *this + entries_.capacity() * sizeof(Entry);
    for (const Entry& entry : entries_) total += entry.text.capacity() + entry.row.capacity();
    return total;
}

const AccumulatorOperations kTopRows = {1, accumulate_rows, merge_rows, rows_result, object_of<TopRows>};

}  // namespace weir::processor
