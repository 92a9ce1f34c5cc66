#include "processor/accumulators/value_list.h"

#include "base/result.h"
#include "processor/group_key.h"
#include "processor/stored_value.h"

namespace weir::processor {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kKeyBytes = 8;

bool is_percentile(const CallPlan& call) {
    return call.function == expr::AggregateFunction::kPercentileCont ||
           call.function == expr::AggregateFunction::kPercentileDisc;
}

}  // namespace

ValueList::ValueList(const CallPlan& call)
    : values_per_entry_(call.ordered ? 2 : 1),
      limit_(is_percentile(call) ? kPercentileBytes : kListBytes),
      seen_(call.distinct ? std::make_unique<DistinctSet>(call) : nullptr) {}

bool ValueList::is_new(const Value& value) {
    if (!seen_) return true;
    key_.clear();
    append_group_key(value, key_);
    return seen_->add(key_);
}

bool ValueList::append(const Value& value, const Value* order) {
    if (!is_new(value)) return true;
    append_stored_value(value, bytes_);
    if (order != nullptr) append_stored_value(*order, bytes_);
    ++count_;
    return bytes_.size() <= limit_;
}

bool ValueList::append(const ValueList& from) {
    if (!seen_) {
        bytes_.append(from.bytes_);
        count_ += from.count_;
        return bytes_.size() <= limit_;
    }
    for (const Value& value : from.values()) {
        if (!append(value, nullptr)) return false;
    }
    return true;
}

std::vector<Value> ValueList::values() const {
    std::vector<Value> result(count_ * values_per_entry_);
    ByteReader in(bytes_);
    for (Value& value : result) WEIR_CHECK(read_stored_value(in, value));
    return result;
}

void ValueList::write(bool whole, const WritePart& out) {
    const size_t first = whole ? 0 : written_;
    const size_t start = whole ? 0 : written_bytes_;
    if (first == count_) return;
    std::string key;
    for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<char>(first >> shift));
    std::string part;
    put_le<uint8_t>(part, kVersion);
    part.append(bytes_, start);
    out(key, part);
    written_ = count_;
    written_bytes_ = bytes_.size();
}

bool ValueList::read(std::string_view key, std::string_view part) {
    if (key.size() != kKeyBytes) return false;
    uint64_t first = 0;
    for (const char byte : key) first = first << 8 | static_cast<uint8_t>(byte);
    ByteReader in(part);
    if (in.le<uint8_t>() != kVersion || first != count_) return false;
    while (!in.done()) {
        Value value;
        for (size_t i = 0; i < values_per_entry_; ++i) {
            Value other;
            if (!read_stored_value(in, i == 0 ? value : other)) return false;
        }
        if (!is_new(value)) return false;
        ++count_;
    }
    if (in.failed()) return false;
    bytes_.append(part.substr(1));
    written_ = count_;
    written_bytes_ = bytes_.size();
    return true;
}

size_t ValueList::bytes() const {
    return sizeof(*this) + bytes_.capacity() + (seen_ ? seen_->bytes() : 0);
}

}  // namespace weir::processor
