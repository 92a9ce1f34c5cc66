// Each file in cases/ is a pipeline with mistakes; the .txt beside it is what the user reads. After a wanted
// change: WEIR_UPDATE=1 build/<preset>/tests/config/config_test, then read the difference.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/load.h"

namespace weir::config {
namespace {

const std::filesystem::path kRoot = WEIR_SOURCE_DIR;
const std::filesystem::path kCases = kRoot / "tests/config/cases";

std::string read(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

// A small world: one secret, one property that the library refuses, and what it says about a bad value.
LoadOptions test_options() {
    LoadOptions options;
    options.environment = [](const std::string&) -> std::optional<std::string> { return std::nullopt; };
    options.read_file = [](const std::string& path) -> std::optional<std::string> {
        if (path == "/run/secrets/refused") return "refused hunter2\n";
        return std::nullopt;
    };
    options.check_kafka_property = [](const std::string& name,
                                      const std::string& value) -> std::optional<std::string> {
        if (name == "lingr.ms") return "No such configuration property: \"lingr.ms\"";
        if (value.starts_with("refused")) return "Invalid value \"" + value + "\"";
        return std::nullopt;
    };
    return options;
}

std::vector<std::filesystem::path> case_files() {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(kCases)) {
        if (entry.path().extension() == ".yaml") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
}

// Every "W" and four digits behind `before`.
std::set<std::string> codes_in(const std::string& text, const std::string& before) {
    std::set<std::string> codes;
    for (size_t at = text.find(before); at != std::string::npos; at = text.find(before, at + 1)) {
        const std::string code = text.substr(at + before.size() - 1, 5);
        if (code.size() == 5 && code.find_first_not_of("0123456789", 1) == std::string::npos)
            codes.insert(code);
    }
    return codes;
}

std::set<std::string> codes_in_sources() {
    std::set<std::string> codes;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(kRoot / "config")) {
        if (entry.path().extension() == ".cc") codes.merge(codes_in(read(entry.path()), "\"W"));
    }
    return codes;
}

TEST_CASE("every mistake reads as its golden text") {
    const bool update = std::getenv("WEIR_UPDATE") != nullptr;
    const auto files = case_files();
    CHECK(files.size() >= 35);
    for (const auto& file : files) {
        CAPTURE(file.filename().string());
        LoadOptions options = test_options();
        options.has_rocksdb = file.stem() != "no_rocksdb";
        const Loaded loaded = load_text("cases/" + file.filename().string(), read(file), options);
        CHECK_FALSE(loaded.diagnostics.all().empty());
        const std::string shown = loaded.diagnostics.render(loaded.pipeline.path, loaded.source);
        CHECK(shown.find("hunter2") == std::string::npos);
        auto golden = file;
        golden.replace_extension(".txt");
        if (update) std::ofstream(golden, std::ios::binary) << shown;
        CHECK(shown == read(golden));
    }
}

TEST_CASE(
    "docs/errors.md explains every code of this folder, and every code but the unreadable file has a case") {
    const std::string page = read(kRoot / "docs/errors.md");
    std::set<std::string> shown{"W0001"};
    for (const auto& file : case_files()) {
        auto golden = file;
        golden.replace_extension(".txt");
        shown.merge(codes_in(read(golden), "[W"));
    }
    const std::set<std::string> codes = codes_in_sources();
    CHECK(codes.size() >= 40);
    for (const std::string& code : codes) {
        CAPTURE(code);
        CHECK(page.find("## " + code) != std::string::npos);
        CHECK(shown.contains(code));
    }
}

TEST_CASE("a file that cannot be read, and one that is too large, are diagnostics without a place") {
    const Loaded missing = load_file("no/such/file.yaml", test_options());
    CHECK(missing.diagnostics.render("no/such/file.yaml", missing.source) ==
          "error[W0001]: the file cannot be read\n"
          " --> no/such/file.yaml\n"
          "  = help: check the path and who may read it\n"
          "1 error, 0 warnings; nothing was started\n");
    CHECK(load_file(kRoot / "config", test_options()).diagnostics.has_errors());

    const Loaded large = load_text("large.yaml", std::string(100 << 20, 'a'), test_options());
    REQUIRE(large.diagnostics.all().size() == 1);
    CHECK(large.diagnostics.all()[0].code == "W0001");
}

TEST_CASE("the nearest name is at most two edits away, and swapping neighbours is one") {
    const std::vector<std::string_view> names{"filter", "map", "set", "remove", "by"};
    CHECK(nearest("fliter", names) == "filter");
    CHECK(nearest("fitler", names) == "filter");
    CHECK(nearest("filters", names) == "filter");
    CHECK(nearest("removing", names).empty());
    CHECK(nearest("to", names).empty());
    CHECK(nearest("", names).empty());
    CHECK(nearest(std::string(100'000, 'f'), names).empty());
}

}  // namespace
}  // namespace weir::config
