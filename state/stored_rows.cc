#include "state/stored_rows.h"

#include <fmt/format.h>

#include "state/epoch_record.h"

namespace weir::state {

StoredRows::StoredRows(std::unique_ptr<RowStore> store, const CommitId& base)
    : store_(std::move(store)),
      base_(base),
      lacks_(store_->applied() == base),
      behind_(store_->applied() == base) {}

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

void StoredRows::change(std::string_view key, std::optional<std::string_view> value) {
    if (!lacks_) return;
    auto at = changes_.find(key);
    if (at == changes_.end()) at = changes_.emplace(key, std::nullopt).first;
    at->second = value;
}

Result<std::optional<std::string_view>> StoredRows::find(std::string_view key) {
    if (const auto at = changes_.find(key); at != changes_.end())
        return at->second ? std::optional<std::string_view>(*at->second) : std::nullopt;
    WEIR_ASSIGN(const bool found, store_->find(key, found_));
    return found ? std::optional<std::string_view>(found_) : std::nullopt;
}

Result<void> StoredRows::apply(const CommitId& id) {
    batch_.clear();
    for (const auto& [key, value] : changes_)
        batch_.push_back({value ? StateOp::Kind::kPut : StateOp::Kind::kErase, 0, key,
                          value ? std::string_view(*value) : std::string_view()});
    WEIR_TRY(store_->apply(batch_, id));
    changes_.clear();
    return {};
}

namespace {

// The stored tables of some shards, out of a slot's log.
class Filler final : public StateVisitor {
public:
    struct Part {
        ShardId shard;
        uint32_t table;
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
                if (part.shard == shard && part.table == op.table) part.rows->replay(op);
        if (reader.failed()) return Error{Code::kCorrupt, "state changes are not in a readable format"};
        return {};
    }
};

}  // namespace

Result<void> fill_row_stores(Directory& slot, const SlotImage& image, const CommitId& upto,
                             std::span<const ShardId> shards, std::span<const StoredTable> tables,
                             RowStores& stores) {
    Filler filler;
    for (const ShardId shard : shards) {
        const SnapshotRef* const snapshot = image.snapshot(shard);
        for (const StoredTable& table : tables) {
            WEIR_ASSIGN(auto store, stores.open(table.name, shard));
            filler.parts.push_back({shard, table.table,
                                    std::make_unique<StoredRows>(std::move(store), snapshot == nullptr
                                                                                       ? CommitId{}
                                                                                       : snapshot->id)});
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
