#include "cmd/key_sample.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <set>

#include "connectors/partitioner.h"
#include "processor/arena.h"
#include "processor/decode.h"
#include "processor/encode.h"
#include "processor/graph.h"

namespace weir::cmd {
namespace {

constexpr int32_t kRecords = 100;    // Of a topic, …
constexpr int32_t kPartitions = 16;  // … from so many of its partitions.
constexpr int32_t kPlaced = 20;      // From so many on they show whether the partitioner is Kafka's.
constexpr int64_t kRequestTimeoutMs = 500;
constexpr int64_t kPollEveryMs = 10;
constexpr size_t kShownBytes = 40;

// What a key looks like, whatever it says.
enum class Form : uint8_t { kText, kQuoted, kObject, kBytes };
constexpr std::array<const char*, 4> kForms = {"plain text", "JSON strings in quotes", "JSON objects",
                                               "bytes that are no text"};

Form form_of(std::string_view key) {
    const auto is_control = [](char byte) { return static_cast<unsigned char>(byte) < 0x20; };
    if (std::any_of(key.begin(), key.end(), is_control)) return Form::kBytes;
    if (key.size() >= 2 && key.front() == '"' && key.back() == '"') return Form::kQuoted;
    return key.starts_with('{') ? Form::kObject : Form::kText;
}

std::string shown(processor::MaybeBytes bytes) {
    if (bytes.data() == nullptr) return "null";
    std::string out;
    for (const char byte : bytes.substr(0, kShownBytes)) {
        if (byte >= 0x20 && byte < 0x7f)
            out.push_back(byte);
        else
            out += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    }
    return out + (bytes.size() > kShownBytes ? "…" : "");
}

// What was seen of one topic.
struct TopicKeys {
    int32_t records = 0;
    int32_t keys = 0;        // Records that have one.
    int32_t mismatched = 0;  // The key is not the text of keyed_by's field …
    std::string mismatch;    // … of which this is one.
    int32_t misplaced = 0;   // Not where Kafka's partitioner puts the key.
    std::array<int32_t, kForms.size()> forms{};
    std::array<std::string, kForms.size()> examples;

    // Of most of the keys.
    [[nodiscard]] size_t form() const {
        return static_cast<size_t>(std::max_element(forms.begin(), forms.end()) - forms.begin());
    }
};

class Sampler {
public:
    Sampler(const processor::Plan& plan, processor::Connector& connector, std::span<const int32_t> counts,
            Clock& clock, const std::atomic<bool>* stop)
        : plan_(plan),
          connector_(connector),
          counts_(counts),
          clock_(clock),
          stop_(stop),
          deadline_ms_(clock.monotonic_ms() + kKeySampleMs) {}

    std::map<TopicId, TopicKeys> sample() {
        find_starts();
        if (starts_.empty()) return {};
        const auto source = connector_.make_source({plan_.name, 0, 0});
        if (!source.ok() || !(*source)->assign(starts_).ok()) return {};
        while (!ends_.empty() && goes_on()) {
            const auto poll = (*source)->poll(0, kRecords);
            if (!poll.ok()) break;
            for (const processor::InputRun& run : poll->runs) take(run);
            for (const processor::CaughtUp& end : poll->caught_up) ends_.erase(end.partition);
            if (poll->runs.empty()) clock_.sleep_ms(kPollEveryMs);
        }
        return std::move(topics_);
    }

private:
    [[nodiscard]] bool goes_on() const {
        return clock_.monotonic_ms() < deadline_ms_ && (stop_ == nullptr || !*stop_);
    }

