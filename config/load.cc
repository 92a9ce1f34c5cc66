#include "config/load.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "config/check.h"
#include "config/read_tests.h"
#include "config/redact.h"
#include "config/scalar.h"
#include "config/topology.h"
#include "config/yaml.h"

namespace weir::config {
namespace {

constexpr int64_t kExactlyOnceIntervalMs = 100;
constexpr int64_t kAtLeastOnceIntervalMs = 1'000;

// One byte more than is taken tells "too large" without reading on.
std::optional<std::string> read_at_most(const std::string& path, size_t limit) {
    std::ifstream in(path, std::ios::binary);
    if (!in) return std::nullopt;
    std::string text(limit + 1, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (in.bad() || (in.gcount() == 0 && !in.eof()))
        return std::nullopt;  // A directory opens, but does not read.
    text.resize(static_cast<size_t>(in.gcount()));
    return text;
}

Mark key_mark(const Node& map, std::string_view key) {
    for (const Node& candidate : map.keys) {
        if (candidate.value == key) return candidate.mark;
    }
    return map.mark;
}

// The value of a key that takes a scalar; empty where it is missing or something else, which the field checks
// have told already.
const std::string& scalar(const Node& map, std::string_view key) {
    static const std::string none;
    const Node* node = map.find(key);
    return node != nullptr && node->is_scalar() ? node->value : none;
}

void read_duration(const Node& map, std::string_view key, int64_t& into) {
    if (const auto duration = parse_duration(scalar(map, key))) into = *duration;
}

// "One or a list": calls `use` with each item.
template <class Use>
void for_each_item(const Node* node, Use use) {
    if (node == nullptr) return;
    if (node->kind != NodeKind::kSequence) {
        use(*node);
        return;
    }
    for (const Node& item : node->items) use(item);
}

// Builds the structs out of a checked tree. What the checks refused reads as absent here.
class Builder {
public:
    Builder(std::string_view source, Diagnostics& diagnostics) : source_(source), diagnostics_(diagnostics) {}

    Pipeline build(const Node& root) {
        Pipeline pipeline;
        pipeline.name = scalar(root, "name");
        read_kafka(root, pipeline.kafka);
        const bool at_least_once = scalar(root, "guarantee") == "at_least_once";
        pipeline.guarantee = at_least_once ? Guarantee::kAtLeastOnce : Guarantee::kExactlyOnce;
        pipeline.commit_interval_ms = at_least_once ? kAtLeastOnceIntervalMs : kExactlyOnceIntervalMs;
        read_duration(root, "commit_interval", pipeline.commit_interval_ms);
        pipeline.workers = parse_workers(scalar(root, "workers")).value_or(Workers{});
        read_instance(root, pipeline.instance);
        if (const Node* state = root.find("state"); state != nullptr) {
            if (!scalar(*state, "dir").empty()) pipeline.state_dir = scalar(*state, "dir");
            if (const auto mib = parse_integer(scalar(*state, "snapshot_after_mib")))
                pipeline.snapshot_after_bytes = *mib << 20;
        }
        if (const Node* admin = root.find("admin"); admin != nullptr && !scalar(*admin, "listen").empty()) {
            const std::string& listen = scalar(*admin, "listen");
            pipeline.admin_listen = listen == "none" ? "" : listen;
        }
        read_on_error(root, pipeline.on_error);
        if (const Node* align = root.find("align")) {
            pipeline.align_mark = key_mark(root, "align");
            read_duration(*align, "max_drift", pipeline.max_drift_ms);
        }
        if (const Node* node = root.find("repartition"); node != nullptr) {
            pipeline.repartition.never = node->is_scalar() && node->value == "never";
            pipeline.repartition.partitions = parse_integer(scalar(*node, "partitions")).value_or(0);
            pipeline.repartition.mark = key_mark(root, "repartition");
        }
        each_part(root, "sources", [&](const Node& key, const Node& node) {
            pipeline.sources.push_back(read_source(key, node));
        });
        each_part(root, "tables", [&](const Node& key, const Node& node) {
            pipeline.tables.push_back(read_table(key, node));
        });
        each_part(root, "streams", [&](const Node& key, const Node& node) {
            pipeline.streams.push_back(read_stream(key, node));
        });
        if (const Node* tests = root.find("tests")) pipeline.tests = read_tests(*tests, source_);
        return pipeline;
    }

private:
    template <class Use>
    void each_part(const Node& root, std::string_view key, Use use) {
        const Node* parts = root.find(key);
        if (parts == nullptr || !parts->is_map()) return;
        if (parts->items.empty()) {
            diagnostics_.error("W0054", key_mark(root, key), fmt::format("`{}` is empty", key),
                               "a pipeline needs at least one");
        }
        for (size_t i = 0; i < parts->items.size(); ++i) use(parts->keys[i], parts->items[i]);
    }

    static void read_properties(const Node& map, std::vector<KafkaProperty>& into) {
        if (!map.is_map()) return;  // Told by the field checks.
        for (size_t i = 0; i < map.items.size(); ++i) {
            const Node& item = map.items[i];
            if (item.is_scalar())
                into.push_back({map.keys[i].value, item.value, item.secret, map.keys[i].mark});
        }
    }

    static void read_kafka(const Node& root, KafkaConfig& kafka) {
        const Node* node = root.find("kafka");
        if (node == nullptr) return;
        kafka.present = true;
        kafka.mark = key_mark(root, "kafka");
        read_properties(*node, kafka.common);
        if (const Node* side = node->find("consumer")) read_properties(*side, kafka.consumer);
        if (const Node* side = node->find("producer")) read_properties(*side, kafka.producer);
    }

    void read_instance(const Node& root, Instance& instance) {
        const Node* node = root.find("instance");
        if (node == nullptr) return;
        std::optional<Instance> read;
        if (node->is_scalar()) {
            read = parse_instance(node->value);
        } else {
            const auto index = parse_ordinal(scalar(*node, "index"));
            const auto count = parse_integer(scalar(*node, "count"));
            if (index && count) read = Instance{*index, *count};
        }
        if (!read) return;
        instance = *read;
        if (instance.index < instance.count) return;
        diagnostics_.error("W0024", node->is_scalar() ? node->mark : key_mark(root, "instance"),
                           fmt::format("there is no instance {} of {}", instance.index, instance.count),
                           instance.count == 0
                               ? "the count is at least 1"
                               : fmt::format("the index is from 0 to {}", instance.count - 1));
    }

    static void read_policy(const Node& map, std::string_view key, ErrorPolicy& policy) {
        const Node* node = map.find(key);
        if (node == nullptr) return;
        if (node->is_scalar()) {
            policy = {node->value == "skip" ? ErrorAction::kSkip : ErrorAction::kFail, ""};
        } else if (!scalar(*node, "dead_letter").empty()) {
            policy = {ErrorAction::kDeadLetter, scalar(*node, "dead_letter")};
        }
    }

    void read_on_error(const Node& root, OnError& on_error) {
        const Node* node = root.find("on_error");
        if (node == nullptr) return;
        on_error.mark = key_mark(root, "on_error");
        if (node->is_map() && node->items.empty()) {
            diagnostics_.error("W0014", on_error.mark, "`on_error` says nothing",
                               "takes dead_letter, or decode, expression, produce");
        }
        for (ErrorPolicy* policy : {&on_error.decode, &on_error.expression, &on_error.produce}) {
            read_policy(root, "on_error", *policy);
        }
        read_policy(*node, "decode", on_error.decode);
        read_policy(*node, "expression", on_error.expression);
        read_policy(*node, "produce", on_error.produce);
    }

    void read_watermark(const Node* node, Watermark& watermark) const {
        if (node == nullptr) return;
        if (node->is_scalar()) {
            if (const auto delay = parse_duration(node->value)) watermark.max_delay_ms = *delay;
            return;
        }
        read_strategy(*node, watermark);
        read_duration(*node, "emit_every", watermark.emit_every_ms);
        read_duration(*node, "idle_timeout", watermark.idle_timeout_ms);
        read_duration(*node, "max_ahead", watermark.max_ahead_ms);
        const std::string& idle = scalar(*node, "when_all_idle");
        if (idle == "hold") watermark.when_all_idle = WhenAllIdle::kHold;
        if (idle == "advance") watermark.when_all_idle = WhenAllIdle::kAdvance;
    }

    // The strategy and the keys that belong to it; a key of another one would be read by nobody.
    void read_strategy(const Node& node, Watermark& watermark) const {
        std::string_view name = scalar(node, "strategy");
        if (name.empty()) name = "bounded_out_of_orderness";
        if (name == "bounded_out_of_orderness") {
            read_duration(node, "max_delay", watermark.max_delay_ms);
        } else if (name == "ascending") {
            watermark.strategy = WatermarkStrategy::kAscending;
            watermark.max_delay_ms = 0;
        } else if (name == "punctuated") {
            watermark.strategy = WatermarkStrategy::kPunctuated;
            watermark.mark = needed(node, "when", name);
        } else if (name == "source_provided") {
            watermark.strategy = WatermarkStrategy::kSourceProvided;
            watermark.mark = needed(node, "from", name);
            read_duration(node, "fallback", watermark.max_delay_ms);
            watermark.prefer_source = scalar(node, "prefer_source") != "false";
        } else {
            return;  // Told by the field checks.
        }
        watermark.markers = expression(node, "markers");
        constexpr std::pair<std::string_view, std::string_view> kBelongs[] = {
            {"max_delay", "bounded_out_of_orderness"},
            {"when", "punctuated"},
            {"from", "source_provided"},
            {"fallback", "source_provided"},
            {"prefer_source", "source_provided"},
            {"markers", "punctuated, source_provided"}};
        for (const auto& [key, strategies] : kBelongs) {
            if (node.find(key) == nullptr || strategies.find(name) != std::string_view::npos) continue;
            std::string help;
            if (key == "max_delay" && name == "ascending") help = "`ascending` tolerates no disorder at all";
            if (key == "max_delay" && name == "source_provided") help = "did you mean `fallback`?";
            diagnostics_.error("W0058", key_mark(node, key),
                               fmt::format("`{}` does not belong to the strategy `{}`", key, name),
                               fmt::format("for {}", strategies), std::move(help));
        }
    }

    [[nodiscard]] std::optional<Text> needed(const Node& node, std::string_view key,
                                             std::string_view strategy) const {
        auto text = expression(node, key);
        if (node.find(key) == nullptr)
            diagnostics_.error("W0058", key_mark(node, "strategy"),
                               fmt::format("the strategy `{}` has no `{}`", strategy, key));
        return text;
    }

    [[nodiscard]] std::optional<Text> expression(const Node& map, std::string_view key) const {
        const Node* node = map.find(key);
        if (node == nullptr || !node->is_scalar()) return std::nullopt;
        return to_text(source_, *node);
    }

    Source read_source(const Node& key, const Node& node) const {
        Source source;
        source.name = key.value;
        source.mark = key.mark;
        for_each_item(node.find("topic"), [&](const Node& topic) {
            if (topic.is_scalar()) source.topics.push_back(topic.value);
        });
        source.file = scalar(node, "file");
        const std::string& format = scalar(node, "format");
        if (format == "string") source.format = Format::kString;
        if (format == "bytes") source.format = Format::kBytes;
        source.keyed_by = scalar(node, "keyed_by");
        if (const Node* keyed_by = node.find("keyed_by")) source.keyed_by_mark = keyed_by->mark;
        source.timestamp = expression(node, "timestamp");
        read_watermark(node.find("watermark"), source.watermark);
        source.start = parse_start(scalar(node, "start")).value_or(Start{});
        return source;
    }

    Table read_table(const Node& key, const Node& node) const {
        Table table;
        table.input = read_source(key, node);
        table.global = scalar(node, "global") == "true";
        if (node.find("history")) table.history_ms = parse_duration(scalar(node, "history")).value_or(0);
        return table;
    }

    Stream read_stream(const Node& key, const Node& node) const {
        Stream stream;
        stream.name = key.value;
        stream.mark = key.mark;
        for_each_item(node.find("from"), [&](const Node& from) {
            if (from.is_scalar() && !from.value.empty())
                stream.from.push_back({from.value, from.mark, {}, false});
        });
        if (const Node* join = node.find("join"); join != nullptr && join->is_map())
            read_join(key_mark(node, "join"), *join, stream);
        for_each_item(node.find("steps"), [&](const Node& step) {
            if (!step.is_map()) return;  // Told by the field checks.
            for (size_t i = 0; i < step.items.size(); ++i)
                read_step(step.keys[i], step.items[i], stream.steps);
        });
        for_each_item(node.find("to"), [&](const Node& to) { stream.to.push_back(read_route(to)); });
        return stream;
    }

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
        const std::string& kind = scalar(node, "kind");
        if (kind == "left") join.kind = Join::Kind::kLeft;
        if (kind == "right") join.kind = Join::Kind::kRight;
        if (kind == "full") join.kind = Join::Kind::kFull;
        join.match = expression(node, "match").value_or(Text{});
        read_join_times(node, join);
        read_duration(node, "grace", join.grace_ms);
        stream.join = std::move(join);
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
            step.step = MapStep{expressions(&node)};
        } else if (key.value == "set") {
            step.step = SetStep{expressions(&node)};
        } else if (key.value == "remove") {
            step.step = RemoveStep{texts(&node)};
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
            step.step = KeyByStep{texts(&node)};
        } else {
            return;
        }
        steps.push_back(std::move(step));
    }

