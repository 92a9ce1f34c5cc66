// Reads a pipeline file: YAML by yaml-cpp, made strict (duplicate keys, aliases, second documents, tabs,
// unclosed quotes and octal-looking numbers are errors), checked against the field descriptors, references
// resolved, all errors collected.
//
// Thread:  any; no shared state. Failure: user's mistakes are Diagnostics; load() never throws.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "config/diagnostic.h"
#include "config/pipeline.h"

namespace weir::config {

struct LoadOptions {
    // How `${env:NAME}` and `${file:PATH}` are looked up; nullopt: not set / not readable.
    std::function<std::optional<std::string>(const std::string& name)> environment;
    std::function<std::optional<std::string>(const std::string& path)> read_file;
    // Asks the client library about one property: nullopt when it takes it, else what is wrong. Not set: any
    // name passes. (This folder does not know the library.)
    std::function<std::optional<std::string>(const std::string& name, const std::string& value)>
        check_kafka_property;
    bool has_rocksdb = true;                // Else a file that asks for it is a mistake.
    bool allow_missing_references = false;  // `validate --allow-missing-env`: a missing one reads as empty.
    // Topics that tests name and the pipeline does not have: a mistake, or only a warning, since references
    // may have given it others here.
    bool tests_must_fit = true;
};

// The process's environment and file system.
[[nodiscard]] LoadOptions system_options();

struct Loaded {
    Pipeline pipeline;  // Meaningful only where diagnostics has no errors.
    Diagnostics diagnostics;
    std::string source;  // The file's text for Diagnostics::render, with secrets written in it starred out.
};

[[nodiscard]] Loaded load_text(std::string path, std::string text, const LoadOptions& options);
// Reads the file (at most 1 MiB); an unreadable one is a diagnostic too.
[[nodiscard]] Loaded load_file(const std::string& path, const LoadOptions& options);

struct LoadedTests {
    bool exists = false;
    std::vector<TestCase> tests;
    Diagnostics diagnostics;
    std::string source;
};

// Reads a file that holds nothing but `tests:`, for this pipeline.
[[nodiscard]] LoadedTests load_tests(const std::string& path, const Pipeline& pipeline,
                                     const LoadOptions& options);

}  // namespace weir::config
