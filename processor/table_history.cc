// Rows with history: which version of a row is found, and which are no longer kept.
#include <algorithm>

#include "base/bytes.h"
#include "processor/group_table.h"
#include "processor/table.h"

namespace weir::processor {
namespace {

// A version in its row: time(i64) length(u32; the highest bit: deleted) columns
constexpr uint32_t kDeleted = uint32_t{1} << 31;
constexpr uint8_t kFormat = 1;
constexpr size_t kSweptPerChange = 2;  // More than one: the sweep overtakes a growing table.

}  // namespace

bool Table::next(std::string_view& versions, Version& version) {
    if (versions.empty()) return false;
    ByteReader in(versions);
    version.time = in.le<int64_t>();
    const auto length = in.le<uint32_t>();
    version.deleted = (length & kDeleted) != 0;
    version.columns = in.take(length & ~kDeleted);
    WEIR_CHECK(!in.failed(), "a row's versions are not what its table writes");
    versions = versions.substr(versions.size() - in.remaining());
    return true;
}

void Table::append(const Version& version, std::string& out) {
    put_le<int64_t>(out, version.time);
    put_le<uint32_t>(out, static_cast<uint32_t>(version.columns.size()) | (version.deleted ? kDeleted : 0));
    out.append(version.columns);
}

void Table::set_stored_key(std::string_view key, EventTime time) {
    stored_key_.clear();
    put_bytes(stored_key_, key);
    append_prefix(stored_ ? ~time : time, stored_key_);
}

std::string_view Table::row_of_stored_key() const {
    return std::string_view(stored_key_).substr(0, stored_key_.size() - kPrefixBytes);
}

EventTime Table::bound() const { return newest_ == kNoTime ? kNoTime : newest_ - *plan_.history_ms; }

std::optional<std::string_view> Table::find(std::string_view key, EventTime time) const {
    const Row* const row = slots_[slot_of(key, hash_of(key))].row;
    if (row == nullptr) return std::nullopt;
    std::string_view versions = row->content();
    Version version{};
    while (next(versions, version)) {
        if (version.time > std::max(time, bound())) continue;
        if (version.deleted || version.time > time) break;
        return version.columns;
    }
    return std::nullopt;
}

Result<void> Table::store_version(std::string_view key, MaybeBytes value, EventTime time,
                                  std::span<const Column> columns, uint32_t row) {
    if (stored_) return put_version(key, value, time);
    const bool deleted = value.data() == nullptr;
    encoded_.clear();
    if (!deleted) encode(key, value, columns, row);
    newest_ = std::max(newest_, time);
    if (time <= bound()) {  // What says from before the bound that there is no row is forgotten.
        if (const Row* const old = slots_[slot_of(key, hash_of(key))].row; old != nullptr) {
            prune(key, old->content());
            replace(key, kept_);
        }
    }
    put_stored_version(key, value, time);
    add_version(key, {time, deleted, encoded_});
    prune(key, versions_);
    replace(key, kept_);
    sweep();
    return {};
}

void Table::put_stored_version(std::string_view key, MaybeBytes value, EventTime time) {
    set_stored_key(key, time);
    kept_.assign(1, static_cast<char>(kFormat));
    put_le<uint8_t>(kept_, value.data() == nullptr ? 1 : 0);
    kept_.append(value);
    put_stored(stored_key_, kept_);
}

// In its place by time; of two of one time the later record counts.
void Table::add_version(std::string_view key, const Version& added) {
    versions_.clear();
    bool placed = false;
    const Row* const row = slots_[slot_of(key, hash_of(key))].row;
    std::string_view versions = row == nullptr ? std::string_view() : row->content();
    Version version{};
    while (next(versions, version)) {
        if (!placed && version.time <= added.time) {
            append(added, versions_);
            placed = true;
            if (version.time == added.time) continue;
        }
        append(version, versions_);
    }
    if (!placed) append(added, versions_);
}

void Table::replace(std::string_view key, std::string_view versions) {
    if (versions.empty()) {
        erase(key);
    } else {
        put(key, versions);
    }
}

void Table::prune(std::string_view key, std::string_view versions) {
    kept_.clear();
    Version version{};
    Kept kept{bound()};
    while (next(versions, version)) {
        if (kept.keeps(version.time, version.deleted)) {
            append(version, kept_);
        } else {
            set_stored_key(key, version.time);
            erase_stored(stored_key_);
        }
    }
}

// Looks after rows that do not change themselves any more.
void Table::sweep() {
    for (size_t i = 0; i < kSweptPerChange; ++i) {
        swept_ = (swept_ + 1) & (slots_.size() - 1);
        const Row* const row = slots_[swept_].row;
        if (row == nullptr) continue;
        prune(row->key(), row->content());
        if (kept_.size() == row->length) continue;
        versions_.assign(row->key());  // The row may be gone with the next line.
        replace(versions_, kept_);
    }
}

void Table::restore_erased(std::string_view key) {
    if (!plan_.history_ms) {
        erase(key);
        return;
    }
    ByteReader in(key);
    const std::string_view record_key = in.bytes();
    if (in.failed() || in.remaining() != kPrefixBytes) return;
    const EventTime time = read_prefix(in.take(kPrefixBytes));
    const Row* const row = slots_[slot_of(record_key, hash_of(record_key))].row;
    if (row == nullptr) return;
    kept_.clear();
    std::string_view versions = row->content();
    Version version{};
    while (next(versions, version)) {
        if (version.time != time) append(version, kept_);
    }
    replace(record_key, kept_);
}

}  // namespace weir::processor
