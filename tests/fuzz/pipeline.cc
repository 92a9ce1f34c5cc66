// A pipeline file from hostile bytes, read, planned and explained. Every place that an error names lies in
// the file, every byte of a scalar is found where the positions say, and the same file gives the same plan.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/load.h"
#include "config/yaml.h"
#include "processor/plan.h"

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

Loaded load(const std::string& text) {
    LoadOptions options;
    options.environment = [](const std::string&) { return std::optional<std::string>("v"); };
    options.read_file = [](const std::string&) { return std::optional<std::string>("f\n"); };
    return load_text("f", text, options);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    Loaded loaded = load(text);
    const std::string source = normalised(text);
    WEIR_CHECK(loaded.source.size() == source.size(), "hiding a secret moves what follows it");
    const size_t lines = lines_of(source);
    Diagnostics of_yaml;
    if (const auto root = read_yaml(source, of_yaml)) check_scalars(source, lines, *root);

    std::unique_ptr<const processor::Plan> plan;
    if (!loaded.diagnostics.has_errors()) {
        plan = processor::compile(loaded.pipeline, loaded.diagnostics);
        WEIR_CHECK((plan == nullptr) == loaded.diagnostics.has_errors());
    }
    const std::string shown = loaded.diagnostics.render("f", loaded.source);
    WEIR_CHECK(loaded.diagnostics.all().empty() == shown.empty());
    for (const Diagnostic& diagnostic : loaded.diagnostics.all())
        WEIR_CHECK(static_cast<size_t>(diagnostic.mark.line) <= lines + 1);
    if (plan == nullptr) return 0;

    for (const auto format :
         {processor::ExplainFormat::kText, processor::ExplainFormat::kJson, processor::ExplainFormat::kDot})
        WEIR_CHECK(!plan->explain(format).empty());
    Loaded again = load(text);
    const auto same = processor::compile(again.pipeline, again.diagnostics);
    WEIR_CHECK(same && same->state_hash == plan->state_hash);
    return 0;
}
