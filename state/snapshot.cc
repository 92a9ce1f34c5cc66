#include "state/snapshot.h"

#include <tuple>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/entropy.h"
#include "state/crc32c.h"
#include "state/record.h"

namespace weir::state {
namespace {

constexpr std::string_view kMagic = "weirsnap";
constexpr uint64_t kHeaderBytes = 32;
constexpr uint64_t kFooterPayloadBytes = 12;
constexpr uint64_t kWriteBytes = 1u << 20;

enum RecordType : uint8_t { kInfo = 16, kBlock = 17, kFooter = 18 };

}  // namespace

SnapshotWriter::SnapshotWriter(Directory& directory, std::string name, std::unique_ptr<File> file)
    : directory_(&directory), name_(std::move(name)), file_(std::move(file)), salt_(random_u64()) {
    framed_.append(kMagic);
    put_le(framed_, kSnapshotFormatVersion);
    put_le(framed_, uint32_t{0});
    put_le(framed_, salt_);
    put_le(framed_, uint32_t{0});
    put_le(framed_, crc32c(0, framed_));
}

Result<SnapshotWriter> SnapshotWriter::create(Directory& directory, std::string name,
                                              const SnapshotInfo& info) {
    WEIR_ASSIGN(auto file, directory.create(name + ".tmp"));
    SnapshotWriter writer(directory, std::move(name), std::move(file));
    std::string payload;
    encode_commit_id(info.id, payload);
    put_le(payload, info.progress.shard);
    encode_progress(info.progress.partitions, payload);
    writer.put_record(kInfo, payload);
    return writer;
}

void SnapshotWriter::put_record(uint8_t type, std::string_view payload) {
    append_record(framed_, salt_, written_ + framed_.size(), records_++, type, payload);
}

Result<void> SnapshotWriter::flush() {
    WEIR_TRY(file_->write(written_, framed_));
    file_crc_ = crc32c(file_crc_, framed_);
    written_ += framed_.size();
    framed_.clear();
    return {};
}

Result<void> SnapshotWriter::add(uint32_t table, std::string_view key, std::string_view value) {
    WEIR_CHECK(entries_ == 0 ||
               std::tuple(last_table_, std::string_view(last_key_)) < std::tuple(table, key));
    put_varint(block_, table);
    put_bytes(block_, key);
    put_bytes(block_, value);
    ++entries_;
    last_table_ = table;
    last_key_ = key;
    if (block_.size() >= kSnapshotBlockBytes) {
        put_record(kBlock, block_);
        block_.clear();
    }
    if (framed_.size() >= kWriteBytes) return flush();
    return {};
}

Result<uint64_t> SnapshotWriter::finish() {
    if (!block_.empty()) put_record(kBlock, block_);
    WEIR_TRY(flush());
    std::string footer;
    put_le(footer, entries_);
    put_le(footer, file_crc_);
    put_record(kFooter, footer);
    WEIR_TRY(flush());
    WEIR_TRY(file_->sync());
    WEIR_TRY(directory_->rename(name_ + ".tmp", name_));
    WEIR_TRY(directory_->sync());
    return written_;
}

SnapshotReader::SnapshotReader(std::unique_ptr<File> file, std::string name, uint64_t size)
    : file_(std::move(file)), name_(std::move(name)), size_(size) {}

Error SnapshotReader::corrupt(const char* what) const {
    return {Code::kCorrupt, fmt::format("the snapshot {} is damaged: {}", name_, what)};
}

Result<SnapshotReader> SnapshotReader::open(Directory& directory, const std::string& name) {
    WEIR_ASSIGN(auto file, directory.open_read(name));
    WEIR_ASSIGN(const uint64_t size, file->size());
    SnapshotReader reader(std::move(file), directory.path() + "/" + name, size);
    WEIR_TRY(reader.read_frame());
    WEIR_ASSIGN(const std::string_view payload, reader.read_record(kInfo));
    ByteReader in(payload);
    reader.info_.id = decode_commit_id(in);
    reader.info_.progress.shard = in.le<int32_t>();
    if (!decode_progress(in, reader.info_.progress.partitions) || in.failed() || in.remaining() != 0)
        return reader.corrupt("its first record does not decode");
    return reader;
}

// Reads the fixed header and the footer: without them the file does not exist.
Result<void> SnapshotReader::read_frame() {
    const uint64_t footer_bytes = record_bytes(kFooterPayloadBytes);
    if (size_ < kHeaderBytes + footer_bytes || size_ % 8 != 0) return corrupt("it is cut off");
    std::string header(kHeaderBytes, '\0');
    WEIR_ASSIGN(const size_t header_read, file_->read(0, header.data(), header.size()));
    ByteReader in(header);
    const bool magic = in.take(kMagic.size()) == kMagic;
    const auto version = in.le<uint32_t>();
    const auto reserved = in.le<uint32_t>();
    salt_ = in.le<uint64_t>();
    const auto reserved_too = in.le<uint32_t>();
    const uint32_t crc = crc32c(0, std::string_view(header).substr(0, kHeaderBytes - 4));
    if (header_read != kHeaderBytes || !magic || in.le<uint32_t>() != crc || reserved != 0 ||
        reserved_too != 0)
        return corrupt("its header does not verify");
    if (version != kSnapshotFormatVersion)
        return Error{Code::kMismatch,
                     fmt::format("the snapshot {} has format version {}, this weir reads {}; use a "
                                 "newer weir",
                                 name_, version, kSnapshotFormatVersion)};
    footer_at_ = size_ - footer_bytes;
    record_.resize(footer_bytes);
    WEIR_ASSIGN(const size_t footer_read, file_->read(footer_at_, record_.data(), record_.size()));
    Record footer;
    if (footer_read != footer_bytes || !parse_record(record_, salt_, footer_at_, footer_bytes, footer) ||
        footer.type != kFooter || footer.bytes != footer_bytes ||
        footer.payload.size() != kFooterPayloadBytes)
        return corrupt("its footer does not verify");
    ByteReader fields(footer.payload);
    footer_entries_ = fields.le<uint64_t>();
    footer_crc_ = fields.le<uint32_t>();
    offset_ = kHeaderBytes;
    file_crc_ = crc32c(0, header);
    return {};
}

Result<std::string_view> SnapshotReader::read_record(uint8_t type) {
    record_.resize(kRecordFrameBytes);
    if (offset_ >= footer_at_) return corrupt("a record is missing");
    WEIR_ASSIGN(size_t read, file_->read(offset_, record_.data(), record_.size()));
    const auto length = ByteReader(record_).le<uint32_t>();
    const uint64_t payload_bytes = length - kRecordDataBytesMin;
    if (read != kRecordFrameBytes || length < kRecordDataBytesMin ||
        record_bytes(payload_bytes) > footer_at_ - offset_)
        return corrupt("a record's length is impossible");
    record_.resize(record_bytes(payload_bytes));
    WEIR_ASSIGN(read, file_->read(offset_, record_.data(), record_.size()));
    Record record;
    if (read != record_.size() || !parse_record(record_, salt_, offset_, UINT32_MAX, record) ||
        record.type != type || record.number != records_)
        return corrupt("a record does not verify");
    offset_ += record_.size();
    file_crc_ = crc32c(file_crc_, record_);
    ++records_;
    return record.payload;
}

Result<bool> SnapshotReader::next(Entry& entry) {
    if (block_.empty()) {
        if (offset_ == footer_at_) {
            if (file_crc_ != footer_crc_ || entries_ != footer_entries_)
                return corrupt("it does not match its footer");
            return false;
        }
        WEIR_ASSIGN(block_, read_record(kBlock));
    }
    ByteReader in(block_);
    const uint64_t table = in.varint();
    entry.key = in.bytes();
    entry.value = in.bytes();
    if (in.failed() || table > UINT32_MAX) return corrupt("an entry does not decode");
    entry.table = static_cast<uint32_t>(table);
    if (entries_ > 0 &&
        std::tuple(last_table_, std::string_view(last_key_)) >= std::tuple(entry.table, entry.key))
        return corrupt("its entries are out of order");
    block_.remove_prefix(block_.size() - in.remaining());
    ++entries_;
    last_table_ = entry.table;
    last_key_ = entry.key;
    return true;
}

}  // namespace weir::state
