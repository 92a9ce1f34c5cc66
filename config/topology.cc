#include "config/topology.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <string_view>
#include <variant>
#include <vector>

namespace weir::config {
namespace {

constexpr std::string_view kLate = ".late";
constexpr int64_t kDay = 86'400'000;
constexpr int64_t kMostPanes = 10'000;  // Of one window: what its result costs.

// "orders" of "orders.late"; the name itself otherwise.
std::string_view base_name(std::string_view from) {
    const bool late = from.size() > kLate.size() && from.substr(from.size() - kLate.size()) == kLate;
    return late ? from.substr(0, from.size() - kLate.size()) : from;
}

constexpr const char* kWhoHasLate = "only a stream with join, aggregate, dedupe, throttle or top_n has them";

bool has_late(const Stream& stream) {
    return stream.join || std::any_of(stream.steps.begin(), stream.steps.end(),
                                      [](const Step& step) { return step.has_state(); });
}

class Topology {
public:
    Topology(const Pipeline& pipeline, Diagnostics& diagnostics)
        : pipeline_(pipeline), diagnostics_(diagnostics) {
        for (const Source& source : pipeline.sources) sources_.try_emplace(source.name, &source);
        for (const Table& table : pipeline.tables) tables_.try_emplace(table.input.name, &table);
        for (const Stream& stream : pipeline.streams) streams_.try_emplace(stream.name, &stream);
    }

    void check() {
        check_names();
        for (const Stream& stream : pipeline_.streams) {
            for (const Text& from : stream.from) check_input(from);
            check_routes(stream);
            if (stream.join) check_join(*stream.join);
            if (stream.join_tables) check_table_join(*stream.join_tables);
            for (const Step& step : stream.steps) {
                check_window(step);
                check_lookup(step);
            }
        }
        check_tables();
        check_cycles();
        check_places();
        check_used();
    }

private:
    void check_names() {
        for (const Stream& stream : pipeline_.streams) {
            const auto source = sources_.find(stream.name);
            if (source == sources_.end()) continue;
            diagnostics_.error("W0053", stream.mark,
                               fmt::format("`{}` is the name of a source and of a stream", stream.name),
                               fmt::format("the source is in line {}", source->second->mark.line),
                               "`from` could mean either: rename one of them");
        }
    }

    void check_input(const Text& from) {
        const std::string_view name = base_name(from.value);
        const bool late = name.size() != from.value.size();
        const auto stream = streams_.find(name);
        if (stream == streams_.end() && (late || sources_.find(name) == sources_.end())) {
            unknown_input(from, name, late);
        } else if (late && !has_late(*stream->second)) {
            diagnostics_.error("W0052", from.mark, fmt::format("`{}` has no late records", name),
                               kWhoHasLate);
        }
    }

    void unknown_input(const Text& from, std::string_view name, bool late) {
        if (late && sources_.find(name) != sources_.end()) {
            diagnostics_.error("W0052", from.mark, fmt::format("the source `{}` has no late records", name),
                               kWhoHasLate);
            return;
        }
        std::vector<std::string_view> names;
        for (const auto& [key, stream] : streams_) names.push_back(key);
        if (!late) {
            for (const auto& [key, source] : sources_) names.push_back(key);
        }
        const std::string_view near = nearest(name, names);
        diagnostics_.error("W0050", from.mark, fmt::format("there is no source or stream `{}`", name),
                           names.empty() ? "" : fmt::format("valid: {}", fmt::join(names, ", ")),
                           tables_.contains(name) ? "a table is looked up, or joined with another one by "
                                                    "`join_tables`"
                           : near.empty()         ? ""
                                          : fmt::format("did you mean `{}{}`?", near, late ? kLate : ""));
    }

    void check_lookup(const Step& step) {
        const auto* const lookup = std::get_if<LookupStep>(&step.step);
        const Table* const table = lookup == nullptr ? nullptr : find_table(lookup->table);
        if (table == nullptr || lookup->as_of != LookupStep::AsOf::kEventTime || table->history_ms) return;
        diagnostics_.error(
            "W0093", lookup->table.mark,
            fmt::format("the table `{}` keeps only its latest rows", table->input.name), "",
            table->from ? "write the stream to a topic, and read that as a table with a history"
                        : fmt::format("give it a history: `{}: {{…, history: 1h}}`", table->input.name));
    }

