#include "processor/group_table.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <new>

namespace weir::processor {
namespace {

constexpr uint8_t kRowVersion = 2;
constexpr uint8_t kChanged = 1;
constexpr uint8_t kHasTimes = 2;
constexpr size_t kFirstSlots = 16;

}  // namespace

uint64_t hash_group_key(std::string_view key) { return XXH3_64bits(key.data(), key.size()); }

void append_prefix(int64_t number, std::string& out) {
    const uint64_t ordered = static_cast<uint64_t>(number) ^ (uint64_t{1} << 63);
    for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(ordered >> shift));
}

int64_t read_prefix(std::string_view key) {
    uint64_t ordered = 0;
    for (size_t i = 0; i < kPrefixBytes; ++i) ordered = ordered << 8 | static_cast<uint8_t>(key[i]);
    return static_cast<int64_t>(ordered ^ (uint64_t{1} << 63));
}

Group& Group::make(char* memory, std::string_view key, uint64_t hash, size_t cell_count) {
    auto* const group = new (memory) Group;
    group->hash = hash;
    group->key_length = static_cast<uint32_t>(key.size());
    group->cell_count = static_cast<uint32_t>(cell_count);
    for (size_t cell = 0; cell < cell_count; ++cell) new (group->cells() + cell) Accumulator{};
    std::copy(key.begin(), key.end(), reinterpret_cast<char*>(group->cells() + cell_count));
    return *group;
}

void append_row(Group& group, const Accumulators& accumulators, std::string& row) {
    const bool has_times = group.first != kNoTime;
    put_le<uint8_t>(row, kRowVersion);
    put_le<uint8_t>(row, static_cast<uint8_t>((group.changed ? kChanged : 0) | (has_times ? kHasTimes : 0)));
    put_varint(row, group.sequence);
    put_varint(row, static_cast<uint64_t>(group.records));
    if (has_times) {
        put_le<int64_t>(row, group.first);
        put_le<int64_t>(row, group.last);
    }
    accumulators.write(group.cells(), row);
}

void write_parts(Group& group, int64_t prefix, const Accumulators& accumulators, AccumulatorStore& store,
                 uint32_t table, state::DeltaWriter& out) {
    if (!accumulators.has_objects()) return;
    std::string key;
    append_prefix(prefix, key);
    accumulators.write_parts(group.cells(), store, false,
                             [&](size_t call, std::string_view part_key, std::string_view value) {
                                 key.resize(kPrefixBytes);
                                 put_bytes(key, group.key());
                                 put_varint(key, call);
                                 key.append(part_key);
                                 out.put(table + kPartTable, key, value);
                             });
}

void write_group(Group& group, int64_t prefix, const Accumulators& accumulators, AccumulatorStore& store,
                 uint32_t table, state::DeltaWriter& out) {
    std::string key;
    std::string row;
    append_prefix(prefix, key);
    key.append(group.key());
    append_row(group, accumulators, row);
    out.put(table, key, row);
    write_parts(group, prefix, accumulators, store, table, out);
}

bool read_group(std::string_view row, const Accumulators& accumulators, AccumulatorStore& store,
                Group& group) {
    ByteReader in(row);
    if (in.le<uint8_t>() != kRowVersion) return false;
    const auto flags = in.le<uint8_t>();
    group.changed = (flags & kChanged) != 0;
    group.sequence = in.varint();
    group.records = static_cast<int64_t>(in.varint());
    if ((flags & kHasTimes) != 0) {
        group.first = in.le<int64_t>();
        group.last = in.le<int64_t>();
    }
    return accumulators.read(in, group.cells(), store) && in.done() && !in.failed();
}

std::optional<int64_t> read_records(std::string_view row) {
    ByteReader in(row);
    const bool known = in.le<uint8_t>() == kRowVersion;
    in.le<uint8_t>();
    in.varint();
    const auto records = static_cast<int64_t>(in.varint());
    return known && !in.failed() ? std::optional(records) : std::nullopt;
}

