// What aggregate calls keep per group, and all that is done with it: take rows in, merge, give the result, be
// stored and read back. Knows nothing of windows: whoever owns groups (a window, a pane, a session) holds
// for each group an array of cells and, for all of its groups together, one AccumulatorStore.
//
//   Accumulator        a cell of fixed size. A call has one, or two where it needs a second value; the
//                      group's array holds those of all calls in order (Accumulators::cell_count()).
//   AccumulatorStore   the rest: bytes of kept texts, and one AccumulatorObject for each call of a group
//                      whose state has no fixed size (a DISTINCT set). Cells point into it.
//   Accumulators       the calls of one aggregate: the operations on cells and store.
//
// A group costs no heap object, unless one of its calls needs an AccumulatorObject; a record costs none.
//
// What each kind of call does stands in accumulators/, with the algorithms and their error bounds.
//
// Stored form of a group's cells: of each cell count(varint) value(stored_value.h). An object is stored in
// parts, pairs of key and value that the owner stores with the call's number; only parts that changed are
// written. Their format stands in the headers of the objects.
//
// Thread:  the worker that owns the state.
// Failure: a call that fails for good (sum out of range) keeps nothing but a kError value, and that is its
//          result.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "processor/arena.h"
#include "processor/graph.h"
#include "processor/slab.h"
#include "processor/value.h"

namespace weir::processor {

struct AccumulatorOperations;

// What count and value mean is the call's: sum, smallest, largest, how many values.
struct Accumulator {
    int64_t count = 0;
    Value value;            // NULL: none yet. kError: the call failed for good.
    uint32_t capacity = 0;  // Bytes owned at value.data.
    uint32_t object = 0;    // 1 + index in the store; 0: none.
};

// State of one call of one group that has no fixed size.
class AccumulatorObject {
public:
    AccumulatorObject() = default;
    virtual ~AccumulatorObject() = default;
    AccumulatorObject(const AccumulatorObject&) = delete;
    AccumulatorObject& operator=(const AccumulatorObject&) = delete;

    using WritePart = std::function<void(std::string_view key, std::string_view value)>;
    // The parts that changed since the last write; with `whole` all.
    virtual void write(bool whole, const WritePart& out) = 0;
    // A part as written; false when it is none. Counts as written.
    [[nodiscard]] virtual bool read(std::string_view key, std::string_view value) = 0;
    [[nodiscard]] virtual size_t bytes() const = 0;
};

class AccumulatorStore {
public:
    // Sets the cell's value; it owns a copy of the bytes if there are any.
    void keep(Accumulator& cell, const Value& value) {
        if (value.type == Type::kText || value.type == Type::kJsonb || value.type == Type::kError) {
            keep_bytes(cell, value);
            return;
        }
        if (cell.capacity != 0) drop_bytes(cell);
        cell.value = value;
    }
    // The cell's object; made when there is none.
    template <class T>
    [[nodiscard]] T& object(Accumulator& cell, const CallPlan& call) {
        if (cell.object == 0) [[unlikely]]
            add(cell, std::make_unique<T>(call));
        return static_cast<T&>(*objects_[cell.object - 1]);
    }
    // Null: the cell has none.
    [[nodiscard]] AccumulatorObject* find(const Accumulator& cell) const {
        return cell.object == 0 ? nullptr : objects_[cell.object - 1].get();
    }
    // Gives back what the cell holds here, and empties it. For owners whose groups end one by one.
    void release(Accumulator& cell);
    // The call has failed for good: nothing is kept but the message.
    void fail(Accumulator& cell, const Value& error);
    [[nodiscard]] size_t bytes() const;

private:
    void keep_bytes(Accumulator& cell, const Value& value);
    void drop_bytes(Accumulator& cell);
    void add(Accumulator& cell, std::unique_ptr<AccumulatorObject> object);
    [[nodiscard]] char* take(size_t capacity);
    void give_back(char* bytes, size_t capacity);

    Slab texts_;
    std::array<char*, 33> free_texts_{};  // By log2 of the capacity: lists linked through the first bytes.
    std::vector<std::unique_ptr<AccumulatorObject>> objects_;
    std::vector<uint32_t> free_objects_;
};

// One call's rows of a batch.
struct AccumulatorRows {
    std::span<const uint32_t> rows;  // Ascending; those that pass FILTER.
    std::span<const Column* const> arguments;
    std::span<const EventTime> times;           // By row.
    std::span<Accumulator* const> cells;        // By row: the first cell of the row's group.
    std::span<AccumulatorStore* const> stores;  // By row.
};

class Accumulators {
public:
    explicit Accumulators(const std::vector<CallPlan>& calls);

    [[nodiscard]] size_t cell_count() const { return cell_count_; }
    // Whether some call keeps objects, so that there are parts.
    [[nodiscard]] bool has_objects() const { return has_objects_; }

    // A bit per Type that the call takes as this argument; NULL always is.
    [[nodiscard]] uint16_t accepts(size_t call, size_t argument) const;
    [[nodiscard]] std::string_view refusal(size_t call) const;
    // No value of the rows is an error or refused.
    void accumulate(size_t call, const AccumulatorRows& input);
    // All calls: as if `into` had also taken the rows of `from`, after its own, up to the last bits of double
    // precision and within the bounds of approximate calls. `from` stays as it is.
    void merge(Accumulator* into, AccumulatorStore& into_store, const Accumulator* from,
               const AccumulatorStore& from_store) const;
    // Valid while the group and the arena are.
    [[nodiscard]] Value result(size_t call, const Accumulator* cells, const AccumulatorStore& store,
                               Arena& arena) const;

    void write(const Accumulator* cells, std::string& out) const;
    // False when the bytes are not what write() appends.
    [[nodiscard]] bool read(ByteReader& in, Accumulator* cells, AccumulatorStore& store) const;
    using WritePart = std::function<void(size_t call, std::string_view key, std::string_view value)>;
    void write_parts(const Accumulator* cells, AccumulatorStore& store, bool whole,
                     const WritePart& out) const;
    // In any order, also before read().
    [[nodiscard]] bool read_part(size_t call, std::string_view key, std::string_view value,
                                 Accumulator* cells, AccumulatorStore& store) const;
    void release(Accumulator* cells, AccumulatorStore& store) const;

private:
    struct Call {
        CallPlan plan;
        const AccumulatorOperations& operations;
        uint32_t first_cell;
        std::array<uint16_t, 2> accepts;
        std::string refusal;
    };

    std::vector<Call> calls_;
    size_t cell_count_ = 0;
    bool has_objects_ = false;
    std::string scratch_;
};

}  // namespace weir::processor
