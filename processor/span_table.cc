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
    Chain& chain = chains_[Key{span->group.key(), hash}];
    span->previous = previous;
    span->next = previous != nullptr ? previous->next : chain.first;
    (span->previous != nullptr ? span->previous->next : chain.first) = span;
    (span->next != nullptr ? span->next->previous : chain.last) = span;
    ++size_;
    return *span;
}

void SpanTable::remove(Span& span) {
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

void SpanTable::sort() {
    std::vector<Span*> spans;
    for (auto& [key, chain] : chains_) {
        spans.clear();
        for (Span* span = chain.first; span != nullptr; span = span->next) spans.push_back(span);
        std::sort(spans.begin(), spans.end(), [](const Span* a, const Span* b) {
            return std::pair(a->group.first, a->group.sequence) <
                   std::pair(b->group.first, b->group.sequence);
        });
        chain = {};
        for (Span* span : spans) {
            span->previous = chain.last;
            span->next = nullptr;
            (chain.last != nullptr ? chain.last->next : chain.first) = span;
            chain.last = span;
        }
    }
}

void SpanTable::free(Span& span) {
    const size_t its_class = size_class(span.group.key());
    if (its_class >= free_.size()) free_.resize(its_class + 1, nullptr);
    span.next = free_[its_class];
    free_[its_class] = &span;
}

size_t SpanTable::bytes() const {
    return slab_.bytes() + store_.bytes() + chains_.capacity() * (sizeof(Key) + sizeof(Chain) + 1);
}

}  // namespace weir::processor
