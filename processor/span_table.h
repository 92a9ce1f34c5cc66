// Groups that come and go one by one: spans of a group's records, each with a beginning and an end. The spans
// of one key form a chain in the order of their beginnings.
//
// A span that was removed stays readable as `dead` until nobody refers to it any more (lists of what changed,
// the queue of what is due): see hold() and drop().
//
// Stored form: as group_table.h has it; prefix := the span's sequence.
//
// Thread:  the worker that owns the shard.
// Memory:  spans lie in slabs, freed ones are reused; counted in bytes().
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "processor/accumulator.h"
#include "processor/group_table.h"
#include "processor/slab.h"
#include "state/delta.h"

namespace weir::processor {

struct Span {
    Span* previous = nullptr;
    Span* next = nullptr;
    uint32_t references = 0;
    bool dead = false;
    bool stored = false;  // Its row is in the stored state.
    bool fired = false;   // Gave the result of its time …
    bool closed = false;  // … and the last one.
    EventTime scheduled = kNoTime;
    Group group;          // Cells and key follow it.
};

class SpanTable {
public:
    explicit SpanTable(const Accumulators& accumulators) : accumulators_(accumulators) {}

    struct Chain {
        Span* first = nullptr;
        Span* last = nullptr;
    };
    // Empty when there is none.
    [[nodiscard]] Chain chain(std::string_view key, uint64_t hash) const;
    // Makes a span behind `previous` in the key's chain (null: at its front).
    [[nodiscard]] Span& insert(std::string_view key, uint64_t hash, Span* previous);
    // Unlinks it and gives back what its cells hold; the next epoch erases it.
    void remove(Span& span);

    void hold(Span& span) { ++span.references; }
    void drop(Span& span) {
        if (--span.references == 0 && span.dead) free(span);
    }

    // The caller is about to change the span.
    void touch(Span& span) {
        if (span.group.dirty) return;
        span.group.dirty = true;
        changed_bytes_ += Group::bytes(span.group.cell_count, span.group.key());
        dirty_.push_back(&span);
        hold(span);
    }
    // About what the next two calls will write.
    [[nodiscard]] size_t changed_bytes() const { return changed_bytes_; }
    // `table`: of the groups.
    void write_changes(uint32_t table, state::DeltaWriter& out);
    // The same for owners with a stored form of their own: erase(sequence, key) of stored spans that are
    // gone, then write(span) of those that changed.
    template <class Erase, class Write>
    void take_changes(const Erase& erase, const Write& write);

    // --- Restoring, before anything else. Keys are stored ones, so they begin with a prefix ---

    // False when the bytes are not what write_changes() writes.
    [[nodiscard]] bool restore(std::string_view key, std::string_view row);
    [[nodiscard]] bool restore_part(std::string_view key, std::string_view value);
    void restore_erased(std::string_view key);
    // Puts the chains in order; false: nothing was restored.
    [[nodiscard]] bool finish_restoring();

    // --- On disk (stored_spans.h), where a chain comes and goes at any time ---

    // A stored span, whose group is still to be read, and then its chain to be put in order.
    [[nodiscard]] Span& insert_stored(std::string_view key, uint64_t hash, uint64_t sequence);
    void sort(std::string_view key, uint64_t hash);
    // Forgets all spans, of which nothing is unwritten and to which nobody refers any more.
    void clear();
    [[nodiscard]] uint64_t next_sequence() const { return next_sequence_; }
    void set_next_sequence(uint64_t next) { next_sequence_ = next; }

    [[nodiscard]] AccumulatorStore& store() { return store_; }
    template <class Use>
    void for_each(const Use& use) const {
        for (const auto& [key, chain] : chains_)
            for (Span* span = chain.first; span != nullptr; span = span->next) use(*span);
    }
    [[nodiscard]] size_t keys() const { return chains_.size(); }
    [[nodiscard]] size_t size() const { return size_; }
    [[nodiscard]] size_t bytes() const;

private:
    struct Key {
        std::string_view bytes;  // In a span of the chain.
        uint64_t hash;
        bool operator==(const Key& other) const { return hash == other.hash && bytes == other.bytes; }
    };
    struct Hash {
        size_t operator()(const Key& key) const { return key.hash; }
    };
    static constexpr size_t kClassBytes = 32;

    [[nodiscard]] size_t size_class(std::string_view key) const;
    void free(Span& span);
    // The span of a stored key, made when it is new.
    [[nodiscard]] Span& restored(std::string_view key, std::string_view group_key);
    void find_known();
    static void sort(Chain& chain);

    const Accumulators& accumulators_;
    absl::flat_hash_map<Key, Chain, Hash> chains_;
    Slab slab_;
    std::vector<Span*> free_;  // By size class: lists linked by `next`.
    AccumulatorStore store_;
    size_t size_ = 0;
    uint64_t next_sequence_ = 0;
    std::vector<Span*> dirty_;                              // Since the last epoch.
    std::vector<std::pair<uint64_t, std::string>> erased_;  // Stored spans removed in this epoch.
    size_t changed_bytes_ = 0;
    bool restoring_ = false;
    absl::flat_hash_map<uint64_t, Span*> by_sequence_;  // While restoring.
};

template <class Erase, class Write>
void SpanTable::take_changes(const Erase& erase, const Write& write) {
    for (const auto& [sequence, key] : erased_) erase(sequence, std::string_view(key));
    erased_.clear();
    for (Span* span : dirty_) {
        if (!span->dead) {
            span->group.dirty = false;
            write(*span);
            span->stored = true;
        }
        drop(*span);
    }
    dirty_.clear();
    changed_bytes_ = 0;
}

}  // namespace weir::processor
