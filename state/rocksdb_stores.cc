#include "state/rocksdb_stores.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>
#include <rocksdb/write_buffer_manager.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/log.h"
#include "state/epoch_record.h"

namespace weir::state {
namespace {

constexpr size_t kCacheBytes = 32 << 20;
constexpr size_t kUnwrittenBytes = 16 << 20;
constexpr size_t kUnwrittenBytesPerStore = 4 << 20;
constexpr int kOpenFiles = 64;  // Per store.
constexpr int kFilterBits = 10;
constexpr char kFolder[] = "rocksdb";
constexpr char kScratchFolder[] = "scratch";

constexpr char kAboutKey[] = "";  // What the store says of itself is before all rows.
constexpr uint8_t kFormat = 1;

rocksdb::Slice slice(std::string_view text) { return {text.data(), text.size()}; }

constexpr std::string_view kLost = "its rows are nowhere else: start anew under a new pipeline name";
constexpr std::string_view kReadAnew = "start again, its rows are read anew";

Result<void> check(const rocksdb::Status& status, const std::string& name, std::string_view if_damaged) {
    if (status.ok()) return {};
    if (status.IsNoSpace()) return Error{Code::kNoSpace, name + ": the disk is full"};
    const std::string what = name + ": " + status.ToString();
    if (status.IsCorruption())
        return Error{Code::kCorrupt, fmt::format("{}; {}", what, if_damaged)};
    return Error{Code::kIo, what};
}

class ErrorsToLog final : public rocksdb::Logger {
public:
    ErrorsToLog() : Logger(rocksdb::ERROR_LEVEL) {}
    using Logger::Logv;
    void Logv(const char* format, va_list arguments) override {
        char text[512];
        std::vsnprintf(text, sizeof text, format, arguments);
        log_error("rocksdb: {}", text);
    }
};

// `number`: of the shard, or of the worker.
std::string folder_of(const std::string& name, int32_t number) {
    std::string folder = fmt::format("{}-", number);
    for (const char c : name) {
        const bool plain =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        folder += plain ? std::string(1, c) : fmt::format("%{:02x}", static_cast<unsigned char>(c));
    }
    return folder;
}

// An iterator holds files that compaction would remove: nobody keeps one for long.
class RocksDbCursor final : public RowCursor {
public:
    RocksDbCursor(rocksdb::DB& db, std::string_view prefix, std::string name, std::string_view if_damaged)
        : prefix_(prefix),
          end_(end_of_prefix(prefix)),
          end_slice_(slice(end_)),
          name_(std::move(name)),
          if_damaged_(if_damaged) {
        rocksdb::ReadOptions options;
        if (!end_.empty()) options.iterate_upper_bound = &end_slice_;
        rows_.reset(db.NewIterator(options));
    }

    Result<bool> seek(std::string_view key) override {
        rows_->Seek(slice(std::max<std::string_view>(key, prefix_)));
        return is_at_row();
    }
    Result<bool> next() override {
        rows_->Next();
        return is_at_row();
    }
    std::string_view key() const override { return rows_->key().ToStringView(); }
    std::string_view value() const override { return rows_->value().ToStringView(); }

private:
    [[nodiscard]] Result<bool> is_at_row() const {
        if (rows_->Valid()) return true;
        WEIR_TRY(check(rows_->status(), name_, if_damaged_));
        return false;
    }

    const std::string prefix_;
    const std::string end_;
    const rocksdb::Slice end_slice_;
    const std::string name_;
    const std::string_view if_damaged_;
    std::unique_ptr<rocksdb::Iterator> rows_;
};

// The folder goes with it.
class ScratchFolder {
public:
    ScratchFolder(std::unique_ptr<Directory> parent, std::string name)
        : parent_(std::move(parent)), name_(std::move(name)) {}
    ~ScratchFolder() {
        if (const auto removed = parent_->remove_subdirectory(name_); !removed.ok())
            log_warn("{}; the next start tries again", removed.error().message);
    }
    ScratchFolder(const ScratchFolder&) = delete;
    ScratchFolder& operator=(const ScratchFolder&) = delete;

private:
    const std::unique_ptr<Directory> parent_;
    const std::string name_;
};

class RocksDbStore final : public RowStore {
public:
    RocksDbStore(std::string name, std::string identity, std::unique_ptr<ScratchFolder> scratch = nullptr)
        : name_(std::move(name)), identity_(std::move(identity)), scratch_(std::move(scratch)) {
        written_.disableWAL = true;
    }

