// What a test expected of a topic against what was written: which record answers which, and what differs.
//
// Thread: any; pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/pipeline.h"
#include "connectors/memory_broker.h"

namespace weir::cmd {

// One line of the difference, in the order of the list as it should be.
struct Pairing {
    std::optional<size_t> expected;  // None: nobody expected the record.
    std::optional<size_t> actual;    // None: the record is missing.
    std::string difference;          // Empty: they agree. Else the place and both values.
};

// In the given order the longest agreement is kept; with `any_order` as many records as possible agree.
[[nodiscard]] std::vector<Pairing> compare(const std::vector<config::ExpectedRecord>& expected,
                                           const std::vector<connectors::MemoryRecord>& actual,
                                           bool any_order);

// Expects this record and no other: key, value, timestamp, and headers but for weir.watermark, which depends
// on how the input was cut into polls.
[[nodiscard]] config::ExpectedRecord exactly(const connectors::MemoryRecord& record);

// The record as it would be written under `expect`: one line of YAML. It says the timestamp and headers where
// `like` does.
[[nodiscard]] std::string as_yaml(const connectors::MemoryRecord& record, const config::ExpectedRecord* like);
[[nodiscard]] std::string as_yaml(const config::ExpectedRecord& record);

}  // namespace weir::cmd
