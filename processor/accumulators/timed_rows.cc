#include "processor/accumulators/timed_rows.h"

#include "processor/accumulators/operations.h"

namespace weir::processor {
namespace {

constexpr size_t kKeyBytes = 8;

void accumulate_rows(const CallPlan& call, uint32_t cell, const AccumulatorRows& input, std::string&) {
    const Column& rows = *input.arguments[0];
    for (const uint32_t row : input.rows) {
        Accumulator& at = input.cells[row][cell];
        input.stores[row]->object<TimedRows>(at, call).append(input.times[row], rows[row].bytes());
    }
}

void merge_rows(const CallPlan& call, Accumulator* into, AccumulatorStore& store, const Accumulator* from,
                const AccumulatorStore& from_store) {
    const auto* const rows = static_cast<const TimedRows*>(from_store.find(*from));
    if (rows != nullptr) store.object<TimedRows>(*into, call).append(*rows);
}

// Nobody asks for it: the join reads the rows one by one.
Value no_result(const CallPlan&, const Accumulator*, const AccumulatorStore&, Arena&) {
    return Value::null();
}

}  // namespace

void TimedRows::append(EventTime time, std::string_view row) {
    put_le<int64_t>(bytes_, time);
    put_bytes(bytes_, row);
    ++count_;
}

void TimedRows::append(const TimedRows& from) {
    bytes_.append(from.bytes_);
    count_ += from.count_;
}

void TimedRows::write(bool whole, const WritePart& out) {
    const size_t first = whole ? 0 : written_;
    if (first == count_) return;
    std::string key;
    for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<char>(first >> shift));
    std::string part;
    put_le<uint8_t>(part, kVersion);
    part.append(bytes_, whole ? 0 : written_bytes_);
    out(key, part);
    written_ = count_;
    written_bytes_ = bytes_.size();
}

bool TimedRows::read(std::string_view key, std::string_view part) {
    if (key.size() != kKeyBytes) return false;
    uint64_t first = 0;
    for (const char byte : key) first = first << 8 | static_cast<uint8_t>(byte);
    if (first != count_ || !for_each_of(part, [&](EventTime, std::string_view) { ++count_; })) return false;
    bytes_.append(part.substr(1));
    written_ = count_;
    written_bytes_ = bytes_.size();
    return true;
}

const AccumulatorOperations kTimedRows = {1, accumulate_rows, merge_rows, no_result, object_of<TimedRows>};

}  // namespace weir::processor
