#include "processor/join_index.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "processor/group_table.h"

namespace weir::processor {
namespace {

constexpr size_t kFirstSlots = 16;

// Most keys are a number: nine bytes, for which a call costs more than the comparison.
[[gnu::always_inline]] inline bool same(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    if (a.size() < sizeof(uint64_t) || a.size() > 2 * sizeof(uint64_t)) return a == b;
    const auto differ = [&](size_t at) {
        uint64_t left = 0;
        uint64_t right = 0;
        std::memcpy(&left, a.data() + at, sizeof(left));
        std::memcpy(&right, b.data() + at, sizeof(right));
        return left ^ right;
    };
    return (differ(0) | differ(a.size() - sizeof(uint64_t))) == 0;
}

uint32_t tag_of(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }

}  // namespace

[[gnu::always_inline]] inline const JoinBuffer::Row* JoinIndex::row_of(const Slot& slot, size_t side) const {
    for (const size_t its : {side, 1 - side}) {
        if (slot.newest[its] == 0) continue;
        if (const auto* const row = buffers_[its]->row_at(slot.newest[its])) return row;
    }
    return nullptr;
}

[[gnu::always_inline]] inline bool JoinIndex::holds(const Slot& slot, std::string_view key, uint32_t tag,
                                                    size_t side) const {
    if (slot.hash != tag) return false;
    const JoinBuffer::Row* const row = row_of(slot, side);
    return row != nullptr && same(row->key(), key);
}

JoinIndex::Place JoinIndex::find(std::string_view key, uint64_t hash, size_t side) const {
    if (slots_.empty()) return kNowhere;
    const size_t mask = slots_.size() - 1;
    const uint32_t tag = tag_of(hash);
    for (size_t at = hash & mask; slots_[at].used(); at = (at + 1) & mask)
        if (holds(slots_[at], key, tag, side)) return static_cast<Place>(at);
    return kNowhere;
}

JoinIndex::Place JoinIndex::place(std::string_view key, uint64_t hash, size_t side) {
    if (4 * (used_ + 1) > 3 * slots_.size()) make_room();
    const size_t mask = slots_.size() - 1;
    const uint32_t tag = tag_of(hash);
    size_t at = hash & mask;
    size_t free = SIZE_MAX;
    for (; slots_[at].used(); at = (at + 1) & mask) {
        if (holds(slots_[at], key, tag, side)) return static_cast<Place>(at);
        if (free == SIZE_MAX && row_of(slots_[at], side) == nullptr) free = at;
    }
    if (free == SIZE_MAX) {
        free = at;
        ++used_;
    }
    slots_[free] = {{}, tag};
    return static_cast<Place>(free);
}

void JoinIndex::prefetch(std::span<const uint64_t> hashes, size_t at, size_t side) const {
    constexpr size_t kRowsAhead = 8;
    constexpr size_t kSlotsAhead = 16;  // A slot says where the row is.
    constexpr size_t kCachedSlots = 2048;  // Of so few, slots and newest rows are in the core's caches.
    if (slots_.size() <= kCachedSlots) return;
    const size_t mask = slots_.size() - 1;
    if (at + kSlotsAhead < hashes.size()) __builtin_prefetch(&slots_[hashes[at + kSlotsAhead] & mask]);
    if (at + kRowsAhead < hashes.size())
        __builtin_prefetch(buffers_[side]->row_at(slots_[hashes[at + kRowsAhead] & mask].newest[side]));
}

void JoinIndex::forget(size_t side) {
    for (Slot& slot : slots_) slot.newest[side] = 0;
    make_room();
}

// Leaves out the keys whose rows were freed; grows when that is not enough.
void JoinIndex::make_room() {
    size_t live = 0;
    for (const Slot& slot : slots_)
        if (row_of(slot, 0) != nullptr) ++live;
    size_t size = std::max(kFirstSlots, slots_.size());
    if (2 * (live + 1) > size) size *= 2;
    while (size > kFirstSlots && 8 * (live + 1) < size) size /= 2;
    const std::vector<Slot> before = std::exchange(slots_, std::vector<Slot>(size));
    for (const Slot& slot : before) {
        const JoinBuffer::Row* const row = row_of(slot, 0);
        if (row == nullptr) continue;
        size_t at = hash_group_key(row->key()) & (size - 1);
        while (slots_[at].used()) at = (at + 1) & (size - 1);
        slots_[at] = slot;
    }
    used_ = live;
    ++places_;
    for (JoinBuffer* const buffer : buffers_)
        if (buffer != nullptr) buffer->forget_places();
}

}  // namespace weir::processor
