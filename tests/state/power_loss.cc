// Power loss: at every changing call of a slot's life the disk is copied and its power cut, several times
// with other parts of what was not synced surviving: writes dropped, whole, or torn at 512 bytes or 4 KiB,
// renames and removals each made or not. Every such image must recover to what Kafka holds, and do so again
// when the power also fails inside that recovery.
//
//   power_loss [IMAGES [SEED]]     at least so many images (default 2,000), from this seed on (default 1)
//
// The last line is "ROW R14 pass|fail FIGURES"; a failure prints the seed.
#include <cstdio>
#include <cstdlib>

#include "base/time.h"
#include "state/recovery.h"
#include "tests/state/fixture.h"

using namespace weir;
using namespace weir::state;

namespace {

constexpr int kImagesPerCall = 4;

struct Figures {
    uint64_t images = 0;
    uint64_t recovered_twice = 0;
    uint64_t torn = 0;
    uint64_t forward = 0;
    uint64_t discarded = 0;
    std::string failure;
};

class Trial {
public:
    Trial(uint64_t seed, Figures& figures) : random_(seed), cuts_(~seed), figures_(figures) {
        options_.segment_bytes = 300 + random_() % 3000;
        options_.grow_bytes = 512 << random_() % 4;
    }

    // Lives of a slot with its snapshots, epochs that are aborted, and restarts.
    void run() {
        disk_.observe([this](const sim::SimDisk::Call&) { images(); });
        for (int life = 0; life < 3 && figures_.failure.empty(); ++life) {
            const auto directory = disk_.root();
            auto store =
                SlotStore::start(*directory, load_slot(*directory).value(), kafka_, options_, clock_).value();
            for (uint64_t turn = 5 + random_() % 10; turn > 0; --turn) {
                if (random_() % 5 == 0) store->snapshot().value();
                TestEpoch epoch =
                    make_epoch({{random_(), 1}, ++sequence_}, kafka_, {0, 1}, random_, 12, random_() % 300);
                store->reserve().value();
                store->append(epoch.view()).value();
                store->sync().value();
                if (turn == 1 || random_() % 10 == 0) break;  // Prepared, and never committed.
                kafka_ = epoch.record.id;
                apply_epoch(epoch, committed_);
                store->committed();
            }
        }
    }

private:
    void images() {
        for (int i = 0; i < kImagesPerCall && figures_.failure.empty(); ++i) {
            const auto copy = disk_.clone();
            copy->cut_power(cuts_);
            check(*copy, 0);
        }
    }

    void check(sim::SimDisk& disk, int depth) {
        ++figures_.images;
        const auto directory = disk.root();
        const auto image = load_slot(*directory);
        if (!image.ok()) return fail("load: " + image.error().message);
        std::vector<EpochLink> links;
        for (const LoggedEpoch& epoch : image->epochs) links.push_back({epoch.id, epoch.prev});
        const SnapshotRef* const snapshot = image->snapshot(0);
        KafkaCommit kafka;
        if (!kafka_.empty()) kafka = {KafkaCommit::Kind::kCommit, {kafka_, 0, "test"}};
        const RecoveryDecision decision = decide(
            {snapshot == nullptr ? std::nullopt : std::optional(snapshot->id), links, image->end, kafka});
        if (!decision.proceed()) return fail("refused: " + decision.text);
        const auto contents = read_back(*directory, *image, decision.upto);
        if (!contents.ok()) return fail("read: " + contents.error().message);
        if (*contents != committed_) return fail("another state than the one that was committed");
        figures_.torn += image->end == WalEnd::kTorn;
        figures_.forward += decision.outcome == Outcome::kForward;
        figures_.discarded += decision.discarded;
        if (depth == 2 || cuts_() % 3 != 0) return;
        // The power fails again while this recovery writes, or right after it.
        disk.stop_at(1 + cuts_() % 12);
        (void)SlotStore::start(*directory, *image, decision.upto, options_, clock_);
        disk.cut_power(cuts_);
        ++figures_.recovered_twice;
        check(disk, depth + 1);
    }

    void fail(std::string what) {
        if (figures_.failure.empty()) figures_.failure = std::move(what);
    }

    std::mt19937_64 random_;
    std::mt19937_64 cuts_;
    Figures& figures_;
    sim::SimDisk disk_;
    ManualClock clock_;
    SlotOptions options_;
    CommitId kafka_;
    Contents committed_;
    uint64_t sequence_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    const uint64_t wanted = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 2'000;
    Figures figures;
    uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
    for (; figures.images < wanted; ++seed) {
        Trial(seed, figures).run();
        if (figures.failure.empty()) continue;
        std::printf("not ok power loss: %s\nreplay: power_loss 1 %lu\n", figures.failure.c_str(),
                    static_cast<unsigned long>(seed));
        break;
    }
    // Otherwise it would prove nothing.
    const bool real =
        figures.torn > 0 && figures.forward > 0 && figures.discarded > 0 && figures.recovered_twice > 0;
    const bool passed = figures.failure.empty() && real;
    if (passed) std::printf("ok power loss\n");
    std::printf(
        "ROW R14 %s %lu crash images, %lu of them of a recovery; %lu torn tails, %lu rolled forward, "
        "%lu epochs discarded\n",
        passed ? "pass" : "fail", static_cast<unsigned long>(figures.images),
        static_cast<unsigned long>(figures.recovered_twice), static_cast<unsigned long>(figures.torn),
        static_cast<unsigned long>(figures.forward), static_cast<unsigned long>(figures.discarded));
    return passed ? 0 : 1;
}
