// The records of one side of a join that may still find a partner. A record is one row in a block of its
// pane, a slice of event time: a short header, its key and the columns that results need, in the form in
// which they are stored. An index (join_index.h) leads from a key to its newest row, each row to the next
// older one of its key. They do so by block and place in 32 bits, half of a pointer: a record costs some 20
// bytes more than its encoded form, and a block that was freed with its pane is known as such. There is no
// heap object per record.
//
// Stored form, tables T and T + 1. What an epoch adds to a pane is stored together, in pieces of about
// kPieceBytes: a row of its own per record would cost more than the record.
//   T      key: prefix sequence(u32, big-endian, of the first record); value: record*
//   T + 1  key: prefix sequence, of one record; empty value: it found a partner after it was stored; only
//          where that counts; or the `open` that was left then
//   record := flags(u8; 1: found a partner, 2: `open` follows) time(varint, after the pane's start) open
//             row(length varint, bytes)
//   prefix := start of the pane, as in group_table.h; row := key(length varint, bytes; empty: NULL) values
//   open   := from(varint) to(varint), after the record's first window: see Open
// On disk (open()) the store has all rows up to the last commit, and memory those that came last, as many as
// the cache may hold. Older ones are evicted: known by the number of each pane's first rows that are in the
// store alone. Panes are wider, because a search goes through them one by one; a record is a row of its own.
//   T      key: prefix key(length varint, bytes; empty: NULL) place; value: flags(u8) values
//   T + 1  key: prefix, value: rows(varint) newest(varint): of the pane
//          key: prefix place, value: key: the record has no partner so far; only where that counts
//                                    open key: where records are told once per window: as long as one is left
//   place  := time(u32, big-endian, after the pane's start) sequence(u32, big-endian)
//
// Bounds:  event times from 1900 to 2160 (kFirstTime, kEndTime), so that a pane's number fits in 32 bits.
// Thread:  the worker that owns the shard.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "processor/arena.h"
#include "processor/window_grid.h"
#include "state/delta.h"
#include "state/stored_rows.h"

namespace weir::processor {

class JoinIndex;

class JoinBuffer {
public:
    static constexpr EventTime kFirstTime = -2'208'988'800'000;  // 1900-01-01
    static constexpr EventTime kEndTime = 5'995'814'400'000;     // 2160-01-01

    // A row by the number of its block, then by its place there, in units of its alignment. 0: none.
    using Ref = uint32_t;
    struct Row {
        Ref next = 0;       // The next older row of the key, if it still exists.
        uint32_t size = 0;  // Of the encoded row; the highest bit: found a partner.
        uint32_t after_start = 0;
        uint32_t sequence = 0;  // In the pane.

        static constexpr uint32_t kMatched = uint32_t{1} << 31;
        [[nodiscard]] bool matched() const { return (size & kMatched) != 0; }
        [[nodiscard]] std::string_view encoded() const {
            return {reinterpret_cast<const char*>(this + 1), size & ~kMatched};
        }
        // Empty: NULL, which equals nothing.
        [[nodiscard]] std::string_view key() const {
            const char* const row = reinterpret_cast<const char*>(this + 1);
            const auto length = static_cast<uint8_t>(*row);
            return length < kLongVarint ? std::string_view(row + 1, length) : long_key();
        }
        [[nodiscard]] std::string_view values() const {
            const std::string_view row = encoded();
            const std::string_view key = this->key();
            const char* const begin = key.data() + key.size();
            return {begin, static_cast<size_t>(row.data() + row.size() - begin)};
        }

    private:
        [[nodiscard]] std::string_view long_key() const;
    };
    struct Found {
        Row* row;
        EventTime time;
        WindowGrid::Cell window = 0;  // That the record leaves; only where records are told once per window.
    };
    // When a record without a partner is told, among those of its side.
    struct Turn {
        WindowGrid::Cell window = INT64_MIN;  // Only where records are told once per window.
        EventTime time = kNoTime;
        uint32_t sequence = 0;

        auto operator<=>(const Turn&) const = default;
    };
    // The windows, by name, in which a record still has no partner: from `from` up to before `to`. One range
    // is enough: a partner that is earlier shares the record's first windows, a later one its last ones.
    struct Open {
        WindowGrid::Cell from = 0;
        WindowGrid::Cell to = 0;

