#include "processor/table.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <new>

#include "processor/group_table.h"
#include "processor/stored_value.h"

namespace weir::processor {
namespace {

constexpr uint8_t kFormat = 1;
constexpr size_t kFirstSlots = 16;
constexpr size_t kSmallBytes = 64 << 10;  // Not worth compacting.

}  // namespace

uint64_t Table::hash_of(std::string_view key) { return XXH3_64bits(key.data(), key.size()); }

Table::Table(const Graph& graph, TableId id)
    : plan_(graph.tables[id]),
      slots_(kFirstSlots),
      decoder_(graph.sources[plan_.source].format, graph.sources[plan_.source].paths,
               graph.sources[plan_.source].value_slot),
      restored_(graph.frames[graph.sources[plan_.source].frame].slot_count, Column(1)) {}

size_t Table::slot_of(std::string_view key, uint64_t hash) const {
    const size_t mask = slots_.size() - 1;
    size_t at = hash & mask;
    while (slots_[at].row != nullptr &&
           (slots_[at].hash != hash || std::as_const(*slots_[at].row).key() != key))
        at = (at + 1) & mask;
    return at;
}

std::optional<std::string_view> Table::find(std::string_view key) const {
    const Row* const row = slots_[slot_of(key, hash_of(key))].row;
    if (row == nullptr) return std::nullopt;
    return plan_.history_ms ? find(key, kEndOfTime) : row->content();
}

size_t Table::bytes() const {
    return stored_ ? stored_->bytes() : slab_.bytes() + slots_.size() * sizeof(Slot);
}

Result<std::optional<std::string_view>> Table::find_stored(std::string_view key, Arena& arena) {
    if (plan_.history_ms) return find_stored(key, kEndOfTime, arena);
    WEIR_ASSIGN(const auto stored, stored_->find(0, key));
    if (!stored) return std::optional<std::string_view>();
    ByteReader in(*stored);
    if (in.le<uint8_t>() != kFormat || in.failed()) return other_format();
    WEIR_TRY(encode_stored(key, in.take(in.remaining())));
    return std::optional<std::string_view>(arena.copy(encoded_));
}

Result<bool> Table::has(std::string_view key) {
    if (!stored_) return find(key).has_value();
    WEIR_ASSIGN(const auto stored, stored_->find(0, key));
    return stored.has_value();
}

void Table::store(std::string_view key, MaybeBytes value, std::span<const Column> columns, uint32_t row) {
    const bool deleted = value.data() == nullptr;
    if (!stored_) {
        encoded_.clear();
        if (!deleted) encode(key, value, columns, row);
        if (deleted)
            erase(key);
        else
            put(key, encoded_);
    }
    if (deleted) {
        erase_stored(key);
        return;
    }
    encoded_.assign(1, static_cast<char>(kFormat));
    encoded_.append(value);
    put_stored(key, encoded_);
}

void Table::put_stored(std::string_view key, std::string_view value) {
    if (!plan_.global) state::DeltaWriter(changes_).put(plan_.state_table, key, value);
    if (stored_) stored_->put(0, key, value);
}

void Table::erase_stored(std::string_view key) {
    if (!plan_.global) state::DeltaWriter(changes_).erase(plan_.state_table, key);
    if (stored_) stored_->erase(0, key);
}

std::string_view Table::store(std::string_view key, MaybeBytes value) {
    if (!decode(value)) return errors_.front().message;
    store(key, value, restored_, 0);
    return {};
}

bool Table::decode(MaybeBytes value) {
    InputRecord record;
    record.value = value;
    arena_.reset();
    good_.clear();
    errors_.clear();
    decoder_.decode({&record, 1}, arena_, restored_, good_, errors_);
    return !good_.empty();
}

// What lookups use of a record, into encoded_.
void Table::encode(std::string_view key, std::string_view value, std::span<const Column> columns,
                   uint32_t row) {
    encoded_.clear();
    for (const expr::Slot column : plan_.columns) {
        switch (column) {
            case kWholeRow: append_stored_value(Value::of_bytes(Type::kJsonb, value), encoded_); break;
            case kRowKey: append_stored_value(Value::of_text(key), encoded_); break;
            default: append_stored_value(columns[static_cast<size_t>(column)][row], encoded_);
        }
    }
}

Result<void> Table::encode_stored(std::string_view key, MaybeBytes value) {
    if (!decode(value))
        return Error{Code::kCorrupt, "a row of table '" + plan_.name + "': " + errors_.front().message};
    encode(key, value, restored_, 0);
    return {};
}

Error Table::other_format() const {
    return {Code::kCorrupt, "a row of table '" + plan_.name + "' is in another format"};
}

void Table::put(std::string_view key, std::string_view content) {
    const uint64_t hash = hash_of(key);
    size_t at = slot_of(key, hash);
    if (Row* const old = slots_[at].row; old != nullptr) {
        if (content.size() <= old->capacity) {
            old->length = static_cast<uint32_t>(content.size());
            std::copy(content.begin(), content.end(), old->key() + old->key_length);
            return;
        }
        stale_bytes_ += old->bytes();
        slots_[at].row = make_row(key, content);
    } else {
        if (8 * (rows_ + 1) > 5 * slots_.size()) {
            grow();
            at = slot_of(key, hash);
        }
        slots_[at] = {hash, make_row(key, content)};
        ++rows_;
    }
    if (stale_bytes_ > kSmallBytes && 2 * stale_bytes_ > used_bytes_) compact();
}

// The rows behind the gap move up, so that probing never needs marks of what was deleted.
void Table::erase(std::string_view key) {
    const size_t mask = slots_.size() - 1;
    size_t gap = slot_of(key, hash_of(key));
    if (slots_[gap].row == nullptr) return;
    stale_bytes_ += slots_[gap].row->bytes();
    --rows_;
    for (size_t at = (gap + 1) & mask; slots_[at].row != nullptr; at = (at + 1) & mask) {
        const size_t home = slots_[at].hash & mask;
        if (((at - home) & mask) < ((at - gap) & mask)) continue;  // It would stand before its home.
        slots_[gap] = slots_[at];
        gap = at;
    }
    slots_[gap] = {};
    if (stale_bytes_ > kSmallBytes && 2 * stale_bytes_ > used_bytes_) compact();
}

Table::Row* Table::make_row(std::string_view key, std::string_view encoded) {
    const size_t bytes = sizeof(Row) + key.size() + encoded.size();
    const size_t rounded = (bytes + Slab::kAlignment - 1) / Slab::kAlignment * Slab::kAlignment;
    Row* const row = new (slab_.allocate(rounded)) Row{
        static_cast<uint32_t>(key.size()), static_cast<uint32_t>(encoded.size()),
        static_cast<uint32_t>(encoded.size() + rounded - bytes)};
    std::copy(key.begin(), key.end(), row->key());
    std::copy(encoded.begin(), encoded.end(), row->key() + key.size());
    used_bytes_ += rounded;
    return row;
}

void Table::grow() {
    std::vector<Slot> old(2 * slots_.size());
    std::swap(old, slots_);
    const size_t mask = slots_.size() - 1;
    for (const Slot& slot : old) {
        if (slot.row == nullptr) continue;
        size_t at = slot.hash & mask;
        while (slots_[at].row != nullptr) at = (at + 1) & mask;
        slots_[at] = slot;
    }
}

void Table::compact() {
    Slab old;
    std::swap(old, slab_);
    used_bytes_ = 0;
    stale_bytes_ = 0;
    for (Slot& slot : slots_) {
        if (slot.row == nullptr) continue;
        const Row& row = *slot.row;
        slot.row = make_row(row.key(), row.content());
    }
}

void Table::write_changes(state::DeltaWriter& out) {
    out.append(changes_);
    changes_.clear();
    if (changes_.capacity() > 8 * kSmallBytes) changes_.shrink_to_fit();
}

Result<void> Table::restore(std::string_view key, std::string_view stored) {
    ByteReader in(stored);
    bool readable = in.le<uint8_t>() == kFormat;
    Version version{kNoTime, false, {}};
    if (plan_.history_ms) {
        ByteReader versioned(key);
        key = versioned.bytes();
        readable = readable && !versioned.failed() && versioned.remaining() == kPrefixBytes;
        if (readable) version.time = read_prefix(versioned.take(kPrefixBytes));
        version.deleted = in.le<uint8_t>() != 0;
    }
    if (!readable || in.failed()) return other_format();
    encoded_.clear();
    if (!version.deleted) WEIR_TRY(encode_stored(key, in.take(in.remaining())));
    version.columns = encoded_;
    if (plan_.history_ms) {
        newest_ = std::max(newest_, version.time);
        add_version(key, version);
        put(key, versions_);
    } else {
        put(key, encoded_);
    }
    return {};
}

}  // namespace weir::processor
