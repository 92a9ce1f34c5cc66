#include "connectors/partitioner.h"

#include <cstring>

namespace weir::connectors {

uint32_t murmur2(std::string_view bytes) {
    constexpr uint32_t kMultiplier = 0x5bd1e995;
    constexpr uint32_t kSeed = 0x9747b28c;
    uint32_t hash = kSeed ^ static_cast<uint32_t>(bytes.size());
    while (bytes.size() >= 4) {
        uint32_t word;
        std::memcpy(&word, bytes.data(), 4);
        word *= kMultiplier;
        word ^= word >> 24;
        word *= kMultiplier;
        hash = (hash * kMultiplier) ^ word;
        bytes.remove_prefix(4);
    }
    if (!bytes.empty()) {
        uint32_t tail = 0;
        std::memcpy(&tail, bytes.data(), bytes.size());
        hash = (hash ^ tail) * kMultiplier;
    }
    hash ^= hash >> 13;
    hash *= kMultiplier;
    return hash ^ (hash >> 15);
}

int32_t partition_for_key(std::string_view key, int32_t partition_count) {
    return static_cast<int32_t>(murmur2(key) & 0x7fffffffU) % partition_count;
}

}  // namespace weir::connectors