        // Takes out those from `first` to `last`: the first ones or the last ones.
        void take_out(WindowGrid::Cell first, WindowGrid::Cell last);
        bool operator==(const Open&) const = default;
    };

    // `keeps`: records without a partner are asked for when they leave; with `windows`, for each window that
    // they leave without one. Panes are so wide that a record that is kept for `keep_ms` passes through about
    // sixteen, on disk four.
    JoinBuffer(JoinIndex& index, size_t side, int64_t keep_ms, bool keeps, const WindowGrid* windows,
               uint32_t table, bool on_disk);
    JoinBuffer(const JoinBuffer&) = delete;
    JoinBuffer& operator=(const JoinBuffer&) = delete;

    // Appends the records from `first` to `last`, both included, of the key at `place` of the index, in order
    // of their times, then arrival.
    void find(uint32_t place, EventTime first, EventTime last, std::vector<Found>& out);
    // `row` as it is stored, `hash` of its key, `place` of that in the index, or JoinIndex::kNowhere.
    void insert(std::string_view row, uint64_t hash, uint32_t place, EventTime time, bool matched, Open open);
    // `first` and `last` are the windows of the pair, none of which has closed; all before `first` that hold
    // both records have.
    [[nodiscard]] Result<void> mark_matched(const Found& found, WindowGrid::Cell first,
                                            WindowGrid::Cell last);
    // Records are told once per window.
    [[nodiscard]] bool per_window() const { return windows_ != nullptr; }
    // All windows of a record that have not closed, `first_open` being the first of those.
    [[nodiscard]] Open open_at(EventTime time, WindowGrid::Cell first_open) const;
    // The record's next window without a partner, if any; per_window().
    [[nodiscard]] Result<std::optional<WindowGrid::Cell>> next_window_of(const Found& found);

    // The earliest bound at which peek() or free() has something to do, perhaps an earlier one before look();
    // kEndOfTime: none.
    [[nodiscard]] EventTime next_bound();
    // The same of windows that close, with per_window().
    [[nodiscard]] std::optional<WindowGrid::Cell> next_window();
    void look();
    // The next record before `end` that has to be told: it found no partner, with per_window() in a window;
    // each is told once, or once for each. In order of their turns. Nullopt: there is none.
    [[nodiscard]] Result<std::optional<Turn>> peek(const Turn& end);
    // What peek() gave; its row is valid until free() and release().
    [[nodiscard]] Result<Found> take(const Turn& next);
    // All before `end` are told, which is not behind what peek() would give next.
    void tell_until(const Turn& end);
    // Frees panes that end at `bound` or before; the number of records that were in them.
    uint64_t free(EventTime bound);
    // What was told, and what has to be although no row says so: it is told before an epoch ends, unless that
    // ends before all that have left are told.
    [[nodiscard]] bool owes() const { return !owed_.empty(); }
    void append_told(std::string& out) const;
    // False when the bytes are not what append_told() writes.
    [[nodiscard]] bool restore_told(ByteReader& in);
    void restore_told(const Turn& told);

    // --- For the index ---

    // Null: the row was freed, or there is none.
    [[nodiscard]] Row* row_at(Ref row) const {
        const Block* const block = block_of(row);
        return block == nullptr ? nullptr : row_in(*block, row);
    }
    // Keys have other places there now.
    void forget_places();

    [[nodiscard]] uint64_t rows() const { return rows_; }
    [[nodiscard]] uint64_t count_rows() const;  // The same, one by one.
    [[nodiscard]] size_t bytes() const;         // Without the index.

    // What write_changes() will write, about.
    [[nodiscard]] size_t changed_bytes() const;
    void write_changes(state::DeltaWriter& out);
    // False when the bytes are not what write_changes() writes, or `good` says so of a record's values.
    [[nodiscard]] bool restore(bool partner_table, std::string_view key, std::string_view value,
                               const std::function<bool(std::string_view)>& good);
    void restore_erased(std::string_view prefix);

    // --- On disk: join_buffer_stored.cc ---

