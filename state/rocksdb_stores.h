// Row stores in RocksDB: one database per operator and shard, <state folder>/rocksdb/<shard>-<name>, without
// a log of its own. Identity and the latest applied commit are a row of it, written with each batch. What a
// start would not go on from is in <state folder>/scratch/<worker>-<name>.
//
// Memory:  a block cache of 32 MiB, in which indexes and filters count too, and about 16 MiB that are not
//          written out yet, in all stores together; beside that a little per store.
// Threads: two of RocksDB's for all stores, started by open_rocksdb_stores(): call it before workers are
//          pinned.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "state/file.h"
#include "state/row_store.h"

namespace weir::state {

// `root` is the pipeline's state directory, locked by this process; it outlives the stores. `identity` is
// whose rows they are: stores of another are kMismatch. kNotFound: this weir was built without RocksDB.
[[nodiscard]] Result<std::unique_ptr<RowStores>> open_rocksdb_stores(Directory& root, std::string identity);

}  // namespace weir::state
