// Time as a parameter. Event time and wall time are int64 milliseconds since 1970-01-01T00:00:00Z;
// the monotonic clock measures intervals only. Nothing below cmd/ asks the system for the time.
#pragma once

#include <cstdint>
#include <limits>

namespace weir {

using EventTime = int64_t;  // Milliseconds since the Unix epoch.

inline constexpr EventTime kNoTime = std::numeric_limits<int64_t>::min();     // No watermark yet.
inline constexpr EventTime kEndOfTime = std::numeric_limits<int64_t>::max();  // A bounded input has ended.

class Clock {
public:
    virtual ~Clock() = default;
    [[nodiscard]] virtual int64_t wall_ms() const = 0;       // May jump with the system's clock.
    [[nodiscard]] virtual int64_t monotonic_us() const = 0;  // Never goes back; arbitrary origin.
    // Wall time when this clock was made, and what the monotonic one has measured since: does not jump, and
    // can be compared with that of an earlier process.
    [[nodiscard]] virtual int64_t steady_wall_ms() const = 0;
    // Blocks the calling thread (a manual clock only moves forward).
    virtual void sleep_ms(int64_t milliseconds) = 0;

    [[nodiscard]] int64_t monotonic_ms() const { return monotonic_us() / 1000; }
};

// CLOCK_REALTIME and CLOCK_MONOTONIC; safe from every thread.
class SystemClock final : public Clock {
public:
    SystemClock();
    [[nodiscard]] int64_t wall_ms() const override;
    [[nodiscard]] int64_t monotonic_us() const override;
    [[nodiscard]] int64_t steady_wall_ms() const override { return origin_ms_ + monotonic_ms(); }
    void sleep_ms(int64_t milliseconds) override;

private:
    const int64_t origin_ms_;  // Wall time of the monotonic clock's origin.
};

// Virtual time for tests: moves only when told. One thread.
class ManualClock final : public Clock {
public:
    explicit ManualClock(int64_t wall_ms = 0) : wall_ms_(wall_ms), origin_ms_(wall_ms - monotonic_ms()) {}
    [[nodiscard]] int64_t wall_ms() const override { return wall_ms_; }
    [[nodiscard]] int64_t monotonic_us() const override { return monotonic_us_; }
    [[nodiscard]] int64_t steady_wall_ms() const override { return origin_ms_ + monotonic_ms(); }
    void sleep_ms(int64_t milliseconds) override { advance_ms(milliseconds); }
    void advance_ms(int64_t milliseconds) {
        wall_ms_ += milliseconds;
        monotonic_us_ += milliseconds * 1000;
    }
    void jump_wall_ms(int64_t milliseconds) { wall_ms_ += milliseconds; }

private:
    int64_t monotonic_us_ = 1'000'000;
    int64_t wall_ms_;
    int64_t origin_ms_;
};

}  // namespace weir
