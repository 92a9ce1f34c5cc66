// Rows → output bytes.
//
//   untouched   the record's own bytes.
//   raw + changes   the record's top level rewritten: members that stay are copied byte for byte, a replaced
//               member keeps its place, new ones follow in the order of the steps.
//   fields      one JSON object in field order.
//
// Numbers keep their digits, timestamptz becomes RFC 3339 text in UTC ("2026-01-31T12:00:00Z"), interval its
// text, jsonb is copied as it stands, NULL is null.
//
// Thread:  pure functions.
#pragma once

#include <span>
#include <string>

#include "processor/batch.h"
#include "processor/graph.h"
#include "processor/value.h"

namespace weir::processor {

// The row's value; a view of the record's bytes or of `buffer`, which is overwritten.
[[nodiscard]] MaybeBytes encode_value(const Layout& layout, const Batch& batch, uint32_t row,
                                      std::string& buffer);

// A key or header: null for NULL, else text; a view of the value's bytes or of `buffer`.
[[nodiscard]] MaybeBytes encode_text(const Value& value, std::string& buffer);
// Whether the record's key is that of the field.
[[nodiscard]] bool is_key_of(MaybeBytes key, const Value& field, std::string& buffer);

// The same of several values: a JSON array.
[[nodiscard]] MaybeBytes encode_key(std::span<const Column* const> columns, uint32_t row,
                                    std::string& buffer);

// A window's key: the only value as text, or all of them as a JSON array.
[[nodiscard]] MaybeBytes encode_group_key(std::span<const expr::Slot> slots, const Batch& batch, uint32_t row,
                                          std::string& buffer);

// The same text for values that group together (1.0 and 1.00), so that a partitioner brings them together:
// the one that a producer would key a topic with. Null for a single NULL. Keeps its buffers.
class KeyText {
public:
    [[nodiscard]] MaybeBytes of(std::span<const expr::Slot> slots, const Batch& batch, uint32_t row,
                                std::string& buffer);

private:
    std::string bytes_;
};

}  // namespace weir::processor
