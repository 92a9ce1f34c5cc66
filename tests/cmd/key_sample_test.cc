// What the newest records of topics that meet tell about their keys, before anything is computed from them.
#include "cmd/key_sample.h"

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/load.h"
#include "connectors/memory_broker.h"
#include "connectors/partitioner.h"

using namespace weir;

namespace {

constexpr int32_t kPartitions = 4;

constexpr const char* kPaid = R"(
sources: {orders: {topic: orders, keyed_by: id}, payments: {topic: payments, keyed_by: order_id}}
streams:
  paid: {join: {left: orders, right: payments, match: orders.id = payments.order_id, within: 1m}, to: out}
)";

// Topics of four partitions, and the plan of a pipeline over them.
struct World {
    explicit World(const std::string& rest) : clock(1'700'000'000'000), broker(clock) {
        auto loaded = config::load_text("p.yaml", "name: p\nkafka: {bootstrap.servers: none}\n" + rest, {});
        plan = processor::compile(loaded.pipeline, loaded.diagnostics);
        INFO(loaded.diagnostics.render("p.yaml", loaded.source));
        REQUIRE(plan != nullptr);
        std::vector<std::string> names;
        for (const processor::PlanInput& input : plan->inputs) {
            names.push_back(input.name);
            broker.create_topic(input.name, kPartitions);
        }
        counts.assign(names.size(), kPartitions);
        connector = std::make_unique<connectors::MemoryConnector>(broker, "p", names,
                                                                  std::vector<std::string>{});
    }
    void append(const std::string& topic, const std::string& key, const std::string& value,
                int32_t partition) {
        connectors::MemoryRecord record;
        record.key = key;
        record.value = value;
        broker.append(topic, partition, record);
    }
    // `count` records {field: number} with the key that `key` makes of the number, where that lies.
    void fill(const std::string& topic, const std::string& field,
              const std::function<std::string(int)>& key, int count = 100) {
        for (int i = 0; i < count; ++i)
            append(topic, key(i), "{\"" + field + "\":" + std::to_string(i) + "}",
                   connectors::partition_for_key(key(i), kPartitions));
    }
    [[nodiscard]] std::vector<std::string> warnings() {
        return cmd::key_warnings(*plan, *connector, counts, clock, nullptr);
    }

    ManualClock clock;
    connectors::MemoryBroker broker;
    std::unique_ptr<const processor::Plan> plan;
    std::vector<int32_t> counts;
    std::unique_ptr<connectors::MemoryConnector> connector;
};

std::string text_of(int number) { return std::to_string(number); }
std::string quoted(int number) { return "\"" + std::to_string(number) + "\""; }
std::string binary(int number) { return {'\0', '\0', '\0', static_cast<char>(number)}; }

}  // namespace

TEST_CASE("keys: of joined topics, those that are not the text of their field are told with numbers") {
    World world(kPaid);
    world.fill("orders", "id", text_of);
    // The newest of each partition are looked at, about a hundred of a topic.
    world.append("payments", "\"41\"", R"({"order_id":41})", 0);
    world.fill("payments", "order_id", text_of, 200);
    CHECK(world.warnings().empty());
    connectors::MemoryRecord tombstone;
    tombstone.key = "3";
    world.broker.append("payments", connectors::partition_for_key("3", kPartitions), tombstone);
    CHECK(world.warnings().empty());
    world.append("payments", "\"42\"", R"({"order_id":42})", 0);
    world.append("payments", "7", R"({"order_id":7.0})", 1);
    const auto told = world.warnings();
    REQUIRE(told.size() == 1);
    CHECK(told[0] ==
          "2 of 100 sampled keys of topic payments are not the text of order_id, e.g. \"42\" where order_id "
          "is 42: stream 'paid' joins it with orders, so records of one key may lie on different partitions "
          "and miss each other");
}

