#include "cmd/waiting.h"

#include <fmt/chrono.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "config/scalar.h"

namespace weir::cmd {
namespace {

constexpr size_t kShownStages = 20;
constexpr auto kAnswerTime = std::chrono::seconds(2);  // Per worker.

std::string instant(int64_t ms) {
    const int64_t seconds = ms / 1000 - (ms % 1000 < 0 ? 1 : 0);
    return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(static_cast<std::time_t>(seconds)),
                       ms - seconds * 1000);
}
std::string event_time(EventTime time) {
    if (time == kNoTime) return "none yet";
    if (time == kEndOfTime) return "the end of time";
    return instant(time);
}
std::string place(const processor::Plan& plan, TopicPartition partition) {
    return fmt::format("{}/{}", plan.inputs[static_cast<size_t>(partition.topic)].name, partition.partition);
}

// The stream and the streams it reads, whose windows it waits for. A stream of late records waits for none.
std::set<size_t> streams_before(const config::Pipeline& pipeline, size_t stream) {
    std::set<size_t> found{stream};
    std::vector<size_t> open{stream};
    while (!open.empty()) {
        const size_t at = open.back();
        open.pop_back();
        for (const config::Text& from : pipeline.streams[at].from)
            for (size_t i = 0; i < pipeline.streams.size(); ++i)
                if (pipeline.streams[i].name == from.value && found.insert(i).second) open.push_back(i);
    }
    return found;
}

// What a record of the partition must bring so that the window closes, in the words of its source's strategy.
std::string needed_record(const config::Watermark& rule, const std::string& where, EventTime needed) {
    const auto delayed = [&] { return instant(needed + rule.max_delay_ms); };
    switch (rule.strategy) {
        case config::WatermarkStrategy::kBoundedOutOfOrderness:
        case config::WatermarkStrategy::kAscending:
            return fmt::format("a record of {} with event time {} or later", where, delayed());
        case config::WatermarkStrategy::kPunctuated:
            return fmt::format("a punctuation in {} of {} or later", where, instant(needed));
        case config::WatermarkStrategy::kSourceProvided:
            return fmt::format("a watermark in {} of {} or later, or, {}, a record of {} or later", where,
                               instant(needed),
                               rule.prefer_source ? "before the first one" : "as well", delayed());
    }
    return "";
}

const char* then_text(config::WhenAllIdle when) {
    switch (when) {
        case config::WhenAllIdle::kTick: return "event time goes on by the clock";
        case config::WhenAllIdle::kHold: return "event time stands (when_all_idle: hold)";
        case config::WhenAllIdle::kAdvance: return "event time jumps to the newest partition's";
    }
    return "";
}

// The shard before an internal topic, as far as this process runs it: what holds it back in its turn.
std::string upstream_text(const AppStatus& app, const processor::Plan& plan,
                          const processor::InternalTopic& topic, ShardId upstream) {
    for (const processor::WorkerStatus& worker : app.workers)
        for (const processor::ShardStatus& shard : worker.shards) {
            if (shard.shard != upstream) continue;
            const processor::PartitionStatus* lowest = nullptr;
            for (const processor::PartitionStatus& partition : shard.partitions) {
                const TopicId id = partition.partition.topic;
                if (std::find(topic.fed_by.begin(), topic.fed_by.end(), id) == topic.fed_by.end()) continue;
                if (lowest == nullptr || partition.watermark < lowest->watermark) lowest = &partition;
            }
            if (lowest == nullptr) break;
            return fmt::format("there {} has come to {}, next is offset {}", place(plan, lowest->partition),
                               event_time(lowest->watermark), lowest->next_offset);
        }
    return "another process has that shard";
}

// Behind an internal topic shards hold, not records: they say in it how far they have come.
void describe_upstream_hold(const AppStatus& app, const processor::Plan& plan,
                            const processor::StageStatus& stage, const processor::PartitionStatus& partition,
                            Waiting& waiting) {
    const processor::PlanInput& input = plan.inputs[static_cast<size_t>(partition.partition.topic)];
    const auto& topic = plan.internal_topics[static_cast<size_t>(input.internal)];
    const std::string where = place(plan, partition.partition);
    waiting.since_ms = partition.advances > 0 ? partition.advanced_wall_ms : partition.quiet_since_wall_ms;
    if (partition.upstream < 0) {
        waiting.reason = fmt::format("{} holds the watermark: no shard before it was heard of yet", where);
        waiting.released_by = fmt::format("all shards before {} saying how far they have come", input.name);
        return;
    }
    const std::string shard = fmt::format("shard {}", partition.upstream);
    waiting.reason =
        partition.watermark == kNoTime
            ? fmt::format("{} holds the watermark: {} before it has said no time yet", where, shard)
            : fmt::format("{} holds the watermark: {} before it has come to {}", where, shard,
                          event_time(partition.watermark));
    waiting.released_by =
        fmt::format("{} coming to {} or later, or its silence; {}", shard, event_time(stage.needed),
                    upstream_text(app, plan, topic, partition.upstream));
}

void describe_hold(const AppStatus& app, const config::Pipeline& pipeline, const processor::Plan& plan,
                   const processor::StageStatus& stage, const processor::PartitionStatus& partition,
                   Waiting& waiting) {
    const processor::PlanInput& input = plan.inputs[static_cast<size_t>(partition.partition.topic)];
    const std::string where = place(plan, partition.partition);
    waiting.state = WaitingState::kHeld;
    waiting.topic = input.name;
    waiting.partition = partition.partition.partition;
    waiting.partition_watermark = partition.watermark;
    waiting.advanced_by_offset = partition.advanced_offset;
    waiting.next_offset = partition.next_offset;
    if (input.internal >= 0) {
        describe_upstream_hold(app, plan, stage, partition, waiting);
        return;
    }
    const config::Source& source = pipeline.sources[input.source];
    waiting.since_ms = partition.advanced_offset >= 0 ? partition.advanced_wall_ms
                                                      : partition.quiet_since_wall_ms;
    if (partition.advanced_offset >= 0)
        waiting.reason =
            fmt::format("{} holds the watermark: offset {} set it to {}, {} ago", where,
                        partition.advanced_offset, event_time(partition.watermark),
                        config::format_duration(std::max<int64_t>(0, app.now_ms - waiting.since_ms)));
    else
        waiting.reason = fmt::format("{} holds the watermark: {}", where,
                                     partition.newest == kNoTime ? "no record of it was read yet"
                                                                 : "none of its records said one");
    waiting.released_by = needed_record(source.watermark, where, stage.needed);
    if (!partition.caught_up) {
        waiting.released_by += fmt::format("; it is not read to its end, next is offset {}",
                                           partition.next_offset);
        return;
    }
    waiting.released_at_ms = partition.quiet_since_wall_ms + source.watermark.idle_timeout_ms;
    waiting.released_by += fmt::format("; or silence until {} (idle_timeout {}): then the others count, and "
                                       "if all are idle, {}",
                                       instant(*waiting.released_at_ms),
                                       config::format_duration(source.watermark.idle_timeout_ms),
                                       then_text(source.watermark.when_all_idle));
}

void describe_idle(const processor::StageStatus& stage, Waiting& waiting) {
    if (stage.ticking) {
        waiting.state = WaitingState::kTicking;
        waiting.released_at_ms = stage.due_at_wall_ms;
        waiting.reason = "every partition is idle; event time goes on by the clock";
        waiting.released_by = fmt::format("the clock, at {}; a record ends the idleness",
                                          instant(*waiting.released_at_ms));
        return;
    }
    waiting.state = WaitingState::kAllIdle;
    waiting.reason = "every partition is idle and event time stands (when_all_idle)";
    waiting.released_by = "a record with a later event time";
}

Waiting describe(const AppStatus& app, const config::Pipeline& pipeline, const processor::Plan& plan,
                 const processor::ShardStatus& shard, const processor::StageStatus& stage) {
    Waiting waiting;
    waiting.shard = shard.shard;
    waiting.stage = stage.stream;
    waiting.watermark = stage.watermark;
    waiting.next = stage.next;
    waiting.next_due = stage.next_due;
    waiting.shown_at_ms = stage.shown_at_wall_ms;
    for (const processor::PartitionStatus& partition : shard.partitions)
        if (partition.held_behind >= 0)
            waiting.aligned.push_back(fmt::format(
                "{} is held back by align until {} comes nearer", place(plan, partition.partition),
                place(plan, shard.partitions[static_cast<size_t>(partition.held_behind)].partition)));
    const bool blank =
        std::all_of(shard.partitions.begin(), shard.partitions.end(), [](const auto& partition) {
            return partition.newest == kNoTime && partition.watermark == kNoTime;
        });
    using End = processor::WindowsEnd;
    const bool joins = stage.windows_end == End::kJoin;
    if (stage.watermark == kEndOfTime) {
        waiting.state = WaitingState::kEnded;
        waiting.reason = "the input has ended and every window is closed";
    } else if (blank) {
        waiting.state = WaitingState::kNoData;
        waiting.reason = "no record with a usable event time was read yet";
        waiting.released_by = "the first one";
    } else if ((joins ? stage.records : stage.open_windows) == 0) {
        waiting.state = WaitingState::kNothingOpen;
        waiting.reason = joins ? "no record waits for a partner" : "no window is open";
        waiting.released_by = "a record that is not late and that the steps before let through";
    } else if (stage.windows_end == End::kByRecords || stage.windows_end == End::kNever) {
        waiting.state = WaitingState::kRecords;
        waiting.reason = stage.windows_end == End::kNever
                             ? "its groups have no window and never close; emit says when they are shown"
                             : fmt::format("its windows close with their record number {}, at no time",
                                           stage.window_records);
        waiting.released_by = "records of the same key";
    } else if (stage.windows_end == End::kByClock) {
        waiting.state = WaitingState::kClock;
        waiting.reason = "its windows go by the wall clock (time: processing)";
        waiting.released_at_ms = stage.due_at_wall_ms;
        waiting.released_by = fmt::format("the clock, at {}", instant(*waiting.released_at_ms));
    } else if (stage.held_by >= 0) {
        describe_hold(app, pipeline, plan, stage, shard.partitions[static_cast<size_t>(stage.held_by)],
                      waiting);
    } else {
        describe_idle(stage, waiting);
    }
    return waiting;
}

const char* clock_of(bool wall) { return wall ? "the clock" : "the watermark"; }

std::string borders(const processor::OpenWindow& window) {
    return fmt::format("[{}, {})", instant(window.start), instant(window.end));
}

// A sliding window's records are kept for later results when it is closed.
std::string what_next(const Waiting& waiting) {
    const processor::OpenWindow& window = waiting.next;
    if (window.start == kNoTime)
        return fmt::format("buffers    {} records wait for partners; the first leave", window.records);
    const char* const does = waiting.next_due == window.closes_at   ? "closes"
                             : waiting.next_due == window.result_at ? "gives its result"
                                                                    : "has its result and is forgotten";
    return fmt::format("window     {} {}", borders(window), does);
}

std::string open_window(const processor::FoundWindow& found) {
    using End = processor::WindowsEnd;
    const processor::OpenWindow& window = found.window;
    const std::string records = fmt::format("{} record{}", window.records, window.records == 1 ? "" : "s");
    if (found.windows_end == End::kNever) return records + ", never closes";
    if (found.windows_end == End::kByRecords)
        return fmt::format("{} from {} on, closes with number {}", records, instant(window.start),
                           found.window_records);
    if (found.windows_end == End::kJoin)
        return fmt::format("a record waits for partners in {}, {} when the watermark reaches {}",
                           borders(window), window.result_at == kEndOfTime ? "leaves" : "is given",
                           instant(window.closes_at));
    const char* const clock = clock_of(found.windows_end == End::kByClock);
    std::string text = fmt::format("{}, {}, ", borders(window), records);
    if (window.result_at != kEndOfTime && window.result_at != window.closes_at)
        text += fmt::format("gives its result when {} reaches {}, ", clock, instant(window.result_at));
    return text + fmt::format("closes when {} reaches {}", clock, instant(window.closes_at));
}

// What keeps a whole worker from answering more closely.
std::optional<Waiting> of_worker(const processor::WorkerStatus& worker) {
    Waiting waiting;
    waiting.worker = worker.slot;
    switch (worker.phase) {
        case processor::WorkerPhase::kStarting:
            waiting.reason = "the worker is starting";
            return waiting;
        case processor::WorkerPhase::kRecovering:
            waiting.state = WaitingState::kRecovering;
            waiting.reason = "the worker reads back the outcome of its last commit, or waits for the broker";
            return waiting;
        case processor::WorkerPhase::kLoading:
            waiting.state = WaitingState::kLoading;
            waiting.reason = "no stream is read before the tables are: " + loading_text(worker);
            waiting.released_by = "the ends that the tables' topics had when the worker started";
            return waiting;
        case processor::WorkerPhase::kStopped:
            waiting.state = WaitingState::kStopped;
            waiting.reason = "the worker has ended";
            return waiting;
        case processor::WorkerPhase::kRunning: break;
    }
    if (!worker.disk_full) return std::nullopt;
    waiting.state = WaitingState::kDiskFull;
    waiting.reason = "reading pauses: the disk is full";
    waiting.released_by = "space for the log in state.dir";
    return waiting;
}

}  // namespace

