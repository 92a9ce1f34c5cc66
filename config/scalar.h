// The texts inside scalars: durations, instants, CPU lists, addresses, names. Pure functions; nullopt where
// the text is none. Durations are milliseconds, instants milliseconds since the Unix epoch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/pipeline.h"

namespace weir::config {

// "250ms", "1m30s", "7d": units ms, s, m, h, d, each at most once, from large to small; at most 100 years.
[[nodiscard]] std::optional<int64_t> parse_duration(std::string_view text);
// In the largest unit that divides it: "90s", "2m", "0ms".
[[nodiscard]] std::string format_duration(int64_t milliseconds);
// RFC 3339 with a zone: "2026-01-01T00:00:00.5+02:00". Digits after the millisecond are cut.
[[nodiscard]] std::optional<int64_t> parse_instant(std::string_view text);
// earliest | latest | an instant | "-1h".
[[nodiscard]] std::optional<Start> parse_start(std::string_view text);
// Decimal digits only; nothing when it does not fit.
[[nodiscard]] std::optional<int32_t> parse_integer(std::string_view text);
// "3", or a text that ends in "-3", as the pod names of a StatefulSet do.
[[nodiscard]] std::optional<int32_t> parse_ordinal(std::string_view text);
// "<ordinal>/<count>".
[[nodiscard]] std::optional<Instance> parse_instance(std::string_view text);
// auto | a number from 1 to 1024 | a CPU list.
[[nodiscard]] std::optional<Workers> parse_workers(std::string_view text);
// "2-5,7": ascending or not, but each CPU (0 to 1023) once.
[[nodiscard]] std::optional<std::vector<int32_t>> parse_cpu_list(std::string_view text);
// "host:port", "[::1]:port" or "none".
[[nodiscard]] bool is_listen_address(std::string_view text);
// Lower-case letters, digits, dots and dashes, starting and ending with a letter or digit; at most 100.
[[nodiscard]] bool is_pipeline_name(std::string_view text);
// Letters, digits, underscores and dashes, starting with a letter or underscore; at most 100.
[[nodiscard]] bool is_part_name(std::string_view text);
// Kafka's rule: letters, digits, ".", "_" and "-", at most 249, neither "." nor "..".
[[nodiscard]] bool is_topic_name(std::string_view text);

}  // namespace weir::config
