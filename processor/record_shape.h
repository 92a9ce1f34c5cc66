// The layout that the records of a source repeat: the bytes between their values, learned from a record that
// the full walk accepted. A record with the same bytes between its values, each of them a valid scalar, is
// valid JSON with the same members, so one pass checks and reads it without a token index. Anything else, an
// escape included, is no match and takes the full walk: a shape never decides that a record is bad.
//
// Source:  speculation on the structure of records as in Li et al., "Mison: A Fast JSON Parser for Data
//          Analytics", PVLDB 10(10), 2017.
// Memory:  a copy of one record of at most kMaxBytes.
// Thread:  one owner.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "processor/expr/expression.h"
#include "processor/value.h"

namespace weir::processor {

class RecordShape {
public:
    static constexpr size_t kMaxBytes = 4096;
    static constexpr expr::Slot kNoSlot = -1;

    // A scalar of the record that is being learned, in order; [begin, end) with the quotes of a string.
    void add(size_t begin, size_t end, expr::Slot slot) { values_.push_back({begin, end, slot}); }
    // The record holds something that a shape cannot say: a wanted container, a repeated name.
    void refuse() { refused_ = true; }
    // `slots`: all that are wanted. False: no shape can be made of this record.
    [[nodiscard]] bool learn(std::string_view record, std::span<const expr::Slot> slots);

    // Sets the wanted values of `row`, whatever they are. False: no match, and they are anything.
    [[nodiscard]] bool read(std::string_view record, std::vector<Column>& columns, size_t row) const;

private:
    struct Learned {
        size_t begin;
        size_t end;
        expr::Slot slot;
    };
    struct Part {
        uint32_t begin;  // Of the bytes before the value, in text_.
        uint32_t length;
        uint32_t bits;    // As many as there are bytes, if they are fewer than a vector's; else 0.
        expr::Slot slot;  // kNoSlot: checked only.
    };

    std::string text_;  // With room behind it, so that whole vectors can be read.
    std::vector<Part> parts_;
    std::vector<expr::Slot> absent_;  // Wanted, but not in the record.
    size_t rest_ = 0;  // Of the bytes after the last value, …
    size_t rest_length_ = 0;  // … and how many.
    std::vector<Learned> values_;
    bool refused_ = false;
};

// Past a JSON number that starts at `p`; null: there is none. Sets `out` when `wanted`: its digits as
// numeric, or an error that says there are too many.
[[nodiscard]] const char* read_json_number(const char* p, const char* end, bool wanted, Value& out);

}  // namespace weir::processor