TEST_CASE("keys: a topic without keys is told, one without records is not") {
    World world(kPaid);
    CHECK(world.warnings().empty());
    connectors::MemoryRecord record;
    record.value = R"({"id":1})";
    world.broker.append("orders", 2, record);
    const auto told = world.warnings();
    REQUIRE(told.size() == 1);
    CHECK(told[0].starts_with("1 of 1 sampled keys of topic orders are not the text of id, e.g. null where "
                              "id is 1: "));
}

TEST_CASE("keys: topics that write them in different forms are told, also where no field is declared") {
    World world(R"(
sources: {a: {topic: a}, b: {topic: b}}
streams: {j: {join: {left: a, right: b, match: a._key = b._key, within: 1m}, to: out}}
)");
    world.fill("a", "id", text_of, 1);
    world.fill("b", "id", quoted, 1);
    const auto told = world.warnings();
    REQUIRE(told.size() == 1);
    CHECK(told[0] ==
          "keys of topic b are JSON strings in quotes, e.g. \"0\", those of a are plain text, e.g. 0: stream "
          "'j' joins it with a, so records of one key may lie on different partitions and miss each other");
}

TEST_CASE("keys: of a table and the records that are looked up in it") {
    World world(R"(
sources: {orders: {topic: orders, keyed_by: buyer}}
tables: {users: {topic: users}}
streams: {s: {from: orders, steps: [{lookup: {table: users, by: buyer}}], to: out}}
)");
    world.fill("orders", "buyer", text_of, 1);
    world.fill("users", "name", binary, 1);
    const auto told = world.warnings();
    REQUIRE(told.size() == 1);
    CHECK(told[0] ==
          "keys of topic users are bytes that are no text, e.g. \\x00\\x00\\x00\\x00, those of orders are "
          "plain text, e.g. 0: stream 's' looks up records of orders in it, so records of one key may lie on "
          "different partitions and miss each other");
}

TEST_CASE("keys: a topic that stays where another one travels to it is partitioned as that is") {
    const std::string rest = R"(
sources: {orders: {topic: orders, keyed_by: id}, payments: {topic: payments, keyed_by: pay}}
streams:
  paid: {join: {left: orders, right: payments, match: orders.id = payments.order_id, within: 1m}, to: out}
)";
    World right(rest);
    right.fill("orders", "id", text_of);
    CHECK(right.warnings().empty());
    World wrong(rest);
    for (int i = 0; i < 100; ++i)
        wrong.append("orders", text_of(i), "{\"id\":" + text_of(i) + "}",
                     (connectors::partition_for_key(text_of(i), kPartitions) + (i % 4 == 0 ? 1 : 0)) %
                         kPartitions);
    const auto told = wrong.warnings();
    REQUIRE(told.size() == 1);
    CHECK(told[0].find(" sampled records of topic orders do not lie where Kafka's partitioner (murmur2) puts "
                       "their key, those of p-paid-repartition do: stream 'paid' joins it with "
                       "p-paid-repartition, so") != std::string::npos);
}

TEST_CASE("keys: nothing is read where no topics meet, and nobody is waited for longer than two seconds") {
    World alone(R"(
sources: {a: {topic: a, keyed_by: id}}
streams:
  s: {from: a, steps: [{aggregate: {by: id, window: {tumbling: 1m}, fields: {n: count(*)}}}], to: out}
)");
    alone.fill("a", "id", quoted);
    CHECK(alone.warnings().empty());
    CHECK(alone.broker.calls(connectors::Api::kPoll) == 0);

    World slow(kPaid);
    slow.fill("orders", "id", quoted);
    slow.fill("payments", "order_id", quoted);
    slow.broker.inject(connectors::Api::kAssign, 1, {connectors::Fault::Kind::kDelay, {}, 1'990, 0});
    const int64_t before_ms = slow.clock.monotonic_ms();
    static_cast<void>(slow.warnings());
    CHECK(slow.clock.monotonic_ms() - before_ms <= cmd::kKeySampleMs);
    slow.broker.set_available(false);
    CHECK(slow.warnings().empty());
    CHECK(slow.clock.monotonic_ms() - before_ms <= 2 * cmd::kKeySampleMs);
}
