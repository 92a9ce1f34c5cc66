// Rows with history on disk: each version is a row of the store, those of a key one after the other, the
// newest first. What is found is what is found in memory; versions that nobody asks for any more may lie
// there a while longer, the older ones of a key never without the newer ones.
#include <algorithm>

#include "base/bytes.h"
#include "processor/group_table.h"
#include "processor/table.h"

namespace weir::processor {
namespace {

constexpr uint8_t kFormat = 1;
constexpr std::string_view kStandKey;  // How far the history is, and the sweep; before all versions.
constexpr size_t kSweptPerChange = 2;  // So what is left behind is never more than what is kept.

struct StoredVersion {
    std::string_view key;
    EventTime time = kNoTime;
    bool deleted = false;
    std::string_view value;
};

bool read_version(std::string_view key, std::string_view stored, StoredVersion& out) {
    ByteReader in(key);
    out.key = in.bytes();
    if (in.failed() || in.remaining() != kPrefixBytes) return false;
    out.time = ~read_prefix(in.take(kPrefixBytes));
    ByteReader value(stored);
    const bool readable = value.le<uint8_t>() == kFormat;
    out.deleted = value.le<uint8_t>() != 0;
    out.value = value.take(value.remaining());
    return readable && !value.failed();
}

}  // namespace

// The version that holds at the time, or, before the bound, at the bound.
Result<std::optional<std::string_view>> Table::find_stored(std::string_view key, EventTime time,
                                                           Arena& arena) {
    set_stored_key(key, std::max(time, bound()));
    auto versions = stored_->scan(0, row_of_stored_key(), stored_key_);
    WEIR_ASSIGN(const bool found, versions.next());
    if (!found) return std::optional<std::string_view>();
    StoredVersion version;
    if (!read_version(versions.key(), versions.value(), version)) return other_format();
    if (version.deleted || version.time > time) return std::optional<std::string_view>();
    WEIR_TRY(encode_stored(key, version.value));
    return std::optional<std::string_view>(arena.copy(encoded_));
}

// Only a version from before the bound needs a look at the others.
Result<void> Table::put_version(std::string_view key, MaybeBytes value, EventTime time) {
    newest_ = std::max(newest_, time);
    ++changed_versions_;
    if (time <= bound()) {
        WEIR_ASSIGN(const bool covered, prune_stored(key, time));
        if (covered) return {};
    }
    put_stored_version(key, value, time);
    return {};
}

// Erases what of the row is not asked for any more. Whether a version after `time` holds at the bound.
Result<bool> Table::prune_stored(std::string_view key, EventTime time) {
    set_stored_key(key, bound());
    auto versions = stored_->scan(0, row_of_stored_key(), stored_key_);
    erased_.clear();
    Kept kept{bound()};
    bool covered = false;
    while (true) {
        WEIR_ASSIGN(const bool more, versions.next());
        if (!more) break;
        StoredVersion version;
        if (!read_version(versions.key(), versions.value(), version)) return other_format();
        if (kept.keeps(version.time, version.deleted))
            covered = version.time > time;
        else
            erased_.emplace_back(versions.key());
    }
    for (const std::string& erased : erased_) erase_stored(erased);
    return covered;
}

Result<void> Table::sweep_stored() {
    if (stored_ == nullptr || changed_versions_ == 0) return {};
    const size_t enough = kSweptPerChange * changed_versions_;
    changed_versions_ = 0;
    auto versions = stored_->scan(0, {}, swept_row_);
    erased_.clear();
    swept_row_.clear();
    versions_.clear();  // The row that is being looked at.
    Kept kept{bound()};
    for (size_t looked = 0;;) {
        WEIR_ASSIGN(const bool more, versions.next());
        if (!more) break;  // The next sweep begins anew.
        if (versions.key() == kStandKey) continue;
        StoredVersion version;
        if (!read_version(versions.key(), versions.value(), version)) return other_format();
        if (looked == 0 || version.key != versions_) {
            if (looked >= enough) {
                put_bytes(swept_row_, version.key);
                break;
            }
            versions_ = version.key;
            kept = {bound()};
        }
        ++looked;
        if (!kept.keeps(version.time, version.deleted)) erased_.emplace_back(versions.key());
    }
    for (const std::string& erased : erased_) erase_stored(erased);
    kept_.assign(1, static_cast<char>(kFormat));
    put_le<int64_t>(kept_, newest_);
    kept_.append(swept_row_);
    put_stored(kStandKey, kept_);
    return {};
}

Result<void> Table::restore_stored() {
    if (!plan_.history_ms) return {};
    WEIR_ASSIGN(const auto stand, stored_->find(0, kStandKey));
    if (!stand) return {};
    ByteReader in(*stand);
    const bool readable = in.le<uint8_t>() == kFormat;
    newest_ = in.le<int64_t>();
    swept_row_ = in.take(in.remaining());
    if (!readable || in.failed()) return other_format();
    return {};
}

}  // namespace weir::processor
