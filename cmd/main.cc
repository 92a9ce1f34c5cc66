// The command line. Precedence for process settings: flag, WEIR_* variable, file, default.
#include <CLI/CLI.hpp>

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cstdio>

#include "base/log.h"
#include "cmd/exit_code.h"
#include "cmd/verbs.h"
#include "config/scalar.h"

namespace weir::cmd {
namespace {

const auto kDuration = CLI::Validator(
    [](std::string& text) {
        return config::parse_duration(text).has_value()
                   ? std::string{}
                   : "'" + text + "' is not a duration like 30s or 1m30s";
    },
    "DURATION");

int64_t milliseconds(const std::string& text) { return config::parse_duration(text).value_or(0); }

int main_checked(int argc, char** argv, int64_t process_start_us) {
    CLI::App cli{"weir: event-time windows over Kafka topics, exactly once, from one YAML file"};
    cli.require_subcommand(1);
    cli.fallthrough();
    std::string log_level = "info";
    std::string log_format = isatty(STDERR_FILENO) != 0 ? "text" : "json";
    const CLI::Option* const level_option =
        cli.add_option("--log-level", log_level, "trace, debug, info, warn or error")
            ->envname("WEIR_LOG_LEVEL")
            ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error"}));
    cli.add_option("--log-format", log_format,
                   "text, or json (the default when standard error is no terminal)")
        ->envname("WEIR_LOG_FORMAT")
        ->check(CLI::IsMember({"text", "json"}));

    std::vector<std::string> files;
    std::string file;
    std::string timeout = "60s";

    CLI::App* const run_verb = cli.add_subcommand("run", "Run pipelines.  weir run orders.yaml");
    Overrides overrides;
    RunOptions run_options;
    run_options.process_start_us = process_start_us;
    run_verb->add_option("FILE", files, "pipeline files, one pipeline each")->required();
    run_verb->add_option("--startup-timeout", timeout, "give up when the brokers do not answer (60s)")
        ->check(kDuration);
    run_verb->add_flag("--exit-when-caught-up", run_options.exit_when_caught_up,
                       "commit and exit once the log ends seen at the start are reached");
    run_verb->add_option("--admin-listen", overrides.admin_listen, "host:port, or none")
        ->envname("WEIR_ADMIN_LISTEN");
    run_verb->add_option("--state-dir", overrides.state_dir, "folder of the WAL and snapshots")
        ->envname("WEIR_STATE_DIR");
    run_verb->add_option("--workers", overrides.workers, "auto or a number")
        ->envname("WEIR_WORKERS")
        ->check(CLI::IsMember({"auto"}) | CLI::Range(1, 1024));

    CLI::App* const validate_verb =
        cli.add_subcommand("validate", "Check pipeline files.  weir validate --connect orders.yaml");
    bool connect = false;
    bool allow_missing = false;
    validate_verb->add_option("FILE", files, "pipeline files")->required();
    validate_verb->add_flag("--connect", connect,
                            "also ask the brokers: topics, partitions, limits, first read");
    validate_verb->add_flag("--allow-missing-env", allow_missing,
                            "unset ${env:…} and ${file:…} read as empty");
    validate_verb->add_option("--timeout", timeout, "for --connect (60s)")->check(kDuration);

    CLI::App* const explain_verb = cli.add_subcommand("explain", "Show the plan.  weir explain orders.yaml");
    std::string format = "text";
    explain_verb->add_option("FILE", file, "pipeline file")->required();
    explain_verb->add_option("--format", format, "text, json or dot")
        ->check(CLI::IsMember({"text", "json", "dot"}));

    CLI::App* const test_verb = cli.add_subcommand(
        "test", "Run the tests of pipeline files, in virtual time.  weir test orders.yaml");
    TestOptions test_options;
    uint64_t seed = 0;
    test_verb->add_option("FILE", files, "pipeline files; <file>_test.yaml beside one is read, too")
        ->required();
    test_verb->add_flag("--restart-everywhere", test_options.restart_everywhere,
                        "kill the process before and after the commit of every event");
    CLI::Option* const shuffle_option =
        test_verb->add_option("--shuffle", seed, "mix records of different partitions, drawn by this seed");
    test_verb->add_option("--junit", test_options.junit, "write the outcomes to this file");
    test_verb->add_option("--filter", test_options.filter, "only tests whose name contains this");
    test_verb->add_flag("--update", test_options.update, "rewrite what is expected by what was written")
        ->excludes("--restart-everywhere")
        ->excludes("--shuffle");

    CLI::App* const demo_verb = cli.add_subcommand(
        "demo", "Show windows of results on an in-process broker; needs nothing else.  weir demo");
    std::string seconds = "20s";
    demo_verb->add_option("--seconds", seconds, "how long, at most 50s (20s)")->check(kDuration);

    CLI::App* const wal_verb =
        cli.add_subcommand("wal", "Look at a state folder.  weir wal inspect /var/lib/weir/NAME");
    std::string action;
    std::string directory;
    wal_verb->add_option("ACTION", action, "inspect, verify, repair or dump")
        ->required()
        ->check(CLI::IsMember({"inspect", "verify", "repair", "dump"}));
    wal_verb->add_option("DIR", directory, "the state folder of one pipeline")
        ->required()
        ->check(CLI::ExistingDirectory);

    CLI::App* const why_verb = cli.add_subcommand(
        "why", "Ask a running weir what a stream waits for.  weir why per_minute customer-7");
    WhyOptions why_options;
    why_options.admin = "127.0.0.1:8480";
    why_verb->add_option("STREAM", why_options.stream, "a stream of the pipeline")->required();
    CLI::Option* const why_key =
        why_verb->add_option("KEY", why_options.key, "also which windows of this output key are open");
    why_verb->add_option("--admin", why_options.admin, "where its admin listener is (127.0.0.1:8480)")
        ->envname("WEIR_ADMIN_LISTEN");
    why_verb->add_option("--pipeline", why_options.pipeline, "which, where several have such a stream");
    why_verb->add_flag("--json", why_options.json, "as JSON");

    CLI::App* const schema_verb = cli.add_subcommand("schema", "Print the JSON Schema of pipeline files.");
    CLI::App* const version_verb = cli.add_subcommand("version", "Print the version.");

    try {
        cli.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return cli.exit(error) == 0 ? kExitOk : kExitUsage;
    }

    // What a worker tells of its recoveries is noise in a test.
    if (test_verb->parsed() && level_option->count() == 0) log_level = "error";
    configure_log(log_level, log_format == "json" ? LogFormat::kJson : LogFormat::kText);
    if (run_verb->parsed()) {
        run_options.startup_timeout_ms = milliseconds(timeout);
        auto prepared = prepare(files, overrides, false);
        if (!prepared) return kExitConfig;
        return run(std::move(*prepared), run_options);
    }
    if (validate_verb->parsed()) return validate(files, connect, allow_missing, milliseconds(timeout));
    if (explain_verb->parsed()) return explain(file, format);
    if (test_verb->parsed()) {
        if (shuffle_option->count() > 0) test_options.shuffle = seed;
        return test(files, test_options);
    }
    if (demo_verb->parsed()) return demo(milliseconds(seconds));
    if (wal_verb->parsed()) return wal(action, directory);
    if (why_verb->parsed()) {
        why_options.with_key = why_key->count() > 0;
        return why(why_options);
    }
    if (schema_verb->parsed()) return schema();
    if (version_verb->parsed()) std::printf("weir %s\n", WEIR_VERSION);
    return kExitOk;
}

// No core file and no debugger attached by chance: both would show secrets and records.
void harden() {
    prctl(PR_SET_DUMPABLE, 0);
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
}

}  // namespace
}  // namespace weir::cmd

int main(int argc, char** argv) {
    const int64_t start_us = weir::SystemClock().monotonic_us();
    weir::cmd::harden();
    return weir::cmd::main_checked(argc, argv, start_us);
}
