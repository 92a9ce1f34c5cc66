// What `weir wal inspect | verify | repair | dump` do with a state directory. Text goes to the given string.
// Only repair changes anything, and only it needs that no process uses the directory.
#pragma once

#include <string>

#include "base/result.h"
#include "state/file.h"
#include "state/wal.h"

namespace weir::state {

// MANIFEST, and per slot: snapshots, segments, the last commits.
[[nodiscard]] Result<void> wal_inspect(Directory& root, std::string& out);

// Reads every byte of every slot. The worst end found; damage outside the log counts as corrupt.
[[nodiscard]] Result<WalEnd> wal_verify(Directory& root, std::string& out);

// Cuts torn tails, each after copying the segment to "<name>.before-repair"; refuses, touching nothing, when
// a slot is corrupt. A normal start does not need it: it never relies on a torn tail.
[[nodiscard]] Result<void> wal_repair(Directory& root, std::string& out);

// One line per epoch, shard and operation; keys and values escaped, cut at `value_bytes_max`.
[[nodiscard]] Result<void> wal_dump(Directory& root, size_t value_bytes_max, std::string& out);

}  // namespace weir::state
