// YAML from hostile bytes. Every byte of a scalar is found where the positions say, and every place that an
// error names lies in the file.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/yaml.h"

namespace {

using namespace weir;
using namespace weir::config;

size_t lines_of(const std::string& text) {
    return static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
}

void check_scalars(const std::string& source, size_t lines, const Node& node) {
    for (const Node& key : node.keys) check_scalars(source, lines, key);
    for (const Node& item : node.items) check_scalars(source, lines, item);
    if (!node.is_scalar()) return;
    const std::vector<size_t> offsets = scalar_offsets(source, node);
    WEIR_CHECK(offsets.size() == node.value.size());
    WEIR_CHECK(std::all_of(offsets.begin(), offsets.end(), [&](size_t at) { return at < source.size(); }));
    const Text text = to_text(source, node);
    for (size_t i = 0; i < text.value.size(); i += 7) {
        const Mark mark = text.position(i);
        WEIR_CHECK(mark.line >= node.mark.line && static_cast<size_t>(mark.line) <= lines &&
                   mark.column >= 1);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string source = normalised({reinterpret_cast<const char*>(data), size});
    const size_t lines = lines_of(source);
    Diagnostics diagnostics;
    if (const auto root = read_yaml(source, diagnostics)) check_scalars(source, lines, *root);
    for (const Diagnostic& diagnostic : diagnostics.all())
        WEIR_CHECK(static_cast<size_t>(diagnostic.mark.line) <= lines + 1);
    return 0;
}
