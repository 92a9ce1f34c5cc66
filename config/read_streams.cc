#include "config/read_streams.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/read_node.h"
#include "config/scalar.h"

namespace weir::config {
namespace {

class StreamReader {
public:
    explicit StreamReader(std::string_view source) : source_(source) {}

    [[nodiscard]] Stream stream(const Node& key, const Node& node) const {
        Stream stream;
        stream.name = key.value;
        stream.mark = key.mark;
        for_each_item(node.find("from"), [&](const Node& from) {
            if (from.is_scalar() && !from.value.empty())
                stream.from.push_back({from.value, from.mark, {}, false});
        });
        if (const Node* join = node.find("join"); join != nullptr && join->is_map())
            read_join(key_mark(node, "join"), *join, stream);
        if (const Node* join = node.find("join_tables"); join != nullptr && join->is_map()) {
            stream.join_tables.emplace();
            stream.join_tables->mark = key_mark(node, "join_tables");
            stream.join_tables->left = expression(*join, "left", source_).value_or(Text{});
            stream.join_tables->right = expression(*join, "right", source_).value_or(Text{});
            stream.join_tables->kind = join_kind(*join);
        }
        for_each_item(node.find("steps"), [&](const Node& step) {
            if (!step.is_map()) return;  // Told by the field checks.
            for (size_t i = 0; i < step.items.size(); ++i)
                read_step(step.keys[i], step.items[i], stream.steps);
        });
        for_each_item(node.find("to"), [&](const Node& to) { stream.to.push_back(read_route(to)); });
        return stream;
    }

private:
    void read_join(const Mark& mark, const Node& node, Stream& stream) const {
        Join join;
        join.mark = mark;
        const auto side = [&](const char* key, JoinSide& into) {
            const Node* const found = node.find(key);
            if (found == nullptr) return;  // Told by the field checks, here and below.
            const Node* const from = found->is_scalar() ? found : found->find("from");
            if (from == nullptr || !from->is_scalar() || from->value.empty()) return;
            const Node* const as = found->find("as");
            into = {as == nullptr ? from->value : as->value, as == nullptr ? from->mark : as->mark};
            stream.from.push_back({from->value, from->mark, {}, false});
        };
        side("left", join.left);
        side("right", join.right);
        join.kind = join_kind(node);
        join.match = expression(node, "match", source_).value_or(Text{});
        read_join_times(node, join);
        read_duration(node, "grace", join.grace_ms);
        join.state = read_state(node);
        stream.join = std::move(join);
    }

    static Join::Kind join_kind(const Node& node) {
        const std::string& kind = scalar(node, "kind");
        if (kind == "left") return Join::Kind::kLeft;
        if (kind == "right") return Join::Kind::kRight;
        return kind == "full" ? Join::Kind::kFull : Join::Kind::kInner;
    }

    static void read_join_times(const Node& node, Join& join) {
        const Node* const within = node.find("within");
        const Node* const as_of = node.find("as_of");
        if (const Node* const window = node.find("window"); window != nullptr && window->is_map()) {
            join.by = Join::By::kWindow;
            join.window = read_window(*window);
            join.window.mark = key_mark(node, "window");
        } else if (as_of != nullptr && as_of->is_map()) {
            join.by = Join::By::kAsOf;
            const std::string& direction = scalar(*as_of, "direction");
            if (direction == "forward") join.direction = Join::Direction::kForward;
            if (direction == "nearest") join.direction = Join::Direction::kNearest;
            int64_t tolerance_ms = 0;
            read_duration(*as_of, "tolerance", tolerance_ms);
            if (join.direction != Join::Direction::kForward) join.before_ms = tolerance_ms;
            if (join.direction != Join::Direction::kBackward) join.after_ms = tolerance_ms;
        } else if (within != nullptr && within->is_map()) {
            read_duration(*within, "before", join.before_ms);
            read_duration(*within, "after", join.after_ms);
        } else {
            read_duration(node, "within", join.before_ms);
            join.after_ms = join.before_ms;
        }
    }

    void read_step(const Node& key, const Node& node, std::vector<Step>& steps) const {
        Step step;
        step.mark = key.mark;
        if (key.value == "filter" && node.is_scalar()) {
            step.step = FilterStep{to_text(source_, node)};
        } else if (key.value == "map") {
            step.step = MapStep{expressions(&node, source_)};
        } else if (key.value == "set") {
            step.step = SetStep{expressions(&node, source_)};
        } else if (key.value == "remove") {
            step.step = RemoveStep{texts(&node, source_)};
        } else if (key.value == "explode") {
            step.step = read_explode(node);
        } else if (key.value == "lookup") {
            step.step = read_lookup(node);
        } else if (key.value == "aggregate") {
            step.step = read_aggregate(key, node);
        } else if (key.value == "dedupe") {
            step.step = read_dedupe(key, node);
        } else if (key.value == "throttle") {
            step.step = read_throttle(key, node);
        } else if (key.value == "top_n") {
            step.step = read_top_n(key, node);
        } else if (key.value == "key_by") {
            step.step = KeyByStep{texts(&node, source_)};
        } else {
            return;
        }
        steps.push_back(std::move(step));
    }

    [[nodiscard]] ExplodeStep read_explode(const Node& node) const {
        if (node.is_scalar()) return {to_text(source_, node), ""};
        return {expression(node, "field", source_).value_or(Text{}), scalar(node, "as")};
    }

