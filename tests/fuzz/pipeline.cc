// A pipeline file from hostile bytes, read, planned and explained. Every place that an error names lies in
// the file, and the same file gives the same plan.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "config/load.h"
#include "config/yaml.h"
#include "processor/plan.h"

namespace {

using namespace weir;
using namespace weir::config;

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
    const auto lines = std::count(source.begin(), source.end(), '\n') + 1;

    std::unique_ptr<const processor::Plan> plan;
    if (!loaded.diagnostics.has_errors()) {
        plan = processor::compile(loaded.pipeline, loaded.diagnostics);
        WEIR_CHECK((plan == nullptr) == loaded.diagnostics.has_errors());
    }
    const std::string shown = loaded.diagnostics.render("f", loaded.source);
    WEIR_CHECK(loaded.diagnostics.all().empty() == shown.empty());
    for (const Diagnostic& diagnostic : loaded.diagnostics.all())
        WEIR_CHECK(diagnostic.mark.line <= lines + 1);
    if (plan == nullptr) return 0;

    for (const auto format :
         {processor::ExplainFormat::kText, processor::ExplainFormat::kJson, processor::ExplainFormat::kDot})
        WEIR_CHECK(!plan->explain(format).empty());
    const auto same = processor::compile(loaded.pipeline, loaded.diagnostics);
    WEIR_CHECK(same && same->state_hash == plan->state_hash);
    return 0;
}