    [[nodiscard]] std::vector<Text> texts(const Node* node) const {
        std::vector<Text> result;
        for_each_item(node, [&](const Node& item) {
            if (item.is_scalar()) result.push_back(to_text(source_, item));
        });
        return result;
    }

    [[nodiscard]] std::vector<NamedExpression> expressions(const Node* node) const {
        std::vector<NamedExpression> result;
        if (node == nullptr || !node->is_map()) return result;  // Told by the field checks.
        for (size_t i = 0; i < node->items.size(); ++i) {
            if (!node->items[i].is_scalar()) continue;
            result.push_back({node->keys[i].value, node->keys[i].mark, to_text(source_, node->items[i])});
        }
        return result;
    }

    [[nodiscard]] ExplodeStep read_explode(const Node& node) const {
        if (node.is_scalar()) return {to_text(source_, node), ""};
        return {expression(node, "field").value_or(Text{}), scalar(node, "as")};
    }

    [[nodiscard]] LookupStep read_lookup(const Node& node) const {
        LookupStep lookup;
        lookup.table = expression(node, "table").value_or(Text{});
        lookup.by = texts(node.find("by"));
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
        aggregate.by = texts(node.find("by"));
        aggregate.fields = expressions(node.find("fields"));
        aggregate.having = expression(node, "having");
        if (const Node* window = node.find("window")) {
            aggregate.window = read_window(*window);
            aggregate.window.mark = key_mark(node, "window");
        }
        if (const Node* emit = node.find("emit")) {
            aggregate.emit = read_emit(*emit);
            aggregate.emit.mark = key_mark(node, "emit");
        }
        return aggregate;
    }

