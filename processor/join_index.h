// From a join's key to the newest row of each side. One index for both: nearly every record looks for its
// key's rows on the other side, then becomes the newest one of its own, and the second step costs nothing
// when the first one's place is remembered.
//
// Memory:  12 bytes a slot; while keys only come 16 to 32 a key.
// Thread:  the worker that owns the shard.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "processor/join_buffer.h"

namespace weir::processor {

class JoinIndex {
public:
    // A key's slot, as long as places() stays the same.
    using Place = uint32_t;
    static constexpr Place kNowhere = UINT32_MAX;
    using Ref = JoinBuffer::Ref;

    // Before anything else; once for each side.
    void attach(size_t side, JoinBuffer& buffer) { buffers_[side] = &buffer; }

    // Compares the key with rows of `side`, where it has any: those that are looked for.
    [[nodiscard]] Place find(std::string_view key, uint64_t hash, size_t side) const;
    // Makes a slot where there is none; then the caller sets newest() at once.
    [[nodiscard]] Place place(std::string_view key, uint64_t hash, size_t side);
    // The first of the list of the side's rows; it may have been freed, then all of them were.
    [[nodiscard]] Ref& newest(Place place, size_t side) { return slots_[place].newest[side]; }
    // Hides what find() would wait for memory: call it before that for each of a batch's hashes in turn; it
    // looks some records ahead.
    void prefetch(std::span<const uint64_t> hashes, size_t at, size_t side) const;

    // So often did keys change their places.
    [[nodiscard]] uint64_t places() const { return places_; }
    // Rows were freed: their keys' places may become others'.
    void rows_freed() { ++places_; }
    // All rows of the side go.
    void forget(size_t side);

    [[nodiscard]] size_t bytes() const { return slots_.capacity() * sizeof(Slot); }

private:
    struct Slot {
        std::array<Ref, 2> newest{};
        uint32_t hash = 0;

        [[nodiscard]] bool used() const { return (newest[0] | newest[1]) != 0; }
    };

    // Of `side` if there is one, else of the other. Null: they were freed.
    [[nodiscard]] const JoinBuffer::Row* row_of(const Slot& slot, size_t side) const;
    [[nodiscard]] bool holds(const Slot& slot, std::string_view key, uint32_t tag, size_t side) const;
    void make_room();

    std::array<JoinBuffer*, 2> buffers_{};
    std::vector<Slot> slots_;  // Open addressing, linear probing; a power of two, at most 3/4 full.
    size_t used_ = 0;          // Also of keys whose rows were freed.
    uint64_t places_ = 0;
};

}  // namespace weir::processor