    // A table that a step uses; null: there is none, which is told.
    const Table* find_table(const Text& name) {
        if (name.value.empty()) return nullptr;  // Told by the field checks.
        if (const auto found = tables_.find(name.value); found != tables_.end()) {
            used_tables_.insert(name.value);
            return found->second;
        }
        std::vector<std::string_view> names;
        for (const auto& [key, table] : tables_) names.push_back(key);
        const std::string_view near = nearest(name.value, names);
        diagnostics_.error("W0090", name.mark, fmt::format("there is no table `{}`", name.value),
                           names.empty() ? "" : fmt::format("valid: {}", fmt::join(names, ", ")),
                           near.empty() ? "tables stand under `tables:`, beside `sources:`"
                                        : fmt::format("did you mean `{}`?", near));
        return nullptr;
    }

    void check_table_join(const TableJoin& join) {
        for (const Text* side : {&join.left, &join.right}) {
            const Table* const table = find_table(*side);
            const auto refuse = [&](const std::string& message, const std::string& help) {
                diagnostics_.error("W0233", side->mark, message, "", help);
            };
            if (table == nullptr) continue;
            if (table->global)
                refuse(fmt::format("every worker holds all of `{}`, so each would give the joined rows",
                                   side->value),
                       "look it up instead, or hold it by shard: a topic without `global`");
            if (table->history_ms)
                refuse(fmt::format("`{}` has a history, and its latest row may be an older record's",
                                   side->value),
                       "join a table without `history`");
        }
        if (!join.left.value.empty() && join.left.value == join.right.value)
            diagnostics_.error("W0233", join.right.mark, "a table is not joined with itself",
                               "the row of a key would only meet itself");
    }

    // A table's name is its own, and nothing else reads its topic: which of two readers a record is for could
    // not be told.
    void check_tables() {
        std::map<std::string_view, std::string_view> readers;  // By topic or file.
        for (const Source& source : pipeline_.sources) {
            for (const std::string& topic : source.topics) readers.try_emplace(topic, source.name);
            if (!source.file.empty()) readers.try_emplace(source.file, source.name);
        }
        for (const Table& table : pipeline_.tables) {
            const Source& input = table.input;
            if (sources_.contains(input.name) || streams_.contains(input.name)) {
                diagnostics_.error("W0053", input.mark,
                                   fmt::format("`{}` is the name of a table and of a {}", input.name,
                                               sources_.contains(input.name) ? "source" : "stream"),
                                   "", "rename one of them");
            }
            if (input.timestamp && !table.history_ms)
                diagnostics_.error("W0093", input.timestamp->mark,
                                   "`timestamp` says since when rows hold, but the table has no history",
                                   "", "add `history:`, or leave it out: the latest row needs no time");
            if (table.from) {
                check_table_stream(table);
                continue;
            }
            check_table_key(table);
            const bool is_file = !input.file.empty();
            if (!is_file && input.topics.empty()) continue;  // Told by the field checks.
            const auto [reader, is_new] =
                readers.try_emplace(is_file ? input.file : input.topics.front(), input.name);
            if (is_new) continue;
            diagnostics_.error("W0091", input.mark,
                               fmt::format("the table `{}` and `{}` read the same {}", input.name,
                                           reader->second, is_file ? "file" : "topic"),
                               "", "read it once; what the other one needs goes to another pipeline");
        }
    }

    void check_table_stream(const Table& table) {
        const Text& from = *table.from;
        if (streams_.contains(from.value)) return;
        const std::string_view name = base_name(from.value);
        if (name.size() != from.value.size() || sources_.contains(name)) {
            diagnostics_.error("W0094", from.mark, fmt::format("`{}` is no stream's results", from.value), "",
                               "let a stream read it, and the table that stream");
            return;
        }
        std::vector<std::string_view> names;
        for (const auto& [key, stream] : streams_) names.push_back(key);
        const std::string_view near = nearest(name, names);
        diagnostics_.error("W0050", from.mark, fmt::format("there is no stream `{}`", name),
                           names.empty() ? "" : fmt::format("valid: {}", fmt::join(names, ", ")),
                           near.empty() ? "" : fmt::format("did you mean `{}`?", near));
    }