const char* state_name(WaitingState state) {
    constexpr const char* kNames[] = {"starting", "recovering", "loading", "disk_full", "stopped",
                                      "ended",    "no_data",      "nothing_open", "records",
                                      "clock",    "ticking",      "all_idle",  "held"};
    return kNames[static_cast<size_t>(state)];
}

std::vector<Waiting> find_waiting(const AppStatus& app, const config::Pipeline& pipeline,
                                  const processor::Plan& plan, size_t stream) {
    const std::set<size_t> streams = streams_before(pipeline, stream);
    std::vector<Waiting> result;
    if (app.workers.empty()) {
        result.emplace_back().reason = app.not_ready_because;
        return result;
    }
    for (const processor::WorkerStatus& worker : app.workers) {
        if (auto whole = of_worker(worker)) {
            result.push_back(std::move(*whole));
            continue;
        }
        for (const processor::ShardStatus& shard : worker.shards)
            for (const processor::StageStatus& stage : shard.stages) {
                if (!streams.contains(stage.stream_index)) continue;
                result.push_back(describe(app, pipeline, plan, shard, stage));
                result.back().worker = worker.slot;
            }
    }
    return result;
}

std::string why_text(const WhyText& why) {
    std::string out = fmt::format("stream {}\n", why.stream);
    if (why.waiting.empty()) out += "  has no windowed step: its records pass as they come\n";
    size_t shown = 0;
    for (const Waiting& waiting : why.waiting) {
        if (++shown > kShownStages) {
            out += fmt::format("… and {} more; --json has all\n", why.waiting.size() - kShownStages);
            break;
        }
        if (waiting.shard < 0) {
            out += fmt::format("worker {}\n  {:<10} {}\n", waiting.worker, state_name(waiting.state),
                               waiting.reason);
        } else {
            out += fmt::format("{} in shard {}\n  {:<10} {}\n  watermark  {}\n", waiting.stage, waiting.shard,
                               state_name(waiting.state), waiting.reason, event_time(waiting.watermark));
            if (waiting.next_due != kEndOfTime)
                out += fmt::format("  {} when {} reaches {}\n", what_next(waiting),
                                   clock_of(waiting.state == WaitingState::kClock),
                                   instant(waiting.next_due));
            if (waiting.shown_at_ms != 0)
                out +=
                    fmt::format("  emit       what changed is shown at {}\n", instant(waiting.shown_at_ms));
        }
        if (!waiting.released_by.empty()) out += fmt::format("  next       {}\n", waiting.released_by);
        for (const std::string& aligned : waiting.aligned) out += fmt::format("  align      {}\n", aligned);
    }
    if (!why.key) return out;
    out += fmt::format("key {}\n", *why.key);
    if (why.unanswered)
        out += "  the workers did not answer: they start, recover or have ended, or one turn takes long\n";
    if (!why.unanswered && why.windows.empty()) out += "  no window is open, no record waits\n";
    for (const processor::FoundWindow& found : why.windows)
        out += fmt::format("  {} in shard {}: {}\n", found.stage, found.shard, open_window(found));
    if (why.windows.size() >= processor::kMostOpenWindows)
        out += fmt::format("  of a step and shard the first {} are shown\n", processor::kMostOpenWindows);
    return out;
}

