// YAML made strict: yaml-cpp's events as a small tree with marks. Refused: duplicate keys, anchors, aliases,
// merge keys, tags, directives, a second document, tabs in indentation, unclosed quotes, numbers that look
// octal, keys that are not text or that YAML 1.1 reads as booleans, files above 1 MiB, nesting above 64.
// What a scalar means is decided by the field that it fills, never by its looks.
//
// Thread:  any; no shared state.
// Failure: a Diagnostic (W0001-W0011); yaml-cpp's exceptions end in yaml.cc.
// Limits:  checked before yaml-cpp sees a byte, so hostile input costs one pass over it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/diagnostic.h"
#include "config/pipeline.h"

namespace weir::config {

inline constexpr size_t kMaxFileBytes = size_t{1} << 20;
inline constexpr size_t kMaxDepth = 64;
inline constexpr size_t kMaxNodes = 50'000;

enum class NodeKind : uint8_t { kNull, kScalar, kSequence, kMap };
enum class ScalarStyle : uint8_t { kPlain, kSingleQuoted, kDoubleQuoted, kLiteral, kFolded };

struct Node {
    NodeKind kind = NodeKind::kNull;
    ScalarStyle style = ScalarStyle::kPlain;
    // Set by the field checks.
    bool secret = false;      // Never show the value.
    bool referenced = false;  // The value came by a reference: no message shows it.
    Mark mark;               // Of the first byte: the quote, the block indicator, the bracket, the first key.
    size_t offset = 0;       // The same place in bytes from the start of the source.
    std::string value;       // Of a scalar; of a null its spelling ("null", "~" or nothing).
    std::vector<Node> keys;  // Of a map, parallel to `items`; always scalars.
    std::vector<Node> items;

    [[nodiscard]] const Node* find(std::string_view key) const;  // Null when this is no map or lacks the key.
    [[nodiscard]] bool is_scalar() const { return kind == NodeKind::kScalar; }
    [[nodiscard]] bool is_map() const { return kind == NodeKind::kMap; }
};

// Drops a byte order mark and the CR of CRLF, so that offsets, marks and what is shown agree.
[[nodiscard]] std::string normalised(std::string_view text);

// The document's root, or nothing where the text is no YAML at all. With softer mistakes (a duplicate key)
// there are errors and a tree, so that later checks can add theirs. `source` is normalised.
[[nodiscard]] std::optional<Node> read_yaml(const std::string& source, Diagnostics& diagnostics);

// Where each byte of the scalar's value stands in the source, also in quoted, folded and block scalars.
[[nodiscard]] std::vector<size_t> scalar_offsets(std::string_view source, const Node& scalar);
// One past the scalar's closing quote; nothing where a quoted scalar never closes.
[[nodiscard]] std::optional<size_t> closing_quote(std::string_view source, size_t offset);

// The scalar as pipeline.h wants it. The value must be as read: before references are put in.
[[nodiscard]] Text to_text(std::string_view source, const Node& scalar);

}  // namespace weir::config
