// Row stores in memory, for `weir test` and simulations: they outlive the stores that are open, and lose in a
// crash what a real one may lose.
//
// Thread:  one.
#pragma once

#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include "state/row_store.h"

namespace weir::state {

class MemoryRowStores final : public RowStores {
public:
    MemoryRowStores();
    ~MemoryRowStores() override;

    [[nodiscard]] Result<std::unique_ptr<RowStore>> open(const std::string& name, ShardId shard) override;
    [[nodiscard]] Result<std::unique_ptr<RowStore>> make_scratch(const std::string& name,
                                                                 int32_t slot) override;

    // The same rows, flushed and not, in other stores.
    [[nodiscard]] std::unique_ptr<MemoryRowStores> clone() const;

    // The process ends, or the power is cut. Each store keeps what it flushed, and of the epochs since then
    // the first few: a real one writes its memory out when it likes.
    void crash(std::mt19937_64& random);

private:
    struct Contents;
    class Store;

    std::map<std::pair<std::string, ShardId>, std::shared_ptr<Contents>> stores_;
};

}  // namespace weir::state
