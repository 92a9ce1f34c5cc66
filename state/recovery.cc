#include "state/recovery.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

namespace weir::state {
namespace {

constexpr size_t kInstanceBytesMax = 80;

bool instance_character(char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           std::string_view("._:/-").find(c) != std::string_view::npos;
}

// Takes "<name>=<value>" up to the next ';' from the front of `text`.
bool take_field(std::string_view& text, std::string_view name, std::string_view& value) {
    if (!text.starts_with(name)) return false;
    text.remove_prefix(name.size());
    const size_t end = std::min(text.find(';'), text.size());
    value = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return true;
}

const CommitId& kafka_id(const RecoveryInput& input) { return input.kafka.metadata.id; }

// Where the input stands on each axis of the table.
bool readable(const RecoveryInput& input) { return input.end != WalEnd::kCorrupt; }
bool torn(const RecoveryInput& input) { return input.end == WalEnd::kTorn; }
bool kafka_is(const RecoveryInput& input, KafkaCommit::Kind kind) {
    return readable(input) && input.kafka.kind == kind;
}
bool at_snapshot(const RecoveryInput& input) { return input.snapshot && *input.snapshot == kafka_id(input); }
size_t epochs_upto_kafka(const RecoveryInput& input) {
    const auto at = std::find_if(input.epochs.begin(), input.epochs.end(),
                                 [&](const EpochLink& epoch) { return epoch.id == kafka_id(input); });
    return at == input.epochs.end() ? 0 : static_cast<size_t>(at - input.epochs.begin()) + 1;
}
bool known(const RecoveryInput& input) { return at_snapshot(input) || epochs_upto_kafka(input) > 0; }
// An epoch is written only once the one before it is committed. So of the epochs after Kafka's commit only
// one, the last, can be undecided; a second one proves that the first was committed.
bool committed_after_kafka(const RecoveryInput& input) {
    return input.epochs.size() > epochs_upto_kafka(input) + 1;
}
bool never_committed(const RecoveryInput& input) {
    const bool only_first = input.epochs.size() == 1 && input.epochs.front().prev.empty();
    return !input.snapshot && (input.epochs.empty() || only_first);
}
bool empty_disk(const RecoveryInput& input) {
    return !input.snapshot && input.epochs.empty() && !torn(input);
}

using Kind = KafkaCommit::Kind;

constexpr std::array<RecoveryRule, 10> kRules{{
    {Outcome::kCorrupt, [](const RecoveryInput& in) { return !readable(in); }},
    {Outcome::kEqual,
     [](const RecoveryInput& in) {
         return kafka_is(in, Kind::kCommit) && epochs_upto_kafka(in) == 0 && at_snapshot(in) &&
                !committed_after_kafka(in);
     }},
    {Outcome::kForward,
     [](const RecoveryInput& in) {
         return kafka_is(in, Kind::kCommit) && epochs_upto_kafka(in) > 0 && !committed_after_kafka(in);
     }},
    {Outcome::kRewound,
     [](const RecoveryInput& in) {
         return kafka_is(in, Kind::kCommit) && known(in) && committed_after_kafka(in);
     }},
    {Outcome::kStateLost,
     [](const RecoveryInput& in) { return kafka_is(in, Kind::kCommit) && !known(in) && empty_disk(in); }},
    {Outcome::kTornLost,
     [](const RecoveryInput& in) { return kafka_is(in, Kind::kCommit) && !known(in) && torn(in); }},
    {Outcome::kBehindOrForeign,
     [](const RecoveryInput& in) {
         return kafka_is(in, Kind::kCommit) && !known(in) && !empty_disk(in) && !torn(in);
     }},
    {Outcome::kReset, [](const RecoveryInput& in) { return kafka_is(in, Kind::kForeign); }},
    {Outcome::kGenesis,
     [](const RecoveryInput& in) { return kafka_is(in, Kind::kNone) && never_committed(in); }},
    {Outcome::kOffsetsLost,
     [](const RecoveryInput& in) { return kafka_is(in, Kind::kNone) && !never_committed(in); }},
}};

// The newest commit that the disk holds, for messages.
std::string local_text(const RecoveryInput& input) {
    if (!input.epochs.empty()) return to_string(input.epochs.back().id);
    return input.snapshot ? to_string(*input.snapshot) : "nothing";
}

std::string kafka_text(const RecoveryInput& input) {
    return fmt::format("{} (by {})", to_string(kafka_id(input)), input.kafka.metadata.instance);
}

std::string text_of(Outcome outcome, const RecoveryInput& input) {
    switch (outcome) {
        case Outcome::kEqual:
        case Outcome::kForward:
        case Outcome::kGenesis: return {};
        case Outcome::kRewound:
            return fmt::format(
                "Kafka holds the commit {}, but the log proves that later ones were committed, up to {} "
                "at least: Kafka was restored from an older copy or offsets were set back; going on "
                "repeats outputs. Bring Kafka's offsets back, or start under a new name",
                kafka_text(input), local_text(input));
        case Outcome::kBehindOrForeign:
            return fmt::format(
                "Kafka holds the commit {}, the newest on this disk is {}: the disk is older, or belongs "
                "to another instance. Attach the disk that this instance used last, or start under a "
                "new name",
                kafka_text(input), local_text(input));
        case Outcome::kStateLost:
            return fmt::format(
                "Kafka holds the commit {}, but the state directory is empty: going on from those "
                "offsets would count from nothing. Attach the disk that this instance used last, or "
                "start under a new name",
                kafka_text(input));
        case Outcome::kTornLost:
            return fmt::format(
                "Kafka holds the commit {}, but the log ends torn after {}: the disk lost bytes that it "
                "had promised to keep. Restore the state directory from a copy, or start under a new "
                "name",
                kafka_text(input), local_text(input));
        case Outcome::kReset:
            return fmt::format(
                "Kafka's committed offsets were not written by weir (somebody reset them), the newest "
                "commit on this disk is {}: state and offsets would not match. Remove the state "
                "directory to start from the reset offsets with empty state, or start under a new name",
                local_text(input));
        case Outcome::kOffsetsLost:
            return fmt::format(
                "Kafka holds no committed offsets, but this disk holds the commit {}: they expired, the "
                "group or a topic was deleted, or this is another cluster. Start under a new name, or "
                "remove the state directory to start with empty state",
                local_text(input));
        case Outcome::kCorrupt:
            return fmt::format(
                "the log is damaged in the middle, after the commit {}: what follows cannot be told. "
                "Restore the state directory from a copy, or start under a new name; `weir wal verify` "
                "shows the place",
                local_text(input));
    }
    return {};
}

}  // namespace

std::string encode_commit_metadata(const CommitMetadata& metadata) {
    std::string instance = metadata.instance.substr(0, kInstanceBytesMax);
    for (char& c : instance)
        if (!instance_character(c)) c = '_';
    const std::string watermark = metadata.watermark == kNoTime ? "-" : std::to_string(metadata.watermark);
    return fmt::format("v1;c={};w={};h={}", to_string(metadata.id), watermark, instance);
}

std::optional<CommitMetadata> parse_commit_metadata(std::string_view text) {
    constexpr size_t kMetadataBytesMax = 200;
    const std::string_view whole = text;
    CommitMetadata metadata;
    std::string_view id;
    std::string_view watermark;
    std::string_view instance;
    if (text.size() > kMetadataBytesMax || !text.starts_with("v1;")) return std::nullopt;
    text.remove_prefix(3);
    if (!take_field(text, "c=", id) || !take_field(text, "w=", watermark) ||
        !take_field(text, "h=", instance))
        return std::nullopt;
    if (!parse_commit_id(id, metadata.id) || metadata.id.empty()) return std::nullopt;
    if (watermark != "-") {
        const char* const last = watermark.data() + watermark.size();
        const auto [end, error] = std::from_chars(watermark.data(), last, metadata.watermark);
        if (error != std::errc{} || end != last) return std::nullopt;
    }
    metadata.instance = instance;
    // One spelling only: leading zeros, other cases, missing or further fields are not ours.
    if (encode_commit_metadata(metadata) != whole) return std::nullopt;
    return metadata;
}

const char* outcome_name(Outcome outcome) {
    switch (outcome) {
        case Outcome::kEqual: return "equal";
        case Outcome::kForward: return "forward";
        case Outcome::kGenesis: return "genesis";
        case Outcome::kRewound: return "rewound";
        case Outcome::kBehindOrForeign: return "behind_or_foreign";
        case Outcome::kStateLost: return "state_lost";
        case Outcome::kTornLost: return "torn_lost";
        case Outcome::kReset: return "reset";
        case Outcome::kOffsetsLost: return "offsets_lost";
        case Outcome::kCorrupt: return "corrupt";
    }
    return "?";
}

std::span<const RecoveryRule> recovery_rules() { return kRules; }

RecoveryDecision decide(const RecoveryInput& input) {
    const auto rule = std::find_if(kRules.begin(), kRules.end(),
                                   [&](const RecoveryRule& candidate) { return candidate.matches(input); });
    WEIR_CHECK(rule != kRules.end(), "the recovery table has a hole");
    RecoveryDecision decision{rule->outcome, 0, {}, 0, text_of(rule->outcome, input)};
    const bool has_target = decision.outcome == Outcome::kEqual || decision.outcome == Outcome::kForward ||
                            decision.outcome == Outcome::kRewound;
    if (has_target) {
        decision.epochs_kept = epochs_upto_kafka(input);
        decision.upto = kafka_id(input);
    }
    if (decision.proceed()) decision.discarded = input.epochs.size() - decision.epochs_kept;
    return decision;
}

RecoveryDecision decide_by_log(const RecoveryInput& input) {
    Outcome outcome = Outcome::kForward;
    if (!readable(input))
        outcome = Outcome::kCorrupt;
    else if (!input.epochs.empty())
        outcome = Outcome::kForward;
    else if (input.snapshot)
        outcome = Outcome::kEqual;
    else if (input.kafka.kind == Kind::kCommit)
        outcome = torn(input) ? Outcome::kTornLost : Outcome::kStateLost;
    else if (input.kafka.kind == Kind::kForeign)
        outcome = Outcome::kReset;
    else
        outcome = Outcome::kGenesis;
    RecoveryDecision decision{outcome, 0, {}, 0, text_of(outcome, input)};
    if (outcome == Outcome::kForward) {
        decision.epochs_kept = input.epochs.size();
        decision.upto = input.epochs.back().id;
    } else if (outcome == Outcome::kEqual) {
        decision.upto = *input.snapshot;
    }
    return decision;
}

}  // namespace weir::state
