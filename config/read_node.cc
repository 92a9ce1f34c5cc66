#include "config/read_node.h"

#include "config/scalar.h"

namespace weir::config {

Mark key_mark(const Node& map, std::string_view key) {
    for (const Node& candidate : map.keys) {
        if (candidate.value == key) return candidate.mark;
    }
    return map.mark;
}

const std::string& scalar(const Node& map, std::string_view key) {
    static const std::string none;
    const Node* node = map.find(key);
    return node != nullptr && node->is_scalar() ? node->value : none;
}

void read_duration(const Node& map, std::string_view key, int64_t& into) {
    if (const auto duration = parse_duration(scalar(map, key))) into = *duration;
}

StateRule read_state(const Node& owner) {
    const Node* const state = owner.find("state");
    if (state == nullptr || scalar(*state, "backend") != "rocksdb") return {};
    return {true, state->find("backend")->mark};
}

std::optional<Text> expression(const Node& map, std::string_view key, std::string_view source) {
    const Node* node = map.find(key);
    if (node == nullptr || !node->is_scalar()) return std::nullopt;
    return to_text(source, *node);
}

std::vector<NamedExpression> expressions(const Node* map, std::string_view source) {
    std::vector<NamedExpression> result;
    if (map == nullptr || !map->is_map()) return result;
    for (size_t i = 0; i < map->items.size(); ++i) {
        if (!map->items[i].is_scalar()) continue;
        result.push_back({map->keys[i].value, map->keys[i].mark, to_text(source, map->items[i])});
    }
    return result;
}

std::vector<Text> texts(const Node* node, std::string_view source) {
    std::vector<Text> result;
    for_each_item(node, [&](const Node& item) {
        if (item.is_scalar()) result.push_back(to_text(source, item));
    });
    return result;
}

}  // namespace weir::config
