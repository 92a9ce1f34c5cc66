#include "cmd/admin.h"

#include <httplib.h>

#include <charconv>

#include "base/log.h"
#include "cmd/metrics.h"
#include "cmd/pipelines.h"
#include "cmd/waiting.h"

namespace weir::cmd {
namespace {

constexpr int64_t kUnhealthyStallMs = 60'000;
constexpr const char* kText = "text/plain; charset=utf-8";
constexpr const char* kJson = "application/json";

}  // namespace

Result<std::unique_ptr<Admin>> Admin::start(const std::string& listen,
                                            const std::vector<std::unique_ptr<App>>& apps) {
    const size_t colon = listen.rfind(':');
    int port = -1;
    if (colon != std::string::npos)
        std::from_chars(listen.data() + colon + 1, listen.data() + listen.size(), port);
    if (port < 0 || port > 65'535)
        return Error{Code::kInvalid, fmt::format("admin.listen '{}' is not host:port", listen)};
    const std::string host = listen.substr(0, colon);

    std::unique_ptr<Admin> admin(new Admin);
    admin->server_ = std::make_unique<httplib::Server>();
    httplib::Server& server = *admin->server_;
    server.new_task_queue = [] { return new httplib::ThreadPool(2); };
    server.set_read_timeout(5);
    server.set_write_timeout(5);
    server.set_keep_alive_max_count(16);
    server.set_payload_max_length(1024);

    server.Get("/", [](const httplib::Request&, httplib::Response& response) {
        response.set_content("weir\n/healthz    alive\n/readyz     recovered and reading\n"
                             "/metrics    Prometheus\n/pipelines  the ledger and event time, JSON\n"
                             "/why        what a stream waits for: ?stream=NAME[&key=KEY][&pipeline=NAME]"
                             "[&format=json]\n",
                             kText);
    });
    server.Get("/healthz", [&apps](const httplib::Request&, httplib::Response& response) {
        for (const auto& app : apps) {
            if (app->stalled_ms() <= kUnhealthyStallMs) continue;
            response.status = 503;
            response.set_content(fmt::format("pipeline {}: a worker hangs\n", app->name()), kText);
            return;
        }
        response.set_content("ok\n", kText);
    });
    server.Get("/readyz", [&apps](const httplib::Request&, httplib::Response& response) {
        std::string missing;
        for (const auto& app : apps) {
            const AppStatus status = app->status();
            if (!status.ready)
                missing += fmt::format("pipeline {}: {}\n", status.pipeline, status.not_ready_because);
        }
        if (!missing.empty()) response.status = 503;
        response.set_content(missing.empty() ? "ready\n" : redacted(std::move(missing)), kText);
    });
    server.Get("/metrics", [&apps](const httplib::Request&, httplib::Response& response) {
        std::vector<AppStatus> status;
        std::vector<const processor::Plan*> plans;
        for (const auto& app : apps) {
            status.push_back(app->status());
            plans.push_back(&app->plan());
        }
        response.set_content(render_metrics(status, plans), "text/plain; version=0.0.4; charset=utf-8");
    });

    server.Get("/pipelines", [&apps](const httplib::Request&, httplib::Response& response) {
        std::vector<AppStatus> status;
        std::vector<const processor::Plan*> plans;
        for (const auto& app : apps) {
            status.push_back(app->status());
            plans.push_back(&app->plan());
        }
        response.set_content(render_pipelines(status, plans), kJson);
    });
    server.Get("/why", [&apps](const httplib::Request& request, httplib::Response& response) {
        WhyQuery query;
        query.stream = request.get_param_value("stream");
        query.pipeline = request.get_param_value("pipeline");
        query.json = request.get_param_value("format") == "json";
        if (request.has_param("key")) query.key = request.get_param_value("key");
        const WhyAnswer answer = answer_why(apps, query);
        response.status = answer.http_status;
        response.set_content(answer.body, query.json && answer.http_status == 200 ? kJson : kText);
    });

    const int bound = port == 0 ? server.bind_to_any_port(host.c_str())
                                : (server.bind_to_port(host.c_str(), port) ? port : -1);
    if (bound < 0)
        return Error{
            Code::kUnavailable,
            fmt::format("cannot listen on {}: set admin.listen to another port, or to none", listen)};
    admin->port_ = bound;
    log_info("admin listens on {}:{}", host, bound);
    admin->thread_ = std::thread([&server] { server.listen_after_bind(); });
    return admin;
}

Admin::~Admin() {
    if (server_) server_->stop();
    if (thread_.joinable()) thread_.join();
}

}  // namespace weir::cmd
