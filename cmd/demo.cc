// `weir demo`: an in-process Kafka-compatible broker, a generator of orders, the shipped demo pipeline and a
// reader of its results, all in this process. No exactly-once claim: the broker stores no transactions.
#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "base/log.h"
#include "cmd/app.h"
#include "cmd/demo_pipeline.h"
#include "cmd/exit_code.h"
#include "cmd/verbs.h"
#include "config/load.h"
#include "connectors/kafka_connector.h"
#include "connectors/mock_cluster.h"

namespace weir::cmd {
namespace {

constexpr int32_t kPartitions = 2;
constexpr int64_t kOrdersPerTick = 4;
constexpr int64_t kTickMs = 20;
constexpr int64_t kMaxSeconds = 50;
constexpr int64_t kTimeoutMs = 10'000;

struct Tally {
    uint64_t orders = 0;
    uint64_t late_orders = 0;  // Sent with an event time far in the past.
    uint64_t broken = 0;       // Sent as damaged JSON.
};

// One order as JSON; now and then one that is late, and one that is broken.
std::string next_order(std::mt19937_64& random, int64_t now_ms, std::string& customer, Tally& tally) {
    customer = "customer-" + std::to_string(random() % 5 + 1);
    const uint64_t cents = random() % 20'000 + 100;
    const char* const status = random() % 4 == 0 ? "OPEN" : "PAID";
    int64_t created_ms = now_ms - static_cast<int64_t>(random() % 800);
    if (++tally.orders % 200 == 0) {
        created_ms -= 60'000;
        ++tally.late_orders;
    }
    std::string order = fmt::format(R"({{"customer":"{}","status":"{}","amount":{}.{:02},"created_at":{}}})",
                                    customer, status, cents / 100, cents % 100, created_ms);
    if (tally.orders % 500 == 0) {
        order.pop_back();
        ++tally.broken;
    }
    return order;
}

// Reads what has arrived on a topic since the last call; prints each record when `show` is set.
Result<uint64_t> read_results(processor::Source& source, bool show) {
    uint64_t count = 0;
    auto poll = source.poll(kTickMs, 1000);
    if (!poll.ok()) return poll.error();
    for (const processor::InputRun& run : poll->runs)
        for (const processor::InputRecord& record : run.records) {
            ++count;
            if (show) std::printf("%.*s\n", static_cast<int>(record.value.size()), record.value.data());
        }
    std::fflush(stdout);
    return count;
}

Result<void> play(int64_t seconds) {
    SystemClock clock;
    const int64_t start_us = clock.monotonic_us();
    WEIR_ASSIGN(
        auto cluster,
        connectors::MockCluster::start(
            {{"orders", kPartitions}, {"revenue", kPartitions}, {"orders-late", 1}, {"demo-dlq", 1}}));
    const std::string bootstrap = cluster->bootstrap();
    std::printf("demo: in-process broker on %s (try: kcat -b %s -t revenue -C)\n", bootstrap.c_str(),
                bootstrap.c_str());
    std::printf("demo: results of 5 s windows follow as JSON lines for %lld s\n",
                static_cast<long long>(seconds));
    std::fflush(stdout);

    config::LoadOptions options = config::system_options();
    options.environment = [&](const std::string& name) -> std::optional<std::string> {
        if (name == "WEIR_DEMO_KAFKA") return bootstrap;
        return std::nullopt;
    };
    config::Loaded loaded = config::load_text("examples/demo.yaml", kDemoPipeline, options);
    std::unique_ptr<const processor::Plan> plan;
    if (!loaded.diagnostics.has_errors()) plan = processor::compile(loaded.pipeline, loaded.diagnostics);
    WEIR_CHECK(plan != nullptr, loaded.diagnostics.render("examples/demo.yaml", loaded.source));
    char folder[] = "/tmp/weir-demo-XXXXXX";
    if (mkdtemp(folder) == nullptr) return Error{Code::kIo, "cannot create a folder under /tmp"};
    loaded.pipeline.state_dir = folder;
    loaded.pipeline.workers = {false, 1, {}};

    // The generator's outputs and the reader's inputs, by the same connector as any pipeline's.
    connectors::KafkaConnector tester(loaded.pipeline.kafka, "demo-tester",
                                      {"revenue", "orders-late", "demo-dlq"}, {"orders"});
    WEIR_ASSIGN(auto orders, tester.make_sink({"demo-tester", 0, 0}, false));
    WEIR_TRY(orders->open(kTimeoutMs));
    WEIR_ASSIGN(auto results, tester.make_source({"demo-tester", 0, 0}));
    WEIR_TRY(
        results->assign(std::vector<processor::StartOffset>{{{TopicId{0}, 0}, 0}, {{TopicId{0}, 1}, 0}}));
    WEIR_ASSIGN(auto others, tester.make_source({"demo-tester", 0, 1}));
    WEIR_TRY(others->assign(std::vector<processor::StartOffset>{{{TopicId{1}, 0}, 0}, {{TopicId{2}, 0}, 0}}));

    App app(loaded.pipeline, std::move(plan), {.process_start_us = start_us}, clock);
    WEIR_TRY(app.start());

    std::mt19937_64 random(7);
    Tally tally;
    uint64_t windows = 0;
    uint64_t side_records = 0;
    std::string customer;
    const int64_t generate_until = clock.monotonic_ms() + (seconds - 8 > 2 ? seconds - 8 : 2) * 1000;
    const int64_t read_until = clock.monotonic_ms() + seconds * 1000;
    while (clock.monotonic_ms() < read_until && !app.wait(0)) {
        for (int64_t i = 0; i < kOrdersPerTick && clock.monotonic_ms() < generate_until; ++i) {
            processor::OutputRecord record;
            const std::string order = next_order(random, clock.wall_ms(), customer, tally);
            record.key = customer;
            record.value = order;
            WEIR_TRY(orders->produce(record));
        }
        orders->start_flush();
        WEIR_ASSIGN(const uint64_t shown, read_results(*results, true));
        WEIR_ASSIGN(const uint64_t aside, read_results(*others, false));
        windows += shown;
        side_records += aside;
    }
    app.request_stop();
    while (!app.wait(100)) {
    }
    std::error_code ignored;  // A folder that stays under /tmp harms nobody.
    std::filesystem::remove_all(folder, ignored);
    if (app.error()) return *app.error();
    // The silence after the last order closes the last windows: event time goes on ticking.
    std::printf(
        "demo: %llu orders in, %llu window results out; %llu late and %llu broken ones went to their own "
        "topics (%llu read back)\n",
        static_cast<unsigned long long>(tally.orders), static_cast<unsigned long long>(windows),
        static_cast<unsigned long long>(tally.late_orders), static_cast<unsigned long long>(tally.broken),
        static_cast<unsigned long long>(side_records));
    std::printf(
        "demo: this broker keeps no transactions, so this ran at-least-once; exactly-once needs a real Kafka "
        "(README.md)\n");
    if (windows == 0)
        return Error{Code::kInvalid, "no window closed; is this machine very busy? Try --seconds 40s"};
    return {};
}

}  // namespace

int demo(int64_t milliseconds) {
    const int64_t seconds = std::min(milliseconds / 1000, kMaxSeconds);
    const auto played = play(seconds);
    if (!played.ok()) {
        std::printf("demo: FAILED: %s\n", played.error().message.c_str());
        return exit_code(played.error().code);
    }
    std::printf("demo: ok\n");
    return kExitOk;
}

}  // namespace weir::cmd
