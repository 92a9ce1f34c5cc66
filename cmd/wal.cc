// `weir wal`: what is in a state folder. Reads while weir is stopped; only repair writes.
#include <cstdio>

#include "base/log.h"
#include "cmd/exit_code.h"
#include "cmd/verbs.h"
#include "state/wal_tool.h"

namespace weir::cmd {
namespace {

constexpr size_t kDumpedValueBytes = 200;

}  // namespace

int wal(const std::string& action, const std::string& directory) {
    auto root = state::open_posix_directory(directory, false);
    if (!root.ok()) {
        log_error("{}", root.error().message);
        return exit_code(root.error().code);
    }
    std::string text;
    int code = kExitOk;
    Result<void> done;
    if (action == "verify") {
        const auto end = state::wal_verify(**root, text);
        if (!end.ok())
            done = end.error();
        else if (*end == state::WalEnd::kTorn)
            code = kExitFindings;
        else if (*end == state::WalEnd::kCorrupt)
            code = kExitIo;
    } else if (action == "repair") {
        done = state::wal_repair(**root, text);
    } else if (action == "dump") {
        done = state::wal_dump(**root, kDumpedValueBytes, text);
    } else {
        done = state::wal_inspect(**root, text);
    }
    std::fputs(text.c_str(), stdout);
    if (done.ok()) return code;
    log_error("{}", done.error().message);
    return exit_code(done.error().code);
}

}  // namespace weir::cmd
