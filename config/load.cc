#include "config/load.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "config/check.h"
#include "config/read_node.h"
#include "config/read_streams.h"
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
            if (const auto mib = parse_integer(scalar(*state, "max_memory_mib")))
                pipeline.max_memory_bytes = int64_t{*mib} << 20;
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
            pipeline.streams.push_back(read_stream(key, node, source_));
        });
        const bool joins_tables =
            std::any_of(pipeline.streams.begin(), pipeline.streams.end(),
                        [](const Stream& stream) { return stream.join_tables.has_value(); });
        if (root.is_map() && root.find("sources") == nullptr && !joins_tables)
            diagnostics_.error("W0014", {1, 1, 1}, "the pipeline has no `sources`", "",
                               "for example: `sources: {orders: {topic: orders}}`");
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
        watermark.markers = expression(node, "markers", source_);
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
        auto text = expression(node, key, source_);
        if (node.find(key) == nullptr)
            diagnostics_.error("W0058", key_mark(node, "strategy"),
                               fmt::format("the strategy `{}` has no `{}`", strategy, key));
        return text;
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
        source.timestamp = expression(node, "timestamp", source_);
        read_watermark(node.find("watermark"), source.watermark);
        source.start = parse_start(scalar(node, "start")).value_or(Start{});
        const Start::Kind start = source.start.kind;
        if (!source.file.empty() && (start == Start::Kind::kInstant || start == Start::Kind::kAgo))
            diagnostics_.error("W0064", node.find("start")->mark,
                               "a file is read from its start or its end, not from an instant", "",
                               "`earliest` or `latest`; a `filter` leaves out what is older");
        return source;
    }

    Table read_table(const Node& key, const Node& node) const {
        Table table;
        table.input = read_source(key, node);
        table.state = read_state(node);
        if (const Node* const from = node.find("from"); from != nullptr && from->is_scalar()) {
            table.from = to_text(source_, *from);
            for (const Node& other : node.keys)
                if (other.value == "format" || other.value == "keyed_by" || other.value == "timestamp" ||
                    other.value == "history" || other.value == "global")
                    diagnostics_.error("W0094", other.mark,
                                       fmt::format("`{}` does not go with `from`", other.value), "",
                                       "a table of results has their keys and fields, in the latest version, "
                                       "where they are computed");
            table.input.timestamp.reset();
            table.input.format = Format::kJson;
            return table;
        }
        table.global = scalar(node, "global") == "true" || !table.input.file.empty();
        if (!table.input.file.empty() && scalar(node, "global") == "false")
            diagnostics_.error("W0094", node.find("global")->mark, "a file's table is held by every worker",
                               "", "remove `global`");
        if (node.find("history")) table.history_ms = parse_duration(scalar(node, "history")).value_or(0);
        return table;
    }

    std::string_view source_;
    Diagnostics& diagnostics_;
};

void refuse_rocksdb(const Pipeline& pipeline, Diagnostics& diagnostics) {
    const auto check = [&](const StateRule& state) {
        if (state.on_disk)
            diagnostics.error("W0096", state.mark, "this weir was built without RocksDB", "",
                              "build it without -DWEIR_ROCKSDB=OFF, or keep this state in memory");
    };
    for (const Table& table : pipeline.tables) check(table.state);
    for (const Stream& stream : pipeline.streams) {
        if (stream.join) check(stream.join->state);
        for (const Step& step : stream.steps)
            if (step.state() != nullptr) check(*step.state());
    }
}

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
        if (!options.has_rocksdb) refuse_rocksdb(loaded.pipeline, loaded.diagnostics);
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