    // Before anything else. `table`: T among `rows`. At most `cache_bytes` stay in memory of what is stored.
    void open(state::StoredRows& rows, uint32_t table, size_t cache_bytes);
    // After restore_told(), in place of restore().
    [[nodiscard]] Result<void> restore_stored();
    // Whether find() lacks something at or after `first`, which find_stored() has to add.
    [[nodiscard]] bool has_evicted(EventTime first) const { return first <= evicted_until_; }
    // `out` is what find() gave. The rows are copies that live until release().
    [[nodiscard]] Result<void> find_stored(std::string_view key, EventTime first, EventTime last,
                                           std::vector<Found>& out);
    void release();
    // Whether a record that was found is still without a partner; where that counts.
    [[nodiscard]] Result<bool> is_unmatched(const Found& found);

private:
    static constexpr uint8_t kFoundPartner = 1;
    static constexpr uint8_t kOpenFollows = 2;
    // Of a key that ends with a place.
    static constexpr size_t kPlaceBytes = 2 * sizeof(uint32_t);
    static constexpr size_t kNear = 1'024;  // Of near_.
    static constexpr size_t kMarkedBytes = 104;  // A node of Stored::marked.
    // Of a Ref. Rows begin in the first 64 KiB of a block; there are 16 GiB of numbers.
    static constexpr uint32_t kPlaceBits = 14;
    static constexpr uint32_t kEndOfBlocks = uint32_t{1} << (32 - kPlaceBits);

    struct alignas(32) Block {  // A power of two: how many there are is asked per row.
        std::unique_ptr<char[]> memory;  // Null: it was freed.
        EventTime start = 0;             // Of its pane.
        uint32_t size = 0;
        uint32_t used = 0;
    };
    struct Waiting {  // To be told when its time comes.
        uint32_t after_start;
        uint32_t sequence;
        Row* row;

        [[nodiscard]] static bool later(const Waiting& a, const Waiting& b) {
            return a.after_start != b.after_start ? a.after_start > b.after_start : a.sequence > b.sequence;
        }
    };
    struct Leaving {  // To be told when its window closes.
        WindowGrid::Cell window;
        EventTime time;
        Row* row;

        [[nodiscard]] Turn turn() const { return {window, time, row->sequence}; }
        [[nodiscard]] static bool later(const Leaving& a, const Leaving& b) {
            return a.turn() > b.turn();
        }
    };
    struct Pane {
        std::vector<uint32_t> blocks;  // By number.
        uint32_t rows = 0;
        uint32_t evicted = 0;  // Of them, the first ones: they are in no block …
        EventTime evicted_until = kNoTime;  // … and none is later.
        uint32_t newest = 0;                // Of those that are stored, after the start; on disk only.
        uint32_t written_rows = 0;          // So many are stored, all before this place.
        size_t written_block = 0;
        uint32_t written_used = 0;
        bool telling = false;          // `waiting` is in use:
        std::vector<Waiting> waiting;  // a heap, the oldest first.
        std::vector<Row*> restored;    // By sequence, until the first write.
    };
    using Panes = std::map<int32_t, Pane>;

    // Where the latest search for a key began: its newest row whose pane begins before `until`, as long as
    // nothing is linked to it.
    struct Near {
        uint32_t place = UINT32_MAX;  // In the index.
        Ref row = 0;
        EventTime until = 0;
    };

    // A row leaves a window that closed before the row found a partner in a later one, so that what is left
    // of its open windows does not say so.
    struct Owed {
        Turn turn;
        Row* row;             // Null: it was evicted, or restored a moment ago.
        std::string row_key;  // Of an evicted one.

        [[nodiscard]] static bool later(const Owed& a, const Owed& b) { return a.turn > b.turn; }
    };
    // What became of an evicted row in the open epoch: it found a partner, in all its windows but `open`.
    struct Marked {
        Open open;
        std::string row_key;  // While some are left.
    };

    struct Stored {
        state::StoredRows& rows;
        const uint32_t table;
        const size_t cache_bytes;
        std::map<std::pair<EventTime, uint32_t>, Marked> marked{};
        // With per_window(): all windows before this one are told, but for what is owed. `leaving` is over
        // the rows of this one …
        WindowGrid::Cell window = INT64_MIN;
        bool window_empty = true;  // … and was at none so far.
        // While records leave: over those without a partner …
        std::optional<state::StoredRows::Cursor> leaving{};
        std::optional<Turn> next{};       // … at the next one of them, …
        std::string_view next_row_key{};  // … of this key.
        Arena loaded{};
        std::string from{};
        std::string key{};
    };

