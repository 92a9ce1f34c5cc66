#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "state/recovery.h"

using namespace weir;
using namespace weir::state;

namespace {

CommitId id(uint64_t sequence, uint64_t boot = 7) { return {{boot, boot}, sequence}; }

KafkaCommit kafka(const CommitId& commit) { return {KafkaCommit::Kind::kCommit, {commit, 5, "orders/0"}}; }

RecoveryDecision decide_for(std::optional<CommitId> snapshot, const std::vector<EpochLink>& epochs,
                            KafkaCommit commit, WalEnd end = WalEnd::kClean) {
    return decide({snapshot, epochs, end, std::move(commit)});
}

}  // namespace

// Every combination of: snapshot or none, a log of 0 to 3 epochs from the snapshot or from nothing, how the
// log ends, and what Kafka holds: nothing, foreign offsets, each id of the disk, a commit of another boot,
// the same sequence number by another boot.
TEST_CASE("recovery: exactly one rule matches every input") {
    std::set<Outcome> seen;
    size_t inputs = 0;
    for (const bool has_snapshot : {false, true}) {
        for (uint64_t count = 0; count <= 3; ++count) {
            for (const bool from_nothing : {false, true}) {
                std::vector<EpochLink> epochs;
                for (uint64_t i = 1; i <= count; ++i)
                    epochs.push_back({id(10 + i), i == 1 && from_nothing ? CommitId{} : id(10 + i - 1)});
                std::vector<KafkaCommit> commits{
                    {}, {KafkaCommit::Kind::kForeign, {}}, kafka(id(11, 8)), kafka(id(99))};
                for (uint64_t i = 0; i <= count; ++i) commits.push_back(kafka(id(10 + i)));
                for (const WalEnd end : {WalEnd::kClean, WalEnd::kTorn, WalEnd::kCorrupt}) {
                    for (const KafkaCommit& commit : commits) {
                        const auto snapshot = has_snapshot ? std::optional(id(10)) : std::nullopt;
                        const RecoveryInput input{snapshot, epochs, end, commit};
                        const auto rules = recovery_rules();
                        const auto matches =
                            std::count_if(rules.begin(), rules.end(),
                                          [&](const RecoveryRule& rule) { return rule.matches(input); });
                        REQUIRE(matches == 1);
                        const RecoveryDecision decision = decide(input);
                        seen.insert(decision.outcome);
                        ++inputs;
                        // What is refused is explained; nothing is applied beyond what Kafka holds.
                        CHECK(decision.proceed() == decision.text.empty());
                        if (decision.proceed() && commit.kind == KafkaCommit::Kind::kCommit)
                            CHECK(decision.upto == commit.metadata.id);
                        if (decision.proceed() && decision.epochs_kept > 0)
                            CHECK(epochs[decision.epochs_kept - 1].id == commit.metadata.id);
                        if (end == WalEnd::kCorrupt) CHECK_FALSE(decision.proceed());
                    }
                }
            }
        }
    }
    CHECK(inputs > 200);
    CHECK(seen.size() == recovery_rules().size());
}

