// Directed crashes for the durability tests: WEIR_CRASH_AT=name:n makes the process kill itself (SIGKILL,
// nothing is flushed) when it reaches the named point for the n-th time. Costs one predictable branch.
//
// Thread:  any; the count is shared by all workers of the process.
#pragma once

namespace weir {

// Points in use: after_begin, after_prepare_append, after_prepare_sync, after_flush, after_send_offsets,
// before_commit, after_commit, during_recovery, after_recovery_switch, during_genesis.
void crash_point(const char* name);

}  // namespace weir
