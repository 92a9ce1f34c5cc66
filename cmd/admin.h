// The read-only HTTP listener: /healthz (the process and its workers are alive; never depends on Kafka),
// /readyz (recovered and reading; the body says what is missing), /metrics (Prometheus text),
// /pipelines (the ledger and event time, JSON), /why (what a stream waits for), / (an index).
//
// Thread:  owns a few threads; handlers read published copies, and ask workers by message.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "cmd/app.h"

namespace httplib {
class Server;
}

namespace weir::cmd {

class Admin {
public:
    // `listen` is host:port; port 0 takes a free one. The apps outlive the listener.
    [[nodiscard]] static Result<std::unique_ptr<Admin>> start(const std::string& listen,
                                                              const std::vector<std::unique_ptr<App>>& apps);
    ~Admin();

    [[nodiscard]] int port() const { return port_; }

private:
    Admin() = default;

    int port_ = 0;

    std::unique_ptr<httplib::Server> server_;
    std::thread thread_;
};

}  // namespace weir::cmd
