// Seeded mutations of every case file through the whole of config, two seconds long. Nothing may crash, throw
// or hang; every place must lie in the file; a text's bytes must be found where positions say.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "config/load.h"
#include "config/yaml.h"

namespace weir::config {
namespace {

std::vector<std::string> corpus() {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(WEIR_SOURCE_DIR "/tests/config/cases")) {
        if (entry.path().extension() == ".yaml") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    std::vector<std::string> texts;
    for (const auto& file : files) {
        std::ifstream in(file, std::ios::binary);
        texts.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>{});
    }
    return texts;
}

std::string mutated(const std::vector<std::string>& texts, std::mt19937_64& random) {
    static const std::vector<std::string> kTokens{"\n",       "  ",
                                                  "- ",       ": ",
                                                  "? ",       "{",
                                                  "}",        "[",
                                                  "]",        ",",
                                                  "'",        "\"",
                                                  "\\",       "|",
                                                  ">",        "|2-\n",
                                                  "#",        "&a ",
                                                  "*a",       "!!str ",
                                                  "<<: ",     "---\n",
                                                  "...\n",    "%",
                                                  "\t",       "\r\n",
                                                  "${env:X}", "${file:y",
                                                  "$$",       "null",
                                                  "~",        "0123",
                                                  "\\u00e9",  "\\\n",
                                                  "''",       "\xC3\xA9",
                                                  "\xFF",     std::string(1, '\0'),
                                                  "steps",    "aggregate",
                                                  "-1h",      "1m",
                                                  "@",        "`",
                                                  ":"};
    const auto pick = [&](size_t count) { return static_cast<size_t>(random() % count); };
    std::string text = texts[pick(texts.size())];
    for (size_t edits = 1 + pick(6); edits > 0; --edits) {
        const size_t at = pick(text.size() + 1);
        switch (pick(4)) {
            case 0: text.insert(at, kTokens[pick(kTokens.size())]); break;
            case 1: text.erase(at, 1 + pick(8)); break;
            case 2: {
                const std::string& other = texts[pick(texts.size())];
                const size_t from = pick(other.size() + 1);
                text.insert(at, other.substr(from, pick(60)));
                break;
            }
            default:
                if (at < text.size()) text[at] = static_cast<char>(random() % 256);
        }
    }
    return text;
}

size_t lines_of(const std::string& text) {
    return static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
}

void check_scalars(const std::string& source, const Node& node) {
    for (const Node& key : node.keys) check_scalars(source, key);
    for (const Node& item : node.items) check_scalars(source, item);
    if (!node.is_scalar()) return;
    const std::vector<size_t> offsets = scalar_offsets(source, node);
    REQUIRE(offsets.size() == node.value.size());
    CHECK(std::all_of(offsets.begin(), offsets.end(), [&](size_t offset) { return offset < source.size(); }));
    const Text text = to_text(source, node);
    for (size_t i = 0; i < text.value.size(); i += 7) {
        const Mark mark = text.position(i);
        CHECK((mark.line >= node.mark.line && static_cast<size_t>(mark.line) <= lines_of(source) &&
               mark.column >= 1));
    }
}

void check_one(const std::string& text) {
    LoadOptions options;
    options.environment = [](const std::string&) { return std::optional<std::string>("v"); };
    const Loaded loaded = load_text("f", text, options);
    const std::string shown = loaded.diagnostics.render("f", loaded.source);
    CHECK(loaded.diagnostics.all().empty() == shown.empty());
    for (const Diagnostic& diagnostic : loaded.diagnostics.all()) {
        CHECK(static_cast<size_t>(diagnostic.mark.line) <= lines_of(loaded.source) + 1);
    }
    Diagnostics diagnostics;
    const std::string source = normalised(text);
    if (const auto root = read_yaml(source, diagnostics)) check_scalars(source, *root);
}

TEST_CASE("mutated files never break the reader") {
    const std::vector<std::string> texts = corpus();
    const char* fixed = std::getenv("WEIR_SEED");
    const uint64_t first = fixed != nullptr ? std::strtoull(fixed, nullptr, 10) : std::random_device{}();
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    uint64_t seed = first;
    do {
        INFO("replay: WEIR_SEED=", seed, " config_test -tc='mutated files never break the reader'");
        std::mt19937_64 random(seed);
        check_one(mutated(texts, random));
        ++seed;
    } while (fixed == nullptr && std::chrono::steady_clock::now() < end);
    MESSAGE("seeds ", first, " to ", seed - 1);
}

}  // namespace
}  // namespace weir::config
