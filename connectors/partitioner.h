// The partition of a keyed record, as Java's default partitioner chooses it: 32-bit MurmurHash2 (Austin
// Appleby, public domain) with seed 0x9747b28c, made positive, modulo the partition count. Librdkafka's
// "murmur2_random" is the same function; this one serves brokers that live in this process.
#pragma once

#include <cstdint>
#include <string_view>

namespace weir::connectors {

[[nodiscard]] uint32_t murmur2(std::string_view bytes);
[[nodiscard]] int32_t partition_for_key(std::string_view key, int32_t partition_count);

}  // namespace weir::connectors
