// Logging: spdlog behind one function per level, text of the form "what happened key=value key=value".
// Never called per record. Values of records and secrets are never logged.
//
// Thread: any.
#pragma once

#include <spdlog/spdlog.h>

#include <string>
#include <string_view>

namespace weir {

enum class LogFormat { kText, kJson };

// Sets the process's only logger, on standard error. Call once, before threads start.
void configure_log(std::string_view level, LogFormat format);

// Registers a text that must never appear in a log line; every later line has it replaced by "***". Each line
// of it counts by itself; lines of less than four bytes do not.
void log_redact(std::string_view secret);

// The same for a text that is shown elsewhere: on standard output, by the admin listener.
[[nodiscard]] std::string redacted(std::string text);

template <class... Args>
void log_info(spdlog::format_string_t<Args...> format, Args&&... args) {
    spdlog::info(format, std::forward<Args>(args)...);
}
template <class... Args>
void log_warn(spdlog::format_string_t<Args...> format, Args&&... args) {
    spdlog::warn(format, std::forward<Args>(args)...);
}
template <class... Args>
void log_error(spdlog::format_string_t<Args...> format, Args&&... args) {
    spdlog::error(format, std::forward<Args>(args)...);
}
template <class... Args>
void log_debug(spdlog::format_string_t<Args...> format, Args&&... args) {
    spdlog::debug(format, std::forward<Args>(args)...);
}

}  // namespace weir