    // The newest records of topics that meet others.
    void find_starts() {
        for (const processor::CoPartitioned& together : plan_.co_partitioned) {
            for (const TopicId topic : together.inputs) find_starts(topic);
            if (together.table >= 0) find_starts(TopicId{static_cast<uint16_t>(together.table)});
        }
    }
    void find_starts(TopicId topic) {
        const processor::PlanInput& input = plan_.inputs[static_cast<size_t>(topic)];
        if (input.is_file || input.internal >= 0 || !topics_.try_emplace(topic).second) return;
        const int32_t count = counts_[static_cast<size_t>(topic)];
        const int32_t used = std::min(count, kPartitions);
        for (int32_t i = 0; i < used && goes_on(); ++i) {
            const TopicPartition partition{topic, static_cast<int32_t>(int64_t{i} * count / used)};
            const auto range = connector_.offset_range(partition, kRequestTimeoutMs);
            if (!range.ok() || range->begin >= range->end) continue;
            const int64_t newest = range->end - (kRecords + used - 1) / used;
            starts_.push_back({partition, std::max(range->begin, newest)});
            ends_[partition] = range->end;
        }
    }

    // Further records may come all the time.
    void take(const processor::InputRun& run) {
        const auto end = ends_.find(run.partition);
        if (end == ends_.end()) return;
        if (run.records.back().offset + 1 >= end->second) ends_.erase(end);
        const processor::PlanInput& input = plan_.inputs[static_cast<size_t>(run.partition.topic)];
        const processor::SourcePlan& source = plan_.graph->sources[input.source];
        TopicKeys& keys = topics_[run.partition.topic];
        keys.records += static_cast<int32_t>(run.records.size());
        const int32_t count = counts_[static_cast<size_t>(run.partition.topic)];
        for (const processor::InputRecord& record : run.records) {
            if (record.key.data() == nullptr) continue;
            ++keys.keys;
            const auto form = static_cast<size_t>(form_of(record.key));
            ++keys.forms[form];
            if (keys.examples[form].empty()) keys.examples[form] = shown(record.key);
            if (connectors::partition_for_key(record.key, count) != run.partition.partition) ++keys.misplaced;
        }
        if (source.key_slot == processor::PathTree::kNoSlot) return;
        auto& decoder = decoders_[input.source];
        if (!decoder)
            decoder = std::make_unique<processor::Decoder>(source.format, source.paths, source.value_slot);
        columns_.resize(plan_.graph->frames[source.frame].slot_count);
        for (processor::Column& column : columns_) column.resize(run.records.size());
        rows_.clear();
        errors_.clear();
        arena_.reset();
        decoder->decode(run.records, arena_, columns_, rows_, errors_);
        for (const uint32_t row : rows_) {
            const processor::Value& field = columns_[static_cast<size_t>(source.key_slot)][row];
            const processor::MaybeBytes key = run.records[row].key;
            const bool deletes = run.records[row].value.data() == nullptr;  // It has no field.
            if (deletes || processor::is_key_of(key, field, text_)) continue;
            if (keys.mismatched++ == 0)
                keys.mismatch = fmt::format("{} where {} is {}", shown(key), source.keyed_by,
                                            shown(processor::encode_text(field, text_)));
        }
    }