bool split_part_key(std::string_view key, std::string_view& group_key, uint64_t& call,
                    std::string_view& part_key) {
    ByteReader in(key);
    group_key = in.bytes();
    call = in.varint();
    if (in.failed()) return false;
    part_key = in.take(in.remaining());
    return true;
}

void erase_group(int64_t prefix, std::string_view key, const Accumulators& accumulators, uint32_t table,
                 state::DeltaWriter& out) {
    std::string row_key;
    append_prefix(prefix, row_key);
    row_key.append(key);
    out.erase(table, row_key);
    erase_parts(prefix, key, accumulators, table, out);
}

void erase_parts(int64_t prefix, std::string_view key, const Accumulators& accumulators, uint32_t table,
                 state::DeltaWriter& out) {
    if (!accumulators.has_objects()) return;
    std::string part_key;
    append_prefix(prefix, part_key);
    put_bytes(part_key, key);
    out.erase_prefix(table + kPartTable, part_key);
}

void GroupTable::grow() {
    const size_t size = std::max(kFirstSlots, 2 * slots_.size());
    slots_.assign(size, {});
    for (Group* group : groups_) {
        size_t at = group->hash & (size - 1);
        while (slots_[at].group != nullptr) at = (at + 1) & (size - 1);
        slots_[at] = {group->hash, group};
    }
}

Group* GroupTable::find(std::string_view key, uint64_t hash) const {
    if (slots_.empty()) return nullptr;
    const size_t mask = slots_.size() - 1;
    for (size_t at = hash & mask; slots_[at].group != nullptr; at = (at + 1) & mask) {
        if (slots_[at].hash == hash && slots_[at].group->key() == key) return slots_[at].group;
    }
    return nullptr;
}

Group& GroupTable::group(std::string_view key, uint64_t hash) {
    if (8 * groups_.size() >= 5 * slots_.size()) grow();
    const size_t mask = slots_.size() - 1;
    size_t at = hash & mask;
    for (; slots_[at].group != nullptr; at = (at + 1) & mask) {
        if (slots_[at].hash == hash && slots_[at].group->key() == key) return *slots_[at].group;
    }
    const size_t cell_count = accumulators_->cell_count();
    Group& group = Group::make(slab_.allocate(Group::bytes(cell_count, key)), key, hash, cell_count);
    group.sequence = next_sequence_++;
    slots_[at] = {hash, &group};
    groups_.push_back(&group);
    return group;
}

const std::vector<Group*>& GroupTable::groups() {
    if (!sorted_) {
        std::sort(groups_.begin(), groups_.end(),
                  [](const Group* a, const Group* b) { return a->sequence < b->sequence; });
        sorted_ = true;
    }
    return groups_;
}

size_t GroupTable::bytes() const {
    return slab_.bytes() + store_.bytes() + slots_.size() * sizeof(Slot) +
           groups_.capacity() * sizeof(Group*);
}

void GroupTable::write_changes(int64_t prefix, uint32_t table, state::DeltaWriter& out) {
    for (Group* group : dirty_) {
        group->dirty = false;
        write_group(*group, prefix, *accumulators_, store_, table, out);
    }
    dirty_.clear();
}

Group* GroupTable::restore(std::string_view key, std::string_view row) {
    Group& restored = group(key, hash_group_key(key));
    if (!read_group(row, *accumulators_, store_, restored)) return nullptr;
    next_sequence_ = std::max(next_sequence_, restored.sequence + 1);
    sorted_ = false;
    return &restored;
}

bool GroupTable::restore_part(std::string_view key, std::string_view value) {
    std::string_view group_key;
    std::string_view part_key;
    uint64_t call = 0;
    if (!split_part_key(key, group_key, call, part_key)) return false;
    Group& restored = group(group_key, hash_group_key(group_key));
    return accumulators_->read_part(call, part_key, value, restored.cells(), store_);
}

}  // namespace weir::processor