    [[nodiscard]] int32_t number_of(EventTime time) const;
    [[nodiscard]] EventTime start_of(int32_t number) const;
    [[nodiscard]] const Block& block(uint32_t number) const { return blocks_[number - first_block_]; }
    // Null: the row was freed, or there is none.
    [[nodiscard]] const Block* block_of(Ref row) const {
        const uint32_t index = (row >> kPlaceBits) - first_block_;
        return index < blocks_.size() && blocks_[index].memory != nullptr ? &blocks_[index] : nullptr;
    }
    [[nodiscard]] static Row* row_in(const Block& block, Ref row) {
        constexpr Ref kPlaces = (Ref{1} << kPlaceBits) - 1;
        return std::launder(reinterpret_cast<Row*>(block.memory.get() + (row & kPlaces) * alignof(Row)));
    }
    // The newest of the key's rows, `newest` and those before it, whose pane does not begin after `last`; the
    // oldest one where all do.
    [[nodiscard]] Ref seek(uint32_t place, Ref newest, EventTime last);
    [[nodiscard]] Near& near(uint32_t place) { return near_[place % kNear]; }
    // Which is the latest one then.
    [[nodiscard]] Pane& pane_of(EventTime time) {
        if (latest_ != nullptr && time >= latest_start_ && time < latest_start_ + width_ms_) [[likely]]
            return *latest_;
        return find_pane(time);
    }
    [[nodiscard]] Pane& find_pane(EventTime time);
    // The last one of the pane's last block.
    [[nodiscard]] Row& add_row(Pane& pane, size_t size, Ref& ref);
    void add_block(Pane& pane, size_t bytes);
    void free_block(uint32_t number) { blocks_[number - first_block_] = {}; }
    void forget_freed_blocks();
    void number_blocks_anew();
    // `start`: of its pane.
    void link(Row& row, Ref ref, EventTime start, uint32_t place);
    void relink();
    void start_telling(Pane& pane, EventTime start) const;
    static void push_waiting(Pane& pane, Row& row);
    static Row* pop_waiting(Pane& pane);
    // The oldest row in memory that waits and is older than `bound`; it is its pane's first.
    [[nodiscard]] std::optional<Turn> find_waiting(EventTime bound);
    Row* next_in_block(const Block& block, uint32_t& at) const;
    [[nodiscard]] static Ref ref_of(uint32_t block, uint32_t at) {
        return block << kPlaceBits | static_cast<Ref>(at / alignof(Row));
    }
    // Calls use(row, its Ref) for all that are in memory, in order of their arrival.
    template <class Use>
    void for_each_row(const Pane& pane, const Use& use) const {
        for (const uint32_t number : pane.blocks) {
            uint32_t at = 0;
            while (true) {
                const Ref ref = ref_of(number, at);
                Row* const row = next_in_block(block(number), at);
                if (row == nullptr) break;
                use(*row, ref);
            }
        }
    }
    [[nodiscard]] uint32_t row_bytes(size_t size) const;
    // Behind the encoded row; per_window() only.
    [[nodiscard]] static Open open_of(const Row& row);
    static void set_open(Row& row, Open open);
    [[nodiscard]] WindowGrid::Cell first_window(EventTime time) const;
    [[nodiscard]] WindowGrid::Cell last_window(EventTime time) const;
    // Windows before `first` that are left closed since they were last told: they go into closed_.
    [[nodiscard]] Open without(Open open, EventTime time, WindowGrid::Cell first, WindowGrid::Cell last);
    [[nodiscard]] std::optional<WindowGrid::Cell> first_of(Open open) const;
    // What is left of a record's open windows when all before told_ are told.
    [[nodiscard]] Open untold(Open open, EventTime time, uint32_t sequence) const;
    [[nodiscard]] char* write_open(Open open, EventTime time, char* to) const;
    void append_open(Open open, EventTime time, std::string& out) const;
    [[nodiscard]] char* write_record(const Row& row, EventTime start, char* to) const;
    void write_new_rows(EventTime start, Pane& pane, state::DeltaWriter& out) const;
    // What is stored of panes that were freed goes; of `partners`, T + 1, too.
    void write_erased(bool partners, state::DeltaWriter& out);
    [[nodiscard]] bool restore_record(int32_t number, Pane& pane, ByteReader& in,
                                      const std::function<bool(std::string_view)>& good);
    [[nodiscard]] bool restore_partner(EventTime start, Pane& pane, uint32_t sequence, ByteReader& in);
    [[nodiscard]] bool read_open(ByteReader& in, EventTime time, Open& open) const;
    void start_leaving();
    void push_next_window(const Found& found);
    Leaving pop_leaving();
    // The first entry is not of a window in which the row found a partner.
    void settle_leaving();
    // The windows of closed_.
    void push_owed(const Found& found);
    [[nodiscard]] Result<Found> take_owed();
    Panes::iterator drop(Panes::iterator pane);
    static void append_big_endian(uint32_t number, std::string& out);
    [[nodiscard]] static uint32_t read_big_endian(std::string_view bytes);
    // join_buffer_stored.cc
    [[nodiscard]] bool mark_evicted(const Found& found);
    void write_stored(state::DeltaWriter& out);
    void write_row(EventTime start, const Row& row, state::DeltaWriter& out);
    void evict();
    void evict_blocks(EventTime start, Pane& pane, size_t count);
    void look_at_evicted();
    static void append_place(uint32_t after_start, uint32_t sequence, std::string& out);
    [[nodiscard]] static uint32_t read_after_start(std::string_view key);
    [[nodiscard]] static uint32_t read_sequence(std::string_view key);
    void append_place_key(EventTime time, uint32_t sequence, std::string& out) const;
    [[nodiscard]] Row* make_row(std::string_view key, uint32_t after_start, uint32_t sequence,
                                std::string_view stored);
    // To Stored::next, which leaves before `end`.
    [[nodiscard]] Result<void> find_stored_leaving(const Turn& end) {
        return per_window() ? find_leaving_window(end.window) : find_leaving(end.time);
    }
    void scan_leaving(const Turn& from);
    [[nodiscard]] Result<void> find_leaving(EventTime bound);
    [[nodiscard]] Error unreadable_rows() const;
    [[nodiscard]] bool is_evicted(const Found& found) const;
    [[nodiscard]] Result<Row*> load(const Turn& turn, std::string_view row_key);
    void write_waiting(EventTime time, uint32_t sequence, Open open, std::string_view row_key,
                       state::DeltaWriter& out);
    // join_buffer_windows_stored.cc: the same of records that are told once per window.
    [[nodiscard]] Result<Open> stored_open(EventTime time, uint32_t sequence);
    [[nodiscard]] Result<void> mark_evicted_windows(const Found& found, WindowGrid::Cell first,
                                                    WindowGrid::Cell last);
    [[nodiscard]] Result<void> find_leaving_window(WindowGrid::Cell first_open);
    [[nodiscard]] std::optional<WindowGrid::Cell> next_evicted_window() const;

