// Commit metadata as anybody may have left it in Kafka: what is accepted has one spelling, and what weir
// writes is accepted, whatever the host's name is.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "state/recovery.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace weir;
    const std::string text(reinterpret_cast<const char*>(data), size);
    if (const auto parsed = state::parse_commit_metadata(text)) {
        WEIR_CHECK(!parsed->id.empty());
        WEIR_CHECK(state::encode_commit_metadata(*parsed) == text, "accepted in another spelling");
    }

    uint64_t numbers[4] = {};
    std::memcpy(numbers, data, std::min(size, sizeof numbers));
    const state::CommitMetadata written{{{numbers[0], numbers[1]}, numbers[2]},
                                        static_cast<EventTime>(numbers[3]),
                                        text.substr(std::min(size, sizeof numbers))};
    if (written.id.empty()) return 0;
    const std::string encoded = state::encode_commit_metadata(written);
    WEIR_CHECK(encoded.size() <= 200);
    WEIR_CHECK(std::all_of(encoded.begin(), encoded.end(), [](char c) { return c > 0x20 && c < 0x7F; }));
    const auto read = state::parse_commit_metadata(encoded);
    WEIR_CHECK(read && read->id == written.id && read->watermark == written.watermark);
    return 0;
}
