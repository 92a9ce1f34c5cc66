#include "state/memory_row_stores.h"

#include <algorithm>
#include <vector>

namespace weir::state {
namespace {

struct Rows {
    CommitId applied;
    std::map<std::string, std::string, std::less<>> rows;
};

// An apply() that is not flushed.
struct Batch {
    struct Change {
        StateOp::Kind kind;
        std::string key;
        std::string value;
    };
    CommitId id;
    std::vector<Change> changes;
};

void apply_to(Rows& rows, const Batch& batch) {
    for (const Batch::Change& change : batch.changes) {
        switch (change.kind) {
            case StateOp::Kind::kPut: rows.rows[change.key] = change.value; break;
            case StateOp::Kind::kErase: rows.rows.erase(change.key); break;
            case StateOp::Kind::kErasePrefix: {
                const std::string end = end_of_prefix(change.key);
                rows.rows.erase(rows.rows.lower_bound(change.key),
                                end.empty() ? rows.rows.end() : rows.rows.lower_bound(end));
            }
        }
    }
    rows.applied = batch.id;
}

class Cursor final : public RowCursor {
public:
    Cursor(const std::map<std::string, std::string, std::less<>>& rows, std::string_view prefix)
        : rows_(rows), prefix_(prefix), at_(rows.end()) {}

    Result<bool> seek(std::string_view key) override {
        at_ = rows_.lower_bound(std::max<std::string_view>(key, prefix_));
        return is_at_row();
    }
    Result<bool> next() override {
        ++at_;
        return is_at_row();
    }
    std::string_view key() const override { return at_->first; }
    std::string_view value() const override { return at_->second; }

private:
    [[nodiscard]] bool is_at_row() const { return at_ != rows_.end() && at_->first.starts_with(prefix_); }

    const std::map<std::string, std::string, std::less<>>& rows_;
    const std::string prefix_;
    std::map<std::string, std::string, std::less<>>::const_iterator at_;
};

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

    std::unique_ptr<RowCursor> cursor(std::string_view prefix) override {
        return std::make_unique<Cursor>(contents_->now.rows, prefix);
    }

    Result<void> apply(std::span<const StateOp> changes, const CommitId& id) override {
        Batch& batch = contents_->unflushed.emplace_back();
        batch.id = id;
        for (const StateOp& change : changes)
            batch.changes.push_back({change.kind, std::string(change.key), std::string(change.value)});
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

Result<std::unique_ptr<RowStore>> MemoryRowStores::open(const std::string& name, ShardId shard) {
    std::shared_ptr<Contents>& contents = stores_[{name, shard}];
    if (!contents) contents = std::make_shared<Contents>();
    return std::unique_ptr<RowStore>(
        std::make_unique<Store>(contents, "store '" + name + "' of shard " + std::to_string(shard)));
}

Result<std::unique_ptr<RowStore>> MemoryRowStores::make_scratch(const std::string& name, int32_t slot) {
    return std::unique_ptr<RowStore>(std::make_unique<Store>(
        std::make_shared<Contents>(), "store '" + name + "' of worker " + std::to_string(slot)));
}

std::unique_ptr<MemoryRowStores> MemoryRowStores::clone() const {
    auto copy = std::make_unique<MemoryRowStores>();
    for (const auto& [place, contents] : stores_)
        copy->stores_[place] = std::make_shared<Contents>(*contents);
    return copy;
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
