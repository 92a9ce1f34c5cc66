#include "state/stored_rows.h"

#include <algorithm>

#include <fmt/format.h>

#include "state/epoch_record.h"

namespace weir::state {
namespace {

constexpr uint32_t kMostTables = 0xfe;  // Of one operator: a byte tells them apart.

void set_key(uint32_t table, std::string_view key, std::string& out) {
    out.assign(1, static_cast<char>(table + 1));
    out.append(key);
}

}  // namespace

std::string end_of_prefix(std::string_view prefix) {
    std::string end(prefix);
    while (!end.empty() && static_cast<uint8_t>(end.back()) == 0xff) end.pop_back();
    if (!end.empty()) end.back() = static_cast<char>(static_cast<uint8_t>(end.back()) + 1);
    return end;
}

StoredRows::StoredRows(std::unique_ptr<RowStore> store, const StoredTables& tables, const CommitId& base)
    : store_(std::move(store)),
      tables_(tables),
      base_(base),
      lacks_(store_->applied() == base),
      behind_(store_->applied() == base) {
    WEIR_CHECK(tables.count <= kMostTables);
}

void StoredRows::begin_epoch(const CommitId& epoch) {
    lacks_ = behind_;
    if (epoch == store_->applied()) behind_ = true;
}

Result<void> StoredRows::end_replay() {
    lacks_ = true;
    if (behind_) return {};
    const std::string holds = store_->applied().empty() ? std::string("is empty")
                                                         : "holds commit " + to_string(store_->applied());
    return Error{Code::kMismatch,
                 fmt::format("{} {}, which is neither the snapshot's {} nor in the log after it: its rows "
                             "cannot be completed. Put the folder of this state back, or start anew under a "
                             "new pipeline name",
                             store_->name(), holds, to_string(base_))};
}

void StoredRows::replay(const StateOp& op) {
    const uint32_t table = op.table - tables_.first;
    switch (op.kind) {
        case StateOp::Kind::kPut: put(table, op.key, op.value); break;
        case StateOp::Kind::kErase: erase(table, op.key); break;
        case StateOp::Kind::kErasePrefix: erase_prefix(table, op.key); break;
    }
}

void StoredRows::change(uint32_t table, std::string_view key, std::optional<std::string_view> value) {
    if (!lacks_) return;
    set_key(table, key, key_);
    auto at = changes_.find(key_);
    if (at == changes_.end()) at = changes_.emplace(key_, std::nullopt).first;
    at->second = value;
    changed_bytes_ += key_.size() + (value ? value->size() : 0);
}

void StoredRows::erase_prefix(uint32_t table, std::string_view prefix) {
    if (!lacks_) return;
    set_key(table, prefix, key_);
    const std::string end = end_of_prefix(key_);
    changes_.erase(changes_.lower_bound(key_), changes_.lower_bound(end));
    if (erased_prefix_of(key_) != nullptr) return;
    erased_.erase(erased_.lower_bound(key_), erased_.lower_bound(end));
    erased_.insert(key_);
}

const std::string* StoredRows::erased_prefix_of(std::string_view key) const {
    // As no prefix begins with another one, all between a key's prefix and the key would begin with it.
    const auto after = erased_.upper_bound(key);
    if (after == erased_.begin() || !key.starts_with(*std::prev(after))) return nullptr;
    return &*std::prev(after);
}

Result<std::optional<std::string_view>> StoredRows::find(uint32_t table, std::string_view key) {
    set_key(table, key, key_);
    if (const auto at = changes_.find(key_); at != changes_.end())
        return at->second ? std::optional<std::string_view>(*at->second) : std::nullopt;
    if (erased_prefix_of(key_) != nullptr) return std::optional<std::string_view>();
    WEIR_ASSIGN(const bool found, store_->find(key_, found_));
    return found ? std::optional<std::string_view>(found_) : std::nullopt;
}

StoredRows::Cursor StoredRows::scan(uint32_t table, std::string_view prefix, std::string_view from) const {
    std::string whole;
    std::string first;
    set_key(table, prefix, whole);
    set_key(table, from, first);
    return {*this, whole, std::max(whole, first)};
}

StoredRows::Cursor::Cursor(const StoredRows& rows, std::string prefix, std::string from)
    : rows_(&rows),
      prefix_(std::move(prefix)),
      from_(std::move(from)),
      changed_(rows.changes_.lower_bound(from_)) {}

// Past the stored rows that are erased, and those of which the changes have something newer.
Result<void> StoredRows::Cursor::skip_erased() {
    while (in_store_) {
        if (rows_->changes_.contains(stored_->key())) {
            WEIR_ASSIGN(in_store_, stored_->next());
            continue;
        }
        const std::string* const prefix = rows_->erased_prefix_of(stored_->key());
        if (prefix == nullptr) break;
        WEIR_ASSIGN(in_store_, stored_->seek(end_of_prefix(*prefix)));
    }
    return {};
}

Result<bool> StoredRows::Cursor::next() {
    if (!started_) {
        started_ = true;
        stored_ = rows_->store_->cursor(prefix_);
        WEIR_ASSIGN(in_store_, stored_->seek(from_));
    } else if (given_store_) {
        WEIR_ASSIGN(in_store_, stored_->next());
    }
    given_store_ = false;
    WEIR_TRY(skip_erased());
    while (changed_ != rows_->changes_.end() && changed_->first.starts_with(prefix_)) {
        if (in_store_ && stored_->key() < changed_->first) break;
        const auto& [key, value] = *changed_++;
        if (!value) continue;
        key_ = std::string_view(key).substr(1);
        value_ = *value;
        return true;
    }
    if (!in_store_) return false;
    given_store_ = true;
    key_ = stored_->key().substr(1);
    value_ = stored_->value();
    return true;
}

Result<void> StoredRows::apply(const CommitId& id) {
    batch_.clear();
    for (const std::string& prefix : erased_) batch_.push_back({StateOp::Kind::kErasePrefix, 0, prefix, {}});
    for (const auto& [key, value] : changes_)
        batch_.push_back({value ? StateOp::Kind::kPut : StateOp::Kind::kErase, 0, key,
                          value ? std::string_view(*value) : std::string_view()});
    WEIR_TRY(store_->apply(batch_, id));
    changes_.clear();
    erased_.clear();
    changed_bytes_ = 0;
    return {};
}

namespace {

// The stored tables of some shards, out of a slot's log.
class Filler final : public StateVisitor {
public:
    struct Part {
        ShardId shard;
        std::unique_ptr<StoredRows> rows;
    };
    std::vector<Part> parts;

