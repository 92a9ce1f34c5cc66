#include "base/crash_point.h"

#include <csignal>
#include <cstdlib>

#include <atomic>
#include <string>

namespace weir {
namespace {

struct Target {
    std::string name;
    std::atomic<long> left{0};

    Target() {
        const char* const setting = std::getenv("WEIR_CRASH_AT");
        if (setting == nullptr) return;
        const std::string text(setting);
        const size_t colon = text.find(':');
        name = text.substr(0, colon);
        left = colon == std::string::npos ? 1 : std::strtol(text.c_str() + colon + 1, nullptr, 10);
    }
};

}  // namespace

void crash_point(const char* name) {
    static Target target;
    if (target.name.empty() || target.name != name) return;
    if (target.left.fetch_sub(1) == 1) raise(SIGKILL);
}

}  // namespace weir
