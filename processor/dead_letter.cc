#include "processor/dead_letter.h"

#include <algorithm>

namespace weir::processor {

std::string_view error_name_text(ErrorName name) {
    switch (name) {
        case ErrorName::kDecodeFailed: return "decode_failed";
        case ErrorName::kTimestampUnreadable: return "timestamp_unreadable";
        case ErrorName::kTimestampAhead: return "timestamp_ahead";
        case ErrorName::kExpressionFailed: return "expression_failed";
        case ErrorName::kLookupMissed: return "lookup_missed";
        case ErrorName::kProduceFailed: return "produce_failed";
    }
    return "unknown";
}

Result<void> DeadLetters::reject(const ErrorPlan& policy, const FailedRecord& failed, const Source* source,
                                 Sink& sink, uint64_t& dead_lettered, uint64_t& skipped) {
    if (policy.action == config::ErrorAction::kSkip) {
        ++skipped;
        return {};
    }
    std::string topic;
    std::string partition;
    std::string offset;
    if (failed.record != nullptr) {
        topic = plan_.inputs[static_cast<size_t>(failed.partition.topic)].name;
        partition = std::to_string(failed.partition.partition);
        offset = std::to_string(failed.record->offset);
    }
    if (policy.action == config::ErrorAction::kFail) {
        std::string where = failed.record == nullptr ? "a window's result"
                                                     : "record " + topic + "[" + partition + "]@" + offset;
        return Error{Code::kRecordFailed, where + " failed at " + std::string(failed.step) + ": " +
                                              std::string(failed.message) + " (" +
                                              std::string(error_name_text(failed.error)) + "; see on_error)"};
    }
    headers_.clear();
    if (failed.record != nullptr && source != nullptr) source->read_headers(*failed.record, headers_);
    const size_t own = headers_.size();
    const auto add = [&](std::string_view name, std::string_view value) {
        const auto end = headers_.begin() + static_cast<ptrdiff_t>(own);
        const bool present =
            std::any_of(headers_.begin(), end, [&](const Header& h) { return h.name == name; });
        if (!present) headers_.push_back({name, value});
    };
    add("__streams.errors.exception", error_name_text(failed.error));
    add("__streams.errors.stacktrace", failed.step);
    add("__streams.errors.message", failed.message);
    if (failed.record != nullptr) {
        add("__streams.errors.topic", topic);
        add("__streams.errors.partition", partition);
        add("__streams.errors.offset", offset);
    }
    add("weir.pipeline", plan_.name);
    if (!failed.stream.empty()) add("weir.stream", failed.stream);
    add("weir.step", failed.step);

    OutputRecord out;
    out.topic = policy.dead_letter;
    out.key = failed.record != nullptr ? failed.record->key : failed.key;
    out.value = failed.record != nullptr ? failed.record->value : failed.value;
    out.timestamp_ms = failed.record != nullptr ? failed.record->timestamp_ms : failed.timestamp_ms;
    out.headers = headers_;
    WEIR_TRY(sink.produce(out));
    ++dead_lettered;
    return {};
}

}  // namespace weir::processor