    [[nodiscard]] DedupeStep read_dedupe(const Node& key, const Node& node) const {
        DedupeStep dedupe;
        dedupe.mark = key.mark;
        dedupe.by = texts(node.find("by"));
        read_duration(node, "within", dedupe.within_ms);
        if (scalar(node, "keep") == "last") dedupe.keep = DedupeStep::Keep::kLast;
        return dedupe;
    }

    [[nodiscard]] ThrottleStep read_throttle(const Node& key, const Node& node) const {
        ThrottleStep throttle;
        throttle.mark = key.mark;
        throttle.by = texts(node.find("by"));
        throttle.max = parse_integer(scalar(node, "max")).value_or(0);
        read_duration(node, "per", throttle.per_ms);
        return throttle;
    }

    [[nodiscard]] TopNStep read_top_n(const Node& key, const Node& node) const {
        TopNStep top;
        top.mark = key.mark;
        top.by = texts(node.find("by"));
        top.n = parse_integer(scalar(node, "n")).value_or(0);
        top.smallest = node.find("smallest") != nullptr;
        top.order = expression(node, top.smallest ? "smallest" : "largest").value_or(Text{});
        top.rank = scalar(node, "as");
        if (const Node* window = node.find("window")) {
            top.window = read_window(*window);
            top.window.mark = key_mark(node, "window");
        }
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
        route.when = expression(node, "when");
        route.key = expression(node, "key");
        route.partition = expression(node, "partition");
        route.headers = expressions(node.find("headers"));
        return route;
    }

