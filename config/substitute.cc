#include "config/substitute.h"

#include <fmt/format.h>

#include <optional>
#include <string_view>

namespace weir::config {
namespace {

struct Reference {
    std::string scheme;
    std::string name;
    std::optional<std::string> fallback;
};

// `body` stands between "${" and "}".
Reference split(std::string_view body) {
    Reference reference;
    const size_t colon = body.find(':');
    if (colon == std::string_view::npos) return {"", std::string(body), std::nullopt};
    reference.scheme = body.substr(0, colon);
    body.remove_prefix(colon + 1);
    const size_t fallback = reference.scheme == "env" ? body.find(":-") : std::string_view::npos;
    if (fallback != std::string_view::npos) reference.fallback = std::string(body.substr(fallback + 2));
    reference.name = body.substr(0, fallback);
    return reference;
}

}  // namespace

Substituted substitute(const Text& text, const LoadOptions& options, Diagnostics& diagnostics) {
    Substituted result;
    const std::string_view in = text.value;
    for (size_t i = 0; i < in.size(); ++i) {
        const char next = i + 1 < in.size() ? in[i + 1] : '\0';
        if (in[i] != '$' || (next != '$' && next != '{')) {
            result.value += in[i];
            continue;
        }
        if (next == '$') {
            result.value += '$';
            ++i;
            continue;
        }
        result.resolved = true;
        const size_t end = in.find('}', i);
        Mark mark = text.position(i);
        if (end == std::string_view::npos) {
            diagnostics.error("W0031", mark, "a reference that is never closed", "opened here",
                              "add the `}`");
            return result;
        }
        const Reference reference = split(in.substr(i + 2, end - i - 2));
        const std::string whole(in.substr(i, end - i + 1));
        if (text.position(end).line == mark.line) mark.length = text.position(end).column - mark.column + 1;
        i = end;

        std::optional<std::string> value;
        if (reference.scheme == "env" && !reference.name.empty()) {
            if (options.environment) value = options.environment(reference.name);
            if (!value) value = reference.fallback;
        } else if (reference.scheme == "file" && !reference.name.empty()) {
            result.secret = true;
            if (options.read_file) value = options.read_file(reference.name);
            if (value && !value->empty() && value->back() == '\n') value->pop_back();
        } else {
            const bool bare = reference.scheme.empty() && !reference.name.empty();
            diagnostics.error("W0031", mark, fmt::format("`{}` is no reference", whole),
                              "${env:NAME}, ${env:NAME:-default} or ${file:/path}",
                              bare ? fmt::format("did you mean `${{env:{}}}`?", reference.name)
                                   : "write $$ for a dollar sign");
            continue;
        }
        if (value) {
            result.value += *value;
        } else if (!options.allow_missing_references) {
            const bool env = reference.scheme == "env";
            diagnostics.error(
                "W0030", mark,
                env ? fmt::format("the environment variable `{}` is not set", reference.name)
                    : fmt::format("the file `{}` cannot be read", reference.name),
                "",
                env ? fmt::format("set it, or give a default: ${{env:{}:-value}}", reference.name)
                    : "create it, or check that this user may read it");
        }
    }
    return result;
}

}  // namespace weir::config
