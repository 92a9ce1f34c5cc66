#include "processor/window_state.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <absl/strings/string_view.h>

#include <algorithm>
#include <bit>
#include <new>

namespace weir::processor {
namespace {

constexpr uint8_t kRowVersion = 1;
constexpr std::string_view kWatermarkKey = "w";
constexpr size_t kStartBytes = 8;
constexpr size_t kFirstCells = 16;

// Sorts as the number does.
void append_start(EventTime start, std::string& out) {
    const uint64_t ordered = static_cast<uint64_t>(start) ^ (uint64_t{1} << 63);
    for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(ordered >> shift));
}

EventTime read_start(std::string_view key) {
    uint64_t ordered = 0;
    for (size_t i = 0; i < kStartBytes; ++i) ordered = ordered << 8 | static_cast<uint8_t>(key[i]);
    return static_cast<EventTime>(ordered ^ (uint64_t{1} << 63));
}

}  // namespace

uint64_t hash_group_key(std::string_view key) { return XXH3_64bits(key.data(), key.size()); }

void Window::grow() {
    const size_t size = std::max(kFirstCells, 2 * cells_.size());
    cells_.assign(size, {});
    for (Group* group : groups_) {
        size_t at = group->hash & (size - 1);
        while (cells_[at].group != nullptr) at = (at + 1) & (size - 1);
        cells_[at] = {group->hash, group};
    }
}

Group& Window::group(std::string_view key, uint64_t hash) {
    if (8 * groups_.size() >= 5 * cells_.size()) grow();
    const size_t mask = cells_.size() - 1;
    size_t at = hash & mask;
    for (; cells_[at].group != nullptr; at = (at + 1) & mask) {
        if (cells_[at].hash == hash && cells_[at].group->key() == key) return *cells_[at].group;
    }
    const size_t cell_count = accumulators_.cell_count();
    char* const memory = slab_.allocate(sizeof(Group) + cell_count * sizeof(Accumulator) + key.size());
    auto* const group = new (memory) Group{hash, next_sequence_++, static_cast<uint32_t>(key.size()),
                                           static_cast<uint32_t>(cell_count), false};
    for (size_t cell = 0; cell < cell_count; ++cell) new (group->cells() + cell) Accumulator{};
    std::copy(key.begin(), key.end(), reinterpret_cast<char*>(group->cells() + cell_count));
    cells_[at] = {hash, group};
    groups_.push_back(group);
    return *group;
}

const std::vector<Group*>& Window::groups() {
    if (!sorted_) {
        std::sort(groups_.begin(), groups_.end(),
                  [](const Group* a, const Group* b) { return a->sequence < b->sequence; });
        sorted_ = true;
    }
    return groups_;
}

size_t Window::bytes() const {
    return slab_.bytes() + store_.bytes() + cells_.size() * sizeof(Cell) +
           groups_.capacity() * sizeof(Group*);
}

void Window::write_changes(uint32_t table, state::DeltaWriter& out) {
    std::string key;
    std::string row;
    append_start(start_, key);
    for (Group* group : dirty_) {
        group->dirty = false;
        key.resize(kStartBytes);
        key.append(group->key());
        row.clear();
        put_le<uint8_t>(row, kRowVersion);
        put_varint(row, group->sequence);
        accumulators_.write(group->cells(), row);
        out.put(table, key, row);
        stored_ = true;
        accumulators_.write_parts(group->cells(), store_, false,
                                  [&](size_t call, std::string_view part_key, std::string_view value) {
                                      key.resize(kStartBytes);
                                      put_bytes(key, group->key());
                                      put_varint(key, call);
                                      key.append(part_key);
                                      out.put(table + 1, key, value);
                                  });
    }
    dirty_.clear();
}

