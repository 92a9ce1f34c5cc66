#include "state/memory_row_stores.h"

#include <vector>

namespace weir::state {
namespace {

struct Rows {
    CommitId applied;
    std::map<std::string, std::string, std::less<>> rows;
};

// An apply() that is not flushed.
struct Batch {
    CommitId id;
    std::vector<std::pair<std::string, std::optional<std::string>>> changes;
};

void apply_to(Rows& rows, const Batch& batch) {
    for (const auto& [key, value] : batch.changes) {
        if (value)
            rows.rows[key] = *value;
        else
            rows.rows.erase(key);
    }
    rows.applied = batch.id;
}

}  // namespace

struct MemoryRowStores::Contents {
    Rows now;
    Rows flushed;
    std::vector<Batch> unflushed;
};

class MemoryRowStores::Store final : public RowStore {
public:
    Store(std::shared_ptr<Contents> contents, std::string name)
        : contents_(std::move(contents)), name_(std::move(name)) {}

    const CommitId& applied() const override { return contents_->now.applied; }

    Result<bool> find(std::string_view key, std::string& value) override {
        const auto at = contents_->now.rows.find(key);
        if (at == contents_->now.rows.end()) return false;
        value = at->second;
        return true;
    }

    Result<void> apply(std::span<const StateOp> changes, const CommitId& id) override {
        Batch& batch = contents_->unflushed.emplace_back();
        batch.id = id;
        for (const StateOp& change : changes) {
            const bool put = change.kind == StateOp::Kind::kPut;
            batch.changes.emplace_back(change.key,
                                       put ? std::optional<std::string>(change.value) : std::nullopt);
        }
        apply_to(contents_->now, batch);
        return {};
    }

    Result<void> flush() override {
        contents_->flushed = contents_->now;
        contents_->unflushed.clear();
        return {};
    }

    uint64_t rows() const override { return contents_->now.rows.size(); }
    uint64_t memory_bytes() const override { return 0; }
    std::string name() const override { return name_; }

private:
    std::shared_ptr<Contents> contents_;
    std::string name_;
};

MemoryRowStores::MemoryRowStores() = default;
MemoryRowStores::~MemoryRowStores() = default;

Result<std::unique_ptr<RowStore>> MemoryRowStores::open(const std::string& table, ShardId shard) {
    std::shared_ptr<Contents>& contents = stores_[{table, shard}];
    if (!contents) contents = std::make_shared<Contents>();
    return std::unique_ptr<RowStore>(std::make_unique<Store>(
        contents, "table '" + table + "' of shard " + std::to_string(shard)));
}

void MemoryRowStores::crash(std::mt19937_64& random) {
    for (const auto& [place, contents] : stores_) {
        const size_t kept = random() % (contents->unflushed.size() + 1);
        for (size_t i = 0; i < kept; ++i) apply_to(contents->flushed, contents->unflushed[i]);
        contents->unflushed.clear();
        contents->now = contents->flushed;
    }
}

}  // namespace weir::state
