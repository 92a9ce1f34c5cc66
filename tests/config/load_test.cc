#include "config/load.h"

#include <doctest/doctest.h>

#include <map>
#include <string>

namespace weir::config {
namespace {

LoadOptions with(std::map<std::string, std::string> environment,
                 std::map<std::string, std::string> files = {}) {
    LoadOptions options;
    const auto lookup = [](std::map<std::string, std::string> map) {
        return [map = std::move(map)](const std::string& name) -> std::optional<std::string> {
            const auto found = map.find(name);
            if (found == map.end()) return std::nullopt;
            return found->second;
        };
    };
    options.environment = lookup(std::move(environment));
    options.read_file = lookup(std::move(files));
    return options;
}

Pipeline loaded(const std::string& text, const LoadOptions& options = {}) {
    Loaded result = load_text("p.yaml", text, options);
    INFO(result.diagnostics.render("p.yaml", result.source));
    REQUIRE(result.diagnostics.all().empty());
    return std::move(result.pipeline);
}

const std::string kRest =
    "kafka: {bootstrap.servers: b}\n"
    "sources: {orders: {topic: orders}}\n"
    "streams: {paid: {from: orders, to: paid}}\n";

TEST_CASE("a whole pipeline arrives in the structs") {
    const Pipeline p = loaded(R"(name: revenue-per-minute
kafka:
  bootstrap.servers: ${env:KAFKA:-localhost:9092}
  sasl.password: ${file:/run/secrets/password}
  consumer: {fetch.wait.max.ms: 50}
  producer: {compression.type: zstd, transaction.timeout.ms: 30000}
guarantee: at_least_once
workers: "2-3"
instance: {index: "${env:POD_NAME}", count: 3}
state: {dir: /data}
admin: {listen: none}
on_error: {dead_letter: dlq, decode: skip, produce: {dead_letter: refused}}
align: {max_drift: 5m}
sources:
  orders:
    topic: [orders, orders-old]
    format: string
    keyed_by: customer.id
    timestamp: created_at
    watermark: {max_delay: 2s, idle_timeout: 1m, when_all_idle: hold, max_ahead: 1h}
    start: -1h
streams:
  per_minute:
    from: [orders]
    steps:
      - filter: |
          status = 'PAID'
      - set: {one: 1, text: "'1'", nothing: null}
      - map: {a: b}
      - remove: [a, b]
      - explode: {field: items, as: item}
      - explode: items
      - aggregate:
          by: [customer.id, country]
          window: {tumbling: 1m, offset: 15s, grace: 30s}
          emit: on_close
          fields: {orders: count(*)}
    to:
      - {topic: large, when: orders > 10, key: customer.id, partition: 0, headers: {kind: "'large'"}}
      - {topic: rest}
  too_late: {from: per_minute.late, to: {topic: late}}
)",
                              with({{"POD_NAME", "weir-2"}}, {{"/run/secrets/password", "hunter2\n"}}));
    CHECK(p.path == "p.yaml");
    CHECK(p.name == "revenue-per-minute");
    REQUIRE(p.kafka.common.size() == 2);
    CHECK(p.kafka.common[0].value == "localhost:9092");
    CHECK_FALSE(p.kafka.common[0].secret);
    CHECK(p.kafka.common[1].value == "hunter2");
    CHECK(p.kafka.common[1].secret);
    CHECK(p.kafka.consumer.at(0).name == "fetch.wait.max.ms");
    CHECK(p.kafka.producer.at(1).value == "30000");
    CHECK(p.guarantee == Guarantee::kAtLeastOnce);
    CHECK(p.commit_interval_ms == 1'000);
    CHECK(p.workers.cpus == std::vector<int32_t>{2, 3});
    CHECK(p.instance.index == 2);
    CHECK(p.instance.count == 3);
    CHECK(p.state_dir == "/data");
    CHECK(p.admin_listen.empty());
    CHECK(p.on_error.decode.action == ErrorAction::kSkip);
    CHECK(p.on_error.expression.dead_letter_topic == "dlq");
    CHECK(p.on_error.produce.dead_letter_topic == "refused");
    CHECK(p.max_drift_ms == 300'000);

    const Source& source = p.sources.at(0);
    CHECK(source.topics == std::vector<std::string>{"orders", "orders-old"});
    CHECK(source.format == Format::kString);
    CHECK(source.keyed_by == "customer.id");
    CHECK(source.timestamp->value == "created_at");
    CHECK(source.watermark.max_delay_ms == 2'000);
    CHECK(source.watermark.idle_timeout_ms == 60'000);
    CHECK(source.watermark.when_all_idle == WhenAllIdle::kHold);
    CHECK(source.watermark.max_ahead_ms == 3'600'000);
    CHECK(source.start.kind == Start::Kind::kAgo);

    const Stream& stream = p.streams.at(0);
    REQUIRE(stream.steps.size() == 7);
    const auto& filter = std::get<FilterStep>(stream.steps[0].step);
    CHECK(filter.condition.value == "status = 'PAID'\n");
    CHECK(filter.condition.position(0).line == 27);
    CHECK(filter.condition.position(0).column == 11);
    const auto& set = std::get<SetStep>(stream.steps[1].step);
    REQUIRE(set.fields.size() == 3);
    CHECK(set.fields[0].expression.is_plain_number);
    CHECK_FALSE(set.fields[1].expression.is_plain_number);
    CHECK(set.fields[1].expression.value == "'1'");
    CHECK(set.fields[2].expression.value == "null");
    CHECK(std::get<RemoveStep>(stream.steps[3].step).fields.size() == 2);
    CHECK(std::get<ExplodeStep>(stream.steps[4].step).as == "item");
    CHECK(std::get<ExplodeStep>(stream.steps[5].step).field.value == "items");
    const auto& aggregate = std::get<AggregateStep>(stream.steps[6].step);
    CHECK(aggregate.by.at(1).value == "country");
    CHECK(aggregate.window.size_ms == 60'000);
    CHECK(aggregate.window.offset_ms == 15'000);
    CHECK(aggregate.window.grace_ms == 30'000);
    CHECK(aggregate.fields.at(0).name == "orders");
    REQUIRE(stream.to.size() == 2);
    CHECK(stream.to[0].when->value == "orders > 10");
    CHECK(stream.to[0].partition->is_plain_number);
    CHECK(stream.to[0].headers.at(0).name == "kind");
    CHECK(p.streams.at(1).from.at(0).value == "per_minute.late");
}

TEST_CASE("dedupe, throttle and top_n") {
    const Pipeline p = loaded(
        "name: p\nsources: {s: {file: '-'}}\nstreams: {t: {from: s, steps: [{dedupe: {by: [a, b], within: "
        "1h}}, "
        "{dedupe: {by: a, within: 1m, keep: last}}, {throttle: {by: a, max: 5, per: 1m}}, {top_n: {n: 3, by: "
        "a, "
        "smallest: price, as: rank, window: {session: 1m, grace: 5s}}}], to: {file: out.jsonl}}}\n");
    const auto& steps = p.streams.at(0).steps;
    const auto& first = std::get<DedupeStep>(steps.at(0).step);
    CHECK(first.by.at(1).value == "b");
    CHECK(first.within_ms == 3'600'000);
    CHECK(first.keep == DedupeStep::Keep::kFirst);
    CHECK(std::get<DedupeStep>(steps.at(1).step).keep == DedupeStep::Keep::kLast);
    CHECK(std::get<ThrottleStep>(steps.at(2).step).max == 5);
    CHECK(std::get<ThrottleStep>(steps.at(2).step).per_ms == 60'000);
    const auto& top = std::get<TopNStep>(steps.at(3).step);
    CHECK(top.n == 3);
    CHECK(top.smallest);
    CHECK(top.order.value == "price");
    CHECK(top.rank == "rank");
    CHECK(top.window.kind == Window::Kind::kSession);
    CHECK(top.window.grace_ms == 5'000);
}

TEST_CASE("every kind of window, and of emit") {
    const auto aggregate = [](const std::string& window, const std::string& emit) {
        const Pipeline p = loaded(
            "name: p\nsources: {s: {file: '-'}}\nstreams: {t: {from: s, steps: [{aggregate: {by: k, "
            "window: " +
            window + ", emit: " + emit + ", fields: {n: count(*)}}}], to: {file: out.jsonl}}}\n");
        return std::get<AggregateStep>(p.streams.at(0).steps.at(0).step);
    };
    const AggregateStep hopping =
        aggregate("{hopping: {size: 7d, step: 1d}, timezone: Asia/Tokyo}", "changes");
    CHECK(hopping.window.kind == Window::Kind::kHopping);
    CHECK(hopping.window.step_ms == 86'400'000);
    CHECK(hopping.window.timezone == "Asia/Tokyo");
    CHECK(hopping.emit.kind == Emit::Kind::kChanges);
    const AggregateStep session = aggregate("{session: 30m, max: 12h, time: processing}", "{every: 5s}");
    CHECK(session.window.kind == Window::Kind::kSession);
    CHECK(session.window.size_ms == 1'800'000);
    CHECK(session.window.max_ms == 43'200'000);
    CHECK(session.window.time == Window::Time::kProcessing);
    CHECK(session.emit.every_ms == 5'000);
    CHECK(aggregate("{cumulate: {size: 1h, step: 5m}}", "on_watermark").window.step_ms == 300'000);
    CHECK(aggregate("{sliding: 5m}", "on_watermark").emit.kind == Emit::Kind::kOnWatermark);
    CHECK(aggregate("{count: 100}", "on_close").window.count == 100);
    CHECK(aggregate("none", "on_update").window.kind == Window::Kind::kNone);
}

TEST_CASE("files need no kafka, and a watermark may be one duration") {
    const Pipeline p = loaded(
        "name: p\nsources: {s: {file: '-', watermark: 1s}}\nstreams: {t: {from: s, to: {file: "
        "out.jsonl}}}\n");
    CHECK_FALSE(p.kafka.present);
    CHECK(p.sources[0].file == "-");
    CHECK(p.sources[0].watermark.max_delay_ms == 1'000);
    CHECK(p.streams[0].to.at(0).file == "out.jsonl");
}

TEST_CASE("references are put in after parsing and cannot change the file's shape") {
    const auto state_dir = [](const std::string& written, const LoadOptions& options) {
        return loaded("name: p\nstate: {dir: " + written + "}\n" + kRest, options).state_dir;
    };
    CHECK(state_dir("\"${env:D}/x\"", with({{"D", "/data"}})) == "/data/x");
    CHECK(state_dir("\"${env:D}\"", with({{"D", "a}\nname: other # '"}})) == "a}\nname: other # '");
    CHECK(state_dir("\"${env:D:-/tmp}\"", with({})) == "/tmp");
    CHECK(state_dir("\"${env:D:-/tmp}\"", with({{"D", "/set"}})) == "/set");
    CHECK(state_dir("\"${env:D:-}/x\"", with({})) == "/x");
    CHECK(state_dir("\"$${env:D} $5 $\"", with({})) == "${env:D} $5 $");
    CHECK(state_dir("\"${env:A}${env:A}\"", with({{"A", "${env:B}"}})) == "${env:B}${env:B}");  // Not twice.
    CHECK(state_dir("\"${file:/d}\"", with({}, {{"/d", "/data\n\n"}})) == "/data\n");
    loaded("name: p # ${env:NOT_A_REFERENCE}\n" + kRest);
}

TEST_CASE("missing references can be allowed, for checks where nothing is set") {
    LoadOptions options = with({});
    options.allow_missing_references = true;
    const Pipeline p = loaded(
        "name: p\nguarantee: ${env:G}\ncommit_interval: ${env:I}\ninstance: {index: \"${env:POD}\", count: "
        "3}\n" +
            kRest,
        options);
    CHECK(p.guarantee == Guarantee::kExactlyOnce);
}

TEST_CASE("what looks like a secret is marked, wherever it came from") {
    const Pipeline p = loaded(
        "name: p\nkafka:\n  bootstrap.servers: b\n  ssl.key.location: /k\n  sasl.oauthbearer.client.secret: "
        "${env:S}\n"
        "  client.rack: ${file:/rack}\n  linger.ms: 5\n"
        "sources: {orders: {topic: orders}}\nstreams: {paid: {from: orders, to: paid}}\n",
        with({{"S", "s"}}, {{"/rack", "r"}}));
    std::string secrets;
    for (const KafkaProperty& property : p.kafka.common) {
        if (property.secret) secrets += property.name + " ";
    }
    CHECK(secrets == "ssl.key.location sasl.oauthbearer.client.secret client.rack ");
}

TEST_CASE("a secret written in the file is starred out of what is shown") {
    const Loaded result =
        load_text("p.yaml", "name: p\nkafka:\n  sasl.password: \"hunter2\"\n", LoadOptions{});
    CHECK(result.source == "name: p\nkafka:\n  sasl.password: \"*******\"\n");
}

}  // namespace
}  // namespace weir::config