    const processor::Plan& plan_;
    processor::Connector& connector_;
    const std::span<const int32_t> counts_;
    Clock& clock_;
    const std::atomic<bool>* const stop_;
    const int64_t deadline_ms_;
    std::map<TopicId, TopicKeys> topics_;
    std::vector<processor::StartOffset> starts_;
    std::map<TopicPartition, int64_t> ends_;  // Of partitions that are not read to there.
    std::map<size_t, std::unique_ptr<processor::Decoder>> decoders_;  // By source.
    processor::Arena arena_;
    std::vector<processor::Column> columns_;
    std::vector<uint32_t> rows_;
    std::vector<processor::DecodeError> errors_;
    std::string text_;
};

const std::string& name_of(const processor::Plan& plan, TopicId topic) {
    return plan.inputs[static_cast<size_t>(topic)].name;
}

// "stream 'paid' joins it with payments, so …"
std::string consequence(const processor::Plan& plan, const processor::CoPartitioned& together,
                        TopicId topic) {
    std::string others;
    for (const TopicId other : together.inputs)
        if (other != topic) others += (others.empty() ? "" : ", ") + name_of(plan, other);
    using Why = processor::CoPartitioned::Why;
    std::string does = fmt::format("{} it with {}", together.why == Why::kJoins ? "joins" : "groups", others);
    if (together.why == Why::kLooksUp) does = fmt::format("looks up between results of it and {}", others);
    if (together.table == static_cast<int32_t>(topic))
        does = "looks up records of " + others + " in it";
    else if (together.table >= 0)
        does = "looks its records up in " + name_of(plan, TopicId{static_cast<uint16_t>(together.table)});
    return fmt::format(
        "stream '{}' {}, so records of one key may lie on different partitions and miss each other",
        plan.stream_names[together.stream], does);
}

// Where both write keys alike: `topic` and what its keys are compared with.
std::string compare(const processor::Plan& plan, const processor::CoPartitioned& together, TopicId topic,
                    const TopicKeys& keys, const std::string& other_name, const TopicKeys& other) {
    const std::string& name = name_of(plan, topic);
    if (keys.form() != other.form()) {
        const std::string& example = other.examples[other.form()];
        return fmt::format("keys of topic {} are {}, e.g. {}, those of {} are {}{}: {}", name,
                           kForms[keys.form()], keys.examples[keys.form()], other_name, kForms[other.form()],
                           example.empty() ? "" : ", e.g. " + example, consequence(plan, together, topic));
    }
    if (std::min(keys.keys, other.keys) < kPlaced || (keys.misplaced == 0) == (other.misplaced == 0))
        return {};
    const bool its = keys.misplaced > 0;
    return fmt::format(
        "{} of {} sampled records of topic {} do not lie where Kafka's partitioner (murmur2) puts their key, "
        "those of {} do: {}",
        (its ? keys : other).misplaced, (its ? keys : other).keys, its ? name : other_name,
        its ? other_name : name, consequence(plan, together, topic));
}

}  // namespace

std::vector<std::string> key_warnings(const processor::Plan& plan, processor::Connector& connector,
                                      std::span<const int32_t> counts, Clock& clock,
                                      const std::atomic<bool>* stop) {
    // weir's own topics have texts as keys, where the partitioner puts them.
    TopicKeys internal;
    internal.keys = kRecords;
    internal.forms[static_cast<size_t>(Form::kText)] = kRecords;

    const auto topics = Sampler(plan, connector, counts, clock, stop).sample();
    std::set<TopicId> told;
    std::vector<std::string> warnings;
    for (const processor::CoPartitioned& together : plan.co_partitioned) {
        std::vector<TopicId> meeting = together.inputs;
        if (together.table >= 0) meeting.push_back(TopicId{static_cast<uint16_t>(together.table)});
        const TopicKeys* first = nullptr;  // The others are compared with it.
        std::string first_name;
        for (const TopicId topic : meeting) {
            if (plan.inputs[static_cast<size_t>(topic)].internal < 0) continue;
            first = &internal;
            first_name = name_of(plan, topic);
        }
        for (const TopicId topic : meeting) {
            const auto found = topics.find(topic);
            if (found == topics.end() || told.contains(topic)) continue;
            const TopicKeys& keys = found->second;
            std::string warning;
            if (keys.mismatched > 0) {
                const auto& source = plan.graph->sources[plan.inputs[static_cast<size_t>(topic)].source];
                warning = fmt::format("{} of {} sampled keys of topic {} are not the text of {}, e.g. {}: {}",
                                      keys.mismatched, keys.records, name_of(plan, topic), source.keyed_by,
                                      keys.mismatch, consequence(plan, together, topic));
            } else if (keys.keys == 0) {
                continue;
            } else if (first == nullptr) {
                first = &keys;
                first_name = name_of(plan, topic);
            } else {
                warning = compare(plan, together, topic, keys, first_name, *first);
            }
            if (warning.empty()) continue;
            told.insert(topic);
            warnings.push_back(std::move(warning));
        }
    }
    return warnings;
}

}  // namespace weir::cmd
