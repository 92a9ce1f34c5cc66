// Files and directories as parameters, so that a worker runs on a simulated disk. The POSIX implementation
// holds the only file system calls of this folder. Files get mode 0600, directories 0700.
//
// Durability: write() alone promises nothing. Bytes survive power loss after File::sync(); a name (create,
//             rename, remove) survives after Directory::sync().
// Thread:     a File belongs to one thread at a time; a Directory may be used by several.
// Failure:    Code::kNoSpace for ENOSPC and EDQUOT, kNotFound for ENOENT, kFenced for a lock that is held by
//             another process, kIo for the rest. After a failed sync the bytes may be lost although a later
//             read still shows them: who depends on them must stop the process.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace weir::state {

class File {
public:
    virtual ~File() = default;

    // Reads up to `size` bytes at `offset`; fewer only at the end of the file.
    [[nodiscard]] virtual Result<size_t> read(uint64_t offset, char* out, size_t size) = 0;
    // All or an error; after an error any part may have been written.
    [[nodiscard]] virtual Result<void> write(uint64_t offset, std::string_view bytes) = 0;
    // Reserves the blocks of [offset, offset + length) and extends the file with zeros up to there.
    [[nodiscard]] virtual Result<void> preallocate(uint64_t offset, uint64_t length) = 0;
    [[nodiscard]] virtual Result<void> truncate(uint64_t size) = 0;
    [[nodiscard]] virtual Result<void> sync() = 0;  // fdatasync
    [[nodiscard]] virtual Result<uint64_t> size() = 0;
};

// Held until destroyed.
class DirectoryLock {
public:
    virtual ~DirectoryLock() = default;
};

class Directory {
public:
    virtual ~Directory() = default;

    // An empty file for reading and writing; replaces one of the same name.
    [[nodiscard]] virtual Result<std::unique_ptr<File>> create(const std::string& name) = 0;
    [[nodiscard]] virtual Result<std::unique_ptr<File>> open(const std::string& name) = 0;  // Read and write.
    [[nodiscard]] virtual Result<std::unique_ptr<File>> open_read(const std::string& name) = 0;
    [[nodiscard]] virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
    [[nodiscard]] virtual Result<void> remove(const std::string& name) = 0;
    // Names of files and directories, sorted.
    [[nodiscard]] virtual Result<std::vector<std::string>> list() = 0;
    [[nodiscard]] virtual Result<void> sync() = 0;

    // Creates it when `create` is set, else kNotFound.
    [[nodiscard]] virtual Result<std::unique_ptr<Directory>> subdirectory(const std::string& name,
                                                                          bool create) = 0;
    // With everything in it.
    [[nodiscard]] virtual Result<void> remove_subdirectory(const std::string& name) = 0;
    // kFenced when another process holds it.
    [[nodiscard]] virtual Result<std::unique_ptr<DirectoryLock>> lock(const std::string& name) = 0;
    // By how much the files in it can grow together; UINT64_MAX: nothing bounds them.
    [[nodiscard]] virtual Result<uint64_t> free_bytes() = 0;
    [[nodiscard]] virtual std::string path() const = 0;  // For messages.
};

// `path` is created, with mode 0700, when it does not exist and `create` is set; its parent must exist.
[[nodiscard]] Result<std::unique_ptr<Directory>> open_posix_directory(const std::string& path, bool create);

// Reads a whole file of at most `limit` bytes; a larger one is kCorrupt.
[[nodiscard]] Result<std::string> read_file(Directory& directory, const std::string& name, uint64_t limit);

// A new file whose bytes are on the disk; its name is not before the directory's sync.
[[nodiscard]] Result<void> write_synced(Directory& directory, const std::string& name,
                                        std::string_view bytes);

// Replaces `name` by `bytes` so that power loss leaves the old or the new content, never a mixture:
// temporary file, sync, rename, directory sync.
[[nodiscard]] Result<void> replace_file(Directory& directory, const std::string& name,
                                        std::string_view bytes);

}  // namespace weir::state
