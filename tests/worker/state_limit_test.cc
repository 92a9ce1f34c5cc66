// state.max_memory_mib under the real worker, operators, log and recovery code: what is above the limit stops
// the worker between two epochs, and goes on exactly when the limit is raised.
#include <doctest/doctest.h>

#include <spdlog/sinks/ostream_sink.h>

#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "base/log.h"
#include "processor/state_limit.h"
#include "tests/worker/cluster.h"
#include "tests/worker/world.h"

using namespace weir;

namespace {

constexpr uint64_t kNoLimit = 0;
constexpr uint64_t kLowLimit = 120'000;
constexpr int64_t kRecords = 150;

// Steps until the worker stops by itself; none: it went on to the end.
std::optional<Error> run_until_it_stops(sim::World& world) {
    for (int turn = 0; turn < 3'000; ++turn) {
        world.feed_some();
        const auto done = world.worker->step(0);
        if (!done.ok()) return done.error();
        world.clock.advance_ms(20);
    }
    return std::nullopt;
}

constexpr const char* kPipeline = R"(
name: rp
kafka: {bootstrap.servers: none}
sources:
  orders: {topic: orders, keyed_by: k}
tables:
  names: {topic: names, global: true}
streams:
  found:
    from: orders
    steps: [{lookup: {table: names, by: n}}, {map: {id: id, name: names.name}}]
    to: found
)";

void append_names(worker::Cluster& cluster, int count) {
    for (int i = 0; i < count; ++i) {
        connectors::MemoryRecord record;
        record.key = std::to_string(i);
        record.value = R"({"name":")" + std::string(400, 'n') + "\"}";
        cluster.broker.append("names", i % 2, record);
    }
}

class CapturedLog {
public:
    CapturedLog() : before_(spdlog::default_logger()) {
        spdlog::set_default_logger(std::make_shared<spdlog::logger>(
            "captured", std::make_shared<spdlog::sinks::ostream_sink_mt>(out_)));
    }
    ~CapturedLog() { spdlog::set_default_logger(before_); }
    [[nodiscard]] size_t count(const std::string& text) const {
        const std::string all = out_.str();
        size_t found = 0;
        for (size_t at = all.find(text); at != std::string::npos; at = all.find(text, at + 1)) ++found;
        return found;
    }

private:
    std::ostringstream out_;
    std::shared_ptr<spdlog::logger> before_;
};

}  // namespace

// Goal: the epoch that goes above the limit is committed whole; a restart says the same before it reads
// anything; with a higher limit the results are those of a run without any, with and without a power cut.
TEST_CASE("worker: state above its limit stops between epochs, and goes on exactly with a higher one") {
    for (const std::string guarantee : {"exactly_once", "at_least_once"}) {
        for (const bool power_cut : {false, true}) {
            CAPTURE(guarantee);
            CAPTURE(power_cut);
            sim::World whole(guarantee);
            whole.limit_state(kNoLimit);
            whole.feed(kRecords);
            whole.start();
            whole.run_to_the_end();

            sim::World world(guarantee);
            world.limit_state(kLowLimit);
            world.feed(kRecords);
            world.start();
            const auto stopped = run_until_it_stops(world);
            REQUIRE(stopped);
            INFO(stopped->message);
            CHECK(stopped->code == Code::kStateLimit);
            CHECK(stopped->message.find("state.max_memory_mib") != std::string::npos);
            CHECK(stopped->message.find("lasts.steps[0]") != std::string::npos);
            CHECK(world.fed < world.to_feed);
            const uint64_t committed_bytes = world.state_limit->bytes();
            CHECK(committed_bytes > kLowLimit);
            const sim::Outputs before = world.outputs();
            CHECK(!before.empty());

            if (power_cut)
                world.crash();
            else
                world.start();
            const auto again = world.worker->step(0);
            REQUIRE_FALSE(again.ok());
            CHECK(again.error().code == Code::kStateLimit);
            CHECK(world.worker->status().epochs_committed == 0);
            CHECK(world.outputs() == before);
            CHECK(world.state_limit->bytes() > committed_bytes / 2);  // What is restored lies closer.

            world.limit_state(1 << 30);
            world.start();
            world.run_to_the_end();
            CHECK_MESSAGE(world.outputs() == whole.outputs(),
                          sim::difference(whole.outputs(), world.outputs()));
        }
    }
}

// Goal: the limit is the process's, not a worker's; a global table counts once per worker; what only loads,
// and is in no epoch, is noticed too.
TEST_CASE("worker: the state of all workers together stays within the limit") {
    uint64_t alone = 0;
    for (const size_t workers : {size_t{1}, size_t{2}}) {
        worker::Cluster cluster(kPipeline, 2, 0, static_cast<int32_t>(workers));
        cluster.state_limit = std::make_unique<processor::StateLimit>(*cluster.plan, kNoLimit);
        append_names(cluster, 3'000);
        cluster.start();
        for (int turn = 0; turn < 40; ++turn) cluster.turn();
        if (workers == 1) alone = cluster.state_limit->bytes();
        CHECK(alone > 3'000 * 400);
        CHECK(cluster.state_limit->bytes() == workers * alone);
        for (size_t slot = 0; slot < workers; ++slot) cluster.stop(slot);
        CHECK(cluster.state_limit->bytes() == 0);
    }
    worker::Cluster cluster(kPipeline, 2, 0, 2);
    cluster.state_limit = std::make_unique<processor::StateLimit>(*cluster.plan, alone + alone / 2);
    append_names(cluster, 3'000);
    cluster.start();
    std::optional<Error> stopped;
    for (int turn = 0; turn < 40 && !stopped; ++turn)
        for (size_t slot = 0; slot < 2 && !stopped; ++slot)
            if (const auto done = cluster.step(slot); !done.ok()) stopped = done.error();
    REQUIRE(stopped);
    CHECK(stopped->code == Code::kStateLimit);
    CHECK(stopped->message.find("table names ") != std::string::npos);
}

// Goal: operators see it come, once each time.
TEST_CASE("state limit: warns at 80 %, and again after it was below 70 %") {
    worker::Cluster cluster(kPipeline, 2, 0, 1);
    processor::StateLimit limit(*cluster.plan, 1'000);
    CapturedLog log;
    std::vector<processor::OperatorUse> use(limit.operators());
    const auto take = [&](uint64_t bytes) {
        std::vector<processor::OperatorUse> next = use;
        next.back() = {bytes, bytes / 10};
        limit.change(use, next);
        use = next;
    };
    take(799);
    CHECK(log.count("state.max_memory_mib") == 0);
    take(800);
    CHECK(log.count("state.max_memory_mib") == 1);
    take(900);
    take(750);
    take(850);
    CHECK(log.count("state.max_memory_mib") == 1);
    take(600);
    take(1'000);
    CHECK(log.count("state.max_memory_mib") == 2);
    CHECK(log.count("table names") == 2);
    CHECK(limit.check().ok());
    take(1'001);
    CHECK_FALSE(limit.check().ok());
}
