// Files of lines, each line one record. As an input: partition 0 only, a record's offset is the byte offset
// of its line, no key, no timestamp, no headers; a last line without a newline is a record too. "-" is
// standard input, whose offsets count its bytes and which cannot be read again. As an output: the value and a
// newline are appended; a null value writes nothing; key, headers and partition are dropped. "-" is standard
// output, which cannot be cut back.
//
// The lengths of the output files are the sink's position: after a crash restore() truncates each file to
// what the last decided epoch left (or, without one, to its length at open()), so that a file's content is
// exactly-once although it has no transactions.
//
// Thread:  one per Source and Sink. Memory: a Source holds the longest line, at most kMaxLineBytes.
// Failure: kNotFound, kIo, kNoSpace; a file shorter than its remembered length is kMismatch.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "processor/endpoint.h"

namespace weir::connectors {

inline constexpr size_t kMaxLineBytes = size_t{16} << 20;

class FileConnector final : public processor::Connector {
public:
    // Paths by TopicId ("-": standard input or output); an empty one is an id that is not a file.
    FileConnector(std::vector<std::string> inputs, std::vector<std::string> outputs);

    [[nodiscard]] Result<std::string> cluster_id(int64_t timeout_ms) override;
    [[nodiscard]] Result<processor::TopicInfo> describe(TopicId topic, int64_t timeout_ms) override;
    [[nodiscard]] Result<processor::OffsetRange> offset_range(TopicPartition partition,
                                                              int64_t timeout_ms) override;
    // A file has no order in time: kTimestamp is an error, kLatest its present end.
    [[nodiscard]] Result<int64_t> resolve_start(TopicPartition partition,
                                                const processor::StartPolicy& policy,
                                                int64_t timeout_ms) override;
    [[nodiscard]] Result<std::unique_ptr<processor::Source>> make_source(
        const processor::WorkerIdentity& identity) override;
    // `transactional` is ignored: position() and restore() are what a file offers instead.
    [[nodiscard]] Result<std::unique_ptr<processor::Sink>> make_sink(
        const processor::WorkerIdentity& identity, bool transactional) override;

private:
    std::vector<std::string> inputs_;
    std::vector<std::string> outputs_;
};

}  // namespace weir::connectors
