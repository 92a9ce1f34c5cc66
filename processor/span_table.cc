#include "processor/span_table.h"

#include <algorithm>
#include <new>
#include <utility>

namespace weir::processor {

static_assert(sizeof(Span) % alignof(Accumulator) == 0);

SpanTable::Chain SpanTable::chain(std::string_view key, uint64_t hash) const {
    const auto found = chains_.find(Key{key, hash});
    return found == chains_.end() ? Chain{} : found->second;
}

size_t SpanTable::size_class(std::string_view key) const {
    const size_t bytes = sizeof(Span) - sizeof(Group) + Group::bytes(accumulators_.cell_count(), key);
    return (bytes + kClassBytes - 1) / kClassBytes;
}

Span& SpanTable::insert(std::string_view key, uint64_t hash, Span* previous) {
    const size_t wanted = size_class(key);
    char* memory = nullptr;
    if (wanted < free_.size() && free_[wanted] != nullptr) {
        memory = reinterpret_cast<char*>(free_[wanted]);
        free_[wanted] = free_[wanted]->next;
    } else {
        memory = slab_.allocate(wanted * kClassBytes);
    }
    auto* const span = new (memory) Span;
    Group::make(reinterpret_cast<char*>(&span->group), key, hash, accumulators_.cell_count());
    span->group.sequence = next_sequence_++;
    Chain& chain = chains_[Key{span->group.key(), hash}];
    span->previous = previous;
    span->next = previous != nullptr ? previous->next : chain.first;
    (span->previous != nullptr ? span->previous->next : chain.first) = span;
    (span->next != nullptr ? span->next->previous : chain.last) = span;
    ++size_;
    return *span;
}

void SpanTable::remove(Span& span) {
    if (span.stored) {
        erased_.emplace_back(span.group.sequence, std::string(span.group.key()));
        changed_bytes_ += sizeof(erased_.back()) + span.group.key().size();
    }
    const auto found = chains_.find(Key{span.group.key(), span.group.hash});
    Chain& chain = found->second;
    (span.previous != nullptr ? span.previous->next : chain.first) = span.next;
    (span.next != nullptr ? span.next->previous : chain.last) = span.previous;
    if (chain.first == nullptr) {
        chains_.erase(found);
    } else if (found->first.bytes.data() == span.group.key().data()) {
        // The map's key must not point into a span that goes.
        const Chain kept = chain;
        chains_.erase(found);
        chains_.emplace(Key{kept.first->group.key(), kept.first->group.hash}, kept);
    }
    accumulators_.release(span.group.cells(), store_);
    span.dead = true;
    --size_;
    if (span.references == 0) free(span);
}

void SpanTable::sort(Chain& chain) {
    std::vector<Span*> spans;
    for (Span* span = chain.first; span != nullptr; span = span->next) spans.push_back(span);
    std::sort(spans.begin(), spans.end(), [](const Span* a, const Span* b) {
        return std::pair(a->group.first, a->group.sequence) < std::pair(b->group.first, b->group.sequence);
    });
    chain = {};
    for (Span* span : spans) {
        span->previous = chain.last;
        span->next = nullptr;
        (chain.last != nullptr ? chain.last->next : chain.first) = span;
        chain.last = span;
    }
}

void SpanTable::sort(std::string_view key, uint64_t hash) {
    const auto found = chains_.find(Key{key, hash});
    if (found != chains_.end()) sort(found->second);
}

Span& SpanTable::insert_stored(std::string_view key, uint64_t hash, uint64_t sequence) {
    const uint64_t next = next_sequence_;
    Span& span = insert(key, hash, nullptr);
    span.group.sequence = sequence;
    span.stored = true;
    next_sequence_ = std::max(next, sequence + 1);
    return span;
}

void SpanTable::clear() {
    WEIR_CHECK(dirty_.empty() && erased_.empty());
    chains_ = decltype(chains_)();
    free_.clear();
    slab_ = Slab();
    store_ = AccumulatorStore();
    size_ = 0;
}

void SpanTable::free(Span& span) {
    const size_t its_class = size_class(span.group.key());
    if (its_class >= free_.size()) free_.resize(its_class + 1, nullptr);
    span.next = free_[its_class];
    free_[its_class] = &span;
}

void SpanTable::write_changes(uint32_t table, state::DeltaWriter& out) {
    take_changes(
        [&](uint64_t sequence, std::string_view key) {
            erase_group(static_cast<int64_t>(sequence), key, accumulators_, table, out);
        },
        [&](Span& span) {
            write_group(span.group, static_cast<int64_t>(span.group.sequence), accumulators_, store_, table,
                        out);
        });
}

void SpanTable::find_known() {
    if (by_sequence_.empty()) for_each([&](Span& known) { by_sequence_[known.group.sequence] = &known; });
}

Span& SpanTable::restored(std::string_view key, std::string_view group_key) {
    find_known();
    const auto sequence = static_cast<uint64_t>(read_prefix(key));
    Span*& span = by_sequence_[sequence];
    if (span == nullptr) span = &insert_stored(group_key, hash_group_key(group_key), sequence);
    restoring_ = true;
    return *span;
}

bool SpanTable::restore(std::string_view key, std::string_view row) {
    Span& span = restored(key, key.substr(kPrefixBytes));
    return read_group(row, accumulators_, store_, span.group);
}

bool SpanTable::restore_part(std::string_view key, std::string_view value) {
    std::string_view group_key;
    std::string_view part_key;
    uint64_t call = 0;
    if (!split_part_key(key.substr(kPrefixBytes), group_key, call, part_key)) return false;
    Span& span = restored(key, group_key);
    return accumulators_.read_part(call, part_key, value, span.group.cells(), store_);
}

void SpanTable::restore_erased(std::string_view key) {
    if (key.size() < kPrefixBytes) return;
    find_known();
    const auto found = by_sequence_.find(static_cast<uint64_t>(read_prefix(key)));
    if (found == by_sequence_.end()) return;
    found->second->stored = false;  // It is erased already.
    remove(*found->second);
    by_sequence_.erase(found);
}

bool SpanTable::finish_restoring() {
    if (!restoring_) return false;
    restoring_ = false;
    by_sequence_.clear();
    for (auto& [key, chain] : chains_) sort(chain);
    return true;
}

size_t SpanTable::bytes() const {
    return slab_.bytes() + store_.bytes() + chains_.capacity() * (sizeof(Key) + sizeof(Chain) + 1);
}

}  // namespace weir::processor
