// From a key to its rows.
#include <algorithm>
#include <cstring>
#include <utility>

#include "processor/group_table.h"
#include "processor/join_buffer.h"

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

}  // namespace

const JoinBuffer::Slot* JoinBuffer::find_slot(std::string_view key, uint64_t hash) const {
    if (slots_.empty()) return nullptr;
    const size_t mask = slots_.size() - 1;
    const auto tag = static_cast<uint32_t>(hash >> 32);
    for (size_t at = hash & mask; slots_[at].head != 0; at = (at + 1) & mask) {
        const Slot& slot = slots_[at];
        if (slot.hash != tag) continue;
        if (const Row* const row = row_at(slot.head); row != nullptr && same(row->key(), key)) return &slot;
    }
    return nullptr;
}

void JoinBuffer::find(std::string_view key, uint64_t hash, EventTime first, EventTime last,
                      std::vector<Found>& out) {
    const Slot* const slot = find_slot(key, hash);
    if (slot == nullptr) return;
    const size_t before = out.size();
    Ref ref = slot->head;
    if (block_of(ref)->start > last) ref = seek(*slot, last);
    while (const Block* const block = block_of(ref)) {
        if (block->start + width_ms_ <= first) break;
        Row* const row = row_in(*block, ref);
        const EventTime time = block->start + row->after_start;
        if (time >= first && time <= last) out.push_back({row, time});
        ref = row->next;
    }
    if (out.size() - before < 2) return;
    const auto begin = out.begin() + static_cast<ptrdiff_t>(before);
    std::sort(begin, out.end(), [](const Found& a, const Found& b) {
        return a.time != b.time ? a.time < b.time : a.row->sequence < b.row->sequence;
    });
}

// Where this side has been read ahead, most rows of a key are later than what is searched for, and many
// searches begin at the same one.
JoinBuffer::Ref JoinBuffer::seek(const Slot& slot, EventTime last) {
    if (near_.empty()) near_.resize(kNear);
    Near& known = near(slot);
    if (known.slot == &slot && last < known.until) {
        const Block* const block = block_of(known.row);
        if (block != nullptr && block->start <= last) return known.row;
    }
    Ref row = slot.head;
    EventTime until = kEndOfTime;
    for (const Block* block = block_of(row); block->start > last;) {
        const Ref older = row_in(*block, row)->next;
        const Block* const its = block_of(older);
        if (its == nullptr) break;
        until = block->start;
        row = older;
        block = its;
    }
    known = {&slot, row, until};
    return row;
}

void JoinBuffer::prefetch(std::span<const uint64_t> hashes, size_t at) const {
    constexpr size_t kRowsAhead = 8;
    constexpr size_t kSlotsAhead = 16;  // A slot says where the row is.
    constexpr size_t kCachedSlots = 2048;  // Of so few, slots and newest rows are in the core's caches.
    if (slots_.size() <= kCachedSlots) return;
    const size_t mask = slots_.size() - 1;
    if (at + kSlotsAhead < hashes.size()) __builtin_prefetch(&slots_[hashes[at + kSlotsAhead] & mask]);
    if (at + kRowsAhead < hashes.size())
        __builtin_prefetch(row_at(slots_[hashes[at + kRowsAhead] & mask].head));
}

// `start`: of its pane.
void JoinBuffer::link(Row& row, Ref ref, EventTime start, uint64_t hash) {
    if (4 * (used_slots_ + 1) > 3 * slots_.size()) make_room();
    const std::string_view key = row.key();
    const size_t mask = slots_.size() - 1;
    const auto tag = static_cast<uint32_t>(hash >> 32);
    Slot* unused = nullptr;
    size_t at = hash & mask;
    for (; slots_[at].head != 0; at = (at + 1) & mask) {
        Slot& slot = slots_[at];
        const Block* newest = block_of(slot.head);
        if (newest == nullptr) {
            if (unused == nullptr) unused = &slot;
            continue;
        }
        if (slot.hash != tag || !same(row_in(*newest, slot.head)->key(), key)) continue;
        if (!near_.empty()) near(slot) = {};
        // Newer panes before older ones, so that the end of what exists is the end of the list.
        if (start >= newest->start) {
            row.next = slot.head;
            slot.head = ref;
            return;
        }
        Row* before = row_in(*newest, slot.head);
        for (const Block* next; (next = block_of(before->next)) != nullptr && next->start > start;)
            before = row_in(*next, before->next);
        row.next = before->next;
        before->next = ref;
        return;
    }
    if (unused == nullptr) {
        unused = &slots_[at];
        ++used_slots_;
    }
    *unused = {ref, tag};
}

// Leaves out the keys whose rows were freed; grows when that is not enough.
void JoinBuffer::make_room() {
    size_t live = 0;
    for (const Slot& slot : slots_)
        if (block_of(slot.head) != nullptr) ++live;
    size_t size = std::max(kFirstSlots, slots_.size());
    if (2 * (live + 1) > size) size *= 2;
    while (size > kFirstSlots && 8 * (live + 1) < size) size /= 2;
    const std::vector<Slot> before = std::exchange(slots_, std::vector<Slot>(size));
    std::fill(near_.begin(), near_.end(), Near{});
    for (const Slot& slot : before) {
        const Row* const row = row_at(slot.head);
        if (row == nullptr) continue;
        size_t at = hash_group_key(row->key()) & (size - 1);
        while (slots_[at].head != 0) at = (at + 1) & (size - 1);
        slots_[at] = slot;
    }
    used_slots_ = live;
}

// Finds all rows' places in the index anew.
void JoinBuffer::relink() {
    slots_ = {};
    near_ = {};
    used_slots_ = 0;
    for (const auto& [number, pane] : panes_) {
        const EventTime start = start_of(number);
        for_each_row(pane, [&](Row& row, Ref ref) {
            row.next = 0;
            if (const std::string_view key = row.key(); !key.empty())
                link(row, ref, start, hash_group_key(key));
        });
    }
}

}  // namespace weir::processor
