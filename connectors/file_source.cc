#include "connectors/file_source.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "connectors/file_connector.h"

namespace weir::connectors {
namespace {

constexpr size_t kBlockBytes = size_t{1} << 20;

Error io_error(const std::string& what) {
    const int code = errno;
    return {code == ENOENT ? Code::kNotFound : Code::kIo, what + ": " + std::strerror(code)};
}

// The first line that begins at `offset` or behind it. Progress is "the last record's offset + 1", as in
// Kafka, so it points into the line that was read last.
Result<int64_t> next_line(int descriptor, int64_t offset, int64_t size) {
    if (offset == 0) return offset;
    char block[4096];
    for (int64_t at = offset - 1; at < size;) {
        const ssize_t count = pread(descriptor, block, sizeof(block), at);
        if (count < 0) return io_error("read");
        if (count == 0) break;
        const auto* const newline =
            static_cast<const char*>(std::memchr(block, '\n', static_cast<size_t>(count)));
        if (newline != nullptr) return at + (newline - block) + 1;
        at += count;
    }
    return size;
}

}  // namespace

FileSource::~FileSource() { close(); }

void FileSource::close() {
    for (const Input& input : inputs_)
        if (!input.is_stream && input.descriptor >= 0) ::close(input.descriptor);
    inputs_.clear();
}

Result<void> FileSource::assign(std::span<const processor::StartOffset> starts) {
    for (const Input& input : inputs_)
        if (input.is_stream && input.buffer_offset + static_cast<int64_t>(input.buffer.size()) > 0)
            return Error{Code::kMismatch, "standard input cannot be read a second time"};
    close();
    for (const processor::StartOffset& start : starts) {
        Input& input = inputs_.emplace_back();
        input.partition = start.partition;
        input.path = paths_.at(static_cast<size_t>(start.partition.topic));
        input.buffer_offset = start.offset;
        if (input.path == "-") {
            input.is_stream = true;
            input.descriptor = STDIN_FILENO;
            continue;
        }
        input.descriptor = open(input.path.c_str(), O_RDONLY | O_CLOEXEC);
        if (input.descriptor < 0) return io_error("open '" + input.path + "'");
        struct stat status {};
        if (fstat(input.descriptor, &status) != 0) return io_error("stat '" + input.path + "'");
        if (start.offset < 0 || start.offset > status.st_size)
            return Error{Code::kMismatch, "'" + input.path + "' is shorter than offset " +
                                              std::to_string(start.offset) +
                                              ": it is not the file that was read before"};
        WEIR_ASSIGN(input.buffer_offset, next_line(input.descriptor, start.offset, status.st_size));
        if (lseek(input.descriptor, input.buffer_offset, SEEK_SET) < 0)
            return io_error("seek in '" + input.path + "'");
    }
    return {};
}

Result<void> FileSource::fill(Input& input, int64_t wait_ms) {
    if (input.is_stream) {
        pollfd ready{input.descriptor, POLLIN, 0};
        if (::poll(&ready, 1, static_cast<int>(std::clamp<int64_t>(wait_ms, 0, 60'000))) <= 0) return {};
    }
    const size_t old_size = input.buffer.size();
    if (old_size > kMaxLineBytes)
        return Error{Code::kInvalid, "a line of '" + input.path + "' at offset " +
                                         std::to_string(input.buffer_offset) + " is longer than 16 MiB"};
    input.buffer.resize(old_size + kBlockBytes);
    ssize_t count;
    do {
        count = read(input.descriptor, input.buffer.data() + old_size, kBlockBytes);
    } while (count < 0 && errno == EINTR);
    input.buffer.resize(old_size + (count > 0 ? static_cast<size_t>(count) : 0));
    if (count < 0) return io_error("read '" + input.path + "'");
    input.at_end = count == 0;
    return {};
}

void FileSource::take_lines(Input& input, size_t max_records) {
    const size_t begin = records_.size();
    while (records_.size() < max_records && input.consumed < input.buffer.size()) {
        size_t end = input.buffer.find('\n', input.consumed);
        if (end == std::string::npos && !input.at_end) break;
        end = std::min(end, input.buffer.size());
        if (end > input.consumed)  // An empty line is no record.
            records_.push_back({{},
                                std::string_view(input.buffer).substr(input.consumed, end - input.consumed),
                                input.buffer_offset + static_cast<int64_t>(input.consumed),
                                -1,
                                nullptr});
        input.consumed = std::min(end + 1, input.buffer.size());
    }
    if (records_.size() > begin) ranges_.push_back({input.partition, begin, records_.size() - begin});
    if (input.drained() && !input.reported) {
        input.reported = true;
        caught_up_.push_back({input.partition, input.buffer_offset + static_cast<int64_t>(input.consumed)});
    }
}

Result<processor::Poll> FileSource::poll(int64_t wait_ms, size_t max_records) {
    records_.clear();
    ranges_.clear();
    runs_.clear();
    caught_up_.clear();
    for (Input& input : inputs_) {
        if (input.held) continue;
        input.buffer.erase(0, input.consumed);
        input.buffer_offset += static_cast<int64_t>(input.consumed);
        input.consumed = 0;
        while (!input.at_end && input.buffer.find('\n') == std::string::npos) {
            const size_t size = input.buffer.size();
            WEIR_TRY(fill(input, records_.empty() ? wait_ms : 0));
            if (input.buffer.size() == size) break;  // The end, or nothing to read yet.
        }
        take_lines(input, max_records);
    }
    for (const Range& range : ranges_)
        runs_.push_back({range.partition, std::span(records_).subspan(range.begin, range.count)});
    const bool done =
        std::all_of(inputs_.begin(), inputs_.end(), [](const Input& input) { return input.drained(); });
    return processor::Poll{runs_, caught_up_, done};
}

void FileSource::hold(std::span<const TopicPartition> partitions) {
    for (Input& input : inputs_)
        input.held = std::find(partitions.begin(), partitions.end(), input.partition) != partitions.end();
}

Result<int64_t> FileSource::end_offset(TopicPartition partition, int64_t) {
    for (const Input& input : inputs_) {
        if (input.partition != partition) continue;
        if (input.is_stream) return input.buffer_offset + static_cast<int64_t>(input.buffer.size());
        struct stat status {};
        if (fstat(input.descriptor, &status) != 0) return io_error("stat '" + input.path + "'");
        return static_cast<int64_t>(status.st_size);
    }
    return Error{Code::kInvalid, "end_offset() of an input that is not assigned"};
}

}  // namespace weir::connectors
