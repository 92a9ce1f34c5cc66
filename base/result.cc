#include "base/result.h"

namespace weir {

const char* code_name(Code code) {
    switch (code) {
        case Code::kInvalid: return "invalid";
        case Code::kNotFound: return "not_found";
        case Code::kUnavailable: return "unavailable";
        case Code::kTimedOut: return "timed_out";
        case Code::kFenced: return "fenced";
        case Code::kUnauthorized: return "unauthorized";
        case Code::kIo: return "io";
        case Code::kNoSpace: return "no_space";
        case Code::kCorrupt: return "corrupt";
        case Code::kMismatch: return "mismatch";
        case Code::kRecordFailed: return "record_failed";
        case Code::kStateLimit: return "state_limit";
        case Code::kUnknown: return "unknown";
    }
    return "?";
}

}  // namespace weir
