#include "processor/join_buffer.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "base/bytes.h"
#include "base/result.h"
#include "processor/group_table.h"
#include "processor/join_index.h"

namespace weir::processor {
namespace {

constexpr int64_t kPanes = 16;
constexpr int64_t kPanesOnDisk = 4;
constexpr int64_t kNarrowestMs = 2'000;
constexpr int64_t kWidestMs = int64_t{1} << 31;
constexpr EventTime kOrigin = 1'767'225'600'000;  // 2026-01-01, in the middle of the times that are taken.
constexpr size_t kFirstBlock = 1 << 10;
constexpr size_t kLargestBlock = 64 << 10;
constexpr size_t kPieceBytes = 16 << 10;
constexpr size_t kKeyBytes = kPrefixBytes + sizeof(uint32_t);

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

}  // namespace

void JoinBuffer::append_big_endian(uint32_t number, std::string& out) {
    for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(number >> shift));
}

uint32_t JoinBuffer::read_big_endian(std::string_view bytes) {
    uint32_t number = 0;
    for (const char byte : bytes) number = number << 8 | static_cast<uint8_t>(byte);
    return number;
}

std::string_view JoinBuffer::Row::long_key() const {
    ByteReader in(encoded());
    return in.bytes();
}

JoinBuffer::JoinBuffer(JoinIndex& index, size_t side, int64_t keep_ms, bool keeps,
                       const WindowGrid* windows, uint32_t table, bool on_disk)
    : index_(index),
      side_(side),
      width_ms_(std::clamp(keep_ms / (on_disk ? kPanesOnDisk : kPanes), kNarrowestMs, kWidestMs)),
      origin_(kOrigin / width_ms_),
      keeps_(keeps),
      windows_(keeps ? windows : nullptr),
      table_(table) {
    index.attach(side, *this);
}

int32_t JoinBuffer::number_of(EventTime time) const {
    return static_cast<int32_t>(floor_div(time, width_ms_) - origin_);
}

EventTime JoinBuffer::start_of(int32_t number) const { return (number + origin_) * width_ms_; }

uint32_t JoinBuffer::row_bytes(size_t size) const {
    const size_t all = sizeof(Row) + size + (per_window() ? sizeof(Open) : 0);
    return static_cast<uint32_t>((all + alignof(Row) - 1) / alignof(Row) * alignof(Row));
}

JoinBuffer::Pane& JoinBuffer::find_pane(EventTime time) {
    const int32_t number = number_of(time);
    latest_start_ = start_of(number);
    latest_ = &panes_[number];
    return *latest_;
}

// `pane` is the latest one.
JoinBuffer::Row& JoinBuffer::add_row(Pane& pane, size_t size, Ref& ref) {
    const uint32_t bytes = row_bytes(size);
    if (pane.blocks.empty() || block(pane.blocks.back()).size - block(pane.blocks.back()).used < bytes)
        add_block(pane, bytes);
    const uint32_t number = pane.blocks.back();
    Block& block = blocks_[number - first_block_];
    auto* const row = new (block.memory.get() + block.used) Row;
    ref = ref_of(number, block.used);
    block.used += bytes;
    row->size = static_cast<uint32_t>(size);
    row->sequence = pane.rows++;
    ++rows_;
    return *row;
}

void JoinBuffer::add_block(Pane& pane, size_t bytes) {
    if (first_block_ + blocks_.size() == kEndOfBlocks) number_blocks_anew();
    const size_t usual = pane.blocks.empty()
                             ? kFirstBlock
                             : std::min<size_t>(block(pane.blocks.back()).size / 4 * 5, kLargestBlock);
    const size_t size = std::max(usual, bytes);
    pane.blocks.push_back(first_block_ + static_cast<uint32_t>(blocks_.size()));
    blocks_.push_back(
        {std::make_unique_for_overwrite<char[]>(size), latest_start_, static_cast<uint32_t>(size), 0});
}

void JoinBuffer::forget_freed_blocks() {
    const auto held = std::find_if(blocks_.begin(), blocks_.end(),
                                   [](const Block& block) { return block.memory != nullptr; });
    const auto freed = static_cast<size_t>(held - blocks_.begin());
    if (2 * freed < blocks_.size()) return;
    blocks_.erase(blocks_.begin(), held);
    first_block_ += static_cast<uint32_t>(freed);
}

