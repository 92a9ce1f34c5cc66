// The names that cross folder borders: which log, which partition of it, which shard, which commit.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace weir {

// Index into the plan's table of inputs or outputs (processor/plan.h): a topic or a file.
enum class TopicId : uint16_t {};

struct TopicPartition {
    TopicId topic{};
    int32_t partition = 0;

    friend auto operator<=>(const TopicPartition&, const TopicPartition&) = default;
};

// A shard is the set of equally numbered partitions of all inputs: the unit of ownership and recovery.
using ShardId = int32_t;

// Identifies one commit for ever: `boot` is drawn anew for every producer instance, so that a number
// used by an aborted epoch is never taken for a committed one.
struct CommitId {
    std::array<uint64_t, 2> boot{};
    uint64_t sequence = 0;

    [[nodiscard]] bool empty() const { return boot[0] == 0 && boot[1] == 0 && sequence == 0; }
    friend auto operator<=>(const CommitId&, const CommitId&) = default;
};

// "<32 hex digits>.<decimal>", the form in Kafka's commit metadata.
[[nodiscard]] std::string to_string(const CommitId& id);
// False (and `id` untouched) when `text` is not exactly that form.
[[nodiscard]] bool parse_commit_id(std::string_view text, CommitId& id);

}  // namespace weir

template <>
struct std::hash<weir::TopicPartition> {
    size_t operator()(const weir::TopicPartition& tp) const noexcept {
        return std::hash<uint64_t>{}(static_cast<uint64_t>(tp.topic) << 32 |
                                     static_cast<uint32_t>(tp.partition));
    }
};
