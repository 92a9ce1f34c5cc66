#include "processor/results.h"

#include <algorithm>

#include "processor/stored_value.h"

namespace weir::processor {
namespace {

constexpr uint8_t kRowVersion = 1;
constexpr size_t kEntryBytes = 96;  // Of a map's node, about.

}  // namespace

Results::Results(const Stage& stage, const Accumulators& accumulators, ResultTaker& taker,
                 StoredGroups* stored)
    : stage_(stage),
      accumulators_(accumulators),
      taker_(taker),
      stored_(stored),
      call_count_(stage.calls.size()),
      changes_(stage.emit.kind == config::Emit::Kind::kChanges),
      keeps_shown_(changes_ || (stage.window.kind == config::Window::Kind::kSession &&
                                stage.emit.kind != config::Emit::Kind::kOnClose)) {}

void Results::push(const WindowResult& result, Op op) {
    WindowResult& kept = waiting_.emplace_back(result);
    kept.key = arena_.copy(result.key);
    text_bytes_ += result.key.size();
    kept.meta.reason = reason_;
    kept.meta.watermark = watermark_;
    kept.meta.op = op;
}

// What it points to may be gone before the row is made.
void Results::push_value(Value value) {
    if (value.type == Type::kText || value.type == Type::kJsonb || value.type == Type::kError) {
        text_bytes_ += value.bytes().size();
        value = Value::of_bytes(value.type, arena_.copy(value.bytes()));
    }
    values_.push_back(value);
}

void Results::push_shown(std::string_view key, const std::string& row, Op op) {
    ByteReader in(row);
    WindowResult result;
    result.key = key;
    in.le<uint8_t>();
    result.meta.records = static_cast<int64_t>(in.varint());
    result.time = in.le<int64_t>();
    result.start = in.le<int64_t>();
    result.end = in.le<int64_t>();
    push(result, op);
    for (size_t call = 0; call < call_count_; ++call) {
        Value value;
        static_cast<void>(read_stored_value(in, value));
        push_value(value);
    }
}

void Results::add(int64_t prefix, const WindowResult& result, const Accumulator* cells,
                  const AccumulatorStore& store) {
    const size_t first = values_.size();
    push(result, Op::kNone);
    for (size_t call = 0; call < call_count_; ++call)
        push_value(accumulators_.result(call, cells, store, arena_));
    if (keeps_shown_) add_shown(prefix, result, first);
    if (waiting_.size() >= kMostWaiting || text_bytes_ >= kMostWaitingBytes) taker_.take_results();
}

Results::Shown::iterator Results::find_shown() {
    const auto found = shown_.find(key_);
    if (found != shown_.end() || stored_ == nullptr || erased_.contains(key_)) return found;
    const auto row = stored_->find(kShownTable, key_);
    if (!row) return found;
    shown_bytes_ += key_.size() + row->size() + kEntryBytes;
    return shown_.emplace(key_, *row).first;
}

// Compares the result that was pushed last to the one that was shown before it.
void Results::add_shown(int64_t prefix, const WindowResult& result, size_t first) {
    key_.clear();
    append_prefix(prefix, key_);
    key_.append(result.key);
    std::string row;
    put_le<uint8_t>(row, kRowVersion);
    put_varint(row, static_cast<uint64_t>(result.meta.records));
    put_le<int64_t>(row, result.time);
    const size_t compared_from = row.size();
    put_le<int64_t>(row, result.start);
    put_le<int64_t>(row, result.end);
    for (size_t call = 0; call < call_count_; ++call) append_stored_value(values_[first + call], row);

    const auto found = find_shown();
    if (found == shown_.end()) {
        if (changes_) waiting_.back().meta.op = Op::kInsert;
        shown_bytes_ += key_.size() + row.size() + kEntryBytes;
        dirty_.insert(key_);
        shown_.emplace(key_, std::move(row));
        return;
    }
    if (changes_) {
        const std::string& before = found->second;
        ByteReader in(before);
        in.le<uint8_t>();
        in.varint();
        in.le<int64_t>();
        const std::string_view meaning = in.take(in.remaining());
        if (meaning == std::string_view(row).substr(compared_from)) {
            waiting_.pop_back();
            values_.resize(first);
            return;
        }
        // The old result goes before the new one.
        const WindowResult after = waiting_.back();
        const std::vector<Value> after_values(values_.begin() + static_cast<ptrdiff_t>(first), values_.end());
        waiting_.pop_back();
        values_.resize(first);
        push_shown(result.key, before, Op::kUpdateBefore);
        push(after, Op::kUpdateAfter);
        values_.insert(values_.end(), after_values.begin(), after_values.end());
    }
    shown_bytes_ += row.size() - found->second.size();
    found->second = std::move(row);
    dirty_.insert(key_);
}

void Results::withdraw(int64_t prefix, std::string_view key) {
    if (!keeps_shown_) return;
    key_.clear();
    append_prefix(prefix, key_);
    key_.append(key);
    const auto found = find_shown();
    if (found == shown_.end()) return;
    push_shown(key, found->second, changes_ ? Op::kDelete : Op::kTombstone);
    erase(found);
}

Results::Shown::iterator Results::erase(Shown::iterator entry) {
    shown_bytes_ -= entry->first.size() + entry->second.size() + kEntryBytes;
    dirty_.erase(entry->first);
    erased_.insert(entry->first);
    return shown_.erase(entry);
}

void Results::forget(int64_t prefix, std::string_view key) {
    if (!keeps_shown_) return;
    key_.clear();
    append_prefix(prefix, key_);
    key_.append(key);
    const auto found = find_shown();
    if (found != shown_.end()) erase(found);
}

void Results::forget(int64_t prefix) {
    if (!keeps_shown_) return;
    key_.clear();
    append_prefix(prefix, key_);
    auto entry = shown_.lower_bound(key_);
    while (entry != shown_.end() && entry->first.starts_with(key_)) entry = erase(entry);
    if (stored_ != nullptr) forgotten_.push_back(key_);
}

void Results::clear() {
    waiting_.clear();
    values_.clear();
    arena_.reset();
    text_bytes_ = 0;
}

void Results::write_changes(state::DeltaWriter& out) {
    for (const std::string& prefix : forgotten_) out.erase_prefix(stage_.table + kShownTable, prefix);
    forgotten_.clear();
    for (const std::string& key : erased_) out.erase(stage_.table + kShownTable, key);
    for (const std::string& key : dirty_) out.put(stage_.table + kShownTable, key, shown_.find(key)->second);
    erased_.clear();
    dirty_.clear();
    if (stored_ == nullptr || shown_bytes_ <= stored_->cache_bytes()) return;
    shown_.clear();
    shown_bytes_ = 0;
}

bool Results::restore(std::string_view key, std::string_view row) {
    ByteReader in(row);
    if (key.size() < kPrefixBytes || in.le<uint8_t>() != kRowVersion) return false;
    in.varint();
    in.le<int64_t>();
    in.le<int64_t>();
    in.le<int64_t>();
    for (size_t call = 0; call < call_count_; ++call) {
        Value value;
        if (!read_stored_value(in, value)) return false;
    }
    if (!in.done() || in.failed()) return false;
    auto& kept = shown_[std::string(key)];
    shown_bytes_ += row.size() - kept.size() + (kept.empty() ? key.size() + kEntryBytes : 0);
    kept = row;
    return true;
}

void Results::restore_erased(std::string_view key) {
    const auto found = shown_.find(key);
    if (found == shown_.end()) return;
    erase(found);
    erased_.clear();
}

}  // namespace weir::processor
