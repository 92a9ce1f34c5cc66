// Snapshot of one shard: its state after one commit, entries in ascending order of (table, key). Bytes:
// docs/wal_format.md.
//
//   snapshot := header(32 bytes) record(info) record(block)* record(footer)      records framed as in the WAL
//
// A file without a valid footer does not exist: it is written under a temporary name, synced, renamed, and
// the directory synced, before anything names it.
//
// Thread:  a value belongs to one thread.
// Failure: kCorrupt when a byte does not verify; the reader streams, so entries handed out before that
//          must be thrown away.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "state/epoch_record.h"
#include "state/file.h"

namespace weir::state {

inline constexpr uint32_t kSnapshotFormatVersion = 1;
inline constexpr uint64_t kSnapshotBlockBytes = 64u << 10;  // A block is closed when it has grown to this.

struct SnapshotInfo {
    CommitId id;             // State after this commit; empty: before the first.
    ShardProgress progress;  // At that commit.
};

class SnapshotWriter {
public:
    [[nodiscard]] static Result<SnapshotWriter> create(Directory& directory, std::string name,
                                                       const SnapshotInfo& info);

    // Strictly ascending in (table, key).
    [[nodiscard]] Result<void> add(uint32_t table, std::string_view key, std::string_view value);
    // Footer, sync, rename, directory sync. Returns the file's size.
    [[nodiscard]] Result<uint64_t> finish();

private:
    SnapshotWriter(Directory& directory, std::string name, std::unique_ptr<File> file);
    void put_record(uint8_t type, std::string_view payload);
    [[nodiscard]] Result<void> flush();

    Directory* directory_;  // Never null.
    std::string name_;
    std::unique_ptr<File> file_;
    uint64_t salt_;
    uint64_t written_ = 0;   // Bytes in the file.
    uint32_t file_crc_ = 0;  // Over them.
    uint64_t records_ = 0;
    uint64_t entries_ = 0;
    uint32_t last_table_ = 0;
    std::string last_key_;
    std::string block_;
    std::string framed_;  // Records that follow the written bytes.
};

class SnapshotReader {
public:
    [[nodiscard]] static Result<SnapshotReader> open(Directory& directory, const std::string& name);

    [[nodiscard]] const SnapshotInfo& info() const { return info_; }
    [[nodiscard]] uint64_t bytes() const { return size_; }

    struct Entry {
        uint32_t table = 0;
        std::string_view key;  // Views die at the next call of next().
        std::string_view value;
    };
    // False at the end, once everything verified.
    [[nodiscard]] Result<bool> next(Entry& entry);

private:
    SnapshotReader(std::unique_ptr<File> file, std::string name, uint64_t size);
    [[nodiscard]] Result<void> read_frame();
    [[nodiscard]] Result<std::string_view> read_record(uint8_t type);
    [[nodiscard]] Error corrupt(const char* what) const;

    std::unique_ptr<File> file_;
    std::string name_;
    uint64_t size_;
    SnapshotInfo info_;
    uint64_t salt_ = 0;
    uint64_t footer_at_ = 0;
    uint64_t footer_entries_ = 0;
    uint32_t footer_crc_ = 0;
    uint64_t offset_ = 0;    // Of the next record.
    uint32_t file_crc_ = 0;  // Over the bytes before it.
    uint64_t records_ = 0;
    uint64_t entries_ = 0;
    uint32_t last_table_ = 0;
    std::string last_key_;
    std::string record_;      // The bytes of the current record.
    std::string_view block_;  // What is left of the current block.
};

}  // namespace weir::state
