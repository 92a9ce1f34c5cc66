// Apart from result.cc, so that a simulation of a whole process can link its own end of a process.
#include <cstdio>
#include <cstdlib>

#include "base/result.h"

namespace weir {

void check_failed(const char* expression, const char* file, int line, const std::string& detail) {
    std::fprintf(stderr, "%s:%d: check failed: %s%s%s\n", file, line, expression, detail.empty() ? "" : ": ",
                 detail.c_str());
    std::fflush(stderr);
    std::abort();
}

}  // namespace weir
