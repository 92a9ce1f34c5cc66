#include "base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <vector>

namespace weir {
namespace {

std::mutex redaction_mutex;
std::vector<std::string> redactions;

void append_json_string(std::string_view text, std::string& out) {
    out.push_back('"');
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out.push_back('\\');
            out.push_back(c);
        } else if (static_cast<unsigned char>(c) < 0x20) {
            out += fmt::format("\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
        } else {
            out.push_back(c);
        }
    }
    out.push_back('"');
}

// Formats a line as text or as one JSON object, after redaction.
class LineFormatter final : public spdlog::formatter {
public:
    explicit LineFormatter(LogFormat format)
        : format_(format), time_("%Y-%m-%dT%H:%M:%S.%eZ", spdlog::pattern_time_type::utc, "") {}

    void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
        const std::string text = redacted({message.payload.data(), message.payload.size()});
        spdlog::memory_buf_t time;
        time_.format(message, time);
        const std::string_view time_text(time.data(), time.size());
        const auto level = spdlog::level::to_string_view(message.level);
        const std::string_view level_text(level.data(), level.size());
        std::string line;
        if (format_ == LogFormat::kJson) {
            line = fmt::format(R"({{"ts":"{}","level":"{}","msg":)", time_text, level_text);
            append_json_string(text, line);
            line += "}\n";
        } else {
            line = fmt::format("{} {:<7} {}\n", time_text, level_text, text);
        }
        out.append(line.data(), line.data() + line.size());
    }

    [[nodiscard]] std::unique_ptr<spdlog::formatter> clone() const override {
        return std::make_unique<LineFormatter>(format_);
    }

private:
    LogFormat format_;
    spdlog::pattern_formatter time_;
};

}  // namespace

void configure_log(std::string_view level, LogFormat format) {
    auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    auto logger = std::make_shared<spdlog::logger>("weir", std::move(sink));
    logger->set_formatter(std::make_unique<LineFormatter>(format));
    logger->set_level(spdlog::level::from_str(std::string(level)));
    logger->flush_on(spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
}

void log_redact(std::string_view secret) {
    while (!secret.empty()) {
        const std::string_view line = secret.substr(0, secret.find_first_of("\r\n"));
        secret.remove_prefix(std::min(line.size() + 1, secret.size()));
        if (line.size() < 4) continue;  // Replacing very short texts would garble every line.
        const std::lock_guard lock(redaction_mutex);
        redactions.emplace_back(line);
    }
}

std::string redacted(std::string text) {
    const std::lock_guard lock(redaction_mutex);
    for (const std::string& secret : redactions)
        for (size_t at = text.find(secret); at != std::string::npos; at = text.find(secret, at + 3))
            text.replace(at, secret.size(), "***");
    return text;
}

}  // namespace weir
