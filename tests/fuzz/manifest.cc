// MANIFEST from hostile bytes, as they are and with a checksum that fits: what is accepted has one spelling.
#include <cstdint>
#include <cstring>
#include <string>

#include "state/crc32c.h"
#include "state/manifest.h"

namespace {

constexpr size_t kChecksumAt = 12;  // After the magic and the version; over the bytes around it.

void check(const std::string& bytes) {
    const auto manifest = weir::state::decode_manifest(bytes);
    if (!manifest.ok()) return;
    WEIR_CHECK(weir::state::encode_manifest(*manifest) == bytes, "accepted in another spelling");
    WEIR_CHECK(weir::state::compare_manifest(*manifest, *manifest).ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::string bytes(reinterpret_cast<const char*>(data), size);
    check(bytes);
    if (size < kChecksumAt + 4) return 0;
    const std::string_view view = bytes;
    const uint32_t crc = weir::state::crc32c(weir::state::crc32c(0, view.substr(0, kChecksumAt)),
                                             view.substr(kChecksumAt + 4));
    std::memcpy(bytes.data() + kChecksumAt, &crc, sizeof crc);
    check(bytes);
    return 0;
}
