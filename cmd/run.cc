#include "cmd/run.h"

#include <malloc.h>
#include <unistd.h>
#include <algorithm>
#include <csignal>
#include <cstdio>

#include "base/log.h"
#include "cmd/admin.h"
#include "cmd/exit_code.h"
#include "cmd/verbs.h"
#include "config/load.h"
#include "config/redact.h"
#include "connectors/kafka_client.h"

namespace weir::cmd {
namespace {

// Longer than every bounded wait inside a worker's turn.
constexpr int64_t kStallLimitMs = 120'000;
constexpr int64_t kWorldCheckMs = 30'000;

void apply(const Overrides& overrides, config::Pipeline& pipeline) {
    if (!overrides.admin_listen.empty())
        pipeline.admin_listen = overrides.admin_listen == "none" ? "" : overrides.admin_listen;
    if (!overrides.state_dir.empty()) pipeline.state_dir = overrides.state_dir;
    if (!overrides.workers.empty()) {
        pipeline.workers = {};
        if (overrides.workers != "auto") {
            pipeline.workers.automatic = false;
            pipeline.workers.count = std::atoi(overrides.workers.c_str());
        }
    }
}

// Fetch responses of a megabyte come and go all the time. Where each is a mapping of its own, or the end of
// the heap goes back at once, the kernel zeroes every page of it again.
void keep_freed_memory() {
    constexpr int kMmapThreshold = 32 << 20;  // The most that glibc takes.
    constexpr int kTrimThreshold = 64 << 20;
    mallopt(M_MMAP_THRESHOLD, kMmapThreshold);
    mallopt(M_TRIM_THRESHOLD, kTrimThreshold);
}

// Waits for SIGTERM or SIGINT; 0 when none came in time.
int wait_for_signal(const sigset_t& set, int64_t wait_ms) {
    const timespec timeout{wait_ms / 1000, (wait_ms % 1000) * 1'000'000};
    const int signal = sigtimedwait(&set, nullptr, &timeout);
    return signal > 0 ? signal : 0;
}

// From here on nothing that is logged or answered shows them, whichever library it came from.
void register_secrets(const config::KafkaConfig& kafka) {
    for (const auto* const side : {&kafka.common, &kafka.consumer, &kafka.producer})
        for (const config::KafkaProperty& property : *side) {
            if (!property.secret) continue;
            log_redact(property.value);
            for (std::string_view rest = property.value; !rest.empty();) {  // Addresses get taken apart.
                const std::string_view address = rest.substr(0, rest.find(','));
                log_redact(config::userinfo(address));
                rest.remove_prefix(std::min(address.size() + 1, rest.size()));
            }
        }
}

}  // namespace

std::optional<std::vector<Prepared>> prepare(const std::vector<std::string>& files,
                                             const Overrides& overrides, bool allow_missing_references,
                                             bool for_tests) {
    config::LoadOptions options = config::system_options();
    options.tests_must_fit = for_tests;
    options.has_rocksdb = WEIR_ROCKSDB != 0 || for_tests;
    options.allow_missing_references = allow_missing_references;
    options.check_kafka_property = connectors::check_kafka_property;
    std::vector<Prepared> prepared;
    bool failed = false;
    for (const std::string& file : files) {
        config::Loaded loaded = config::load_file(file, options);
        register_secrets(loaded.pipeline.kafka);
        Prepared next;
        if (!loaded.diagnostics.has_errors()) {
            next.plan = processor::compile(loaded.pipeline, loaded.diagnostics);
            check_conditions(loaded.pipeline.tests, loaded.diagnostics);
            apply(overrides, loaded.pipeline);
        }
        if (!loaded.diagnostics.all().empty())
            std::fputs(loaded.diagnostics.render(file, loaded.source).c_str(), stderr);
        failed = failed || loaded.diagnostics.has_errors();
        next.pipeline = std::move(loaded.pipeline);
        prepared.push_back(std::move(next));
    }
    if (failed) return std::nullopt;
    return prepared;
}

int run(std::vector<Prepared> prepared, const RunOptions& options) {
    keep_freed_memory();
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::signal(SIGPIPE, SIG_IGN);

    SystemClock clock;
    std::vector<std::unique_ptr<App>> apps;
    for (Prepared& next : prepared)
        apps.push_back(std::make_unique<App>(next.pipeline, std::move(next.plan), options, clock));

    // The listener starts first, so that a probe sees "not ready, because" while the brokers are awaited.
    std::unique_ptr<Admin> admin;
    const std::string& listen = prepared.front().pipeline.admin_listen;
    if (!listen.empty()) {
        auto started = Admin::start(listen, apps);
        if (!started.ok()) {
            log_error("{}", started.error().message);
            return kExitUnavailable;
        }
        admin = std::move(started).value();
    }

    int code = kExitOk;
    for (const auto& app : apps) {
        if (const auto started = app->start(); !started.ok()) {
            log_error("pipeline={} not started: {}", app->name(), started.error().message);
            code = exit_code(started.error().code);
            break;
        }
    }
    bool stopping = code != kExitOk;
    if (stopping)
        for (const auto& app : apps) app->request_stop();

    int64_t next_look_ms = clock.monotonic_ms() + kWorldCheckMs;
    for (bool running = true; running;) {
        if (const int signal = wait_for_signal(signals, 100); signal != 0) {
            if (stopping) {
                log_warn("second signal {}: aborting, open epochs are discarded", signal);
                _exit(128 + signal);
            }
            stopping = true;
            log_info("signal {}: finishing the open epochs", signal);
            for (const auto& app : apps) app->request_stop();
        }
        running = false;
        const bool look = clock.monotonic_ms() >= next_look_ms && !stopping;
        if (look) next_look_ms = clock.monotonic_ms() + kWorldCheckMs;
        for (const auto& app : apps) {
            if (look) {
                if (const auto same = app->check_world(); !same.ok()) {
                    log_error("pipeline={} {}", app->name(), same.error().message);
                    code = exit_code(same.error().code);
                    stopping = true;
                    for (const auto& other : apps) other->request_stop();
                }
            }
            if (!app->wait(0)) {
                running = true;
                if (app->stalled_ms() > kStallLimitMs) {
                    log_error(
                        "pipeline={} a worker gave no sign of life for {} ms; leaving, a restart recovers",
                        app->name(), app->stalled_ms());
                    _exit(kExitInternal);
                }
            } else if (app->error().has_value() && code == kExitOk) {
                code = exit_code(app->error()->code);
                stopping = true;
                for (const auto& other : apps) other->request_stop();
            }
        }
    }
    for (const auto& app : apps)
        if (code == kExitOk && app->error().has_value()) code = exit_code(app->error()->code);
    return code;
}

}  // namespace weir::cmd
