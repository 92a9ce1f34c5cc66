// `weir why`: a question to the admin listener of a running weir.
#include <httplib.h>

#include <charconv>
#include <cstdio>

#include "base/log.h"
#include "cmd/exit_code.h"
#include "cmd/verbs.h"

namespace weir::cmd {

int why(const WhyOptions& options) {
    const size_t colon = options.admin.rfind(':');
    int port = 0;
    if (colon != std::string::npos)
        std::from_chars(options.admin.data() + colon + 1, options.admin.data() + options.admin.size(), port);
    if (port <= 0 || port > 65'535) {
        log_error("--admin '{}' is not host:port", options.admin);
        return kExitUsage;
    }
    httplib::Client client(options.admin.substr(0, colon), port);
    client.set_connection_timeout(2);
    client.set_read_timeout(30);
    httplib::Params params{{"stream", options.stream}};
    if (options.with_key) params.emplace("key", options.key);
    if (!options.pipeline.empty()) params.emplace("pipeline", options.pipeline);
    if (options.json) params.emplace("format", "json");
    const auto answer = client.Get(httplib::append_query_params("/why", params).c_str());
    if (!answer) {
        log_error("no weir answers at {}: is it running, and is admin.listen what --admin says?",
                  options.admin);
        return kExitUnavailable;
    }
    std::fputs(answer->body.c_str(), answer->status == 200 ? stdout : stderr);
    return answer->status == 200 ? kExitOk : kExitUsage;
}

}  // namespace weir::cmd