std::string why_json(const WhyText& why) {
    rapidjson::StringBuffer buffer;
    rapidjson::Writer<rapidjson::StringBuffer> out(buffer);
    const auto text = [&](const char* name, const std::string& value) {
        out.Key(name);
        out.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
    };
    const auto number = [&](const char* name, int64_t value, bool present = true) {
        out.Key(name);
        if (present)
            out.Int64(value);
        else
            out.Null();
    };
    const auto time = [&](const char* name, EventTime value) {
        number(name, value, value != kNoTime && value != kEndOfTime);
    };
    out.StartObject();
    text("pipeline", why.app.pipeline);
    text("stream", why.stream);
    number("now", why.app.now_ms);
    out.Key("waiting");
    out.StartArray();
    for (const Waiting& waiting : why.waiting) {
        out.StartObject();
        text("state", state_name(waiting.state));
        text("reason", waiting.reason);
        number("worker", waiting.worker);
        number("shard", waiting.shard, waiting.shard >= 0);
        text("stage", waiting.stage);
        time("watermark", waiting.watermark);
        time("window_start", waiting.next.start);
        time("window_end", waiting.next.end);
        time("result_at", waiting.next.result_at);
        time("closes_at", waiting.next.closes_at);
        number("shown_at", waiting.shown_at_ms, waiting.shown_at_ms != 0);
        const bool held = waiting.state == WaitingState::kHeld;
        if (held) {
            text("topic", waiting.topic);
            number("partition", waiting.partition);
            time("partition_watermark", waiting.partition_watermark);
            number("advanced_by_offset", waiting.advanced_by_offset, waiting.advanced_by_offset >= 0);
            number("since", waiting.since_ms);
            number("next_offset", waiting.next_offset);
        }
        text("released_by", waiting.released_by);
        number("released_at", waiting.released_at_ms.value_or(0), waiting.released_at_ms.has_value());
        out.Key("aligned");
        out.StartArray();
        for (const std::string& aligned : waiting.aligned) out.String(aligned.c_str());
        out.EndArray();
        out.EndObject();
    }
    out.EndArray();
    if (why.key) {
        text("key", *why.key);
        out.Key("answered");
        out.Bool(!why.unanswered);
        out.Key("windows");
        out.StartArray();
        for (const auto& [shard, stage, windows_end, window_records, window] : why.windows) {
            out.StartObject();
            number("shard", shard);
            text("stage", stage);
            time("start", window.start);
            time("end", window.end);
            number("records", window.records);
            time("result_at", window.result_at);
            time("closes_at", window.closes_at);
            number("closes_with_record", window_records,
                   windows_end == processor::WindowsEnd::kByRecords);
            out.EndObject();
        }
        out.EndArray();
    }
    out.EndObject();
    return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

WhyAnswer answer_why(const std::vector<std::unique_ptr<App>>& apps, const WhyQuery& query) {
    App* app = nullptr;
    size_t stream = 0;
    std::string known;
    for (const auto& candidate : apps) {
        if (!query.pipeline.empty() && candidate->name() != query.pipeline) continue;
        const auto& names = candidate->plan().stream_names;
        const auto found = std::find(names.begin(), names.end(), query.stream);
        for (const std::string& name : names) known += fmt::format(" {}/{}", candidate->name(), name);
        if (found == names.end()) continue;
        if (app != nullptr)
            return {409, fmt::format("stream '{}' is in several pipelines: name one with --pipeline\n",
                                     query.stream)};
        app = candidate.get();
        stream = static_cast<size_t>(found - names.begin());
    }
    if (app == nullptr) return {404, fmt::format("no stream '{}'; there are:{}\n", query.stream, known)};

    const AppStatus status = app->status();
    const std::vector<Waiting> waiting = find_waiting(status, app->pipeline(), app->plan(), stream);
    WhyText why{status, query.stream, waiting, query.key, {}, false};
    if (query.key) {
        auto questions = app->ask({stream, *query.key});
        why.unanswered = questions.empty();
        for (auto& question : questions) {
            if (question.wait_for(kAnswerTime) != std::future_status::ready) {
                why.unanswered = true;
                continue;
            }
            for (processor::FoundWindow& window : question.get()) why.windows.push_back(std::move(window));
        }
    }
    return {200, query.json ? why_json(why) : why_text(why)};
}

}  // namespace weir::cmd
