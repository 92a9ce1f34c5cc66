// Goal: what Kafka holds is what recovery restores, wherever the machine stops, also during recovery.
// Method: random epochs and snapshots on a disk that loses unsynced writes, stopped at a random call; "Kafka"
// is the id of the last epoch that was synced and then committed. The commit itself may happen just before
// the machine stops. Replay: WEIR_SEED=<seed> WEIR_RUNS=1 state_test -tc="crash: *"
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "base/time.h"
#include "state/recovery.h"
#include "tests/state/fixture.h"

using namespace weir;
using namespace weir::state;

namespace {

uint64_t setting(const char* name, uint64_t otherwise) {
    const char* const text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class World {
public:
    explicit World(uint64_t seed) : random_(seed) {
        options_.segment_bytes = 300 + random_() % 3000;
        options_.grow_bytes = 4096;
    }

    // One life of the process: recover, check, work until the machine stops.
    void live() {
        if (random_() % 8 != 0) disk_.stop_at(1 + random_() % 50);
        const auto ended = run();
        if (!ended.ok()) INFO(ended.error().message);
        REQUIRE((ended.ok() || ended.error().code == Code::kIo));
        store_.reset();
        disk_.cut_power(random_);
    }

    uint64_t commits = 0;
    uint64_t forwards = 0;
    uint64_t discards = 0;
    uint64_t torn = 0;

private:
    Result<void> run() {
        const auto directory = disk_.root();
        auto image = load_slot(*directory);
        if (!image.ok()) return Error{Code::kCorrupt, image.error().message};
        REQUIRE(image->end != WalEnd::kCorrupt);
        torn += image->end == WalEnd::kTorn;
        std::vector<EpochLink> links;
        for (const LoggedEpoch& epoch : image->epochs) links.push_back({epoch.id, epoch.prev});
        const SnapshotRef* const snapshot = image->snapshot(0);
        KafkaCommit kafka;
        if (!kafka_.empty()) kafka = {KafkaCommit::Kind::kCommit, {kafka_, 0, "test"}};
        const RecoveryDecision decision = decide(
            {snapshot == nullptr ? std::nullopt : std::optional(snapshot->id), links, image->end, kafka});
        INFO(decision.text);
        REQUIRE(decision.proceed());
        forwards += decision.outcome == Outcome::kForward;
        discards += decision.discarded;
        REQUIRE(read_back(*directory, *image, decision.upto).value() == committed_);
        if (!kafka_.empty())
            REQUIRE(image->progress(1, decision.epochs_kept)->partitions[0].next_offset ==
                    static_cast<int64_t>(kafka_.sequence * 10));

        WEIR_ASSIGN(store_, SlotStore::start(*directory, *image, decision.upto, options_, clock_));
        const uint64_t boot = random_();
        for (uint64_t turn = random_() % 40; turn > 0; --turn) {
            if (random_() % 6 == 0) WEIR_TRY(store_->snapshot());
            TestEpoch epoch =
                make_epoch({{boot, boot}, ++sequence_}, kafka_, {0, 1}, random_, 12, random_() % 400);
            WEIR_TRY(store_->reserve());
            WEIR_TRY(store_->append(epoch.view()));
            WEIR_TRY(store_->sync());
            if (random_() % 12 == 0) return {};  // Aborted, or the process died before the commit.
            kafka_ = epoch.record.id;
            apply_epoch(epoch, committed_);
            ++commits;
            if (random_() % 12 == 0) return {};  // Died before it heard of the commit.
            store_->committed();
        }
        return {};
    }

    std::mt19937_64 random_;
    sim::SimDisk disk_;
    ManualClock clock_;
    SlotOptions options_;
    std::unique_ptr<SlotStore> store_;
    CommitId kafka_;
    Contents committed_;
    uint64_t sequence_ = 0;
};

}  // namespace

TEST_CASE("crash: any stop of the machine, also during recovery, restores what Kafka holds") {
    const uint64_t first = setting("WEIR_SEED", 1);
    const uint64_t runs = setting("WEIR_RUNS", 300);
    uint64_t commits = 0;
    uint64_t forwards = 0;
    uint64_t discards = 0;
    uint64_t torn = 0;
    for (uint64_t seed = first; seed < first + runs; ++seed) {
        INFO("replay: WEIR_SEED=" << seed << " WEIR_RUNS=1 state_test -tc=\"crash: any*\"");
        World world(seed);
        for (int life = 0; life < 15; ++life) world.live();
        commits += world.commits;
        forwards += world.forwards;
        discards += world.discards;
        torn += world.torn;
    }
    MESSAGE("lives " << runs * 15 << ", commits " << commits << ", rolled forward " << forwards
                     << ", discarded " << discards << ", torn tails " << torn);
    if (runs >= 100) {  // Otherwise the test would prove nothing.
        CHECK(commits > runs * 10);
        CHECK(forwards > runs);
        CHECK(discards > runs / 10);
        CHECK(torn > 20);
    }
}

// Goal: a call that fails once never makes the store forget or invent: the process that sees it stops, and
// the next one finds what Kafka holds. Method: fail the n-th changing call for every n, with kIo and with
// kNoSpace.
TEST_CASE("crash: every single failing call") {
    for (const Code code : {Code::kIo, Code::kNoSpace}) {
        for (uint64_t n = 1; n < 150; ++n) {
            CAPTURE(n);
            CAPTURE(static_cast<int>(code));
            sim::SimDisk disk;
            ManualClock clock;
            std::mt19937_64 random(n);
            SlotOptions options;
            options.segment_bytes = 700;
            options.grow_bytes = 4096;
            Contents committed;
            CommitId kafka;
            {
                const auto directory = disk.root();
                disk.fail_at(n, code);
                auto store = SlotStore::start(*directory, load_slot(*directory).value(), {}, options, clock);
                for (uint64_t i = 1; store.ok() && i <= 30; ++i) {
                    if (i % 5 == 0) (void)(*store)->snapshot();  // Reported; never the worker's end.
                    TestEpoch epoch = make_epoch({{1, 1}, i}, kafka, {0, 1}, random);
                    if (!(*store)->reserve().ok() && !(*store)->reserve().ok()) break;
                    if (!(*store)->append(epoch.view()).ok() || !(*store)->sync().ok()) break;
                    (*store)->committed();
                    kafka = epoch.record.id;
                    apply_epoch(epoch, committed);
                }
            }
            disk.cut_power(random);
            const auto directory = disk.root();
            const auto image = load_slot(*directory);
            REQUIRE(image.ok());
            REQUIRE(image->end != WalEnd::kCorrupt);
            REQUIRE(read_back(*directory, *image, kafka).value() == committed);
        }
    }
}
