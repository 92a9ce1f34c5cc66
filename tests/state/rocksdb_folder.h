// A temporary folder for row stores in RocksDB, which goes with it. The stores end before it.
//
// Thread: one.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "state/file.h"
#include "state/rocksdb_stores.h"

namespace weir::state {

class RocksDbFolder {
public:
    RocksDbFolder() {
        std::string name = (std::filesystem::temp_directory_path() / "weir-rows-XXXXXX").string();
        REQUIRE(mkdtemp(name.data()) != nullptr);
        path = name;
        root = open_posix_directory(path, false).value();
    }
    ~RocksDbFolder() { std::filesystem::remove_all(path); }
    RocksDbFolder(const RocksDbFolder&) = delete;
    RocksDbFolder& operator=(const RocksDbFolder&) = delete;

    [[nodiscard]] std::unique_ptr<RowStores> stores(const std::string& identity = "one") {
        return open_rocksdb_stores(*root, identity).value();
    }

    std::string path;
    std::unique_ptr<Directory> root;
};

}  // namespace weir::state
