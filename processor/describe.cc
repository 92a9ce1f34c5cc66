// How steps, joins and windows read in explain. The state hash is over these texts, so a change of one makes
// stored state another pipeline's.
#include <fmt/format.h>

#include <algorithm>

#include "processor/planner.h"

namespace weir::processor {

std::string list_of(const std::vector<config::Text>& texts) {
    std::string out;
    for (const config::Text& text : texts) out += (out.empty() ? "" : ", ") + text.value;
    return out;
}

static std::string values(const std::vector<config::NamedExpression>& fields) {
    std::string out;
    for (const auto& field : fields)
        out += (out.empty() ? "" : ", ") + field.name + ": " + field.expression.value;
    return out;
}

std::string duration_text(int64_t milliseconds) {
    if (milliseconds == 0) return "0s";
    std::string out;
    constexpr std::pair<int64_t, const char*> kUnits[] = {
        {86'400'000, "d"}, {3'600'000, "h"}, {60'000, "m"}, {1000, "s"}, {1, "ms"}};
    for (const auto& [unit, name] : kUnits) {
        if (milliseconds / unit > 0) out += std::to_string(milliseconds / unit) + name;
        milliseconds %= unit;
    }
    return out;
}

// How they read in explain and in the state hash.
static std::string borders_text(const config::Window& window) {
    return (window.offset_ms > 0 ? " from " + duration_text(window.offset_ms) : "") +
           (window.timezone.empty() ? "" : " of " + window.timezone);
}

static std::string session_text(const config::Window& window) {
    return "sessions with gaps of " + duration_text(window.size_ms) +
           (window.max_ms > 0 ? ", at most " + duration_text(window.max_ms) + " long" : "");
}

static std::string describe(const config::Window& window) {
    using Kind = config::Window::Kind;
    const std::string size = duration_text(window.size_ms);
    const std::string step = duration_text(window.step_ms);
    std::string out;
    switch (window.kind) {
        case Kind::kTumbling: out = "windows of " + size; break;
        case Kind::kHopping: out = "windows of " + size + " every " + step; break;
        case Kind::kCumulate: out = "windows up to " + size + " in steps of " + step; break;
        case Kind::kSession: out = session_text(window); break;
        case Kind::kSliding: out = "the " + size + " up to each record"; break;
        case Kind::kCount: out = fmt::format("windows of {} records", window.count); break;
        case Kind::kNone: return "no windows";
    }
    if (window.max_ms > 0) out += ", at most " + duration_text(window.max_ms) + " long";
    out += borders_text(window);
    if (window.time == config::Window::Time::kProcessing) return out + " by the wall clock";
    if (window.is_timed()) out += ", grace " + duration_text(window.grace_ms);
    return out;
}

static std::string describe(const config::Emit& emit) {
    switch (emit.kind) {
        case config::Emit::Kind::kOnClose: return "";
        case config::Emit::Kind::kOnWatermark: return ", emitted on_watermark";
        case config::Emit::Kind::kEvery: return ", emitted every " + duration_text(emit.every_ms);
        case config::Emit::Kind::kOnUpdate: return ", emitted on_update";
        case config::Emit::Kind::kChanges: return ", emitted as changes";
    }
    return "";
}

constexpr const char* kKinds[] = {"inner", "left", "right", "full"};

std::string describe(const config::TableJoin& join) {
    return fmt::format("{} join of tables {} and {} by their keys", kKinds[static_cast<size_t>(join.kind)],
                       join.left.value, join.right.value);
}

std::string describe(const config::Join& join) {
    constexpr const char* kDirections[] = {"backward", "forward", "nearest"};
    std::string times;
    switch (join.by) {
        case config::Join::By::kWithin:
            times = fmt::format("within {} before and {} after", duration_text(join.before_ms),
                                duration_text(join.after_ms));
            break;
        case config::Join::By::kWindow:
            times = "in " + (join.in_sessions() ? session_text(join.window)
                                                : "windows of " + duration_text(join.window.size_ms)) +
                    (join.window.step_ms > 0 ? " every " + duration_text(join.window.step_ms) : "") +
                    borders_text(join.window);
            break;
        case config::Join::By::kAsOf:
            times = fmt::format("as of, {}, within {}", kDirections[static_cast<size_t>(join.direction)],
                                duration_text(std::max(join.before_ms, join.after_ms)));
            break;
    }
    return fmt::format("{} join of {} and {} on {}, {}, grace {}", kKinds[static_cast<size_t>(join.kind)],
                       join.left.name, join.right.name, join.match.value, times,
                       duration_text(join.grace_ms));
}

std::string describe(const config::Step& step) {
    if (const auto* filter = std::get_if<config::FilterStep>(&step.step))
        return "filter " + filter->condition.value;
    if (const auto* map = std::get_if<config::MapStep>(&step.step))
        return "map {" + values(map->fields) + "}";
    if (const auto* set = std::get_if<config::SetStep>(&step.step))
        return "set {" + values(set->fields) + "}";
    if (const auto* remove = std::get_if<config::RemoveStep>(&step.step))
        return "remove " + list_of(remove->fields);
    if (const auto* explode = std::get_if<config::ExplodeStep>(&step.step)) {
        return "explode " + explode->field.value + (explode->as.empty() ? "" : " as " + explode->as);
    }
    if (const auto* dedupe = std::get_if<config::DedupeStep>(&step.step)) {
        return fmt::format("dedupe by {} within {}, keep {}", list_of(dedupe->by),
                           duration_text(dedupe->within_ms),
                           dedupe->keep == config::DedupeStep::Keep::kLast ? "last" : "first");
    }
    if (const auto* throttle = std::get_if<config::ThrottleStep>(&step.step)) {
        return fmt::format("throttle by {}: {} per {}", list_of(throttle->by), throttle->max,
                           duration_text(throttle->per_ms));
    }
    if (const auto* top = std::get_if<config::TopNStep>(&step.step)) {
        return fmt::format("top {} by {} of the {} {} in {}{}", top->n, list_of(top->by),
                           top->smallest ? "smallest" : "largest", top->order.value, describe(top->window),
                           top->rank.empty() ? "" : ", rank as " + top->rank);
    }
    if (const auto* lookup = std::get_if<config::LookupStep>(&step.step)) {
        constexpr const char* kMissing[] = {"goes on", "is left out", "fails"};
        return fmt::format("lookup {}{} by {}{}; without a row a record {}", lookup->table.value,
                           lookup->as_of == config::LookupStep::AsOf::kEventTime ? " as of event time" : "",
                           list_of(lookup->by),
                           lookup->as == lookup->table.value ? "" : " as " + lookup->as,
                           kMissing[static_cast<size_t>(lookup->missing)]);
    }
    if (const auto* key_by = std::get_if<config::KeyByStep>(&step.step))
        return "key_by " + list_of(key_by->fields);
    const auto& aggregate = std::get<config::AggregateStep>(step.step);
    return fmt::format("aggregate by {} in {}{}: {{{}}}{}", list_of(aggregate.by), describe(aggregate.window),
                       describe(aggregate.emit), values(aggregate.fields),
                       aggregate.having ? " having " + aggregate.having->value : "");
}

}  // namespace weir::processor
