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
constexpr size_t kFirstSlabBytes = 4 << 10;
constexpr size_t kLargestSlabBytes = 256 << 10;

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

void append_value(const Value& value, std::string& out) {
    put_le<uint8_t>(out, static_cast<uint8_t>(value.type));
    switch (value.type) {
        case Type::kNull: return;
        case Type::kBool: put_le<uint8_t>(out, value.boolean ? 1 : 0); return;
        case Type::kInt4:
        case Type::kInt8:
        case Type::kTimestamptz: put_le<int64_t>(out, value.integer); return;
        case Type::kFloat8: put_le<double>(out, value.real); return;
        case Type::kNumeric:
            put_le<uint16_t>(out, value.scale);
            put_le<uint64_t>(out, value.low);
            put_le<int64_t>(out, value.high);
            return;
        case Type::kText:
        case Type::kJsonb:
        case Type::kError: put_bytes(out, value.bytes()); return;
        case Type::kInterval:
            put_le<int64_t>(out, value.integer);
            put_le<int32_t>(out, value.interval.months);
            put_le<int32_t>(out, value.interval.days);
            return;
    }
}

bool read_value(ByteReader& in, Value& value) {
    const auto type = in.le<uint8_t>();
    if (type > static_cast<uint8_t>(Type::kError)) return false;
    value = Value::null();
    value.type = static_cast<Type>(type);
    switch (value.type) {
        case Type::kNull: break;
        case Type::kBool: value.boolean = in.le<uint8_t>() != 0; break;
        case Type::kInt4:
        case Type::kInt8:
        case Type::kTimestamptz: value.integer = in.le<int64_t>(); break;
        case Type::kFloat8: value.real = in.le<double>(); break;
        case Type::kNumeric:
            value.scale = in.le<uint16_t>();
            value.low = in.le<uint64_t>();
            value.high = in.le<int64_t>();
            break;
        case Type::kText:
        case Type::kJsonb:
        case Type::kError: value = Value::of_bytes(value.type, in.bytes()); break;
        case Type::kInterval:
            value.integer = in.le<int64_t>();
            value.interval.months = in.le<int32_t>();
            value.interval.days = in.le<int32_t>();
            break;
    }
    return !in.failed();
}

}  // namespace

uint64_t hash_group_key(std::string_view key) { return XXH3_64bits(key.data(), key.size()); }

char* Window::allocate(size_t bytes) {
    bytes = (bytes + alignof(Group) - 1) / alignof(Group) * alignof(Group);
    if (bytes > static_cast<size_t>(end_ - next_)) {
        const size_t usual = std::clamp(2 * slab_bytes_, kFirstSlabBytes, kLargestSlabBytes);
        const size_t size = std::max(usual, bytes);
        slabs_.push_back(std::make_unique_for_overwrite<char[]>(size));
        slab_bytes_ += size;
        next_ = slabs_.back().get();
        end_ = next_ + size;
    }
    char* const result = next_;
    next_ += bytes;
    return result;
}

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
    char* const memory = allocate(sizeof(Group) + call_count_ * sizeof(Accumulator) + key.size());
    auto* const group = new (memory) Group{hash, next_sequence_++, static_cast<uint32_t>(key.size()),
                                           static_cast<uint32_t>(call_count_), false};
    for (size_t call = 0; call < call_count_; ++call) new (group->accumulators() + call) Accumulator{};
    std::copy(key.begin(), key.end(), reinterpret_cast<char*>(group->accumulators() + call_count_));
    cells_[at] = {hash, group};
    groups_.push_back(group);
    return *group;
}

void Window::add_distinct(Group& group, size_t call, std::string_view value) {
    Accumulator& accumulator = group.accumulators()[call];
    if (accumulator.distinct == 0) {
        sets_.push_back(std::make_unique<absl::flat_hash_set<std::string>>());
        accumulator.distinct = static_cast<uint32_t>(sets_.size());
    }
    auto& set = *sets_[accumulator.distinct - 1];
    if (set.contains(absl::string_view(value.data(), value.size()))) return;
    set.emplace(value);
    ++accumulator.count;
    new_values_.push_back({&group, static_cast<uint32_t>(call), std::string(value)});
}

