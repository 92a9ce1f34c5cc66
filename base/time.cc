#include "base/time.h"

#include <ctime>

namespace weir {
namespace {

int64_t read_us(clockid_t id) {
    timespec now{};
    clock_gettime(id, &now);
    return static_cast<int64_t>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1000;
}

}  // namespace

SystemClock::SystemClock() : origin_ms_(SystemClock::wall_ms() - SystemClock::monotonic_us() / 1000) {}

int64_t SystemClock::wall_ms() const { return read_us(CLOCK_REALTIME) / 1000; }
int64_t SystemClock::monotonic_us() const { return read_us(CLOCK_MONOTONIC); }

void SystemClock::sleep_ms(int64_t milliseconds) {
    timespec rest{milliseconds / 1000, (milliseconds % 1000) * 1'000'000};
    nanosleep(&rest, nullptr);
}

}  // namespace weir
