// MANIFEST: which world the state of this process belongs to. Written once per layout, by rename.
//
//   MANIFEST := magic "weirmani" version(u32) crc32c(u32, over what follows) fields
//   fields   := cluster_id pipeline state_hash (bytes each) inputs(varint) {name(bytes) partitions(u32)}*
//               instance(u32) instances(u32) slots(u32) layout(u64)
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace weir::state {

inline constexpr uint32_t kManifestVersion = 1;

struct ManifestInput {
    std::string name;
    int32_t partition_count = 0;

    friend bool operator==(const ManifestInput&, const ManifestInput&) = default;
};

struct Manifest {
    std::string cluster_id;
    std::string pipeline;
    std::string state_hash;  // Opaque here: the planner's description of what the state looks like.
    std::vector<ManifestInput> inputs;  // In the order of the plan: their indexes are in the log.
    int32_t instance = 0;               // This process is `instance` of `instances`.
    int32_t instances = 1;
    int32_t slots = 1;
    uint64_t layout = 1;  // Generation of the dealing of shards to slots.

    friend bool operator==(const Manifest&, const Manifest&) = default;
};

[[nodiscard]] std::string encode_manifest(const Manifest& manifest);
// kCorrupt: damaged. kMismatch: a newer format.
[[nodiscard]] Result<Manifest> decode_manifest(std::string_view bytes);

// Ok when state written under `on_disk` may be used by a process that is `now`; slots and layout may differ
// (state/state_directory.h deals the shards anew). Else kMismatch: what differs and what to do.
[[nodiscard]] Result<void> compare_manifest(const Manifest& on_disk, const Manifest& now);

}  // namespace weir::state