// Nothing may refer to a number that is given again.
void JoinBuffer::number_blocks_anew() {
    std::vector<Block> held;
    for (auto& [number, pane] : panes_) {
        for (uint32_t& block : pane.blocks) {
            held.push_back(std::move(blocks_[block - first_block_]));
            block = static_cast<uint32_t>(held.size());
        }
    }
    blocks_ = std::move(held);
    first_block_ = 1;
    WEIR_CHECK(blocks_.size() < kEndOfBlocks / 2, "one side of a join has more than 8 GiB in one partition");
    relink();
}

JoinBuffer::Row* JoinBuffer::next_in_block(const Block& block, uint32_t& at) const {
    if (at == block.used) return nullptr;
    auto* const row = std::launder(reinterpret_cast<Row*>(block.memory.get() + at));
    at += row_bytes(row->encoded().size());
    return row;
}

void JoinBuffer::insert(std::string_view row, uint64_t hash, uint32_t place, EventTime time, bool matched,
                        Open open) {
    Pane& pane = pane_of(time);
    WEIR_CHECK(row.size() < Row::kMatched, "a record of a join is too large");
    Ref ref = 0;
    Row& added = add_row(pane, row.size(), ref);
    std::memcpy(&added + 1, row.data(), row.size());
    added.after_start = static_cast<uint32_t>(time - latest_start_);
    if (matched) added.size |= Row::kMatched;
    if (const std::string_view key = added.key(); !key.empty())
        link(added, ref, latest_start_,
             place == JoinIndex::kNowhere ? index_.place(key, hash, side_) : place);
    if (pane.telling && !matched) push_waiting(pane, added);
    if (!per_window()) return;
    set_open(added, open);
    if (leaving_started_) push_next_window({&added, time});
}

