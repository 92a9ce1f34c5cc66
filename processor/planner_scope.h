// What names mean at a point of a stream's steps, while planning: the shape of a row there, and the batch
// (frame) that holds it. Internal to the planner.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "processor/graph.h"

namespace weir::processor {

using FieldPath = std::vector<std::string>;

struct ShapeField {
    std::string name;
    expr::Slot slot;
    std::optional<Type> type;
};

// A table's row beside the record.
struct ShapeRow {
    std::string name;
    NodeId lookup;
    FrameId frame;  // The lookup's.
};

// A row's members as far as they are known, and which of them holds the key of the source's partitioning.
struct Shape {
    FrameId frame = 0;
    bool raw = false;      // Members not listed are read from the record.
    bool partial = false;  // Fields not listed are those of the shape that the frame was derived from.
    std::vector<ShapeField> fields;
    std::vector<std::string> removed;
    std::vector<std::string> sides;  // A join's result: members not listed are its sides, by these names.
    std::optional<StageId> kept_of;  // … and the frame is the join's own.
    std::vector<ShapeRow> rows;    // Found by lookups; no part of the record itself.
    std::optional<FieldPath> key;     // None: lost on the way …
    std::vector<FieldPath> key_rest;  // Further fields of it: rows are together only if equal in all of them.
    std::string key_lost;             // … for this reason, as a clause.

    [[nodiscard]] const ShapeField* find(std::string_view name) const;
    [[nodiscard]] const ShapeRow* find_row(std::string_view name) const;
    void set(ShapeField field);
    void remove(const std::string& name);
    [[nodiscard]] Layout layout() const;
    // Which field of the key this is; none: it is none of them.
    [[nodiscard]] std::optional<size_t> key_part(const FieldPath& path) const;
    // The key is gone when a step changes the field `name`; `reason` says so.
    void lose_key(std::string_view name, const std::string& reason);
};

// What names mean in a join's results.
class JoinNames {
public:
    virtual ~JoinNames() = default;
    virtual expr::Compiled<expr::Scope::Binding> bind(std::span<const std::string> path) = 0;
    virtual expr::Compiled<expr::Scope::Binding> bind_metadata(expr::Metadata which) = 0;
};

// Hands out slots of frames and knows how a frame gets at a member of the record.
class FrameTable {
public:
    explicit FrameTable(Graph& graph) : graph_(graph) {}

    FrameId add_source_frame(size_t source);
    FrameId add_derived_frame(const Shape& parent);  // Explode: members are copied from the parent's rows.
    FrameId add_result_frame();                      // A window's results: nothing but its own fields.
    // Kept rows, read again from their records: graph.held[held], which exists.
    FrameId add_held_frame(const Shape& parent, size_t held);
    FrameId add_join_frame(JoinNames& names);        // Fields of both sides; `names` outlives the table.
    void set_table_shape(Shape shape) { table_shapes_.push_back(std::move(shape)); }  // By TableId.

    expr::Slot new_slot(FrameId frame) { return static_cast<expr::Slot>(graph_.frames[frame].slot_count++); }
    expr::Slot null_slot(FrameId frame);
    // The slot of the frame to which explode copies the parent's `slot`.
    expr::Slot import(FrameId frame, expr::Slot slot);
    // Lists the fields of a partial shape, in the order in which they are written.
    void complete(Shape& shape);
    // Rows that weir made; no record stands behind them.
    [[nodiscard]] bool holds_results(FrameId frame) const {
        return root(frame).kind == Kind::kResult || root(frame).kind == Kind::kJoin;
    }

    expr::Compiled<expr::Scope::Binding> bind(const Shape& shape, std::span<const std::string> path);
    expr::Compiled<expr::Scope::Binding> bind_metadata(FrameId frame, expr::Metadata which);
    // How the row is written, with all fields of a partial shape and a join's sides.
    [[nodiscard]] Layout whole_layout(Shape shape);

private:
    expr::Compiled<expr::Scope::Binding> bind_row(const Shape& shape, const ShapeRow& row,
                                                  std::span<const std::string> path);
    enum class Kind : uint8_t { kSource, kDerived, kResult, kHeld, kJoin };
    struct Origin {
        Kind kind;
        size_t index = 0;  // Of the source or HeldPlan.
        Shape parent;
        JoinNames* names = nullptr;
    };
    // Where the frame's rows come from in the end: kSource or kResult.
    [[nodiscard]] const Origin& root(FrameId frame) const;
    [[nodiscard]] RecordPlan& record(const Origin& origin);

    Graph& graph_;
    std::vector<Origin> origins_;  // By FrameId.
    std::vector<Shape> table_shapes_;
};

// A shape as the expression compiler sees it; remembers the last plain path that was bound.
class ShapeScope final : public expr::Scope {
public:
    ShapeScope(FrameTable& frames, const Shape& shape) : frames_(frames), shape_(shape) {}

    expr::Compiled<Binding> bind(std::span<const std::string> path) override {
        last_path_.assign(path.begin(), path.end());
        ++bound_;
        return frames_.bind(shape_, path);
    }
    expr::Compiled<Binding> bind_metadata(expr::Metadata which) override {
        bound_ += 2;  // Never a plain path.
        record_key_ = bound_ == 2 && which == expr::Metadata::kKey;
        if (which == expr::Metadata::kKey && !shape_.raw &&
            shape_.key == FieldPath{"_key"}) {  // A window's result.
            if (const ShapeField* field = shape_.find("_key")) return Binding{field->slot, 1, field->type};
        }
        return frames_.bind_metadata(shape_.frame, which);
    }

    // The path, when it is the only name that was bound.
    [[nodiscard]] const FieldPath* only_path() const { return bound_ == 1 ? &last_path_ : nullptr; }
    // `_key` is the only name that was bound.
    [[nodiscard]] bool is_record_key() const { return record_key_ && bound_ == 2; }

private:
    FrameTable& frames_;
    const Shape& shape_;
    FieldPath last_path_;
    int bound_ = 0;
    bool record_key_ = false;
};

[[nodiscard]] std::string join_path(std::span<const std::string> path);
// For a name that begins with neither of a join's sides.
[[nodiscard]] expr::CompileError no_such_side(const std::string& name, const std::vector<std::string>& sides);

}  // namespace weir::processor
