// A question to a worker: somebody outside wants to know what is not in the published copies. It waits in a
// mailbox and the worker answers between two turns; nobody reads a worker's memory.
//
// Thread:  ask() from any, answer() from the worker's.
#pragma once

#include <atomic>
#include <deque>
#include <future>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/time.h"

namespace weir::processor {

// Which windows of a key are open in the windowed steps of a stream. `key` as an output's key has it: the
// text of the `by` value, or a JSON array of several.
struct WindowQuestion {
    size_t stream = 0;
    std::string key;
};

// What ends the windows of a step: event time, the wall clock (time: processing), a number of records, or
// nothing. A join's "window" is a record in its buffers, with the times that a partner may have; event time
// ends it, too.
enum class WindowsEnd : uint8_t { kByWatermark, kByClock, kByRecords, kNever, kJoin };

// The times at which something happens to it are those of the watermark, or of the wall clock.
struct OpenWindow {
    EventTime start = kNoTime;  // kNoTime: it has no borders.
    EventTime end = kNoTime;
    int64_t records = 0;               // Of the group.
    EventTime result_at = kEndOfTime;  // Gives a result because its time has come; kEndOfTime: no more …
    EventTime closes_at = kEndOfTime;  // … and takes no more records; kEndOfTime: not by time.
};

struct FoundWindow {
    ShardId shard = 0;
    std::string stage;
    WindowsEnd windows_end = WindowsEnd::kByWatermark;
    int64_t window_records = 0;  // kByRecords: so many fill it.
    OpenWindow window;
};
using OpenWindows = std::vector<FoundWindow>;  // Of one stage and shard at most kMostOpenWindows.
inline constexpr size_t kMostOpenWindows = 100;

class Mailbox {
public:
    // The answer comes with the worker's next turn; a worker that recovers answers after it.
    [[nodiscard]] std::future<OpenWindows> ask(WindowQuestion question) {
        const std::lock_guard lock(mutex_);
        waiting_.emplace_back(std::move(question), std::promise<OpenWindows>());
        any_.store(true, std::memory_order_release);
        return waiting_.back().second.get_future();
    }

    // Cheap when nobody asked.
    template <class Find>
    void answer(Find find) {
        if (!any_.load(std::memory_order_acquire)) return;
        const std::lock_guard lock(mutex_);
        for (auto& [question, promise] : waiting_) promise.set_value(find(question));
        waiting_.clear();
        any_.store(false, std::memory_order_release);
    }

private:
    std::atomic<bool> any_{false};
    std::mutex mutex_;
    std::deque<std::pair<WindowQuestion, std::promise<OpenWindows>>> waiting_;
};

}  // namespace weir::processor
