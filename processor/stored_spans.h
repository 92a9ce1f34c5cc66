// Spans on disk: session, sliding and count windows, and what `keep: last` waits with. Of a key either all
// spans are in memory or none: they are read when a record comes to the key, or when something of it is due.
// After write_changes() everything is stored, so memory is emptied when it holds much.
// Memory: the chains that the open epoch used, and as much as StoredGroups::cache_bytes() of the others.
//
//   due       a row per key says when one of its spans is due first; these rows are in order of time. The
//             row may say too early, never too late: it stays where it is while a session goes on, and when
//             its time comes the chain is read and the row moves with the epoch. So a record costs no write
//             there, and a session one per gap, not per epoch.
//   none      a key without spans has no row "k", which a store's filter knows without a look at the disk.
//   changed   as in stored_windows.h: which spans changed since they were last shown ({every: …}) is stored
//             for itself.
//
// Stored form: table T, key length(varint) group-key sequence(i64, as a prefix): row as in group_table.h,
// without the flag for changed; parts as there; and table T + 3:
//   "n"                  of all: version(u8) records(varint) spans(varint) keys(varint) next-sequence(varint)
//   "k" group-key        of a key that has spans: version(u8) time(i64) sequence(varint), as in its row "d"
//   "d" time sequence    group-key; both i64, as prefixes. None where time ends nothing (count)
//   "c" sequence         of a span that changed: group-key
// A start reads "n" and the first of "c" and "d".
//
// Order:   as in memory.
// Thread:  the worker that owns the shard.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/container/node_hash_map.h>

#include "processor/span_windows.h"
#include "processor/stored_groups.h"

namespace weir::processor {

class StoredSpans final : public SpanWindows {
public:
    StoredSpans(const Stage& stage, Accumulators& accumulators, WindowListener& results, Settler& settler,
                StoredGroups& stored)
        : SpanWindows(stage, accumulators, results, settler), stored_(stored), read_(accumulators) {}

    [[nodiscard]] EventTime next_due() override;
    [[nodiscard]] EventTime many_due(size_t few) override;
    [[nodiscard]] bool has_changed() override { return changes_dropped_ || SpanWindows::has_changed(); }
    void show_changed() override;
    void append_open(std::string_view key, std::vector<OpenWindow>& out) override;
    [[nodiscard]] uint64_t count_records() override;
    [[nodiscard]] uint64_t open_windows() const override { return spans_.size() + elsewhere_.spans; }
    [[nodiscard]] uint64_t groups() const override { return spans_.keys() + elsewhere_.keys; }
    [[nodiscard]] size_t bytes() const override { return spans_.bytes() + known_bytes_; }
    [[nodiscard]] size_t changed_bytes() const override;
    void write_changes(state::DeltaWriter& out) override;
    void restore_stored() override;

private:
    using Turn = std::pair<EventTime, uint64_t>;  // When a span is due, and its sequence.

    // Of a key whose spans are in memory, as long as they are; also of one that has none.
    struct Known {
        Turn turn{kEndOfTime, 0};  // As stored …
        bool stored = false;       // … if it is.
        bool came = false;         // That turn did, in this epoch.
        bool written = false;      // While writing.
    };
    struct Hash {
        using is_transparent = void;
        size_t operator()(std::string_view key) const { return hash_group_key(key); }
    };
    using Keys = absl::node_hash_map<std::string, Known, Hash, std::equal_to<>>;
    static constexpr size_t kKeyBytes = 96;  // Of an entry, without its text.
    static constexpr size_t kMostAhead = 64;

    [[nodiscard]] SpanTable::Chain chain(std::string_view key, uint64_t hash) override;
    void take_up_due(EventTime until) override;

    Keys::value_type& know(std::string_view key, uint64_t hash);
    // Reads a key's chain into a table that has nothing of it.
    SpanTable::Chain read(std::string_view key, uint64_t hash, SpanTable& into);
    // A key's chain and what its cells point into; if it is not in memory it is read until the next call.
    std::pair<SpanTable::Chain, const AccumulatorStore*> look_up(std::string_view key);
    void look_ahead();
    void write_spans(state::DeltaWriter& out);
    void write_turn(Keys::value_type& key, state::DeltaWriter& out);
    void write_changed(state::DeltaWriter& out);
    void write_totals(state::DeltaWriter& out);
    void drop();
    [[nodiscard]] uint32_t key_table() const { return stage_.table + kPaneTable; }

    StoredGroups& stored_;
    SpanTable read_;
    Keys known_;
    size_t known_bytes_ = 0;
    struct {
        uint64_t spans = 0;
        uint64_t keys = 0;
    } elsewhere_;  // Not in memory.

    std::deque<std::pair<Turn, std::string>> ahead_;  // The turns that come next and their keys …
    bool ahead_is_all_ = false;                       // … all there are, …
    bool looked_ahead_ = false;                       // … since the last write.
    Turn passed_{kNoTime, 0};                         // All turns are at this one or later.
    std::vector<Keys::value_type*> came_;             // Keys whose turn came in this epoch.
    size_t came_bytes_ = 0;

    size_t changes_stored_ = 0;     // So many of changed_ are stored as such …
    bool changes_dropped_ = false;  // … and others that may not be in memory any more.
    bool changes_shown_ = false;    // What is stored as changed is not, from the next write on.
    std::string totals_;            // As stored.
};

}  // namespace weir::processor
