// A disk in memory that loses what was not synced. Writes wait per file, names wait per directory;
// cut_power() applies a random part of them: each waiting write whole, dropped, or torn into pieces of 512
// bytes or 4 KiB, and each waiting create, rename and remove or not, in no order.
//
// Thread: any; one lock for the whole disk.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "state/file.h"
#include "state/memory_row_stores.h"

namespace weir::sim {

class SimDisk {
public:
    SimDisk();
    ~SimDisk();
    SimDisk(const SimDisk&) = delete;
    SimDisk& operator=(const SimDisk&) = delete;

    [[nodiscard]] std::unique_ptr<state::Directory> root();

    // In place of the folders of databases on it.
    [[nodiscard]] state::MemoryRowStores& row_stores();

    // The process dies, the machine lives: every handle dies and every lock is released; of files nothing is
    // lost, and nothing becomes safe. Row stores lose what they had not written out.
    void kill();
    // The power fails: every handle dies, and the disk keeps a random part of what was not synced.
    void cut_power(std::mt19937_64& random);

    // The n-th changing call from now (1: the next one) and all after it fail with kIo: the machine stopped
    // there.
    void stop_at(uint64_t n);
    // The n-th changing call from now fails once with `code`. A failed sync loses the waiting bytes although
    // they can still be read.
    void fail_at(uint64_t n, Code code);
    void fail_nothing();
    [[nodiscard]] uint64_t changing_calls() const;

    // Called before every changing call with what it is about to do; it may throw: the process died there.
    struct Call {
        const char* kind;  // "create", "rename", "remove", "mkdir", "sync", "syncdir", "write", "truncate".
        std::string_view name;
        uint64_t offset;
        std::string_view bytes;
    };
    void observe(std::function<void(const Call&)> observer);

    // The same bytes and names, synced and not, on another disk.
    [[nodiscard]] std::unique_ptr<SimDisk> clone() const;
    // Rot: one bit, counted from the first byte of the file, also of what was synced.
    void flip_bit(const std::string& path, uint64_t bit);

    // Bytes of all files together above which writes fail with kNoSpace.
    void set_capacity(uint64_t bytes);

    // Direct access to a file by path ("slot-1-0/CURRENT"), as rot and a curious test have it.
    [[nodiscard]] std::string& bytes(const std::string& path);
    [[nodiscard]] std::vector<std::string> files() const;  // Paths of all files, sorted.

    struct World;

private:
    std::unique_ptr<World> world_;
};

}  // namespace weir::sim
