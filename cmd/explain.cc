#include <cstdio>

#include "cmd/exit_code.h"
#include "cmd/verbs.h"
#include "config/schema.h"

namespace weir::cmd {

int explain(const std::string& file, const std::string& format) {
    const auto prepared = prepare({file}, {}, true);
    if (!prepared) return kExitConfig;
    using processor::ExplainFormat;
    const ExplainFormat shape = format == "json"  ? ExplainFormat::kJson
                                : format == "dot" ? ExplainFormat::kDot
                                                  : ExplainFormat::kText;
    std::fputs(prepared->front().plan->explain(shape).c_str(), stdout);
    return kExitOk;
}

int schema() {
    std::fputs(config::json_schema().c_str(), stdout);
    return kExitOk;
}

}  // namespace weir::cmd
