#include "cmd/exit_code.h"

namespace weir::cmd {

int exit_code(Code code) {
    switch (code) {
        case Code::kRecordFailed: return kExitRecordFailed;
        case Code::kUnavailable:
        case Code::kTimedOut: return kExitUnavailable;
        case Code::kIo:
        case Code::kNoSpace:
        case Code::kCorrupt: return kExitIo;
        case Code::kStateLimit: return kExitStateLimit;
        case Code::kFenced: return kExitFenced;
        case Code::kMismatch: return kExitMismatch;
        case Code::kUnauthorized: return kExitUnauthorized;
        case Code::kNotFound: return kExitConfig;
        case Code::kInvalid:
        case Code::kUnknown: return kExitInternal;
    }
    return kExitInternal;
}

}  // namespace weir::cmd