bool Window::restore_group(std::string_view key, std::string_view value) {
    ByteReader in(value);
    if (in.le<uint8_t>() != kRowVersion) return false;
    Group& restored = group(key, hash_group_key(key));
    restored.sequence = static_cast<uint32_t>(in.varint());
    next_sequence_ = std::max(next_sequence_, restored.sequence + 1);
    sorted_ = false;
    stored_ = true;
    return accumulators_.read(in, restored.cells(), store_) && in.done() && !in.failed();
}

bool Window::restore_part(std::string_view key, std::string_view value) {
    ByteReader in(key);
    const std::string_view group_key = in.bytes();
    const uint64_t call = in.varint();
    if (in.failed()) return false;
    Group& restored = group(group_key, hash_group_key(group_key));
    stored_ = true;
    return accumulators_.read_part(call, in.take(in.remaining()), value, restored.cells(), store_);
}

EventTime WindowState::start_of(EventTime time) const {
    const int64_t into = (time - stage_.window.offset_ms) % stage_.window.size_ms;
    return time - (into < 0 ? into + stage_.window.size_ms : into);
}

Window& WindowState::window(EventTime start) {
    if (latest_ != nullptr && latest_->start() == start) return *latest_;
    auto& slot = windows_[start];
    if (!slot) slot = std::make_unique<Window>(start, accumulators_);
    latest_ = slot.get();
    return *slot;
}

Window* WindowState::first() { return windows_.empty() ? nullptr : windows_.begin()->second.get(); }

const Window* WindowState::first() const {
    return windows_.empty() ? nullptr : windows_.begin()->second.get();
}

void WindowState::close(Window& window) {
    if (window.stored()) closed_.push_back(window.start());
    if (latest_ == &window) latest_ = nullptr;
    windows_.erase(window.start());
}

uint64_t WindowState::groups() const {
    uint64_t total = 0;
    for (const auto& [start, window] : windows_) total += window->size();
    return total;
}

uint64_t WindowState::bytes() const {
    uint64_t total = 0;
    for (const auto& [start, window] : windows_) total += window->bytes();
    return total;
}

void WindowState::write_changes(EventTime watermark, state::DeltaWriter& out) {
    std::string key;
    for (const EventTime start : closed_) {
        key.clear();
        append_start(start, key);
        out.erase_prefix(stage_.table, key);
        if (accumulators_.has_objects()) out.erase_prefix(stage_.table + 1, key);
    }
    closed_.clear();
    for (const auto& [start, window] : windows_) window->write_changes(stage_.table, out);
    if (watermark == stored_watermark_) return;
    std::string row;
    put_le<uint8_t>(row, kRowVersion);
    put_le<int64_t>(row, watermark);
    out.put(stage_.table, kWatermarkKey, row);
    stored_watermark_ = watermark;
}

Result<void> WindowState::restore(uint32_t table, std::string_view key, std::string_view value,
                                  EventTime& watermark) {
    const Error unreadable{Code::kCorrupt,
                           "state of " + stage_.step + " is not in a format this version reads"};
    if (table == stage_.table && key == kWatermarkKey) {
        ByteReader in(value);
        const auto version = in.le<uint8_t>();
        const auto stored = in.le<int64_t>();
        if (in.failed() || version != kRowVersion) return unreadable;
        watermark = stored_watermark_ = stored;
        return {};
    }
    if (key.size() < kStartBytes) return unreadable;
    Window& restored = window(read_start(key));
    const std::string_view rest = key.substr(kStartBytes);
    const bool good =
        table == stage_.table ? restored.restore_group(rest, value) : restored.restore_part(rest, value);
    return good ? Result<void>{} : Result<void>(unreadable);
}

void WindowState::restore_erased(uint32_t table, std::string_view prefix) {
    if (table != stage_.table || prefix.size() != kStartBytes) return;
    const auto found = windows_.find(read_start(prefix));
    if (found == windows_.end()) return;
    if (latest_ == found->second.get()) latest_ = nullptr;
    windows_.erase(found);
}

}  // namespace weir::processor
