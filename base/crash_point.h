// Directed crashes for the durability tests: WEIR_CRASH_AT=name:n makes the process kill itself (SIGKILL,
// nothing is flushed) when it reaches the named point for the n-th time. Costs one predictable branch.
//
// Thread:  any; the count is shared by all workers of the process.
#pragma once

namespace weir {

// Points, in the order of their lives:
//   a start      after_open, during_recovery, before_log_switch, after_log_switch, after_recovery_switch,
//                during_genesis
//   an epoch     after_prepare_append, after_prepare_sync, after_flush, after_send_offsets, after_end,
//                after_commit
//   the log      after_rotate, during_snapshot, before_snapshot_switch, after_snapshot_switch
void crash_point(const char* name);

}  // namespace weir
