#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "tests/worker/world.h"

using namespace weir;
using connectors::Api;
using connectors::Fault;

namespace {

constexpr int64_t kRecords = 200;

sim::Outputs undisturbed(const std::string& guarantee = "exactly_once") {
    sim::World world(guarantee);
    world.feed(kRecords);
    world.start();
    world.run_to_the_end();
    sim::Outputs outputs = world.outputs();
    // Not vacuous: every kind of output exists.
    for (const auto& [topic, lines] : outputs) {
        CAPTURE(topic);
        REQUIRE(lines.size() > 3);
    }
    return outputs;
}

}  // namespace

// Goal: a crash between any two turns changes nothing that a read_committed reader sees.
TEST_CASE("worker: power cut after every turn") {
    const sim::Outputs expected = undisturbed();
    for (int64_t at = 0; at < 40; ++at) {
        CAPTURE(at);
        sim::World world;
        world.feed(kRecords);
        world.start();
        world.run_to_the_end([&](int64_t turn) {
            if (turn == at) world.crash();
        });
        REQUIRE(sim::difference(expected, world.outputs()) == "");
        CHECK(world.broker.open_transactions() == 0);
    }
}

TEST_CASE("worker: power cut after each of the first hundred turns of one run") {
    const sim::Outputs expected = undisturbed();
    sim::World world;
    world.feed(kRecords);
    world.start();
    world.run_to_the_end([&](int64_t turn) {
        if (turn < 100) world.crash();
    });
    CHECK(sim::difference(expected, world.outputs()) == "");
}

// Goal: whatever a call to the broker answers, the outcome is read back and never guessed.
TEST_CASE("worker: every call to the broker fails, or loses its answer, at every place") {
    const sim::Outputs expected = undisturbed();
    const Api apis[] = {Api::kOpen,        Api::kCommitted, Api::kBegin,  Api::kProduce, Api::kFlush,
                        Api::kSendOffsets, Api::kCommit,    Api::kAssign, Api::kPoll,    Api::kEndOffset};
    for (const Api api : apis)
        for (const Fault::Kind kind : {Fault::Kind::kFail, Fault::Kind::kLoseAnswer, Fault::Kind::kRepeat,
                                       Fault::Kind::kDropRecords}) {
            if (kind == Fault::Kind::kRepeat && api != Api::kCommit) continue;
            if (kind == Fault::Kind::kDropRecords && api != Api::kProduce) continue;
            for (uint64_t nth = 1; nth <= 12; ++nth) {
                CAPTURE(static_cast<int>(api));
                CAPTURE(static_cast<int>(kind));
                CAPTURE(nth);
                sim::World world;
                world.feed(kRecords);
                world.start();
                Fault fault;
                fault.kind = kind;
                world.broker.inject(api, nth, fault);
                world.run_to_the_end();
                REQUIRE(sim::difference(expected, world.outputs()) == "");
                CHECK(world.broker.open_transactions() == 0);
            }
        }
}

// Goal: idleness and ticking survive too: the last windows close on time although the process died meanwhile.
TEST_CASE("worker: power cut while event time ticks on silence") {
    const sim::Outputs expected = undisturbed();
    for (int64_t at = 40; at < 1000; at += 23) {
        CAPTURE(at);
        sim::World world;
        world.feed(kRecords);
        world.start();
        world.run_to_the_end([&](int64_t turn) {
            if (turn == at) world.crash();
        });
        REQUIRE(sim::difference(expected, world.outputs()) == "");
    }
}

