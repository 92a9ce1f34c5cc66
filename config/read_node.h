// What load.cc and read_streams.cc ask of a tree that the field checks went over: what is missing or of
// another kind was told there, and reads as absent here.
//
// Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/pipeline.h"
#include "config/yaml.h"

namespace weir::config {

// Where the key stands; the map's own place when it has none.
[[nodiscard]] Mark key_mark(const Node& map, std::string_view key);

// The value of a key that takes a scalar, or "".
[[nodiscard]] const std::string& scalar(const Node& map, std::string_view key);
// Leaves `into` alone where there is none.
void read_duration(const Node& map, std::string_view key, int64_t& into);
// `state` of an operator or table.
[[nodiscard]] StateRule read_state(const Node& owner);

[[nodiscard]] std::optional<Text> expression(const Node& map, std::string_view key, std::string_view source);
// Of a map from names to expressions, and of one expression or a list.
[[nodiscard]] std::vector<NamedExpression> expressions(const Node* map, std::string_view source);
[[nodiscard]] std::vector<Text> texts(const Node* node, std::string_view source);

// "One or a list": calls `use` with each item.
template <class Use>
void for_each_item(const Node* node, Use use) {
    if (node == nullptr) return;
    if (node->kind != NodeKind::kSequence) {
        use(*node);
        return;
    }
    for (const Node& item : node->items) use(item);
}

}  // namespace weir::config