    JoinIndex& index_;
    const size_t side_;
    const int64_t width_ms_;
    const int64_t origin_;
    const bool keeps_;
    const WindowGrid* const windows_;
    const uint32_t table_;
    Panes panes_;
    Pane* latest_ = nullptr;  // The pane of the row that came last, …
    EventTime latest_start_ = 0;
    std::vector<Block> blocks_;  // By number, …
    uint32_t first_block_ = 1;   // … of which this is the first; those before were freed.
    std::vector<Near> near_;     // By place; empty until a side runs behind.
    uint64_t rows_ = 0;
    Turn told_;  // All before it are told.
    bool leaving_started_ = true;   // False: rows were restored, which `leaving_` does not have yet.
    // Heaps, what leaves first; per_window() only.
    std::vector<Leaving> leaving_;
    std::vector<Owed> owed_;
    std::vector<EventTime> erased_;  // Stored panes freed in this epoch, by start.
    std::vector<Found> marked_;      // Rows that found a partner in this epoch, where that counts.
    std::vector<WindowGrid::Cell> closed_;
    EventTime evicted_until_ = kNoTime;    // No evicted row is later.
    EventTime stored_bound_ = kEndOfTime;  // As next_bound(), of evicted rows without a partner.
    std::unique_ptr<Stored> stored_;       // Null: all rows are in memory.
};

}  // namespace weir::processor
