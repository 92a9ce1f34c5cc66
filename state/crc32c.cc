#include "state/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace weir::state {

uint32_t crc32c(uint32_t crc, std::string_view bytes) {
    constexpr size_t kStepMax = 1u << 30;  // The library takes an int.
    crc = ~crc;
    while (!bytes.empty()) {
        const size_t step = std::min(bytes.size(), kStepMax);
        // The library only reads, but declares its argument without const.
        auto* const data = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(bytes.data()));
        crc = crc32_iscsi(data, static_cast<int>(step), crc);
        bytes.remove_prefix(step);
    }
    return ~crc;
}

}  // namespace weir::state
