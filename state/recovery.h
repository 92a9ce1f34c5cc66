// The decision table: what a shard's state on disk means, given what Kafka holds for it. Pure; reads nothing,
// writes nothing. Kafka's transaction is the decision, the log is the redo information that belongs to it.
//
// Exactly one rule matches every input. Texts name both commits and say what to do.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "state/wal.h"

namespace weir::state {

// What weir stores beside every committed offset:
//   v1;c=<commit id>;w=<watermark ms, or "-" for none>;h=<instance>     printable ASCII, at most 200 bytes
struct CommitMetadata {
    CommitId id;
    EventTime watermark = kNoTime;
    std::string instance;  // Encoding replaces what is not [A-Za-z0-9._:/-] by '_' and keeps 80 bytes.

    friend bool operator==(const CommitMetadata&, const CommitMetadata&) = default;
};
[[nodiscard]] std::string encode_commit_metadata(const CommitMetadata& metadata);
// nullopt: not exactly that form, so the offset was not committed by weir.
[[nodiscard]] std::optional<CommitMetadata> parse_commit_metadata(std::string_view text);

// What Kafka holds for a shard's partitions (read_committed, after the predecessor's transaction ended).
struct KafkaCommit {
    enum class Kind : uint8_t {
        kNone,     // No offset: never committed, or expired.
        kForeign,  // Offsets without our metadata: somebody reset them.
        kCommit,   // Ours.
    } kind = Kind::kNone;
    CommitMetadata metadata;  // kCommit only.
};

struct EpochLink {
    CommitId id;
    CommitId prev;
};

struct RecoveryInput {
    std::optional<CommitId> snapshot;   // The shard's snapshot on disk.
    std::span<const EpochLink> epochs;  // In the log after the snapshot, in order.
    WalEnd end = WalEnd::kClean;
    KafkaCommit kafka;
};

enum class Outcome : uint8_t {
    kEqual,            // Kafka holds the snapshot's commit: no epoch of the log counts.
    kForward,          // Kafka holds an epoch of the log: it and those before it count.
    kGenesis,          // Nothing was ever committed, here or there.
    kRewound,          // Kafka holds an older commit than the log proves: Kafka went back.
    kBehindOrForeign,  // Kafka holds a commit that this disk never saw: an older disk, or another's.
    kStateLost,        // Kafka holds our commit and the disk is empty.
    kTornLost,         // Kafka's commit is not in what remains of a torn log.
    kReset,            // Kafka holds offsets that weir did not write.
    kOffsetsLost,      // Kafka holds nothing, the disk holds committed state.
    kCorrupt,          // The log is damaged in the middle.
};
[[nodiscard]] const char* outcome_name(Outcome outcome);

struct RecoveryDecision {
    Outcome outcome;
    size_t epochs_kept = 0;  // kEqual, kForward, kGenesis, kRewound: so many epochs of the log count.
    CommitId upto;           // The last commit that counts; empty for genesis and refusals.
    uint64_t discarded = 0;  // Prepared epochs that do not count.
    std::string text;        // For the user: what, why, what to do. Empty when there is nothing to say.

    [[nodiscard]] bool proceed() const {
        return outcome == Outcome::kEqual || outcome == Outcome::kForward || outcome == Outcome::kGenesis;
    }
};

[[nodiscard]] RecoveryDecision decide(const RecoveryInput& input);

// Where the log itself decides (outputs without transactions): every whole epoch of it counts. Refuses when
// it is corrupt, and when Kafka's advisory offsets show that an empty disk once held more.
[[nodiscard]] RecoveryDecision decide_by_log(const RecoveryInput& input);

// One rule of the table; exposed so that a test can prove that the rules are disjoint and complete.
struct RecoveryRule {
    Outcome outcome;
    bool (*matches)(const RecoveryInput& input);
};
[[nodiscard]] std::span<const RecoveryRule> recovery_rules();

}  // namespace weir::state