    [[nodiscard]] LookupStep read_lookup(const Node& node) const {
        LookupStep lookup;
        lookup.table = expression(node, "table", source_).value_or(Text{});
        lookup.by = texts(node.find("by"), source_);
        lookup.as = scalar(node, "as").empty() ? lookup.table.value : scalar(node, "as");
        if (scalar(node, "as_of") == "event_time") lookup.as_of = LookupStep::AsOf::kEventTime;
        const std::string& missing = scalar(node, "missing");
        if (missing == "drop") lookup.missing = LookupStep::Missing::kDrop;
        if (missing == "error") lookup.missing = LookupStep::Missing::kError;
        return lookup;
    }

    [[nodiscard]] AggregateStep read_aggregate(const Node& key, const Node& node) const {
        AggregateStep aggregate;
        aggregate.mark = key.mark;
        aggregate.by = texts(node.find("by"), source_);
        aggregate.fields = expressions(node.find("fields"), source_);
        aggregate.having = expression(node, "having", source_);
        if (const Node* window = node.find("window")) {
            aggregate.window = read_window(*window);
            aggregate.window.mark = key_mark(node, "window");
        }
        if (const Node* emit = node.find("emit")) {
            aggregate.emit = read_emit(*emit);
            aggregate.emit.mark = key_mark(node, "emit");
        }
        aggregate.state = read_state(node);
        return aggregate;
    }

    [[nodiscard]] DedupeStep read_dedupe(const Node& key, const Node& node) const {
        DedupeStep dedupe;
        dedupe.mark = key.mark;
        dedupe.by = texts(node.find("by"), source_);
        read_duration(node, "within", dedupe.within_ms);
        if (scalar(node, "keep") == "last") dedupe.keep = DedupeStep::Keep::kLast;
        dedupe.state = read_state(node);
        return dedupe;
    }

    [[nodiscard]] ThrottleStep read_throttle(const Node& key, const Node& node) const {
        ThrottleStep throttle;
        throttle.mark = key.mark;
        throttle.by = texts(node.find("by"), source_);
        throttle.max = parse_integer(scalar(node, "max")).value_or(0);
        read_duration(node, "per", throttle.per_ms);
        throttle.state = read_state(node);
        return throttle;
    }

    [[nodiscard]] TopNStep read_top_n(const Node& key, const Node& node) const {
        TopNStep top;
        top.mark = key.mark;
        top.by = texts(node.find("by"), source_);
        top.n = parse_integer(scalar(node, "n")).value_or(0);
        top.smallest = node.find("smallest") != nullptr;
        top.order = expression(node, top.smallest ? "smallest" : "largest", source_).value_or(Text{});
        top.rank = scalar(node, "as");
        if (const Node* window = node.find("window")) {
            top.window = read_window(*window);
            top.window.mark = key_mark(node, "window");
        }
        top.state = read_state(node);
        return top;
    }

    static Window read_window(const Node& node) {
        Window window;
        if (node.is_scalar()) {
            if (node.value == "none") window.kind = Window::Kind::kNone;
            return window;
        }
        const auto is = [&](const char* key, Window::Kind kind) {
            const Node* const found = node.find(key);
            if (found == nullptr) return;
            window.kind = kind;
            if (found->is_map()) {
                read_duration(*found, "size", window.size_ms);
                read_duration(*found, "step", window.step_ms);
            } else if (kind == Window::Kind::kCount) {
                window.count = parse_integer(found->value).value_or(0);
            } else {
                read_duration(node, key, window.size_ms);
            }
        };
        is("tumbling", Window::Kind::kTumbling);
        is("hopping", Window::Kind::kHopping);
        is("cumulate", Window::Kind::kCumulate);
        is("session", Window::Kind::kSession);
        is("sliding", Window::Kind::kSliding);
        is("count", Window::Kind::kCount);
        read_duration(node, "max", window.max_ms);
        read_duration(node, "offset", window.offset_ms);
        read_duration(node, "grace", window.grace_ms);
        window.timezone = scalar(node, "timezone");
        if (scalar(node, "time") == "processing") window.time = Window::Time::kProcessing;
        return window;
    }

    static Emit read_emit(const Node& node) {
        Emit emit;
        if (node.is_map()) {
            emit.kind = Emit::Kind::kEvery;
            read_duration(node, "every", emit.every_ms);
        } else if (node.value == "on_watermark") {
            emit.kind = Emit::Kind::kOnWatermark;
        } else if (node.value == "on_update") {
            emit.kind = Emit::Kind::kOnUpdate;
        } else if (node.value == "changes") {
            emit.kind = Emit::Kind::kChanges;
        }
        return emit;
    }

    [[nodiscard]] Route read_route(const Node& node) const {
        Route route;
        route.mark = node.mark;
        if (node.is_scalar()) {
            route.topic = node.value;
            return route;
        }
        route.topic = scalar(node, "topic");
        route.file = scalar(node, "file");
        route.when = expression(node, "when", source_);
        route.key = expression(node, "key", source_);
        route.partition = expression(node, "partition", source_);
        route.headers = expressions(node.find("headers"), source_);
        return route;
    }

    std::string_view source_;
};

}  // namespace

Stream read_stream(const Node& key, const Node& node, std::string_view source) {
    return StreamReader(source).stream(key, node);
}

}  // namespace weir::config
