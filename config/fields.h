// THE table of the file's keys. It drives the checks (config/check.h), the JSON Schema (config/schema.h) and
// docs/reference.md (config/reference.h): a key that is not here does not exist, and a key that is here is
// read by config/load.cc.
//
// Paths: segments joined by dots; `*` is a name that the user chooses. A field that takes "one or a list" has
// one row; the rows of its children hold for every item.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

namespace weir::config {

// What a scalar in this place means. kNone: no scalar is taken. kData: anything is taken, also maps and
// lists, and nothing in it is looked at or replaced.
enum class Type : uint8_t {
    kNone,
    kPath,
    kPipelineName,
    kTopic,
    kInput,
    kTable,
    kExpression,
    kFieldName,
    kDuration,
    kStart,
    kTimezone,
    kInteger,
    kOrdinal,
    kEnum,
    kAddress,
    kWorkers,
    kInstance,
    kProperty,
    kText,
    kInstant,
    kData
};
enum class ListForm : uint8_t { kNever, kAlso, kOnly };

struct Field {
    std::string_view path;
    Type type = Type::kNone;
    bool map = false;  // Takes a map of the rows below it.
    ListForm list = ListForm::kNever;
    bool required = false;
    bool one_of = false;      // Of its siblings marked so, exactly one must be given.
    bool single_key = false;  // A map with exactly one key.
    int64_t min = 0;          // Of a number, or of a duration in milliseconds.
    int64_t max = std::numeric_limits<int64_t>::max();
    std::string_view values = {};         // Of an enum, space-separated.
    std::string_view default_value = {};  // As it would be written.
    std::string_view example = {};
    std::string_view also = {};  // What other tools call it, space-separated: for the hint only.
    std::string_view doc = {};
    std::string_view since = "0.1";
};

[[nodiscard]] const std::vector<Field>& fields();
[[nodiscard]] const Field& root_field();
// The row of `key` inside `parent`: its own, else that of `*`; null when there is none.
[[nodiscard]] const Field* child_field(const Field& parent, std::string_view key);
[[nodiscard]] std::vector<const Field*> children(const Field& parent);
[[nodiscard]] std::string_view last_segment(std::string_view path);
[[nodiscard]] std::vector<std::string_view> words(std::string_view text);
// "a duration such as 5s", for labels, the reference and the schema's descriptions.
[[nodiscard]] std::string_view type_name(Type type);

}  // namespace weir::config
