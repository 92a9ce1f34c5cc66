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

void append_stored_key(std::string_view key, EventTime time, std::string& out) {
    put_bytes(out, key);
    append_prefix(time, out);
}

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

EventTime Table::bound() const { return newest_ == kNoTime ? kNoTime : newest_ - *plan_.history_ms; }

std::optional<std::string_view> Table::find(std::string_view key, EventTime time) const {
    const Row* const row = slots_[slot_of(key, hash_of(key))].row;
    if (row == nullptr) return std::nullopt;
    std::string_view versions = row->content();
    Version version{};
    while (next(versions, version)) {
        if (version.time > time) continue;
        return version.deleted ? std::nullopt : std::optional(version.columns);
    }
    return std::nullopt;
}

// encoded_ holds the columns.
void Table::store_version(std::string_view key, MaybeBytes value, EventTime time) {
    const bool deleted = value.data() == nullptr;
    if (!plan_.global) {
        stored_key_.clear();
        append_stored_key(key, time, stored_key_);
        kept_.assign(1, static_cast<char>(kFormat));
        put_le<uint8_t>(kept_, deleted ? 1 : 0);
        kept_.append(value);
        state::DeltaWriter(changes_).put(plan_.state_table, stored_key_, kept_);
    }
    newest_ = std::max(newest_, time);
    add_version(key, {time, deleted, encoded_});
    prune(key, versions_);
    replace(key, kept_);
    sweep();
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
    bool covered = false;  // A newer version holds at the bound already.
    while (next(versions, version)) {
        const bool holds = version.time <= bound();
        // What says that there is no row says nothing once nothing older is kept.
        const bool goes = covered || (version.deleted && holds);
        covered = covered || holds;
        if (!goes) {
            append(version, kept_);
        } else if (!plan_.global) {
            stored_key_.clear();
            append_stored_key(key, version.time, stored_key_);
            state::DeltaWriter(changes_).erase(plan_.state_table, stored_key_);
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