    // What finds a row: the record's key, or a field of a file's lines.
    void check_table_key(const Table& table) {
        const Source& input = table.input;
        const auto refuse = [&](const Mark& mark, const std::string& message, const std::string& help) {
            diagnostics_.error("W0094", mark, message, "", help);
        };
        if (input.file.empty()) {
            if (!input.keyed_by.empty())
                refuse(input.keyed_by_mark, "the key of a topic's row is the record's key",
                       "remove `keyed_by`: it names the key of a file's row");
            return;
        }
        if (input.keyed_by.empty())
            refuse(input.mark, fmt::format("the table `{}` does not say what finds a row", input.name),
                   "name the field: `keyed_by: id`");
        if (input.format != Format::kJson)
            refuse(input.mark, "`keyed_by` names a field, but the lines are not JSON", "remove `format`");
        if (input.file == "-")
            refuse(input.mark, "a table cannot be read from standard input",
                   "it is read by every worker, at each start: name a file");
        if (table.history_ms && !input.timestamp)
            refuse(input.mark, "a history needs times, and a file's lines have none of their own",
                   "say with `timestamp:` since when a row holds");
    }

    void check_routes(const Stream& stream) {
        for (size_t i = 0; i + 1 < stream.to.size(); ++i) {
            if (stream.to[i].when) continue;
            diagnostics_.warning("W0060", stream.to[i + 1].mark, "this entry of `to` is never reached", "",
                                 "the first match wins, and the entry before has no `when`");
            return;
        }
    }

    void check_join(const Join& join) {
        for (const JoinSide* side : {&join.left, &join.right}) {
            if (side->name.find('.') == std::string::npos) continue;
            diagnostics_.error("W0062", side->mark,
                               fmt::format("expressions cannot call a side `{}`: it has a dot", side->name),
                               "", "give it another name: `{from: …, as: …}`");
        }
        if (join.by == Join::By::kAsOf && join.keeps_right())
            diagnostics_.error("W0063", join.mark, "an as-of join is `inner` or `left`",
                               "it looks for the nearest right record of each left one");
        if (join.by == Join::By::kWindow && join.window.size_ms > 0) check_borders(join.window);
        if (join.left.name != join.right.name || join.left.name.empty()) return;
        diagnostics_.error("W0062", join.right.mark,
                           fmt::format("both sides of the join are called `{}`", join.left.name),
                           "expressions could mean either", "give one another name: `{from: …, as: …}`");
    }

    void check_window(const Step& step) {
        if (const auto* const top = std::get_if<TopNStep>(&step.step)) check_window(top->window, Emit{});
        if (const auto* const aggregate = std::get_if<AggregateStep>(&step.step))
            check_window(aggregate->window, aggregate->emit);
    }

    void check_window(const Window& window, const Emit& emit_rule) {
        const auto refuse = [&](const std::string& message, const std::string& help) {
            diagnostics_.error("W0061", window.mark, message, "", help);
        };
        const bool known = window.is_timed() ? window.size_ms > 0 : true;
        if (!known) return;  // Told by the field checks.
        check_borders(window);
        const bool processing = window.time == Window::Time::kProcessing;
        if (processing && !window.is_timed()) {
            refuse("count windows and `none` do not go by time", "remove `time`");
        }
        if (window.grace_ms > 0 && (processing || !window.is_timed())) {
            refuse("`grace` is for windows in event time: elsewhere no record is late", "remove it");
        }
        const Emit::Kind emit = emit_rule.kind;
        const Mark mark = emit_rule.mark.line > 0 ? emit_rule.mark : window.mark;
        const bool waits = emit == Emit::Kind::kOnClose || emit == Emit::Kind::kOnWatermark;
        if (window.kind == Window::Kind::kNone && waits) {
            diagnostics_.error("W0061", mark, "without windows nothing ever closes", "",
                               "`emit` is on_update, changes or {every: …} here");
        } else if (window.kind == Window::Kind::kCount && emit == Emit::Kind::kOnWatermark) {
            diagnostics_.error("W0061", mark, "a count window does not wait for a watermark", "",
                               "on_close gives its result as soon as it is full");
        }
    }

