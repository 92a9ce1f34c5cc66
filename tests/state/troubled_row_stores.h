// Row stores that have trouble when a test says so.
//
// Thread: that of the stores.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "state/row_store.h"

namespace weir::state {

class TroubledRowStores final : public RowStores {
public:
    // They outlive it.
    explicit TroubledRowStores(RowStores& stores) : stores_(stores) {}

    // How each call of the kind fails; nullopt: it does not.
    std::optional<Code> finding;
    std::optional<Code> scanning;
    std::optional<Code> applying;

    Result<std::unique_ptr<RowStore>> open(const std::string& name, ShardId shard) override {
        WEIR_ASSIGN(auto store, stores_.open(name, shard));
        return std::unique_ptr<RowStore>(std::make_unique<Store>(*this, std::move(store)));
    }
    Result<std::unique_ptr<RowStore>> make_scratch(const std::string& name, int32_t slot) override {
        WEIR_ASSIGN(auto store, stores_.make_scratch(name, slot));
        return std::unique_ptr<RowStore>(std::make_unique<Store>(*this, std::move(store)));
    }

private:
    static Result<void> check(const std::optional<Code>& trouble) {
        if (trouble) return Error{*trouble, "trouble in a row store"};
        return {};
    }

    class Cursor final : public RowCursor {
    public:
        Cursor(const TroubledRowStores& world, std::unique_ptr<RowCursor> rows)
            : world_(world), rows_(std::move(rows)) {}
        Result<bool> seek(std::string_view key) override {
            WEIR_TRY(check(world_.scanning));
            return rows_->seek(key);
        }
        Result<bool> next() override {
            WEIR_TRY(check(world_.scanning));
            return rows_->next();
        }
        std::string_view key() const override { return rows_->key(); }
        std::string_view value() const override { return rows_->value(); }

    private:
        const TroubledRowStores& world_;
        std::unique_ptr<RowCursor> rows_;
    };

    class Store final : public RowStore {
    public:
        Store(const TroubledRowStores& world, std::unique_ptr<RowStore> store)
            : world_(world), store_(std::move(store)) {}
        const CommitId& applied() const override { return store_->applied(); }
        Result<bool> find(std::string_view key, std::string& value) override {
            WEIR_TRY(check(world_.finding));
            return store_->find(key, value);
        }
        std::unique_ptr<RowCursor> cursor(std::string_view prefix) override {
            return std::make_unique<Cursor>(world_, store_->cursor(prefix));
        }
        Result<void> apply(std::span<const StateOp> changes, const CommitId& id) override {
            WEIR_TRY(check(world_.applying));
            return store_->apply(changes, id);
        }
        Result<void> flush() override { return store_->flush(); }
        uint64_t rows() const override { return store_->rows(); }
        uint64_t memory_bytes() const override { return store_->memory_bytes(); }
        std::string name() const override { return store_->name(); }

    private:
        const TroubledRowStores& world_;
        std::unique_ptr<RowStore> store_;
    };

    RowStores& stores_;
};

}  // namespace weir::state
