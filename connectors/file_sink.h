// The Sink of file_connector.h: values appended as lines, made durable by flush(), cut back by restore().
//
// Thread:  one. Memory: at most about 1 MiB per file waits for start_flush() or flush().
// Failure: kIo, kNoSpace; after one the sink is of no use before restore().
#pragma once

#include <string>
#include <vector>

#include "processor/endpoint.h"

namespace weir::connectors {

class FileSink final : public processor::Sink {
public:
    explicit FileSink(std::vector<std::string> paths) : paths_(std::move(paths)) {}
    ~FileSink() override;

    // Opens the files (mode 0644 when new) and remembers their lengths as the state before the first epoch.
    [[nodiscard]] Result<void> open(int64_t timeout_ms) override;
    // Files keep no offsets: all absent.
    [[nodiscard]] Result<std::vector<std::optional<processor::CommittedOffset>>> committed(
        std::span<const TopicPartition> partitions, int64_t timeout_ms) override;
    [[nodiscard]] Result<void> begin() override { return {}; }
    [[nodiscard]] Result<void> produce(const processor::OutputRecord& record) override;
    void start_flush() override;
    [[nodiscard]] Result<void> flush(int64_t timeout_ms) override;
    [[nodiscard]] Result<void> send_offsets(std::span<const processor::OffsetCommit>, int64_t) override {
        return {};
    }
    [[nodiscard]] processor::CommitOutcome commit(int64_t) override {
        return processor::CommitOutcome::kCommitted;
    }
    [[nodiscard]] Result<void> commit_offsets(std::span<const processor::OffsetCommit>, bool) override {
        return {};
    }
    // Per file: path and length, as in base/bytes.h.
    [[nodiscard]] std::string position() const override;
    [[nodiscard]] Result<void> restore(std::string_view position) override;

private:
    struct Output {
        std::string path;  // Empty: not a file.
        int descriptor = -1;
        bool is_stream = false;    // Standard output.
        int64_t first_length = 0;  // At open().
        int64_t length = 0;        // Written so far.
        std::string waiting;
    };

    void close();
    [[nodiscard]] Result<void> write_out(Output& output);
    [[nodiscard]] static Result<void> cut(Output& output, int64_t length);

    std::vector<std::string> paths_;
    std::vector<Output> outputs_;  // By TopicId.
    std::optional<Error> failed_;  // A write outside flush() failed.
};

}  // namespace weir::connectors
