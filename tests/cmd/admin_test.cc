// The admin listener over HTTP, and the verb that asks it: a pipeline of files, which needs no broker.
#include "cmd/admin.h"

#include <doctest/doctest.h>
#include <httplib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "cmd/exit_code.h"
#include "cmd/verbs.h"
#include "config/load.h"

using namespace weir;

namespace {

struct Folder {
    std::string path;
    Folder() {
        char name[] = "/tmp/weir-admin-XXXXXX";
        REQUIRE(mkdtemp(name) != nullptr);
        path = name;
    }
    ~Folder() { std::filesystem::remove_all(path); }
};

std::string body(int port, const std::string& path) {
    httplib::Client client("127.0.0.1", port);
    const auto answer = client.Get(path.c_str());
    REQUIRE(answer);
    return answer->body;
}

}  // namespace

TEST_CASE("/why and /pipelines answer before, while and after a pipeline runs, and `weir why` asks") {
    const Folder folder;
    std::ofstream(folder.path + "/in") << R"({"k":"a","t":1000})" << "\n" << R"({"k":"a","t":30000})" << "\n";
    auto loaded = config::load_text("files.yaml",
                                    "name: files\nworkers: 1\nstate: {dir: " + folder.path +
                                        "/state}\nsources: {o: {file: " + folder.path +
                                        "/in, keyed_by: k, timestamp: t}}\nstreams: {s: {from: o, steps: "
                                        "[{aggregate: {by: k, window: {tumbling: 10s}, fields: {n: "
                                        "count(*)}}}], to: {file: " +
                                        folder.path + "/out}}}\n",
                                    {});
    auto plan = processor::compile(loaded.pipeline, loaded.diagnostics);
    INFO(loaded.diagnostics.render("files.yaml", loaded.source));
    REQUIRE(plan != nullptr);
    SystemClock clock;
    std::vector<std::unique_ptr<cmd::App>> apps;
    apps.push_back(std::make_unique<cmd::App>(loaded.pipeline, std::move(plan), cmd::RunOptions{}, clock));
    const auto admin = cmd::Admin::start("127.0.0.1:0", apps).value();

    cmd::WhyOptions options;
    options.stream = "s";
    options.admin = "127.0.0.1:" + std::to_string(admin->port());
    CHECK(body(admin->port(), "/why?stream=s").find("starting") != std::string::npos);
    CHECK(cmd::why(options) == cmd::kExitOk);

    apps[0]->start().value();
    while (!apps[0]->wait(100)) continue;
    CHECK_FALSE(apps[0]->error().has_value());
    CHECK(body(admin->port(), "/why?stream=s&format=json").find(R"("state":"stopped")") != std::string::npos);
    CHECK(body(admin->port(), "/why?stream=s&key=a").find("did not answer") != std::string::npos);
    CHECK(body(admin->port(), "/why?stream=absent").find("there are: files/s") != std::string::npos);
    const std::string pipelines = body(admin->port(), "/pipelines");
    CHECK(pipelines.find(R"("balanced":true)") != std::string::npos);
    CHECK(pipelines.find(R"("merged":2)") != std::string::npos);
    CHECK(pipelines.find(R"("windows_closed":2)") != std::string::npos);

    options.stream = "absent";
    CHECK(cmd::why(options) == cmd::kExitUsage);
    options.admin = "127.0.0.1:1";
    CHECK(cmd::why(options) == cmd::kExitUnavailable);
    options.admin = "nowhere";
    CHECK(cmd::why(options) == cmd::kExitUsage);
}
