// `weir test`: runs the tests of pipeline files and of the files `<pipeline>_test.yaml` beside them.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "cmd/exit_code.h"
#include "cmd/record_condition.h"
#include "cmd/run.h"
#include "cmd/test_compare.h"
#include "cmd/test_run.h"
#include "cmd/test_update.h"
#include "cmd/verbs.h"
#include "config/load.h"
#include "config/yaml.h"
#include "connectors/kafka_client.h"

namespace weir::cmd {
namespace {

struct Outcome {
    std::string file;
    std::string name;
    std::string failure;  // Empty: passed.
};

// One file of tests, of its pipeline or beside it.
struct Suite {
    std::string file;
    const std::vector<config::TestCase>* tests;
};

std::string read(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

bool write(const std::string& file, std::string_view bytes) {
    std::ofstream out(file, std::ios::binary);
    out << bytes;
    out.flush();
    return out.good();
}

// Normalised text with the line ends of the file that it came from.
std::string like(std::string_view file, const std::string& text) {
    if (file.find("\r\n") == std::string_view::npos) return text;
    std::string out;
    for (const char c : text) {
        if (c == '\n') out += '\r';
        out += c;
    }
    return out;
}

class Tester {
public:
    explicit Tester(const TestOptions& options) : options_(options) {
        mode_.restart_everywhere = options.restart_everywhere;
        mode_.shuffle = options.shuffle;
    }

    void run(const config::Pipeline& pipeline, const processor::Plan& plan, const Suite& suite) {
        std::vector<Edit> edits;
        const std::string bytes = options_.update ? read(suite.file) : std::string();
        const std::string source = config::normalised(bytes);
        for (const config::TestCase& test : *suite.tests) {
            if (test.name.find(options_.filter) == std::string::npos) continue;
            const auto failure = outcome(pipeline, plan, {suite.file, source, test}, edits);
            std::printf("%s %s: %s\n%s", failure.empty() ? "ok  " : "FAIL", suite.file.c_str(),
                        test.name.c_str(), failure.c_str());
            outcomes_.push_back({suite.file, test.name, failure});
        }
        if (edits.empty()) return;
        const bool written = write(suite.file, like(bytes, apply_edits(source, std::move(edits))));
        std::printf("%s: %s\n", suite.file.c_str(), written ? "expectations rewritten" : "cannot be written");
        failed_write_ = failed_write_ || !written;
    }

    [[nodiscard]] bool failed_write() const { return failed_write_; }
    [[nodiscard]] const std::vector<Outcome>& outcomes() const { return outcomes_; }
    [[nodiscard]] size_t failures() const {
        return static_cast<size_t>(
            std::count_if(outcomes_.begin(), outcomes_.end(),
                          [](const Outcome& outcome) { return !outcome.failure.empty(); }));
    }

private:
    // What a message needs to name its place.
    struct Subject {
        const std::string& file;
        const std::string& source;  // Normalised; with `--update` only.
        const config::TestCase& test;

        [[nodiscard]] std::string place(const config::Mark& mark) const {
            return fmt::format("  {}:{}:{}: ", file, mark.line, mark.column);
        }
    };

    // What failed, as text; with `--update`, edits instead.
    [[nodiscard]] std::string outcome(const config::Pipeline& pipeline, const processor::Plan& plan,
                                      const Subject& subject, std::vector<Edit>& edits) const {
        const auto written = run_test(pipeline, plan, subject.test, mode_);
        const auto stopped = [&](const Error& error) {
            return subject.place(subject.test.mark) + "the pipeline stopped: " + error.message + "\n";
        };
        if (!written.ok()) return stopped(written.error());
        if (mode_.restart_everywhere) {
            TestMode mode = mode_;
            mode.restart_everywhere = false;
            const auto undisturbed = run_test(pipeline, plan, subject.test, mode);
            if (!undisturbed.ok()) return stopped(undisturbed.error());
            std::string changed = changes(subject, *undisturbed, *written);
            if (!changed.empty())
                return subject.place(subject.test.mark) + "restarts change what is written\n" + changed;
        }
        return differences(subject, *written, edits);
    }

    [[nodiscard]] std::string differences(const Subject& subject, const Written& written,
                                          std::vector<Edit>& edits) const {
        const config::TestCase& test = subject.test;
        std::string failure;
        for (const config::ExpectedTopic& topic : test.expect) {
            const auto& actual = records_of(written, topic.topic.value);
            const auto pairings = compare(topic.records, actual, test.any_order || mode_.shuffle.has_value());
            if (options_.update) {
                for (Edit& edit : edits_for(subject.source, topic, actual, pairings))
                    edits.push_back(std::move(edit));
                continue;
            }
            for (const Pairing& pairing : pairings) describe(subject, topic, actual, pairing, failure);
        }
        for (const auto& [topic, records] : written) {
            const auto named = [&, &name = topic](const auto& expected) {
                return expected.topic.value == name;
            };
            if (!test.only || records.empty() || std::any_of(test.expect.begin(), test.expect.end(), named))
                continue;
            failure += fmt::format("{}{} is not named under `expect`, but `only` is set; {} came:\n",
                                   subject.place(test.mark), topic, records.size());
            failure += "    + " + as_yaml(records.front(), nullptr) + "\n";
        }
        return failure;
    }

    // Two runs of the same test, record by record.
    static std::string changes(const Subject& subject, const Written& before, const Written& after) {
        std::string text;
        for (const auto& [name, records] : before) {
            config::ExpectedTopic topic;
            topic.topic = {name, subject.test.mark, {}, false};
            for (const connectors::MemoryRecord& record : records) {
                topic.records.push_back(exactly(record));
                topic.records.back().mark = subject.test.mark;
            }
            const auto& actual = records_of(after, name);
            for (const Pairing& pairing : compare(topic.records, actual, false))
                describe(subject, topic, actual, pairing, text);
        }
        return text;
    }

    static const std::vector<connectors::MemoryRecord>& records_of(const Written& written,
                                                                   const std::string& topic) {
        static const std::vector<connectors::MemoryRecord> nothing;
        const auto found = written.find(topic);
        return found == written.end() ? nothing : found->second;
    }

    static void describe(const Subject& subject, const config::ExpectedTopic& topic,
                         const std::vector<connectors::MemoryRecord>& actual, const Pairing& pairing,
                         std::string& out) {
        if (pairing.difference.empty()) return;
        const config::ExpectedRecord* const expected =
            pairing.expected ? &topic.records[*pairing.expected] : nullptr;
        const config::Mark mark = expected != nullptr ? expected->mark : topic.topic.mark;
        out += subject.place(mark) + topic.topic.value + ": " + pairing.difference + "\n";
        if (expected != nullptr) out += "    - " + as_yaml(*expected) + "\n";
        if (pairing.actual) out += "    + " + as_yaml(actual[*pairing.actual], expected) + "\n";
    }

    const TestOptions& options_;
    TestMode mode_;
    std::vector<Outcome> outcomes_;
    bool failed_write_ = false;
};

std::string xml(std::string_view text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
            case '&': out += "&amp;"; break;
            case '<': out += "&lt;"; break;
            case '>': out += "&gt;"; break;
            case '"': out += "&quot;"; break;
            case '\n': out += "&#10;"; break;
            default: out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
        }
    }
    return out;
}

bool write_junit(const std::string& path, const std::vector<Outcome>& outcomes, size_t failures) {
    std::string out =
        fmt::format("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"{}\" failures=\"{}\">\n",
                    outcomes.size(), failures);
    out += fmt::format("  <testsuite name=\"weir test\" tests=\"{}\" failures=\"{}\">\n", outcomes.size(),
                       failures);
    for (const Outcome& outcome : outcomes) {
        out +=
            fmt::format("    <testcase classname=\"{}\" name=\"{}\"", xml(outcome.file), xml(outcome.name));
        out += outcome.failure.empty()
                   ? "/>\n"
                   : fmt::format("><failure message=\"the results differ\">{}</failure></testcase>\n",
                                 xml(outcome.failure));
    }
    out += "  </testsuite>\n</testsuites>\n";
    return write(path, out);
}

std::string file_beside(const std::string& file) {
    const std::filesystem::path path(file);
    return (path.parent_path() / (path.stem().string() + "_test" + path.extension().string())).string();
}

}  // namespace

