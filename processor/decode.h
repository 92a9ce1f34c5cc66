// Payload bytes → columns. One scan per record: simdjson's first stage (SIMD, also the UTF-8 check) finds the
// tokens, then a walk over them checks the whole grammar and stores the values of the wanted paths. Records
// laid out like an earlier one are read by its shape instead (record_shape.h), to the same effect. Nothing is
// skipped unchecked, so a record that passes here is valid JSON to its last byte, also when it is forwarded
// as raw bytes (docs/decisions: why not simdjson On-Demand).
//
// Accepted: one object per payload, RFC 8259, UTF-8 without byte order mark, at most kMaxDepth containers
// deep.
//           Of equal member names the last one counts, as in PostgreSQL's jsonb.
// Values:   string → text (a view into the payload when it has no escapes), number → numeric with its digits,
//           true/false → boolean, null and missing → NULL, object/array → jsonb, a view of its text.
//           A number beyond 38 digits is an error of that value only, seen by whoever uses it.
//           A null payload is a record whose fields are all NULL.
// Padding:  none needed; payloads are read in place and never past their end.
// Thread:   one owner.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/pipeline.h"
#include "processor/arena.h"
#include "processor/batch.h"
#include "processor/endpoint.h"
#include "processor/expr/expression.h"
#include "processor/record_shape.h"
#include "processor/value.h"

namespace simdjson::internal {
class dom_parser_implementation;
}

namespace weir::processor {

inline constexpr int kMaxDepth = 64;

// The union of the paths that a source's expressions use.
class PathTree {
public:
    static constexpr expr::Slot kNoSlot = -1;

    struct Child {
        std::string name;
        uint32_t node;
    };
    struct Node {
        expr::Slot slot = kNoSlot;
        std::vector<Child> children;
    };

    PathTree() : nodes_(1) {}

    // The node of `path`, made if needed.
    Node& node(std::span<const std::string> path);

    [[nodiscard]] const Node& root() const { return nodes_.front(); }
    [[nodiscard]] const Node& at(uint32_t index) const { return nodes_[index]; }

private:
    std::vector<Node> nodes_;
};

struct DecodeError {
    uint32_t row;
    std::string message;
};

class Decoder {
public:
    // `value_slot`: where the payload itself goes as text, for formats other than JSON; kNoSlot: nowhere.
    Decoder(config::Format format, const PathTree& paths, expr::Slot value_slot);
    ~Decoder();

    // Fills the paths' columns (sized by the caller) for every record and appends the rows that are good to
    // `good`, the others to `errors`.
    void decode(std::span<const InputRecord> records, Arena& arena, std::vector<Column>& columns,
                std::vector<uint32_t>& good, std::vector<DecodeError>& errors);

private:
    class Walk;

    static constexpr size_t kMaxShapes = 4;
    static constexpr uint32_t kMaxLearned = 64;  // So many of the judged records may be learned from.
    static constexpr uint32_t kJudgedRecords = 1024;

    [[nodiscard]] bool index(std::string_view json, std::string& error);
    [[nodiscard]] bool walk(std::string_view payload, Arena& arena, std::vector<Column>& columns, size_t row,
                            RecordShape* shape, std::string& error);
    [[nodiscard]] bool read_by_shape(std::string_view payload, std::vector<Column>& columns, size_t row);
    [[nodiscard]] RecordShape* shape_to_learn();
    void judge_shapes();

    const config::Format format_;
    const PathTree& paths_;
    const expr::Slot value_slot_;
    std::vector<expr::Slot> slots_;  // Of all paths.
    std::unique_ptr<simdjson::internal::dom_parser_implementation> tokens_;
    std::vector<RecordShape> shapes_;
    size_t latest_shape_ = 0;
    uint32_t hits_ = 0;             // Since shapes were judged last: records read by one,
    uint32_t misses_ = 0;           // and records that none fits.
    uint32_t unread_by_shape_ = 0;  // So many records still to go without.
};

}  // namespace weir::processor