void JoinBuffer::find(uint32_t place, EventTime first, EventTime last, std::vector<Found>& out) {
    if (place == JoinIndex::kNowhere) return;
    const size_t before = out.size();
    Ref ref = index_.newest(place, side_);
    if (const Block* const newest = block_of(ref); newest != nullptr && newest->start > last)
        ref = seek(place, ref, last);
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
JoinBuffer::Ref JoinBuffer::seek(uint32_t place, Ref newest, EventTime last) {
    if (near_.empty()) near_.resize(kNear);
    Near& known = near(place);
    if (known.place == place && last < known.until) {
        const Block* const block = block_of(known.row);
        if (block != nullptr && block->start <= last) return known.row;
    }
    Ref row = newest;
    EventTime until = kEndOfTime;
    for (const Block* block = block_of(row); block->start > last;) {
        const Ref older = row_in(*block, row)->next;
        const Block* const its = block_of(older);
        if (its == nullptr) break;
        until = block->start;
        row = older;
        block = its;
    }
    known = {place, row, until};
    return row;
}

void JoinBuffer::link(Row& row, Ref ref, EventTime start, uint32_t place) {
    if (!near_.empty()) near(place) = {};
    Ref& newest = index_.newest(place, side_);
    const Block* const block = block_of(newest);
    // Newer panes before older ones, so that the end of what exists is the end of the list.
    if (block == nullptr || start >= block->start) {
        row.next = newest;
        newest = ref;
        return;
    }
    Row* before = row_in(*block, newest);
    for (const Block* next; (next = block_of(before->next)) != nullptr && next->start > start;)
        before = row_in(*next, before->next);
    row.next = before->next;
    before->next = ref;
}

void JoinBuffer::forget_places() { std::fill(near_.begin(), near_.end(), Near{}); }

// Finds all rows' places in the index anew.
void JoinBuffer::relink() {
    index_.forget(side_);
    for (const auto& [number, pane] : panes_) {
        const EventTime start = start_of(number);
        for_each_row(pane, [&](Row& row, Ref ref) {
            row.next = 0;
            if (const std::string_view key = row.key(); !key.empty())
                link(row, ref, start, index_.place(key, hash_group_key(key), side_));
        });
    }
}

Result<void> JoinBuffer::mark_matched(const Found& found, WindowGrid::Cell first, WindowGrid::Cell last) {
    if (per_window()) {
        if (is_evicted(found)) return mark_evicted_windows(found, first, last);
        start_leaving();
        const Open before = open_of(*found.row);
        const Open open = without(before, found.time, first, last);
        push_owed(found);
        if (open == before) return {};
        set_open(*found.row, open);
        marked_.push_back(found);
        return {};
    }
    if (found.row->matched()) return {};
    found.row->size |= Row::kMatched;
    if (!keeps_) return {};
    if (is_evicted(found))
        stored_->marked.try_emplace({found.time, found.row->sequence});
    else
        marked_.push_back(found);
    return {};
}

void JoinBuffer::push_waiting(Pane& pane, Row& row) {
    pane.waiting.push_back({row.after_start, row.sequence, &row});
    std::push_heap(pane.waiting.begin(), pane.waiting.end(), Waiting::later);
}

JoinBuffer::Row* JoinBuffer::pop_waiting(Pane& pane) {
    Row* const row = pane.waiting.front().row;
    std::pop_heap(pane.waiting.begin(), pane.waiting.end(), Waiting::later);
    pane.waiting.pop_back();
    return row;
}

void JoinBuffer::start_telling(Pane& pane, EventTime start) const {
    if (pane.telling) return;
    pane.telling = true;
    for_each_row(pane, [&](Row& row, Ref) {
        const Turn turn{.time = start + row.after_start, .sequence = row.sequence};
        if (!row.matched() && turn >= told_) push_waiting(pane, row);
    });
}

void JoinBuffer::look() {
    if (!keeps_ || panes_.empty()) return;
    if (per_window()) {
        start_leaving();
        return settle_leaving();
    }
    auto& [number, pane] = *panes_.begin();
    start_telling(pane, start_of(number));
    while (!pane.waiting.empty() && pane.waiting.front().row->matched()) pop_waiting(pane);
}

EventTime JoinBuffer::next_bound() {
    if (panes_.empty()) return kEndOfTime;
    const auto& [number, pane] = *panes_.begin();
    const EventTime start = start_of(number);
    const EventTime end = start + width_ms_;
    if (!keeps_ || per_window()) return end;
    if (!pane.telling) return told_.time == kEndOfTime ? kEndOfTime : std::max(start, told_.time) + 1;
    return std::min(pane.waiting.empty() ? end : start + pane.waiting.front().after_start + 1,
                    stored_bound_);
}

Result<std::optional<JoinBuffer::Turn>> JoinBuffer::peek(const Turn& end) {
    std::optional<Turn> next;
    if (!keeps_) return next;
    const auto earlier = [&](const std::optional<Turn>& turn) {
        if (turn && *turn < end && (!next || *turn < *next)) next = turn;
    };
    if (per_window()) {
        start_leaving();
        settle_leaving();
        if (!leaving_.empty()) earlier(leaving_.front().turn());
        if (!owed_.empty()) earlier(owed_.front().turn);
    } else {
        earlier(find_waiting(end.time));
    }
    if (stored_ == nullptr) return next;
    WEIR_TRY(find_stored_leaving(end));
    earlier(stored_->next);
    return next;
}

Result<JoinBuffer::Found> JoinBuffer::take(const Turn& next) {
    if (stored_ != nullptr && stored_->next == next) {
        stored_->next.reset();
        WEIR_ASSIGN(Row* const row, load(next, stored_->next_row_key));
        return Found{row, next.time, next.window};
    }
    if (!per_window()) return Found{pop_waiting(panes_.find(number_of(next.time))->second), next.time};
    if (!owed_.empty() && owed_.front().turn == next) return take_owed();
    const Leaving leaving = pop_leaving();
    const Found found{leaving.row, leaving.time, leaving.window};
    Open open = open_of(*found.row);
    open.from = found.window + 1;
    set_open(*found.row, open);
    push_next_window(found);
    return found;
}

void JoinBuffer::tell_until(const Turn& end) {
    told_ = std::max(told_, end);
    if (stored_ == nullptr) return;
    stored_->leaving.reset();
    stored_->next.reset();
    stored_->window = told_.window;
}

std::optional<JoinBuffer::Turn> JoinBuffer::find_waiting(EventTime bound) {
    for (auto& [number, pane] : panes_) {
        const EventTime start = start_of(number);
        if (start >= bound) break;
        start_telling(pane, start);
        while (!pane.waiting.empty() && pane.waiting.front().row->matched()) pop_waiting(pane);
        if (pane.waiting.empty()) continue;
        const Waiting& first = pane.waiting.front();
        const EventTime time = start + first.after_start;
        if (time >= bound) break;
        return Turn{.time = time, .sequence = first.sequence};
    }
    return std::nullopt;
}

JoinBuffer::Panes::iterator JoinBuffer::drop(Panes::iterator pane) {
    rows_ -= pane->second.rows;
    latest_ = nullptr;
    for (const uint32_t number : pane->second.blocks) free_block(number);
    forget_freed_blocks();
    index_.rows_freed();
    return panes_.erase(pane);
}

uint64_t JoinBuffer::free(EventTime bound) {
    const uint64_t before = rows_;
    for (auto pane = panes_.begin(); pane != panes_.end();) {
        const EventTime start = start_of(pane->first);
        if (start + width_ms_ > bound) break;
        if (pane->second.written_rows > 0) erased_.push_back(start);
        pane = drop(pane);
    }
    if (stored_ != nullptr) look_at_evicted();
    const EventTime oldest = panes_.empty() ? kEndOfTime : start_of(panes_.begin()->first);
    std::erase_if(marked_, [&](const Found& found) { return found.time < oldest; });
    return before - rows_;
}

uint64_t JoinBuffer::count_rows() const {
    uint64_t count = 0;
    for (const auto& [number, pane] : panes_) {
        count += pane.evicted;
        for_each_row(pane, [&](const Row&, Ref) { ++count; });
    }
    return count;
}

size_t JoinBuffer::bytes() const {
    size_t total = near_.capacity() * sizeof(Near) + leaving_.capacity() * sizeof(Leaving) +
                   blocks_.capacity() * sizeof(Block);
    for (const Block& block : blocks_) total += block.size;
    for (const auto& [number, pane] : panes_)
        total += sizeof(Panes::value_type) + pane.blocks.capacity() * sizeof(uint32_t) +
                 pane.waiting.capacity() * sizeof(Waiting) + pane.restored.capacity() * sizeof(Row*);
    if (stored_ != nullptr) total += stored_->marked.size() * kMarkedBytes;
    return total;
}

void JoinBuffer::write_changes(state::DeltaWriter& out) {
    if (stored_ != nullptr) return write_stored(out);
    if (per_window()) start_leaving();  // It needs Pane::restored.
    std::string key;
    std::string value;
    write_erased(keeps_, out);
    // A row that is new carries its flag itself.
    for (const Found& found : marked_) {
        if (found.row->sequence >= panes_.find(number_of(found.time))->second.written_rows) continue;
        key.clear();
        append_prefix(start_of(number_of(found.time)), key);
        append_big_endian(found.row->sequence, key);
        value.clear();
        if (per_window()) append_open(open_of(*found.row), found.time, value);
        out.put(table_ + 1, key, value);
    }
    marked_.clear();
    for (auto& [number, pane] : panes_) {
        pane.restored = {};
        if (pane.written_rows < pane.rows) write_new_rows(start_of(number), pane, out);
    }
}

void JoinBuffer::write_erased(bool partners, state::DeltaWriter& out) {
    std::string key;
    for (const EventTime start : erased_) {
        key.clear();
        append_prefix(start, key);
        out.erase_prefix(table_, key);
        if (partners) out.erase_prefix(table_ + 1, key);
    }
    erased_.clear();
}

char* JoinBuffer::write_record(const Row& row, EventTime start, char* to) const {
    *to++ = static_cast<char>(per_window() ? kOpenFollows : row.matched() ? kFoundPartner : 0);
    to = write_varint(to, row.after_start);
    if (per_window()) to = write_open(open_of(row), start + row.after_start, to);
    const std::string_view encoded = row.encoded();
    to = write_varint(to, encoded.size());
    std::memcpy(to, encoded.data(), encoded.size());
    return to + encoded.size();
}

void JoinBuffer::write_new_rows(EventTime start, Pane& pane, state::DeltaWriter& out) const {
    constexpr size_t kMostHeadBytes = 1 + 4 * kMostVarintBytes;
    std::string key;
    std::string piece(kPieceBytes, '\0');
    size_t used = 0;
    const auto write = [&] {
        key.clear();
        append_prefix(start, key);
        append_big_endian(pane.written_rows, key);
        out.put(table_, key, std::string_view(piece).substr(0, used));
        used = 0;
    };
    for (; pane.written_block < pane.blocks.size(); ++pane.written_block, pane.written_used = 0) {
        const Block& written = block(pane.blocks[pane.written_block]);
        while (const Row* const row = next_in_block(written, pane.written_used)) {
            if (used >= kPieceBytes) {
                write();
                pane.written_rows = row->sequence;
            }
            const size_t most = used + kMostHeadBytes + row->encoded().size();
            if (piece.size() < most) piece.resize(most);
            used = static_cast<size_t>(write_record(*row, start, piece.data() + used) - piece.data());
        }
        if (pane.written_block + 1 == pane.blocks.size()) break;
    }
    write();
    pane.written_rows = pane.rows;
}

bool JoinBuffer::restore(bool partner_table, std::string_view key, std::string_view value,
                         const std::function<bool(std::string_view)>& good) {
    if (key.size() != kKeyBytes) return false;
    const EventTime start = read_prefix(key);
    const uint32_t sequence = read_big_endian(key.substr(kPrefixBytes));
    if (start < kFirstTime - width_ms_ || start >= kEndTime) return false;
    const int32_t number = number_of(start);
    if (start_of(number) != start) return false;
    Pane& pane = panes_[number];
    ByteReader in(value);
    if (partner_table) return restore_partner(start, pane, sequence, in);
    if (sequence != pane.rows || in.done()) return false;
    leaving_started_ = false;
    while (!in.done())
        if (!restore_record(number, pane, in, good)) return false;
    pane.written_block = pane.blocks.size() - 1;
    pane.written_used = block(pane.blocks.back()).used;
    pane.written_rows = pane.rows;
    return true;
}

bool JoinBuffer::restore_record(int32_t number, Pane& pane, ByteReader& in,
                                const std::function<bool(std::string_view)>& good) {
    const auto flags = in.le<uint8_t>();
    const uint64_t after_start = in.varint();
    if (in.failed() || after_start >= static_cast<uint64_t>(width_ms_)) return false;
    const EventTime time = start_of(number) + static_cast<int64_t>(after_start);
    Open open;
    if (per_window() != ((flags & kOpenFollows) != 0) || (per_window() && !read_open(in, time, open)))
        return false;
    const std::string_view row = in.bytes();
    ByteReader row_in(row);
    const std::string_view key = row_in.bytes();
    if (in.failed() || row_in.failed() || flags > (kFoundPartner | kOpenFollows)) return false;
    if (!good(row_in.take(row_in.remaining()))) return false;
    insert(row, hash_group_key(key), JoinIndex::kNowhere, time, (flags & kFoundPartner) != 0, open);
    const Block& last = block(pane.blocks.back());
    pane.restored.push_back(
        std::launder(reinterpret_cast<Row*>(last.memory.get() + last.used - row_bytes(row.size()))));
    return true;
}

bool JoinBuffer::restore_partner(EventTime start, Pane& pane, uint32_t sequence, ByteReader& in) {
    if (sequence >= pane.restored.size()) return false;
    Row& row = *pane.restored[sequence];
    if (per_window()) {
        Open open;
        if (!read_open(in, start + row.after_start, open)) return false;
        set_open(row, open);
    } else {
        row.size |= Row::kMatched;
    }
    return in.done();
}

void JoinBuffer::restore_erased(std::string_view prefix) {
    if (prefix.size() != kPrefixBytes) return;
    const auto pane = panes_.find(number_of(read_prefix(prefix)));
    if (pane != panes_.end()) drop(pane);
}

}  // namespace weir::processor