void check_conditions(const std::vector<config::TestCase>& tests, config::Diagnostics& diagnostics) {
    for (const config::TestCase& test : tests) {
        for (const config::ExpectedTopic& topic : test.expect) {
            for (const config::ExpectedRecord& record : topic.records) {
                if (!record.match) continue;
                const auto compiled = RecordCondition::compile(record.match->value);
                const auto* const error = std::get_if<processor::expr::CompileError>(&compiled);
                if (error == nullptr) continue;
                config::Mark mark = record.match->position(error->position);
                mark.length = static_cast<int32_t>(std::max<size_t>(1, error->length));
                diagnostics.error("W0201", mark, error->message, "", error->help);
            }
        }
    }
}

int test(const std::vector<std::string>& files, const TestOptions& options) {
    const auto prepared = prepare(files, {}, true, true);
    if (!prepared) return kExitConfig;
    config::LoadOptions load_options = config::system_options();
    load_options.allow_missing_references = true;
    Tester tester(options);
    for (size_t i = 0; i < files.size(); ++i) {
        const Prepared& next = (*prepared)[i];
        const std::string beside = file_beside(files[i]);
        config::LoadedTests more = config::load_tests(beside, next.pipeline, load_options);
        check_conditions(more.tests, more.diagnostics);
        if (!more.diagnostics.all().empty())
            std::fputs(more.diagnostics.render(beside, more.source).c_str(), stderr);
        if (more.diagnostics.has_errors()) return kExitConfig;
        tester.run(next.pipeline, *next.plan, {files[i], &next.pipeline.tests});
        tester.run(next.pipeline, *next.plan, {beside, &more.tests});
    }
    const size_t count = tester.outcomes().size();
    std::printf("%zu tests, %zu failed\n", count, tester.failures());
    if (!options.junit.empty() && !write_junit(options.junit, tester.outcomes(), tester.failures())) {
        std::fprintf(stderr, "cannot write %s\n", options.junit.c_str());
        return kExitIo;
    }
    if (tester.failed_write()) return kExitIo;
    if (count == 0)
        std::fprintf(stderr, "no test was run: the files have none, or none whose name contains --filter\n");
    return count > 0 && tester.failures() == 0 ? kExitOk : kExitFindings;
}

}  // namespace weir::cmd