// Goal: silence is what the source says, not what a process that stood still did not hear. Method: while
// event time ticks, a call takes a minute, and a record comes meanwhile.
TEST_CASE("worker: event time does not tick past records that came during a standstill") {
    sim::World world;
    const auto append = [&](int32_t partition, int64_t t, const std::string& v) {
        connectors::MemoryRecord record;
        record.key = "k" + std::to_string(partition);
        record.value = R"({"k":")" + *record.key + R"(","t":)" + std::to_string(sim::World::base_ms + t) +
                       R"(,"v":)" + v + "}";
        world.broker.append("orders", partition, record);
    };
    const auto step_for = [&](int64_t milliseconds) {
        for (int64_t i = 0; i < milliseconds / 100; ++i) {
            REQUIRE(world.worker->step(0).ok());
            world.clock.advance_ms(100);
        }
    };
    append(0, 1'000, "1");
    world.start();
    step_for(7'000);
    REQUIRE(world.worker->status().shards[0].stages[0].ticking);
    append(1, 1'000, "99");  // Goes to `big` at once.
    world.broker.inject(connectors::Api::kProduce, 1, {connectors::Fault::Kind::kDelay, {}, 60'000});
    bool stood_still = false;
    world.broker.observe([&](connectors::Api api) {
        if (api == connectors::Api::kProduce && !std::exchange(stood_still, true)) append(0, 5'000, "2");
    });
    step_for(1'000);
    REQUIRE(stood_still);
    step_for(30'000);
    size_t late = 0;
    size_t whole = 0;  // Windows with both records.
    for (int32_t partition = 0; partition < sim::kPartitions; ++partition) {
        late += world.broker.read("late", partition).size();
        for (const auto& sum : world.broker.read("sums", partition))
            if (sum.value->find(R"("n":2)") != std::string::npos) ++whole;
    }
    CHECK(late == 0);
    CHECK(whole == 1);
}

// Goal: a worker with many silent partitions does not hang while the broker is slow to say where they end.
TEST_CASE("worker: one slow question for a partition's end per turn") {
    using connectors::Api;
    sim::World world;
    for (int32_t partition = 0; partition < sim::kPartitions; ++partition) {
        connectors::MemoryRecord record;
        record.key = "k";
        record.value = R"({"k":"k","t":)" + std::to_string(sim::World::base_ms) + R"(,"v":1})";
        world.broker.append("orders", partition, record);
    }
    world.start();
    for (int i = 0; i < 70; ++i) {
        REQUIRE(world.worker->step(0).ok());
        world.clock.advance_ms(100);
    }
    world.clock.advance_ms(10'000);  // A standstill: all are asked for again.
    const uint64_t before = world.broker.calls(Api::kEndOffset);
    for (uint64_t nth = 1; nth <= sim::kPartitions; ++nth)
        world.broker.inject(Api::kEndOffset, nth, {connectors::Fault::Kind::kDelay, {}, 1'000});
    for (uint64_t turn = 1; turn <= sim::kPartitions; ++turn) {
        REQUIRE(world.worker->step(0).ok());
        CHECK(world.broker.calls(Api::kEndOffset) == before + turn);
    }
}

// Goal: the case that error codes cannot tell: committed or not, the answer is lost and the process dies as
// well.
TEST_CASE("worker: a lost commit answer and a power cut together") {
    const sim::Outputs expected = undisturbed();
    for (const Fault::Kind kind : {Fault::Kind::kFail, Fault::Kind::kLoseAnswer})
        for (uint64_t nth = 1; nth <= 10; ++nth) {
            CAPTURE(static_cast<int>(kind));
            CAPTURE(nth);
            sim::World world;
            world.feed(kRecords);
            world.start();
            Fault fault;
            fault.kind = kind;
            world.broker.inject(Api::kCommit, nth, fault);
            bool crashed = false;
            world.run_to_the_end([&](int64_t) {
                if (crashed || world.worker->status().recoveries == 0) return;
                crashed = true;
                world.crash();
            });
            REQUIRE(crashed);
            REQUIRE(sim::difference(expected, world.outputs()) == "");
        }
}

TEST_CASE("worker: the broker is away for a while") {
    const sim::Outputs expected = undisturbed();
    for (int64_t from = 0; from < 30; from += 3) {
        CAPTURE(from);
        sim::World world;
        world.feed(kRecords);
        world.start();
        world.run_to_the_end([&](int64_t turn) {
            if (turn == from) world.broker.set_available(false);
            if (turn == from + 25) world.broker.set_available(true);
        });
        REQUIRE(sim::difference(expected, world.outputs()) == "");
    }
}

// Goal: after a takeover the first owner stops and its prepared epoch never counts.
TEST_CASE("worker: a second owner of the same identity fences the first") {
    sim::World world;
    world.feed(kRecords);
    world.start();
    for (int i = 0; i < 12; ++i) {
        world.feed_some();
        REQUIRE(world.worker->step(0).ok());
        world.clock.advance_ms(20);
    }
    sim::SimDisk other_disk;
    auto other_slot = other_disk.root();
    processor::Worker second(world.settings(), *world.plan, *world.connector, other_slot.get(), {},
                             world.clock);
    // An empty disk where Kafka holds commits: refused, but the first owner is fenced all the same.
    const auto refused = second.step(0);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code == Code::kMismatch);
    Result<processor::Worker::Turn> turn = processor::Worker::Turn::kRunning;
    for (int i = 0; i < 100 && turn.ok(); ++i) {
        world.feed_some();
        turn = world.worker->step(0);
        world.clock.advance_ms(20);
    }
    REQUIRE_FALSE(turn.ok());
    CHECK(turn.error().code == Code::kFenced);
}

// Goal: a process that stood still for longer than its transaction may last finds that another one has taken
// over and committed; it stops, and does not fence the other one.
TEST_CASE("worker: a process that wakes up after a takeover leaves the new owner alone") {
    sim::World world;
    world.feed(kRecords);
    world.start();
    const auto turns = [&](processor::Worker& worker, int count) {
        Result<processor::Worker::Turn> turn = processor::Worker::Turn::kRunning;
        for (int i = 0; i < count && turn.ok(); ++i) {
            world.feed_some();
            turn = worker.step(0);
            world.clock.advance_ms(20);
        }
        return turn;
    };
    REQUIRE(turns(*world.worker, 13).ok());
    REQUIRE(world.worker->step(0).ok());  // Something is open.
    sim::SimDisk copy;
    auto slot = copy.root();
    for (const std::string& file : world.disk.files())
        REQUIRE(state::write_synced(*slot, file, world.disk.bytes(file)).ok());
    processor::Worker second(world.settings(), *world.plan, *world.connector, slot.get(), {}, world.clock);
    world.clock.advance_ms(15'000);
    REQUIRE(turns(second, 20).ok());
    const auto woken = turns(*world.worker, 100);
    REQUIRE_FALSE(woken.ok());
    CHECK(woken.error().code == Code::kFenced);
    CHECK(turns(second, 100).ok());
}

// Goal: a commit that is decided but not visible yet, as after the death of a broker between the two, is not
// taken for another process's older one.
TEST_CASE("worker: a commit of ours that Kafka does not show yet is not a takeover") {
    const sim::Outputs expected = undisturbed();
    sim::World world;
    world.feed(kRecords);
    world.start();
    Fault slow;
    slow.kind = Fault::Kind::kSlowMarkers;
    slow.delay_ms = 8'000;
    world.broker.inject(Api::kCommit, 3, slow);
    while (world.broker.calls(Api::kCommit) < 3) {
        world.feed_some();
        REQUIRE(world.worker->step(0).ok());
        world.clock.advance_ms(20);
    }
    world.broker.inject(Api::kProduce, 1, Fault{});
    world.run_to_the_end();
    CHECK(world.worker->status().recoveries == 1);
    CHECK(sim::difference(expected, world.outputs()) == "");
}

// Goal: a transaction that Kafka aborted because it took too long is answered like a zombie's; the worker
// tells the two apart by its own clock and goes on.
TEST_CASE("worker: a transaction that Kafka timed out is not a takeover") {
    const sim::Outputs expected = undisturbed();
    for (const Api api : {Api::kFlush, Api::kSendOffsets, Api::kCommit})
        for (uint64_t nth = 2; nth <= 6; ++nth) {
            CAPTURE(static_cast<int>(api));
            CAPTURE(nth);
            sim::World world;
            world.feed(kRecords);
            world.start();
            Fault fault;
            fault.kind = Fault::Kind::kDelay;
            fault.delay_ms = 15'000;
            world.broker.inject(api, nth, fault);
            world.run_to_the_end();
            CHECK(world.worker->status().recoveries > 0);
            REQUIRE(sim::difference(expected, world.outputs()) == "");
        }
}

// Goal: an epoch that cannot be committed within transaction.timeout.ms, however often, is given longer. The
// epochs after it are not: with a killed process readers wait for its open transaction.
TEST_CASE("worker: an epoch that takes longer than the transaction's timeout") {
    const sim::Outputs expected = undisturbed();
    sim::World world;
    world.feed(kRecords);
    world.start();
    Fault fault;
    fault.kind = Fault::Kind::kDelay;
    fault.delay_ms = 35'000;  // Of 10 s; twice as long is too short, too.
    for (uint64_t i = 0; i < 3; ++i) world.broker.inject(Api::kFlush, 2 + i, fault);
    world.run_to_the_end();
    world.run_to_the_end();  // The delays took most of the first one's time.
    CHECK(world.worker->status().recoveries == 2);
    CHECK(sim::difference(expected, world.outputs()) == "");
}

// Goal: live results are committed every commit_interval; while a backlog is read nobody waits for them, and
// longer transactions cost less.
TEST_CASE("worker: transactions grow while records wait, and are as short as ever at the end of the input") {
    sim::World world;
    world.feed(26'000);
    while (world.fed < world.to_feed) world.feed_some();
    world.start();
    REQUIRE(world.worker->step(0).ok());
    const auto transactions = [&](int64_t turns, bool feeds) {
        constexpr int64_t kTurnMs = 10;
        std::vector<int64_t> lengths;
        int64_t begun_ms = world.clock.monotonic_ms();
        for (int64_t turn = 0; turn < turns; ++turn) {
            if (feeds) {
                world.to_feed += 4 * sim::kPartitions;
                world.feed_some();
            }
            const uint64_t before = world.broker.calls(Api::kCommit);
            REQUIRE(world.worker->step(0).ok());
            const int64_t now_ms = world.clock.monotonic_ms();
            world.clock.advance_ms(kTurnMs);
            if (world.broker.calls(Api::kCommit) == before) continue;
            lengths.push_back(now_ms - begun_ms);
            begun_ms = now_ms + kTurnMs;
        }
        return lengths;
    };
    const std::vector<int64_t> behind = transactions(300, false);
    REQUIRE(behind.size() > 3);
    CHECK(std::vector(behind.begin(), behind.begin() + 3) == std::vector<int64_t>{100, 200, 400});
    const std::vector<int64_t> live = transactions(100, true);
    REQUIRE(live.size() > 5);
    CHECK(std::count(live.begin() + 1, live.end(), 100) == static_cast<int64_t>(live.size()) - 1);
    world.check_ledger();
}

// Goal: a broker that comes and goes times out one transaction after the other before any is committed; the
// worker goes on. One that never gets further ends as if another process had taken over.
TEST_CASE("worker: transactions that Kafka timed out, several in a row") {
    const sim::Outputs expected = undisturbed();
    for (const uint64_t in_a_row : {uint64_t{3}, uint64_t{4}}) {
        CAPTURE(in_a_row);
        sim::World world;
        world.feed(kRecords);
        world.start();
        Fault fault;
        fault.kind = Fault::Kind::kDelay;
        for (uint64_t i = 0; i < in_a_row; ++i) {
            fault.delay_ms = 15'000 << i;  // Each transaction may take twice as long as the one before.
            world.broker.inject(Api::kSendOffsets, 2 + i, fault);
        }
        if (in_a_row == 3) {
            for (int i = 0; i < 4; ++i) world.run_to_the_end();  // The delays take most of the time.
            CHECK(world.worker->status().recoveries == 3);
            CHECK(sim::difference(expected, world.outputs()) == "");
            continue;
        }
        Result<processor::Worker::Turn> turn = processor::Worker::Turn::kRunning;
        for (int i = 0; i < 200 && turn.ok(); ++i) {
            world.feed_some();
            turn = world.worker->step(0);
            world.clock.advance_ms(20);
        }
        REQUIRE_FALSE(turn.ok());
        CHECK(turn.error().code == Code::kFenced);
    }
}

TEST_CASE("worker: offsets changed by somebody else are refused, with words") {
    sim::World world;
    world.feed(kRecords);
    world.start();
    world.run_to_the_end();
    for (int32_t partition = 0; partition < sim::kPartitions; ++partition)
        world.broker.set_committed("sim", "orders", partition, processor::CommittedOffset{0, ""});
    world.start();
    const auto turn = world.worker->step(0);
    REQUIRE_FALSE(turn.ok());
    CHECK(turn.error().code == Code::kMismatch);
    for (int32_t partition = 0; partition < sim::kPartitions; ++partition)
        world.broker.set_committed("sim", "orders", partition, std::nullopt);
    world.start();
    const auto expired = world.worker->step(0);
    REQUIRE_FALSE(expired.ok());
    CHECK(expired.error().code == Code::kMismatch);
}

// Goal: a full disk pauses reading; nothing is lost, and it goes on by itself.
TEST_CASE("worker: the disk is full for a while") {
    const sim::Outputs expected = undisturbed();
    sim::World world;
    world.feed(kRecords);
    world.start();
    bool paused = false;
    world.run_to_the_end([&](int64_t turn) {
        if (turn == 5) world.disk.set_capacity(1);
        if (turn > 5 && turn < 200) paused = paused || world.worker->status().disk_full;
        if (turn == 200) world.disk.set_capacity(uint64_t{1} << 30);
    });
    CHECK(paused);
    CHECK(sim::difference(expected, world.outputs()) == "");
}

// Goal: a recovery that finds the disk full waits, too. Method: a commit without an answer, before and after
// the disk is full; the recovery has to write the log anew.
TEST_CASE("worker: the disk is full when the outcome of a commit is read back") {
    const sim::Outputs expected = undisturbed();
    sim::World world;
    world.feed(kRecords);
    world.start();
    bool paused = false;
    world.run_to_the_end([&](int64_t turn) {
        if (turn == 20) {
            world.broker.inject(connectors::Api::kCommit, 1, {connectors::Fault::Kind::kLoseAnswer});
            world.disk.set_capacity(1);
        }
        if (turn > 20 && turn < 60)
            paused = paused || (world.worker->status().disk_full &&
                                world.worker->status().phase == processor::WorkerPhase::kRecovering);
        if (turn == 60) world.disk.set_capacity(uint64_t{1} << 30);
    });
    CHECK(paused);
    CHECK_FALSE(world.worker->status().disk_full);
    CHECK(sim::difference(expected, world.outputs()) == "");
}

// Goal: whoever waits for readiness does not send traffic to a worker that has not pinned its start offsets.
TEST_CASE("worker: a first start on a full disk is not called running") {
    sim::World world;
    world.disk.set_capacity(4096);  // Enough for the empty log, not for the first epoch.
    world.start();
    REQUIRE(world.worker->step(0).ok());
    CHECK(world.worker->status().disk_full);
    CHECK(world.worker->status().phase == processor::WorkerPhase::kRecovering);
    world.disk.set_capacity(UINT64_MAX);
    world.clock.advance_ms(1000);
    REQUIRE(world.worker->step(0).ok());
    CHECK(world.worker->status().phase == processor::WorkerPhase::kRunning);
}

// Goal: at-least-once loses nothing, whatever is repeated.
TEST_CASE("worker: at least once, power cut after every turn") {
    const sim::Outputs expected = undisturbed("at_least_once");
    for (int64_t at = 0; at < 20; ++at) {
        CAPTURE(at);
        sim::World world("at_least_once");
        world.feed(kRecords);
        world.start();
        world.run_to_the_end([&](int64_t turn) {
            if (turn == at) world.crash();
        });
        const sim::Outputs outputs = world.outputs();
        for (const auto& [topic, lines] : expected) {
            CAPTURE(topic);
            CHECK(std::includes(outputs.at(topic).begin(), outputs.at(topic).end(), lines.begin(),
                                lines.end()));
        }
    }
}