    Result<void> open(const rocksdb::Options& options, const std::string& path) {
        rocksdb::DB* db = nullptr;
        WEIR_TRY(check(rocksdb::DB::Open(options, path, &db)));
        db_.reset(db);
        std::string about;
        const rocksdb::Status read = db_->Get({}, kAboutKey, &about);
        if (read.IsNotFound()) return {};
        WEIR_TRY(check(read));
        ByteReader in(about);
        const auto format = in.le<uint8_t>();
        const std::string_view whose = in.bytes();
        applied_ = decode_commit_id(in);
        if (format != kFormat)
            return Error{Code::kMismatch,
                         fmt::format("{} has format {}, this weir reads {}; use a newer weir", name_, format,
                                     kFormat)};
        if (in.failed() || in.remaining() != 0) return check(rocksdb::Status::Corruption("its head"));
        if (whose != identity_)
            return Error{Code::kMismatch, name_ + " belongs to another pipeline or another state of it; put "
                                                  "back the folder that was there"};
        return {};
    }

    const CommitId& applied() const override { return applied_; }

    Result<bool> find(std::string_view key, std::string& value) override {
        const rocksdb::Status status = db_->Get({}, slice(key), &value);
        if (status.IsNotFound()) return false;
        WEIR_TRY(check(status));
        return true;
    }

    std::unique_ptr<RowCursor> cursor(std::string_view prefix) override {
        return std::make_unique<RocksDbCursor>(*db_, prefix, name_, if_damaged());
    }

    Result<void> apply(std::span<const StateOp> changes, const CommitId& id) override {
        rocksdb::WriteBatch batch;
        for (const StateOp& change : changes) {
            const rocksdb::Slice key = slice(change.key);
            switch (change.kind) {
                case StateOp::Kind::kPut: WEIR_TRY(check(batch.Put(key, slice(change.value)))); break;
                case StateOp::Kind::kErase: WEIR_TRY(check(batch.Delete(key))); break;
                case StateOp::Kind::kErasePrefix:
                    WEIR_TRY(check(batch.DeleteRange(key, end_of_prefix(change.key))));
                    break;
            }
        }
        std::string about;
        put_le(about, kFormat);
        put_bytes(about, identity_);
        encode_commit_id(id, about);
        WEIR_TRY(check(batch.Put(kAboutKey, about)));
        rocksdb::Status status = db_->Write(written_, &batch);
        // After a full disk it takes nothing until it is told that there may be space again.
        if (!status.ok() && db_->Resume().ok()) status = db_->Write(written_, &batch);
        WEIR_TRY(check(status));
        applied_ = id;
        return {};
    }

    Result<void> flush() override {
        rocksdb::FlushOptions options;
        options.wait = true;
        return check(db_->Flush(options));
    }

    uint64_t rows() const override {
        const uint64_t keys = number("rocksdb.estimate-num-keys");
        return keys > 0 ? keys - 1 : 0;
    }
    uint64_t memory_bytes() const override { return number("rocksdb.cur-size-all-mem-tables"); }
    std::string name() const override { return name_; }

private:
    [[nodiscard]] uint64_t number(const char* property) const {
        uint64_t value = 0;
        return db_->GetIntProperty(property, &value) ? value : 0;
    }
    [[nodiscard]] Result<void> check(const rocksdb::Status& status) const {
        return weir::state::check(status, name_, if_damaged());
    }
    [[nodiscard]] std::string_view if_damaged() const { return scratch_ == nullptr ? kLost : kReadAnew; }