    std::string_view source_;
    Diagnostics& diagnostics_;
};

}  // namespace

LoadOptions system_options() {
    LoadOptions options;
    options.environment = [](const std::string& name) -> std::optional<std::string> {
        const char* value = std::getenv(name.c_str());
        if (value == nullptr) return std::nullopt;
        return value;
    };
    options.read_file = [](const std::string& path) -> std::optional<std::string> {
        std::error_code ignored;
        if (!std::filesystem::is_regular_file(path, ignored)) return std::nullopt;  // A pipe could block us.
        auto text = read_at_most(path, kMaxFileBytes);
        if (text && text->size() > kMaxFileBytes) return std::nullopt;
        return text;
    };
    return options;
}

Loaded load_text(std::string path, std::string text, const LoadOptions& options) {
    Loaded loaded;
    loaded.source = normalised(text);
    auto root = read_yaml(loaded.source, loaded.diagnostics);
    if (root) {
        const SecretOffsets secrets = check_fields(*root, loaded.source, options, loaded.diagnostics);
        loaded.pipeline = Builder(loaded.source, loaded.diagnostics).build(*root);
        check_topology(loaded.pipeline, loaded.diagnostics);
        check_tests(loaded.pipeline, loaded.pipeline.tests, options.tests_must_fit, loaded.diagnostics);
        for (const size_t offset : secrets) {
            if (loaded.source[offset] != '\n') loaded.source[offset] = '*';
        }
    }
    hide_secrets(loaded.source);
    loaded.pipeline.path = std::move(path);
    return loaded;
}

LoadedTests load_tests(const std::string& path, const Pipeline& pipeline, const LoadOptions& options) {
    LoadedTests loaded;
    const auto text = read_at_most(path, kMaxFileBytes);
    if (!text) return loaded;
    loaded.exists = true;
    loaded.source = normalised(*text);
    auto root = read_yaml(loaded.source, loaded.diagnostics);
    if (!root) return loaded;
    check_tests_file(*root, loaded.source, options, loaded.diagnostics);
    if (const Node* tests = root->find("tests")) loaded.tests = read_tests(*tests, loaded.source);
    check_tests(pipeline, loaded.tests, options.tests_must_fit, loaded.diagnostics);
    return loaded;
}

Loaded load_file(const std::string& path, const LoadOptions& options) {
    auto text = read_at_most(path, kMaxFileBytes);
    if (text) return load_text(path, std::move(*text), options);
    Loaded loaded;
    loaded.pipeline.path = path;
    loaded.diagnostics.error("W0001", {}, "the file cannot be read", "",
                             "check the path and who may read it");
    return loaded;
}

}  // namespace weir::config