    void check_borders(const Window& window) {
        const auto refuse = [&](const std::string& message, const std::string& help) {
            diagnostics_.error("W0061", window.mark, message, "", help);
        };
        check_steps(window, refuse);
        if (window.max_ms > 0 && (window.kind != Window::Kind::kSession || window.max_ms < window.size_ms))
            refuse("`max` limits session windows, and is at least their gap", "");
        if (window.offset_ms > 0 && !window.is_grid()) {
            refuse("`offset` moves tumbling, hopping and cumulate windows only", "remove it");
        } else if (window.offset_ms >= window.size_ms && window.is_grid()) {
            diagnostics_.error("W0023", window.mark, "the window's `offset` is not smaller than its size", "",
                               "an offset of one size moves nothing: take the remainder");
        }
        if (!window.timezone.empty()) check_days(window, refuse);
    }

    template <class Refuse>
    static void check_steps(const Window& window, const Refuse& refuse) {
        if (window.step_ms == 0) return;
        if (window.step_ms > window.size_ms) {
            refuse("`step` is larger than `size`: records between windows would be in none",
                   "for windows side by side use `tumbling`");
        } else if (window.kind == Window::Kind::kCumulate && window.size_ms % window.step_ms != 0) {
            refuse("`size` is not a multiple of `step`", "");
        } else if (window.size_ms / std::gcd(window.size_ms, window.step_ms) > kMostPanes) {
            refuse(fmt::format("a window would consist of more than {} parts", kMostPanes),
                   "`size` and `step` share no larger unit: choose rounder ones");
        }
    }

    template <class Refuse>
    static void check_days(const Window& window, const Refuse& refuse) {
        const bool steps = window.kind == Window::Kind::kHopping && window.step_ms % kDay != 0;
        if (!window.is_grid() || window.size_ms % kDay != 0 || steps) {
            refuse("`timezone` is for tumbling, hopping and cumulate windows of whole days",
                   "other windows are the same in every zone, or move with `offset`");
        } else if (window.offset_ms >= kDay) {
            refuse("with `timezone` the `offset` is within one day", "");
        }
    }

    // Names of what a stream reads, tables too.
    static std::vector<const Text*> read_by(const Stream& stream) {
        std::vector<const Text*> reads;
        for (const Text& from : stream.from) reads.push_back(&from);
        if (stream.join_tables) {
            reads.push_back(&stream.join_tables->left);
            reads.push_back(&stream.join_tables->right);
        }
        for (const Step& step : stream.steps)
            if (const auto* const lookup = std::get_if<LookupStep>(&step.step))
                reads.push_back(&lookup->table);
        return reads;
    }

    // The stream behind a name that a stream reads: its own, of its late records, of a table of its results.
    [[nodiscard]] std::string_view stream_of(std::string_view name) const {
        const auto table = tables_.find(name);
        if (table == tables_.end() || streams_.contains(name)) return base_name(name);
        return table->second->from ? std::string_view(table->second->from->value) : std::string_view();
    }

    // Depth first; each cycle is told once, at the name that closes it.
    void check_cycles() {
        enum class Colour : uint8_t { kWhite, kGrey, kBlack };
        std::map<std::string_view, Colour> colours;
        struct Frame {
            const Stream* stream;
            std::vector<const Text*> reads;
            size_t next;
        };
        for (const Stream& start : pipeline_.streams) {
            if (colours[start.name] != Colour::kWhite) continue;
            std::vector<Frame> stack{{&start, read_by(start), 0}};
            colours[start.name] = Colour::kGrey;
            while (!stack.empty()) {
                Frame& top = stack.back();
                if (top.next == top.reads.size()) {
                    colours[top.stream->name] = Colour::kBlack;
                    stack.pop_back();
                    continue;
                }
                const Text& from = *top.reads[top.next++];
                const auto input = streams_.find(stream_of(from.value));
                if (input == streams_.end()) continue;
                Colour& colour = colours[input->second->name];
                if (colour == Colour::kGrey) {
                    diagnostics_.error("W0051", from.mark,
                                       fmt::format("`{}` reads its own results", input->first),
                                       "this closes a circle of streams");
                } else if (colour == Colour::kWhite) {
                    colour = Colour::kGrey;
                    stack.push_back({input->second, read_by(*input->second), 0});
                }
            }
        }
    }

