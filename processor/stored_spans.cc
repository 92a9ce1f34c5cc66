#include "processor/stored_spans.h"

#include <algorithm>

#include "base/bytes.h"

namespace weir::processor {
namespace {

constexpr uint8_t kTotalsVersion = 1;
constexpr uint8_t kTurnVersion = 1;
constexpr char kTotalsKey[] = "n";
constexpr char kKeyTag = 'k';
constexpr char kDueTag = 'd';
constexpr char kChangedTag = 'c';

std::string chain_prefix(std::string_view key) {
    std::string prefix;
    put_bytes(prefix, key);
    return prefix;
}

std::string row_key(std::string_view key, uint64_t sequence) {
    std::string stored = chain_prefix(key);
    append_prefix(static_cast<int64_t>(sequence), stored);
    return stored;
}

std::string key_key(std::string_view key) { return kKeyTag + std::string(key); }

std::string due_key(EventTime at, uint64_t sequence) {
    std::string key(1, kDueTag);
    append_prefix(at, key);
    append_prefix(static_cast<int64_t>(sequence), key);
    return key;
}

std::string changed_key(uint64_t sequence) {
    std::string key(1, kChangedTag);
    append_prefix(static_cast<int64_t>(sequence), key);
    return key;
}

}  // namespace

SpanTable::Chain StoredSpans::chain(std::string_view key, uint64_t hash) {
    const SpanTable::Chain chain = spans_.chain(key, hash);
    if (chain.first != nullptr) return chain;
    know(key, hash);
    return spans_.chain(key, hash);
}

StoredSpans::Keys::value_type& StoredSpans::know(std::string_view key, uint64_t hash) {
    if (const auto found = known_.find(key); found != known_.end()) return *found;
    auto& known = *known_.emplace(std::string(key), Known()).first;
    known_bytes_ += kKeyBytes + key.size();
    const auto turn = stored_.find(kPaneTable, key_key(key));
    if (!turn) return known;
    ByteReader in(*turn);
    const bool readable = in.le<uint8_t>() == kTurnVersion;
    known.second.turn.first = in.le<int64_t>();
    known.second.turn.second = in.varint();
    known.second.stored = true;
    if (!readable || in.failed() || !in.done()) stored_.fail_unreadable();
    for (Span* span = read(key, hash, spans_).first; span != nullptr; span = span->next) {
        schedule(*span);
        --elsewhere_.spans;
    }
    --elsewhere_.keys;
    return known;
}

SpanTable::Chain StoredSpans::read(std::string_view key, uint64_t hash, SpanTable& into) {
    const std::string prefix = chain_prefix(key);
    StoredGroups::Cursor rows = stored_.scan(0, prefix);
    while (stored_.next(rows)) {
        if (rows.key().size() != prefix.size() + kPrefixBytes) {
            stored_.fail_unreadable();
            break;
        }
        const int64_t sequence = read_prefix(rows.key().substr(prefix.size()));
        Span& span = into.insert_stored(key, hash, static_cast<uint64_t>(sequence));
        stored_.read(sequence, key, rows.value(), span.group, into.store());
        settle_flags(span, now_);
    }
    into.sort(key, hash);
    return into.chain(key, hash);
}

std::pair<SpanTable::Chain, const AccumulatorStore*> StoredSpans::look_up(std::string_view key) {
    const uint64_t hash = hash_group_key(key);
    if (known_.contains(key)) return {spans_.chain(key, hash), &spans_.store()};
    read_.clear();
    return {read(key, hash, read_), &read_.store()};
}

void StoredSpans::look_ahead() {
    if (looked_ahead_ && (ahead_is_all_ || !ahead_.empty())) return;
    looked_ahead_ = true;
    StoredGroups::Cursor rows =
        stored_.scan(kPaneTable, std::string(1, kDueTag), due_key(passed_.first, passed_.second));
    while (ahead_.size() < kMostAhead && stored_.next(rows)) {
        if (rows.key().size() != 1 + 2 * kPrefixBytes) {
            stored_.fail_unreadable();
            break;
        }
        const Turn turn{read_prefix(rows.key().substr(1)),
                        static_cast<uint64_t>(read_prefix(rows.key().substr(1 + kPrefixBytes)))};
        ahead_.emplace_back(turn, rows.value());
    }
    ahead_is_all_ = ahead_.size() < kMostAhead;
}

EventTime StoredSpans::next_due() {
    look_ahead();
    const EventTime in_memory = SpanWindows::next_due();
    return ahead_.empty() ? in_memory : std::min(in_memory, ahead_.front().first.first);
}

EventTime StoredSpans::many_due(size_t few) {
    if (open_windows() <= few || !fires()) return kEndOfTime;
    look_ahead();
    const EventTime in_memory = SpanWindows::many_due(few);
    if (ahead_.size() > few) return std::min(in_memory, ahead_[few].first.first);
    // How many come after those is not known.
    return ahead_is_all_ ? in_memory : std::min(in_memory, ahead_.back().first.first);
}

void StoredSpans::take_up_due(EventTime until) {
    for (look_ahead(); !ahead_.empty(); look_ahead()) {
        const auto& [turn, key] = ahead_.front();
        if (turn.first > until) return;
        if (!heap_.empty() && Turn{heap_.front().at, heap_.front().sequence} <= turn) return;
        Keys::value_type& known = know(key, hash_group_key(key));
        passed_ = {turn.first, turn.second + 1};
        known.second.came = true;
        came_.push_back(&known);
        came_bytes_ += key.size() + kKeyBytes;
        ahead_.pop_front();
    }
}

void StoredSpans::show_changed() {
    if (!has_changed()) return;
    changes_shown_ = changes_shown_ || changes_dropped_ || changes_stored_ > 0;
    changes_stored_ = 0;
    if (!std::exchange(changes_dropped_, false)) {
        SpanWindows::show_changed();
        return;
    }
    // Those in memory among the others, in the order of their sequence.
    settler_.settle();
    because_changed();
    std::sort(changed_.begin(), changed_.end(),
              [](const Span* a, const Span* b) { return a->group.sequence < b->group.sequence; });
    auto next = changed_.begin();
    const auto show_before = [&](uint64_t sequence) {
        for (; next != changed_.end() && (*next)->group.sequence < sequence; ++next) {
            Span& span = **next;
            if (!span.dead && std::exchange(span.group.changed, false)) add(span, spans_.store());
            spans_.drop(span);
        }
    };
    StoredGroups::Cursor rows = stored_.scan(kPaneTable, std::string(1, kChangedTag));
    while (stored_.next(rows)) {
        const auto sequence = static_cast<uint64_t>(read_prefix(rows.key().substr(1)));
        show_before(sequence);
        if (next != changed_.end() && (*next)->group.sequence == sequence) continue;
        const auto [chain, store] = look_up(rows.value());
        Span* span = chain.first;
        while (span != nullptr && span->group.sequence != sequence) span = span->next;
        // One that is gone, or closed, has been shown.
        if (span != nullptr && !span->closed) add(*span, *store);
    }
    show_before(UINT64_MAX);
    changed_.clear();
}

void StoredSpans::append_open(std::string_view key, std::vector<OpenWindow>& out) {
    SpanWindows::append_open(look_up(key).first, out);
}

uint64_t StoredSpans::count_records() {
    uint64_t total = SpanWindows::count_records();
    StoredGroups::Cursor rows = stored_.scan(0, {});
    while (stored_.next(rows)) {
        if (rows.key().size() <= kPrefixBytes) continue;  // The stage's clocks.
        ByteReader in(rows.key());
        if (!known_.contains(in.bytes())) total += static_cast<uint64_t>(stored_.records(rows.value()));
    }
    return total;
}

size_t StoredSpans::changed_bytes() const { return spans_.changed_bytes() + came_bytes_; }

void StoredSpans::write_changes(state::DeltaWriter& out) {
    write_spans(out);
    write_changed(out);
    write_totals(out);
    ahead_.clear();
    looked_ahead_ = ahead_is_all_ = false;
    if (bytes() > stored_.cache_bytes()) drop();
}

void StoredSpans::write_spans(state::DeltaWriter& out) {
    std::vector<Keys::value_type*> keys;
    const auto note = [&](Keys::value_type& key) {
        if (!std::exchange(key.second.written, true)) keys.push_back(&key);
    };
    spans_.take_changes(
        [&](uint64_t sequence, std::string_view key) {
            out.erase(stage_.table, row_key(key, sequence));
            erase_parts(static_cast<int64_t>(sequence), key, accumulators_, stage_.table, out);
            note(*known_.find(key));
        },
        [&](Span& span) {
            Group& group = span.group;
            std::string row;
            append_row(group, accumulators_, row);
            out.put(stage_.table, row_key(group.key(), group.sequence), row);
            write_parts(group, static_cast<int64_t>(group.sequence), accumulators_, spans_.store(),
                        stage_.table, out);
            note(*known_.find(group.key()));
        });
    for (Keys::value_type* key : came_) note(*key);
    came_.clear();
    came_bytes_ = 0;
    for (Keys::value_type* key : keys) write_turn(*key, out);
}

void StoredSpans::write_turn(Keys::value_type& key, state::DeltaWriter& out) {
    Known& known = key.second;
    const bool came = std::exchange(known.came, false);
    known.written = false;
    const bool timed = stage_.window.is_timed();
    const SpanTable::Chain chain = spans_.chain(key.first, hash_group_key(key.first));
    Turn turn{kEndOfTime, 0};
    for (const Span* span = chain.first; span != nullptr && timed; span = span->next)
        turn = std::min(turn, Turn{due_at(*span), span->group.sequence});
    const bool empty = chain.first == nullptr;
    const bool stays = known.stored && !empty && (came ? turn == known.turn : turn >= known.turn);
    if (!empty) passed_ = std::min(passed_, turn);
    if (stays) return;
    if (known.stored && timed) out.erase(key_table(), due_key(known.turn.first, known.turn.second));
    if (empty) {
        if (known.stored) out.erase(key_table(), key_key(key.first));
        known_bytes_ -= kKeyBytes + key.first.size();
        known_.erase(key.first);
        return;
    }
    if (timed) out.put(key_table(), due_key(turn.first, turn.second), key.first);
    std::string row;
    put_le<uint8_t>(row, kTurnVersion);
    put_le<int64_t>(row, turn.first);
    put_varint(row, turn.second);
    out.put(key_table(), key_key(key.first), row);
    known.turn = turn;
    known.stored = true;
}

void StoredSpans::write_changed(state::DeltaWriter& out) {
    if (std::exchange(changes_shown_, false)) out.erase_prefix(key_table(), std::string(1, kChangedTag));
    for (; changes_stored_ < changed_.size(); ++changes_stored_) {
        Group& group = changed_[changes_stored_]->group;
        if (!changed_[changes_stored_]->dead) out.put(key_table(), changed_key(group.sequence), group.key());
    }
}

void StoredSpans::write_totals(state::DeltaWriter& out) {
    std::string row;
    put_le<uint8_t>(row, kTotalsVersion);
    put_varint(row, records_);
    put_varint(row, open_windows());
    put_varint(row, groups());
    put_varint(row, spans_.next_sequence());
    if (row == totals_) return;
    out.put(key_table(), kTotalsKey, row);
    totals_ = row;
}

void StoredSpans::drop() {
    elsewhere_ = {open_windows(), groups()};
    changes_dropped_ = changes_dropped_ || !changed_.empty();
    changes_stored_ = 0;
    changed_.clear();
    heap_.clear();
    known_ = {};
    known_bytes_ = 0;
    spans_.clear();
}

void StoredSpans::restore_stored() {
    StoredGroups::Cursor changed = stored_.scan(kPaneTable, std::string(1, kChangedTag));
    changes_dropped_ = stored_.next(changed);
    const auto totals = stored_.find(kPaneTable, kTotalsKey);
    if (!totals) return;
    totals_ = *totals;
    ByteReader in(totals_);
    const bool known = in.le<uint8_t>() == kTotalsVersion;
    records_ = in.varint();
    elsewhere_.spans = in.varint();
    elsewhere_.keys = in.varint();
    spans_.set_next_sequence(in.varint());
    if (!known || in.failed() || !in.done()) stored_.fail_unreadable();
}

}  // namespace weir::processor
