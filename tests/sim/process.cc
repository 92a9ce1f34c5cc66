#include "tests/sim/process.h"

#include <cstdio>
#include <cstdlib>
#include <random>

#include "base/crash_point.h"
#include "base/entropy.h"
#include "base/result.h"

namespace weir {
namespace {

thread_local sim::Process* current = nullptr;

}  // namespace

namespace sim {

void run_as(Process* process) { current = process; }

}  // namespace sim

uint64_t random_u64() {
    if (current != nullptr) return current->random();
    std::random_device device;
    return static_cast<uint64_t>(device()) << 32 | device();
}

void crash_point(const char* name) {
    if (current != nullptr) current->reached(name);
}

void check_failed(const char* expression, const char* file, int line, const std::string& detail) {
    const std::string text =
        std::string(file) + ":" + std::to_string(line) + ": check failed: " + expression + ": " + detail;
    if (current != nullptr) throw sim::ProcessDied{true, text};
    std::fprintf(stderr, "%s\n", text.c_str());
    std::abort();
}

}  // namespace weir
