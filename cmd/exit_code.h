// The process's exit codes: sysexits.h where one fits. They are part of the interface (docs/operations.md).
#pragma once

#include "base/result.h"

namespace weir::cmd {

enum ExitCode : int {
    kExitOk = 0,             // Done, or a clean SIGTERM.
    kExitFindings = 1,       // `wal verify` found damage; a test failed.
    kExitUsage = 64,         // The command line is wrong.
    kExitRecordFailed = 65,  // A record failed and on_error is fail.
    kExitUnavailable = 69,   // The brokers did not answer within --startup-timeout.
    kExitInternal = 70,      // A bug of ours, or a worker that hangs.
    kExitStateLimit = 71,    // Operators keep more in memory than state.max_memory_mib allows.
    kExitIo = 74,            // The disk failed, or what is on it is damaged.
    kExitFenced = 75,        // Another process owns the identity or the state folder; restart is safe.
    kExitMismatch = 76,      // State on disk and offsets in Kafka do not belong together.
    kExitUnauthorized = 77,
    kExitConfig = 78,  // The pipeline file, or a topic that it names, is wrong.
};

[[nodiscard]] int exit_code(Code code);

}  // namespace weir::cmd
