// The Source of file_connector.h: lines of files, read in large blocks and handed out as views into them.
//
// Thread:    one. Ownership: a poll's records point into this object's buffers until the next poll.
// Failure:   kNotFound, kIo; a file shorter than the start offset is kMismatch.
#pragma once

#include <string>
#include <vector>

#include "processor/endpoint.h"

namespace weir::connectors {

class FileSource final : public processor::Source {
public:
    explicit FileSource(std::vector<std::string> paths) : paths_(std::move(paths)) {}
    ~FileSource() override;

    [[nodiscard]] Result<void> assign(std::span<const processor::StartOffset> starts) override;
    [[nodiscard]] Result<processor::Poll> poll(int64_t wait_ms, size_t max_records) override;
    void hold(std::span<const TopicPartition> partitions) override;
    void read_headers(const processor::InputRecord&, std::vector<processor::Header>&) const override {}
    [[nodiscard]] Result<int64_t> end_offset(TopicPartition partition, int64_t timeout_ms) override;

private:
    struct Input {
        TopicPartition partition;
        std::string path;
        int descriptor = -1;
        bool is_stream = false;     // Standard input.
        std::string buffer;         // What was read and not yet dropped.
        int64_t buffer_offset = 0;  // The offset of its first byte.
        size_t consumed = 0;        // Bytes of it already handed out; dropped at the next poll.
        bool at_end = false;        // Nothing more will come.
        bool reported = false;      // The end was told.
        bool held = false;
        [[nodiscard]] bool drained() const { return at_end && consumed == buffer.size(); }
    };

    void close();
    [[nodiscard]] Result<void> fill(Input& input, int64_t wait_ms);
    void take_lines(Input& input, size_t max_records);

    std::vector<std::string> paths_;
    std::vector<Input> inputs_;
    std::vector<processor::InputRecord> records_;
    std::vector<processor::InputRun> runs_;
    std::vector<processor::CaughtUp> caught_up_;
    struct Range {
        TopicPartition partition;
        size_t begin;
        size_t count;
    };
    std::vector<Range> ranges_;
};

}  // namespace weir::connectors
