// Brokers that are starting answer "not yet" in several ways; a question is asked again until they answer.
//
// Thread: any; blocks between attempts.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/result.h"
#include "base/time.h"

namespace weir::cmd {

// Calls `ask` until it returns anything but kUnavailable or kTimedOut, until `deadline_ms` on the monotonic
// clock, or until `stop` (may be null) is set. Returns the last answer.
template <class Ask>
auto until_answered(Clock& clock, int64_t deadline_ms, const std::atomic<bool>* stop, Ask ask)
    -> decltype(ask()) {
    constexpr int64_t kBetweenMs = 200;
    for (;;) {
        auto answer = ask();
        if (answer.ok()) return answer;
        const Code code = answer.error().code;
        if (code != Code::kUnavailable && code != Code::kTimedOut) return answer;
        if ((stop != nullptr && *stop) || clock.monotonic_ms() >= deadline_ms) return answer;
        clock.sleep_ms(kBetweenMs);
    }
}

}  // namespace weir::cmd