TEST_CASE("recovery: the outcomes a user can meet") {
    const std::vector<EpochLink> one{{id(11), id(10)}};
    const std::vector<EpochLink> two{{id(11), id(10)}, {id(12), id(11)}};
    const std::vector<EpochLink> three{{id(11), id(10)}, {id(12), id(11)}, {id(13), id(12)}};
    SUBCASE("a prepared epoch that Kafka does not hold is dropped") {
        const auto decision = decide_for(id(10), one, kafka(id(10)));
        CHECK(decision.outcome == Outcome::kEqual);
        CHECK(decision.epochs_kept == 0);
        CHECK(decision.discarded == 1);
    }
    SUBCASE("an epoch whose acknowledgement was lost is redone") {
        const auto decision = decide_for(id(10), two, kafka(id(12)));
        CHECK(decision.outcome == Outcome::kForward);
        CHECK(decision.epochs_kept == 2);
        CHECK(decision.discarded == 0);
    }
    SUBCASE("the same number by another boot is not the same commit") {
        CHECK(decide_for(id(10), one, kafka(id(11, 8))).outcome == Outcome::kBehindOrForeign);
    }
    SUBCASE("a log that proves later commits means that Kafka went back") {
        CHECK(decide_for(id(10), two, kafka(id(10))).outcome == Outcome::kRewound);
        CHECK(decide_for(id(10), three, kafka(id(11))).outcome == Outcome::kRewound);
        CHECK(decide_for(id(10), three, kafka(id(12))).outcome == Outcome::kForward);
    }
    SUBCASE("an empty disk never starts from committed offsets") {
        CHECK(decide_for(std::nullopt, {}, kafka(id(11))).outcome == Outcome::kStateLost);
        CHECK_FALSE(decide_by_log({std::nullopt, {}, WalEnd::kClean, kafka(id(11))}).proceed());
    }
    SUBCASE("a torn log that lost Kafka's commit is refused, a torn log that did not is fine") {
        CHECK(decide_for(id(10), one, kafka(id(12)), WalEnd::kTorn).outcome == Outcome::kTornLost);
        CHECK(decide_for(id(10), one, kafka(id(11)), WalEnd::kTorn).outcome == Outcome::kForward);
    }
    SUBCASE("reset and expired offsets are refused, the first start is not") {
        CHECK(decide_for(id(10), {}, {KafkaCommit::Kind::kForeign, {}}).outcome == Outcome::kReset);
        CHECK(decide_for(id(10), {}, {}).outcome == Outcome::kOffsetsLost);
        CHECK(decide_for(std::nullopt, two, {}).outcome == Outcome::kOffsetsLost);
        CHECK(decide_for(std::nullopt, {}, {}).outcome == Outcome::kGenesis);
        const std::vector<EpochLink> first{{id(1), {}}};
        CHECK(decide_for(std::nullopt, first, {}).outcome == Outcome::kGenesis);
    }
    SUBCASE("refusals name both commits and the writer") {
        const auto decision = decide_for(id(10), one, kafka(id(20)));
        CHECK(decision.text.find(to_string(id(20))) != std::string::npos);
        CHECK(decision.text.find(to_string(id(11))) != std::string::npos);
        CHECK(decision.text.find("orders/0") != std::string::npos);
    }
    SUBCASE("where the log decides, all of it counts") {
        const auto decision = decide_by_log({id(10), two, WalEnd::kTorn, {}});
        CHECK(decision.outcome == Outcome::kForward);
        CHECK(decision.upto == id(12));
        CHECK_FALSE(decide_by_log({id(10), two, WalEnd::kCorrupt, {}}).proceed());
    }
}

TEST_CASE("commit metadata: what is written is read, anything else is foreign") {
    for (const EventTime watermark :
         {kNoTime, EventTime{0}, EventTime{-5}, EventTime{1'700'000'000'000}, kEndOfTime}) {
        const CommitMetadata metadata{
            {{0x1234, UINT64_MAX}, UINT64_MAX}, watermark, "host-1.example:9/orders/0"};
        const std::string text = encode_commit_metadata(metadata);
        CHECK(text.size() <= 200);
        REQUIRE(parse_commit_metadata(text));
        CHECK(*parse_commit_metadata(text) == metadata);
        for (size_t length = 0; length < text.size(); ++length) {
            const auto cut = parse_commit_metadata(text.substr(0, length));
            CHECK((!cut || cut->instance.size() < metadata.instance.size()));
        }
    }
    const CommitMetadata odd{id(1), 0, std::string(300, 'x') + "\n;é"};
    CHECK(encode_commit_metadata(odd).size() <= 200);
    CHECK(parse_commit_metadata(encode_commit_metadata(odd)));
    const std::string good = encode_commit_metadata({id(1), 5, "a"});
    CHECK(parse_commit_metadata(good));
    for (const std::string& bad :
         {std::string(), std::string("offset metadata"), "v2" + good.substr(2), good + ";", good + ";x=1",
          good + std::string(1, '\0'), " " + good, good + std::string(300, 'a')})
        CHECK_FALSE(parse_commit_metadata(bad));
}
