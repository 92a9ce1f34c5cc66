// CRC32C (Castagnoli), as in RFC 3720, by the processor's instructions.
#pragma once

#include <cstdint>
#include <string_view>

namespace weir::state {

// Continues `crc`, the CRC of the bytes before; 0 for none.
[[nodiscard]] uint32_t crc32c(uint32_t crc, std::string_view bytes);

}  // namespace weir::state