void Window::keep_text(Accumulator& accumulator, const Value& value) {
    char* to = const_cast<char*>(accumulator.value.data);
    if (accumulator.capacity < value.length || accumulator.capacity == 0) {
        const size_t capacity = std::bit_ceil(std::max<size_t>(16, value.length));
        to = allocate(capacity);
        accumulator.capacity = static_cast<uint32_t>(capacity);
    }
    std::copy_n(value.data, value.length, to);
    accumulator.value = Value::of_bytes(value.type, {to, value.length});
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
    size_t total = slab_bytes_ + cells_.size() * sizeof(Cell) + groups_.capacity() * sizeof(Group*);
    for (const auto& set : sets_) total += set->capacity() * (sizeof(std::string) + 1);
    return total;
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
        for (size_t call = 0; call < call_count_; ++call) {
            const Accumulator& accumulator = group->accumulators()[call];
            put_varint(row, static_cast<uint64_t>(accumulator.count));
            append_value(accumulator.value, row);
        }
        out.put(table, key, row);
        stored_ = true;
    }
    dirty_.clear();
    for (const NewValue& added : new_values_) {
        key.resize(kStartBytes);
        put_bytes(key, added.group->key());
        put_varint(key, added.call);
        key.append(added.value);
        out.put(table + 1, key, {});
    }
    new_values_.clear();
}

bool Window::restore_group(std::string_view key, std::string_view value) {
    ByteReader in(value);
    if (in.le<uint8_t>() != kRowVersion) return false;
    Group& restored = group(key, hash_group_key(key));
    restored.sequence = static_cast<uint32_t>(in.varint());
    next_sequence_ = std::max(next_sequence_, restored.sequence + 1);
    sorted_ = false;
    for (size_t call = 0; call < call_count_; ++call) {
        Accumulator& accumulator = restored.accumulators()[call];
        accumulator.count = static_cast<int64_t>(in.varint());
        Value stored;
        if (!read_value(in, stored)) return false;
        if (stored.type == Type::kText || stored.type == Type::kError) {
            keep_text(accumulator, stored);
        } else {
            accumulator.value = stored;
            accumulator.capacity = 0;
        }
    }
    stored_ = true;
    return in.done() && !in.failed();
}

bool Window::restore_distinct(std::string_view key_and_value) {
    ByteReader in(key_and_value);
    const std::string_view key = in.bytes();
    const uint64_t call = in.varint();
    if (in.failed() || call >= call_count_) return false;
    Group& restored = group(key, hash_group_key(key));
    const int64_t count = restored.accumulators()[call].count;
    add_distinct(restored, call, in.take(in.remaining()));
    restored.accumulators()[call].count = count;  // The group's own row says how many there are.
    new_values_.clear();
    stored_ = true;
    return true;
}

EventTime WindowState::start_of(EventTime time) const {
    const int64_t into = (time - stage_.window.offset_ms) % stage_.window.size_ms;
    return time - (into < 0 ? into + stage_.window.size_ms : into);
}

Window& WindowState::window(EventTime start) {
    if (latest_ != nullptr && latest_->start() == start) return *latest_;
    auto& slot = windows_[start];
    if (!slot) slot = std::make_unique<Window>(start, stage_.calls.size());
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
    const bool has_sets = std::any_of(stage_.calls.begin(), stage_.calls.end(),
                                      [](const CallPlan& call) { return call.distinct; });
    std::string key;
    for (const EventTime start : closed_) {
        key.clear();
        append_start(start, key);
        out.erase_prefix(stage_.table, key);
        if (has_sets) out.erase_prefix(stage_.table + 1, key);
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
        table == stage_.table ? restored.restore_group(rest, value) : restored.restore_distinct(rest);
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
