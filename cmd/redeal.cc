#include "cmd/redeal.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "state/stored_rows.h"

namespace weir::cmd {
namespace {

size_t slot_of(const Dealing& dealing, ShardId shard) {
    const auto slot = std::find_if(dealing.begin(), dealing.end(), [&](const auto& shards) {
        return std::find(shards.begin(), shards.end(), shard) != shards.end();
    });
    WEIR_CHECK(slot != dealing.end(), "a shard without a slot");
    return static_cast<size_t>(slot - dealing.begin());
}

// What counts of the log is then safe on disk, so that rows may follow.
Result<void> settle_log(state::Directory& slot, state::SlotImage& image, const CommitId& upto, Clock& clock) {
    if (const auto started = state::SlotStore::start(slot, image, upto, {}, clock); !started.ok())
        return started.error();
    WEIR_ASSIGN(image, state::load_slot(slot));
    return {};
}

}  // namespace

Result<void> redeal(state::StateDirectory& state, const state::Manifest& now, processor::Connector& connector,
                    const Redealing& redealing, Clock& clock) {
    std::vector<std::unique_ptr<state::SlotImage>> images;
    std::vector<state::NewSlot> dealt(redealing.to.size());
    for (size_t i = 0; i < redealing.from.size(); ++i) {
        const auto old_slot = static_cast<int32_t>(i);
        const std::vector<ShardId>& shards = redealing.from[i];
        std::vector<TopicPartition> partitions;
        for (const ShardId shard : shards)
            for (const TopicPartition partition :
                 processor::partitions_of(shard, redealing.partition_counts))
                partitions.push_back(partition);
        if (partitions.empty()) continue;
        WEIR_ASSIGN(auto sink, connector.make_sink({now.pipeline, now.instance, old_slot},
                                                   redealing.decider == processor::Decider::kTransaction));
        WEIR_TRY(sink->open(redealing.timeout_ms));
        std::vector<std::optional<processor::CommittedOffset>> committed(partitions.size());
        if (redealing.kafka_inputs) {
            WEIR_ASSIGN(committed, sink->committed(partitions, redealing.timeout_ms));
        }
        WEIR_ASSIGN(auto loaded, state::load_slot(state.slot(old_slot)));
        images.push_back(std::make_unique<state::SlotImage>(std::move(loaded)));
        const state::SlotImage& image = *images.back();
        WEIR_ASSIGN(const auto decision, processor::decide_slot(image, redealing.decider, old_slot, shards,
                                                                partitions, committed));
        if (!redealing.stored_tables.empty()) {
            WEIR_TRY(settle_log(state.slot(old_slot), *images.back(), decision.upto, clock));
            WEIR_TRY(state::fill_row_stores(state.slot(old_slot), image, decision.upto, shards,
                                            redealing.stored_tables, *redealing.row_stores));
        }
        for (const ShardId shard : shards) {
            if (image.progress(shard, decision.epochs_kept) == nullptr) continue;
            state::NewSlot& target = dealt[slot_of(redealing.to, shard)];
            target.shards.push_back({shard, &image, old_slot, decision.upto});
            target.sink_position = image.sink_position(decision.epochs_kept);
        }
    }
    for (state::NewSlot& slot : dealt)
        std::sort(slot.shards.begin(), slot.shards.end(),
                  [](const state::ShardSource& a, const state::ShardSource& b) { return a.shard < b.shard; });
    return state.relayout(now, dealt, clock.wall_ms(), redealing.stored_tables);
}

}  // namespace weir::cmd