    Result<void> entry(ShardId, uint32_t, std::string_view, std::string_view) override { return {}; }
    Result<void> delta(ShardId shard, const CommitId& epoch, std::string_view delta) override {
        for (const Part& part : parts)
            if (part.shard == shard) part.rows->begin_epoch(epoch);
        DeltaReader reader(delta);
        StateOp op;
        while (reader.next(op))
            for (const Part& part : parts)
                if (part.shard == shard && part.rows->tables().has(op.table)) part.rows->replay(op);
        if (reader.failed()) return Error{Code::kCorrupt, "state changes are not in a readable format"};
        return {};
    }
};

}  // namespace

Result<void> fill_row_stores(Directory& slot, const SlotImage& image, const CommitId& upto,
                             std::span<const ShardId> shards, std::span<const StoredTables> tables,
                             RowStores& stores) {
    Filler filler;
    for (const ShardId shard : shards) {
        const SnapshotRef* const snapshot = image.snapshot(shard);
        const CommitId base = snapshot == nullptr ? CommitId{} : snapshot->id;
        for (const StoredTables& its : tables) {
            WEIR_ASSIGN(auto store, stores.open(its.name, shard));
            filler.parts.push_back({shard, std::make_unique<StoredRows>(std::move(store), its, base)});
        }
    }
    WEIR_TRY(replay_slot(slot, image, upto, filler));
    WEIR_ASSIGN(const size_t kept, image.epochs_upto(upto));
    for (const Filler::Part& part : filler.parts) {
        WEIR_TRY(part.rows->end_replay());
        if (kept == 0) continue;  // The shards may stand at different commits, each at its snapshot's.
        WEIR_TRY(part.rows->apply(upto));
        WEIR_TRY(part.rows->store().flush());
    }
    return {};
}

}  // namespace weir::state
