#include "config/reference.h"

#include <fmt/format.h>

#include <iterator>
#include <string_view>
#include <vector>

#include "config/fields.h"

namespace weir::config {
namespace {

constexpr std::string_view kIntroduction =
    R"(# The pipeline file: every key

This page is made from the table that the program checks files with (`config/fields.cc`); do not edit it.
An unknown key is an error. `<name>` is a name of your choice. A key marked "required" has no default.

- A *duration* is `250ms`, `5s`, `1m30s`, `7d`: whole numbers with units, large units first. A bare number
  is an error.
- An *expression* is a PostgreSQL scalar expression over the record's fields. In `map`, `set`, `fields` and
  `headers` a bare YAML number or boolean is that literal.
- *References* work in every other value: `${env:NAME}`, `${env:NAME:-default}`, `${file:/path}` (without the
  file's last newline); `$$` is a dollar sign. What comes from a file, and any Kafka property whose name says
  password, secret, token, key or username or whose value is an address with a password, is never shown.
- The file is strict YAML: one document, no anchors, tags, duplicate keys or tabs; at most 1 MiB.
)";

std::string display_path(std::string_view path) {
    std::string out;
    for (const char c : path) {
        if (c == '*') {
            out += path.substr(0, 6) == "kafka." ? "<property>" : "<name>";
        } else {
            out += c;
        }
    }
    return out;
}

std::string takes(const Field& field) {
    std::string out;
    const auto add = [&](std::string_view form) {
        out += fmt::format("{}{}", out.empty() ? "" : ", or ", form);
    };
    if (field.type == Type::kEnum) {
        for (const std::string_view word : words(field.values)) add(fmt::format("`{}`", word));
    } else if (field.type != Type::kNone) {
        add(type_name(field.type));
    }
    if (field.map) add("a map");
    if (field.list == ListForm::kOnly) {
        return field.single_key ? "a list of maps with one key each" : "a list of maps";
    }
    if (field.list == ListForm::kAlso) add("a list of these");
    return out;
}

// "`topic` and `file`": the siblings of which one must be given.
std::string alternatives(const Field& field) {
    std::vector<std::string> names;
    const std::string_view parent = field.path.substr(0, field.path.rfind('.'));
    for (const Field& sibling : fields()) {
        const bool same = sibling.path.substr(0, sibling.path.rfind('.')) == parent;
        if (same && sibling.one_of) names.push_back(fmt::format("`{}`", last_segment(sibling.path)));
    }
    const std::string last = names.back();
    names.pop_back();
    return fmt::format("{} and {}", fmt::join(names, ", "), last);
}

}  // namespace

std::string reference_page() {
    std::string out(kIntroduction);
    std::string_view section;
    for (const Field& field : fields()) {
        const std::string_view top = field.path.substr(0, field.path.find('.'));
        if (top != section) out += fmt::format("\n## {}\n", top);
        section = top;
        fmt::format_to(std::back_inserter(out), "\n### `{}`\n\n{}\n\n- takes: {}\n", display_path(field.path),
                       field.doc, takes(field));
        if (field.required) out += "- required\n";
        if (field.one_of) out += fmt::format("- exactly one of {} is required\n", alternatives(field));
        if (!field.default_value.empty()) out += fmt::format("- default: {}\n", field.default_value);
        out += fmt::format("- example: `{}: {}`\n- since: {}\n",
                           last_segment(field.path) == "*" ? "<name>" : last_segment(field.path),
                           field.example, field.since);
    }
    return out;
}

}  // namespace weir::config
