// PostgreSQL's own parser (libpg_query 15) in front of the compiler: text in, the tree of one scalar
// expression out.
//
// Before parsing, the words of dotted paths are double-quoted, which keeps their case and lets a reserved
// word stand in a path (user.id). `source_position` leads from the parser's byte positions back to the
// user's text.
//
// Thread:  one at a time per object; the parser keeps its memory per thread.
// Failure: CompileError with the position in the user's text.
#pragma once

#include <rapidjson/document.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "processor/expr/expression.h"

namespace weir::processor::expr {

inline constexpr size_t kMaxExpressionBytes = 64 << 10;
inline constexpr int kMaxExpressionDepth = 500;

struct Syntax {
    std::string_view source;
    std::string query;             // "SELECT " + the text with quoted paths.
    std::vector<uint32_t> origin;  // Of each byte of `query`: its place in `source`.
    rapidjson::Document tree;
    const rapidjson::Value* expression = nullptr;  // Within `tree`: {"FuncCall": {…}}.

    [[nodiscard]] size_t source_position(int64_t location) const;
    // The value of an integer constant node. libpg_query 15 drops integers that are not positive from its
    // JSON; they are read from the text at the node's place.
    [[nodiscard]] int32_t integer_constant(const rapidjson::Value& constant) const;
    // The word or token that starts at a place of the source.
    [[nodiscard]] size_t token_length(size_t position) const;
};

[[nodiscard]] Compiled<std::unique_ptr<Syntax>> parse(std::string_view text);

}  // namespace weir::processor::expr