    // Only where all else is right: otherwise a misspelt `from` or `to` is told once more here.
    void check_used() {
        if (diagnostics_.has_errors()) return;
        std::set<std::string_view> read;
        for (const Stream& stream : pipeline_.streams) {
            for (const Text& from : stream.from) {
                read.insert(from.value);
                if (base_name(from.value).size() != from.value.size()) late_.insert(base_name(from.value));
            }
        }
        for (const Table& table : pipeline_.tables)
            if (table.from) read.insert(table.from->value);
        for (const Stream& stream : pipeline_.streams) {
            if (!stream.to.empty() || read.contains(stream.name)) continue;
            diagnostics_.error("W0055", stream.mark,
                               fmt::format("the results of `{}` go nowhere", stream.name),
                               late_.contains(stream.name) ? "only its late records are read" : "",
                               "give it a `to`, or read it in another stream's `from`, or a table's");
        }
        for (const Source& source : pipeline_.sources) {
            if (read.contains(source.name)) continue;
            diagnostics_.warning("W0059", source.mark,
                                 fmt::format("no stream reads the source `{}`", source.name));
        }
        for (const Table& table : pipeline_.tables) {
            if (used_tables_.contains(table.input.name)) continue;
            diagnostics_.warning("W0092", table.input.mark,
                                 fmt::format("no stream uses the table `{}`", table.input.name), "",
                                 "it is read and kept all the same");
        }
    }

    // Files and topics: what one commit can hold together.
    void check_places() {
        const auto first_with = [&](auto member) {
            return std::find_if(pipeline_.sources.begin(), pipeline_.sources.end(),
                                [&](const Source& source) { return !(source.*member).empty(); });
        };
        const auto none = pipeline_.sources.end();
        const auto file = first_with(&Source::file);
        const auto topic = first_with(&Source::topics);
        if (file != none && topic != none && file != topic) {
            const Source& later = topic->mark.line > file->mark.line ? *topic : *file;
            diagnostics_.error("W0056", later.mark, "a pipeline reads files or topics, not both", "",
                               "split it into two pipelines");
        }

        const auto topic_table =
            std::find_if(pipeline_.tables.begin(), pipeline_.tables.end(),
                         [](const Table& table) { return !table.input.topics.empty(); });
        const bool has_topic_table = topic_table != pipeline_.tables.end();
        if (file != none && has_topic_table) {
            diagnostics_.error("W0056", topic_table->input.mark,
                               "a pipeline reads files or topics, not both",
                               "this table is the content of a topic",
                               "let the table read a file, or split it into two pipelines");
        }

        bool uses_topics = topic != none || has_topic_table;
        for (const Stream& stream : pipeline_.streams) {
            for (const Route& route : stream.to) {
                if (route.topic.empty()) continue;
                uses_topics = true;
                if (file == none || topic != none || pipeline_.guarantee != Guarantee::kExactlyOnce) continue;
                diagnostics_.error("W0057", route.mark, "a file cannot be copied to a topic exactly once",
                                   "a Kafka transaction cannot hold a file's offset",
                                   "set `guarantee: at_least_once`");
            }
        }
        const OnError& on_error = pipeline_.on_error;
        for (const ErrorPolicy* policy : {&on_error.decode, &on_error.expression, &on_error.produce}) {
            uses_topics = uses_topics || policy->action == ErrorAction::kDeadLetter;
        }
        const auto& common = pipeline_.kafka.common;
        const bool has_brokers = std::any_of(common.begin(), common.end(), [](const KafkaProperty& property) {
            return property.name == "bootstrap.servers";
        });
        if (uses_topics && !has_brokers) {
            const Mark mark = pipeline_.kafka.present ? pipeline_.kafka.mark : Mark{1, 1, 1};
            diagnostics_.error("W0043", mark, "topics are used, but `kafka` has no `bootstrap.servers`", "",
                               "for example: `kafka: {bootstrap.servers: localhost:9092}`");
        }
    }

    const Pipeline& pipeline_;
    Diagnostics& diagnostics_;
    std::map<std::string_view, const Source*> sources_;
    std::map<std::string_view, const Table*> tables_;
    std::map<std::string_view, const Stream*> streams_;
    std::set<std::string_view> used_tables_;
    std::set<std::string_view> late_;  // Streams whose late records are read.
};

}  // namespace

void check_topology(const Pipeline& pipeline, Diagnostics& diagnostics) {
    Topology(pipeline, diagnostics).check();
}

}  // namespace weir::config
