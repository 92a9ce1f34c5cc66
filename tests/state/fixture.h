// What the tests of the slot's files share: a model of a slot's state, random epochs, and reading back.
#pragma once

#include <map>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "state/slot_store.h"
#include "tests/sim/sim_disk.h"

namespace weir::state {

// (shard, table, key) → value.
using Contents = std::map<std::tuple<ShardId, uint32_t, std::string>, std::string>;

inline void apply(const StateOp& op, ShardId shard, Contents& contents) {
    const std::string key(op.key);
    switch (op.kind) {
        case StateOp::Kind::kPut: contents[{shard, op.table, key}] = op.value; return;
        case StateOp::Kind::kErase: contents.erase({shard, op.table, key}); return;
        case StateOp::Kind::kErasePrefix:
            std::erase_if(contents, [&](const auto& entry) {
                return std::get<0>(entry.first) == shard && std::get<1>(entry.first) == op.table &&
                       std::get<2>(entry.first).starts_with(op.key);
            });
            return;
    }
}

inline Result<void> apply(std::string_view delta, ShardId shard, Contents& contents) {
    DeltaReader reader(delta);
    StateOp op;
    while (reader.next(op)) apply(op, shard, contents);
    if (reader.failed()) return Error{Code::kCorrupt, "delta"};
    return {};
}

class ContentsVisitor final : public StateVisitor {
public:
    Result<void> entry(ShardId shard, uint32_t table, std::string_view key, std::string_view value) override {
        contents[{shard, table, std::string(key)}] = value;
        return {};
    }
    Result<void> delta(ShardId shard, const CommitId&, std::string_view delta) override {
        return apply(delta, shard, contents);
    }
    Contents contents;
};

inline Result<Contents> read_back(Directory& directory, const SlotImage& image, const CommitId& upto) {
    ContentsVisitor visitor;
    WEIR_TRY(replay_slot(directory, image, upto, visitor));
    return visitor.contents;
}

// An epoch and the bytes of its deltas.
struct TestEpoch {
    EpochRecord record;
    std::vector<std::string> deltas;

    [[nodiscard]] const EpochRecord& view() {
        for (size_t i = 0; i < deltas.size(); ++i) record.shards[i].delta = deltas[i];
        return record;
    }
};

inline TestEpoch make_epoch(const CommitId& id, const CommitId& prev, const std::vector<ShardId>& shards,
                            std::mt19937_64& random, size_t ops_max = 12, size_t value_bytes_max = 60) {
    TestEpoch epoch;
    epoch.record.id = id;
    epoch.record.prev = prev;
    epoch.record.sink_position = "length " + std::to_string(id.sequence);
    for (const ShardId shard : shards) {
        const auto offset = static_cast<int64_t>(id.sequence * 10);
        epoch.record.shards.push_back({{shard,
                                        {{{TopicId{0}, shard}, offset, offset, "clock"},
                                         {{TopicId{1}, shard}, offset + 1, kNoTime, ""}}},
                                       {}});
        std::string& delta = epoch.deltas.emplace_back();
        DeltaWriter writer(delta);
        for (size_t i = random() % (ops_max + 1); i > 0; --i) {
            const auto table = static_cast<uint32_t>(random() % 3);
            const std::string key = std::to_string(random() % 200);
            const uint64_t kind = random() % 20;
            if (kind == 0)
                writer.erase_prefix(table, key.substr(0, random() % 3));
            else if (kind < 5)
                writer.erase(table, key);
            else
                writer.put(
                    table, key,
                    std::string(random() % (value_bytes_max + 1), static_cast<char>('a' + random() % 26)));
        }
    }
    return epoch;
}

inline void apply_epoch(TestEpoch& epoch, Contents& contents) {
    for (const ShardEpoch& shard : epoch.view().shards)
        apply(shard.delta, shard.progress.shard, contents).value();
}

// One committed epoch, as a worker does it.
inline Result<void> commit(SlotStore& store, TestEpoch& epoch) {
    WEIR_TRY(store.reserve());
    WEIR_TRY(store.append(epoch.view()));
    WEIR_TRY(store.sync());
    store.committed();
    return {};
}

}  // namespace weir::state
