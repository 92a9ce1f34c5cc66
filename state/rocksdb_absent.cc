// In place of rocksdb_stores.cc where the build leaves RocksDB out (WEIR_ROCKSDB=OFF).
#include "state/rocksdb_stores.h"

namespace weir::state {

Result<std::unique_ptr<RowStores>> open_rocksdb_stores(Directory&, std::string) {
    return Error{Code::kNotFound,
                 "`backend: rocksdb`: this weir was built without RocksDB (WEIR_ROCKSDB=OFF)"};
}

}  // namespace weir::state
