// What a stream's windows and joins wait for: `weir why` and the admin listener's /why. One answer per
// windowed step or join and shard that the stream depends on, found in the workers' published copies; which
// windows of a key are open is asked of the workers, who answer between two turns.
//
// Thread:  any.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cmd/app.h"
#include "config/pipeline.h"
#include "processor/plan.h"
#include "processor/question.h"

namespace weir::cmd {

enum class WaitingState : uint8_t {
    kStarting,     // The worker has not begun; `reason` says why.
    kRecovering,   // It reads back what the last commit was.
    kLoading,      // It reads its tables, and no stream before it has them.
    kDiskFull,     // Reading pauses until the log can grow.
    kStopped,
    kEnded,        // Bounded input ended: event time is at its end.
    kNoData,       // No partition holds a record with a usable time.
    kNothingOpen,  // No window is open, no record of a join waits.
    kRecords,      // Its windows wait for records, not for a time (count, none).
    kClock,        // Its windows go by the wall clock (time: processing).
    kTicking,      // Every partition is idle and event time goes on by the clock.
    kAllIdle,      // Every partition is idle and event time stands (when_all_idle: hold or advance).
    kHeld,         // A partition holds the watermark.
};
[[nodiscard]] const char* state_name(WaitingState state);

struct Waiting {
    WaitingState state = WaitingState::kStarting;
    std::string reason;  // One sentence for people.
    int32_t worker = 0;
    int32_t shard = -1;  // -1: the worker has none yet.
    std::string stage;
    EventTime watermark = kNoTime;    // kClock: the wall clock at the latest poll.
    processor::OpenWindow next;       // The window that has something to do first (of a join: all records
    EventTime next_due = kEndOfTime;  // that wait), and at which watermark; kEndOfTime: none.
    int64_t shown_at_ms = 0;          // emit: {every: …}: when changes are shown; 0: there are none.
    // kHeld: the partition, the record that set its watermark and when, and what will release it.
    std::string topic;
    int32_t partition = -1;
    EventTime partition_watermark = kNoTime;
    int64_t advanced_by_offset = -1;
    int64_t since_ms = 0;
    int64_t next_offset = -1;
    std::string released_by;
    std::optional<int64_t> released_at_ms;  // By the clock. None: not by time.
    std::vector<std::string> aligned;       // Partitions that align holds back, with what they wait for.
};

// `stream`: index in the plan. Empty only for a stream without a windowed step before it.
[[nodiscard]] std::vector<Waiting> find_waiting(const AppStatus& app, const config::Pipeline& pipeline,
                                                const processor::Plan& plan, size_t stream);

// What is asked, as the query of /why has it.
struct WhyQuery {
    std::string stream;
    std::optional<std::string> key;
    std::string pipeline;  // Empty: the only one that has the stream.
    bool json = false;
};
struct WhyAnswer {
    int http_status = 200;
    std::string body;
};
[[nodiscard]] WhyAnswer answer_why(const std::vector<std::unique_ptr<App>>& apps, const WhyQuery& query);

// The two forms of an answer. `windows`: of the asked key; nullopt: no key was asked for, or the workers gave
// no answer in time (then `unanswered`).
struct WhyText {
    const AppStatus& app;
    std::string stream;
    const std::vector<Waiting>& waiting;
    std::optional<std::string> key;
    processor::OpenWindows windows;
    bool unanswered = false;
};
[[nodiscard]] std::string why_text(const WhyText& why);
[[nodiscard]] std::string why_json(const WhyText& why);

}  // namespace weir::cmd