    const std::string name_;
    const std::string identity_;
    const std::unique_ptr<ScratchFolder> scratch_;  // Ends after the database.
    rocksdb::WriteOptions written_;
    std::unique_ptr<rocksdb::DB> db_;
    CommitId applied_;
};

class RocksDbStores final : public RowStores {
public:
    RocksDbStores(Directory& root, std::string identity) : root_(root), identity_(std::move(identity)) {
        auto* const env = rocksdb::Env::Default();
        env->SetBackgroundThreads(1, rocksdb::Env::LOW);  // They start here and now.
        env->SetBackgroundThreads(1, rocksdb::Env::HIGH);
        cache_ = rocksdb::NewLRUCache(kCacheBytes);
        rocksdb::BlockBasedTableOptions table;
        table.block_cache = cache_;
        table.cache_index_and_filter_blocks = true;
        // Filters in pieces: one of many short rows is larger than what a shard of the cache takes, and as a
        // whole it would be read anew with every row that is looked for.
        table.partition_filters = true;
        table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
        table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(kFilterBits));
        options_.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
        options_.create_if_missing = true;
        options_.compression = rocksdb::kLZ4Compression;
        options_.write_buffer_size = kUnwrittenBytesPerStore;
        options_.write_buffer_manager = std::make_shared<rocksdb::WriteBufferManager>(kUnwrittenBytes);
        options_.max_open_files = kOpenFiles;
        options_.target_file_size_base = 8 << 20;
        options_.max_bytes_for_level_base = 32 << 20;
        options_.max_manifest_file_size = 1 << 20;
        options_.stats_dump_period_sec = 0;
        options_.stats_persist_period_sec = 0;
        options_.info_log = std::make_shared<ErrorsToLog>();
    }

    // Each name is on the disk before anything depends on what it holds.
    Result<std::unique_ptr<RowStore>> open(const std::string& name, ShardId shard) override {
        WEIR_ASSIGN(const auto all, root_.subdirectory(kFolder, true));
        WEIR_TRY(root_.sync());
        WEIR_ASSIGN(const auto own, all->subdirectory(folder_of(name, shard), true));
        WEIR_TRY(all->sync());
        std::string identity;
        put_bytes(identity, identity_);
        put_bytes(identity, name);
        put_le(identity, shard);
        auto store = std::make_unique<RocksDbStore>(
            fmt::format("store '{}' of shard {} in {}", name, shard, own->path()), std::move(identity));
        WEIR_TRY(store->open(options_, own->path()));
        return std::unique_ptr<RowStore>(std::move(store));
    }

    // What a process that was killed left of them.
    Result<void> remove_scratch() {
        const auto all = root_.subdirectory(kScratchFolder, false);
        if (!all.ok()) return all.error().code == Code::kNotFound ? Result<void>() : all.error();
        WEIR_ASSIGN(const auto names, (*all)->list());
        for (const std::string& name : names) WEIR_TRY((*all)->remove_subdirectory(name));
        return {};
    }

    Result<std::unique_ptr<RowStore>> make_scratch(const std::string& name, int32_t slot) override {
        WEIR_ASSIGN(auto all, root_.subdirectory(kScratchFolder, true));
        const std::string folder = folder_of(name, slot);
        WEIR_ASSIGN(const auto own, all->subdirectory(folder, true));
        auto store = std::make_unique<RocksDbStore>(
            fmt::format("store '{}' of worker {} in {}", name, slot, own->path()), identity_,
            std::make_unique<ScratchFolder>(std::move(all), folder));
        rocksdb::Options options = options_;
        options.avoid_flush_during_shutdown = true;
        WEIR_TRY(store->open(options, own->path()));
        return std::unique_ptr<RowStore>(std::move(store));
    }

private:
    Directory& root_;
    const std::string identity_;
    std::shared_ptr<rocksdb::Cache> cache_;
    rocksdb::Options options_;
};

}  // namespace

Result<std::unique_ptr<RowStores>> open_rocksdb_stores(Directory& root, std::string identity) {
    auto stores = std::make_unique<RocksDbStores>(root, std::move(identity));
    WEIR_TRY(stores->remove_scratch());
    return std::unique_ptr<RowStores>(std::move(stores));
}

}  // namespace weir::state
