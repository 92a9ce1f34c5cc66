#include "processor/planner_scope.h"

#include <algorithm>

#include "config/diagnostic.h"

namespace weir::processor {
namespace {

constexpr size_t kMaxPathSegments = 64;

const char* metadata_name(expr::Metadata which) {
    switch (which) {
        case expr::Metadata::kKey: return "_key";
        case expr::Metadata::kTopic: return "_topic";
        case expr::Metadata::kPartition: return "_partition";
        case expr::Metadata::kOffset: return "_offset";
        case expr::Metadata::kTimestamp: return "_timestamp";
        case expr::Metadata::kHeaders: return "_headers";
    }
    return "_key";
}

Type metadata_type(expr::Metadata which) {
    switch (which) {
        case expr::Metadata::kKey:
        case expr::Metadata::kTopic: return Type::kText;
        case expr::Metadata::kPartition: return Type::kInt4;
        case expr::Metadata::kOffset: return Type::kInt8;
        case expr::Metadata::kTimestamp: return Type::kTimestamptz;
        case expr::Metadata::kHeaders: return Type::kJsonb;
    }
    return Type::kText;
}

expr::CompileError no_such_field(const Shape& shape, const std::string& name) {
    std::vector<std::string_view> names;
    std::string list;
    for (const ShapeField& field : shape.fields) {
        names.push_back(field.name);
        list += (list.empty() ? "" : ", ") + field.name;
    }
    expr::CompileError error;
    error.message = "there is no field '" + name + "' here";
    error.length = name.size();
    const std::string_view near = config::nearest(name, names);
    error.help = near.empty() ? "fields at this step: " + list : "did you mean '" + std::string(near) + "'?";
    return error;
}

}  // namespace

std::string join_path(std::span<const std::string> path) {
    std::string result;
    for (const std::string& segment : path) result += (result.empty() ? "" : ".") + segment;
    return result;
}

expr::CompileError no_such_side(const std::string& name, const std::vector<std::string>& sides) {
    expr::CompileError error;
    error.message = "there is no field '" + name + "' here";
    error.length = name.size();
    error.help = "fields of a join begin with its sides: " + sides[0] + ".… or " + sides[1] + ".…";
    return error;
}

const ShapeField* Shape::find(std::string_view name) const {
    for (const ShapeField& field : fields) {
        if (field.name == name) return &field;
    }
    return nullptr;
}

const ShapeRow* Shape::find_row(std::string_view name) const {
    for (const ShapeRow& row : rows) {
        if (row.name == name) return &row;
    }
    return nullptr;
}

void Shape::set(ShapeField field) {
    std::erase(removed, field.name);
    std::erase_if(rows, [&](const ShapeRow& row) { return row.name == field.name; });
    for (ShapeField& known : fields) {
        if (known.name == field.name) {
            known = std::move(field);
            return;
        }
    }
    fields.push_back(std::move(field));
}

void Shape::remove(const std::string& name) {
    std::erase_if(fields, [&](const ShapeField& field) { return field.name == name; });
    if ((raw || !sides.empty()) && std::find(removed.begin(), removed.end(), name) == removed.end())
        removed.push_back(name);
}

Layout Shape::layout() const {
    Layout result;
    result.raw = raw;
    for (const ShapeField& field : fields) result.fields.push_back({field.name, field.slot});
    if (raw) result.removed = removed;
    result.kept_of = kept_of;
    return result;
}

std::optional<size_t> Shape::key_part(const FieldPath& path) const {
    if (key && *key == path) return 0;
    const auto found = std::find(key_rest.begin(), key_rest.end(), path);
    if (found == key_rest.end()) return std::nullopt;
    return 1 + static_cast<size_t>(found - key_rest.begin());
}

void Shape::lose_key(std::string_view name, const std::string& reason) {
    const auto is = [&](const FieldPath& path) { return path.front() == name; };
    if (!key || !(is(*key) || std::any_of(key_rest.begin(), key_rest.end(), is))) return;
    key.reset();
    key_rest.clear();
    key_lost = reason;
}

FrameId FrameTable::add_source_frame(size_t source) {
    graph_.frames.emplace_back();
    origins_.push_back({Kind::kSource, source, {}, nullptr});
    return static_cast<FrameId>(graph_.frames.size() - 1);
}

FrameId FrameTable::add_derived_frame(const Shape& parent) {
    graph_.frames.emplace_back();
    origins_.push_back({Kind::kDerived, 0, parent, nullptr});
    return static_cast<FrameId>(graph_.frames.size() - 1);
}

FrameId FrameTable::add_result_frame() {
    graph_.frames.emplace_back();
    origins_.push_back({Kind::kResult, 0, {}, nullptr});
    return static_cast<FrameId>(graph_.frames.size() - 1);
}

FrameId FrameTable::add_held_frame(const Shape& parent, size_t held) {
    graph_.frames.emplace_back();
    origins_.push_back({Kind::kHeld, held, parent, nullptr});
    return static_cast<FrameId>(graph_.frames.size() - 1);
}

const FrameTable::Origin& FrameTable::root(FrameId frame) const {
    const Origin* origin = &origins_[frame];
    while (origin->kind == Kind::kDerived || origin->kind == Kind::kHeld)
        origin = &origins_[origin->parent.frame];
    return *origin;
}

RecordPlan& FrameTable::record(const Origin& origin) {
    if (origin.kind == Kind::kHeld) return graph_.held[origin.index];
    return graph_.sources[origin.index];
}

FrameId FrameTable::add_join_frame(JoinNames& names) {
    graph_.frames.emplace_back();
    origins_.push_back({Kind::kJoin, 0, {}, &names});
    return static_cast<FrameId>(graph_.frames.size() - 1);
}

Layout FrameTable::whole_layout(Shape shape) {
    complete(shape);
    Layout layout = shape.layout();
    if (shape.sides.empty()) return layout;
    layout.kept_of.reset();
    std::vector<FieldSlot> sides;
    for (const std::string& side : shape.sides) {
        const bool removed =
            std::find(shape.removed.begin(), shape.removed.end(), side) != shape.removed.end();
        if (removed || shape.find(side) != nullptr) continue;
        const auto bound = bind(shape, std::span(&side, 1));
        if (const auto* binding = std::get_if<expr::Scope::Binding>(&bound))
            sides.push_back({side, binding->slot});
    }
    layout.fields.insert(layout.fields.begin(), sides.begin(), sides.end());
    return layout;
}

expr::Slot FrameTable::null_slot(FrameId frame) {
    auto& slots = graph_.frames[frame].null_slots;
    if (slots.empty()) slots.push_back(new_slot(frame));
    return graph_.frames[frame].null_slots.front();
}

expr::Slot FrameTable::import(FrameId frame, expr::Slot slot) {
    for (const SlotCopy& copy : graph_.frames[frame].copies) {
        if (copy.from == slot) return copy.to;
    }
    const expr::Slot made = new_slot(frame);
    graph_.frames[frame].copies.push_back({slot, made});
    return made;
}

// A column of a looked-up row, which the lookup then fetches.
expr::Compiled<expr::Scope::Binding> FrameTable::bind_row(const Shape& shape, const ShapeRow& row,
                                                          std::span<const std::string> path) {
    using Binding = expr::Scope::Binding;
    if (row.frame != shape.frame) {  // Found before an explode, which copies what is used.
        if (origins_[shape.frame].kind == Kind::kHeld) {
            return expr::CompileError{"the row '" + row.name +
                                          "' is not kept with a record that a step holds back",
                                      0, row.name.size(),
                                      "keep what is needed in a field, with a set before that step"};
        }
        const Shape parent = origins_[shape.frame].parent;
        auto found = bind_row(parent, row, path);
        if (auto* binding = std::get_if<Binding>(&found)) binding->slot = import(shape.frame, binding->slot);
        return found;
    }
    const TableId id = std::get<LookupNode>(graph_.nodes[row.lookup].operation).table;
    TablePlan& table = graph_.tables[id];
    const std::span<const std::string> rest = path.subspan(1);
    Binding column{kWholeRow, path.size(), Type::kJsonb};
    if (rest.empty() && graph_.sources[table.source].format != config::Format::kJson) {
        return expr::CompileError{"the rows of table '" + table.name + "' are not JSON", 0, row.name.size(),
                                  "their only field is '" + row.name + ".value'"};
    }
    if (rest.size() == 1 && rest.front() == metadata_name(expr::Metadata::kKey)) {
        column = {kRowKey, path.size(), Type::kText};
    } else if (!rest.empty()) {
        auto found = bind(table_shapes_[id], rest);
        if (std::holds_alternative<expr::CompileError>(found)) return found;
        column = std::get<Binding>(found);
        ++column.segments_used;
    }
    size_t index = 0;
    while (index < table.columns.size() && table.columns[index] != column.slot) ++index;
    if (index == table.columns.size()) table.columns.push_back(column.slot);
    auto& outputs = std::get<LookupNode>(graph_.nodes[row.lookup].operation).outputs;
    for (const LookupNode::Output& output : outputs) {
        if (output.column == index) return Binding{output.slot, column.segments_used, column.type};
    }
    const expr::Slot slot = new_slot(shape.frame);
    outputs.push_back({index, slot});
    return Binding{slot, column.segments_used, column.type};
}

void FrameTable::complete(Shape& shape) {
    if (!shape.partial) return;
    shape.partial = false;
    Shape parent = origins_[shape.frame].parent;
    complete(parent);
    std::vector<ShapeField> all;
    for (const ShapeField& field : parent.fields) {
        const auto& removed = shape.removed;
        if (std::find(removed.begin(), removed.end(), field.name) != removed.end()) continue;
        const ShapeField* const newer = shape.find(field.name);
        all.push_back(newer != nullptr ? *newer
                                       : ShapeField{field.name, import(shape.frame, field.slot), field.type});
    }
    for (const ShapeField& field : shape.fields) {
        if (parent.find(field.name) == nullptr) all.push_back(field);
    }
    shape.fields = std::move(all);
}

expr::Compiled<expr::Scope::Binding> FrameTable::bind(const Shape& shape, std::span<const std::string> path) {
    using Binding = expr::Scope::Binding;
    if (const ShapeRow* row = shape.find_row(path.front())) return bind_row(shape, *row, path);
    for (size_t used = path.size(); used > 0; --used) {  // `a.b` may be one field named "a.b".
        const std::string name = join_path(path.first(used));
        if (const ShapeField* field = shape.find(name)) return Binding{field->slot, used, field->type};
    }
    const auto& removed = shape.removed;
    if (std::find(removed.begin(), removed.end(), path.front()) != removed.end()) {
        return Binding{null_slot(shape.frame), path.size(), std::nullopt};
    }
    if (!shape.raw && !shape.partial && shape.sides.empty()) return no_such_field(shape, path.front());
    if (path.size() > kMaxPathSegments) return expr::CompileError{"a path has at most 64 segments", 0, 1, ""};

    const Origin& origin = origins_[shape.frame];
    if (origin.kind == Kind::kJoin) return origin.names->bind(path);
    if (origin.kind == Kind::kDerived) {
        Shape parent = origin.parent;
        parent.rows.clear();  // Those that are still to be seen are the shape's.
        auto found = bind(parent, path);
        if (auto* binding = std::get_if<Binding>(&found)) binding->slot = import(shape.frame, binding->slot);
        return found;
    }
    RecordPlan& from = record(origin);
    if (from.format != config::Format::kJson) {
        if (path.size() != 1 || path.front() != "value") {
            expr::CompileError error;
            error.message = "there is no field '" + join_path(path) + "' here";
            error.length = join_path(path).size();
            error.help = "records of source '" + graph_.sources[root(shape.frame).index].name +
                         "' are not JSON: their only field is 'value'";
            return error;
        }
        if (from.value_slot == PathTree::kNoSlot) from.value_slot = new_slot(shape.frame);
        return Binding{from.value_slot, 1, Type::kText};
    }
    PathTree::Node& node = from.paths.node(path);
    if (node.slot == PathTree::kNoSlot) node.slot = new_slot(shape.frame);
    return Binding{node.slot, path.size(), std::nullopt};
}

expr::Compiled<expr::Scope::Binding> FrameTable::bind_metadata(FrameId frame, expr::Metadata which) {
    using Binding = expr::Scope::Binding;
    const Origin& origin = origins_[frame];
    const std::string name = metadata_name(which);
    if (origin.kind == Kind::kJoin) return origin.names->bind_metadata(which);
    const Kind made_by = root(frame).kind;
    if (made_by == Kind::kResult || (made_by == Kind::kJoin && origin.kind == Kind::kHeld)) {
        return expr::CompileError{name + " belongs to a single record; a window's result has none", 0,
                                  name.size(), "keep it with an aggregate, such as max(" + name + ")"};
    }
    if (origin.kind == Kind::kDerived) {
        const FrameId parent = origin.parent.frame;
        auto found = bind_metadata(parent, which);
        if (auto* binding = std::get_if<Binding>(&found)) binding->slot = import(frame, binding->slot);
        return found;
    }
    if (origin.kind == Kind::kHeld && which != expr::Metadata::kKey && which != expr::Metadata::kTimestamp) {
        return expr::CompileError{name + " is not kept with a record that a step holds back", 0, name.size(),
                                  "keep it in a field, with a set before that step"};
    }
    expr::Slot& slot = record(origin).metadata[static_cast<size_t>(which)];
    if (slot == PathTree::kNoSlot) slot = new_slot(frame);
    return Binding{slot, 1, metadata_type(which)};
}

}  // namespace weir::processor
