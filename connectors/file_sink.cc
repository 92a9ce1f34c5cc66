#include "connectors/file_sink.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/bytes.h"

namespace weir::connectors {
namespace {

constexpr size_t kWriteBytes = size_t{1} << 20;

Error io_error(const std::string& what) {
    const int code = errno;
    Code kind = Code::kIo;
    if (code == ENOSPC || code == EDQUOT) kind = Code::kNoSpace;
    if (code == ENOENT) kind = Code::kNotFound;
    return {kind, what + ": " + std::strerror(code)};
}

// A new file's name is durable once its directory is.
Result<void> sync_directory_of(const std::string& path) {
    std::string directory = std::filesystem::path(path).parent_path().string();
    if (directory.empty()) directory = ".";
    const int descriptor = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return io_error("open '" + directory + "'");
    const bool synced = fsync(descriptor) == 0;
    auto result = synced ? Result<void>{} : Result<void>{io_error("sync '" + directory + "'")};
    ::close(descriptor);
    return result;
}

}  // namespace

FileSink::~FileSink() { close(); }

void FileSink::close() {
    for (const Output& output : outputs_)
        if (!output.is_stream && output.descriptor >= 0) ::close(output.descriptor);
    outputs_.clear();
}

Result<void> FileSink::open(int64_t) {
    close();
    failed_.reset();
    for (const std::string& path : paths_) {
        Output& output = outputs_.emplace_back();
        output.path = path;
        if (path.empty()) continue;
        if (path == "-") {
            output.is_stream = true;
            output.descriptor = STDOUT_FILENO;
            continue;
        }
        output.descriptor = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        if (output.descriptor < 0) return io_error("open '" + path + "'");
        struct stat status {};
        if (fstat(output.descriptor, &status) != 0) return io_error("stat '" + path + "'");
        output.first_length = output.length = status.st_size;
        WEIR_TRY(sync_directory_of(path));
    }
    return {};
}

Result<std::vector<std::optional<processor::CommittedOffset>>> FileSink::committed(
    std::span<const TopicPartition> partitions, int64_t) {
    return std::vector<std::optional<processor::CommittedOffset>>(partitions.size());
}

Result<void> FileSink::produce(const processor::OutputRecord& record) {
    if (record.value.data() == nullptr) return {};
    Output& output = outputs_.at(static_cast<size_t>(record.topic));
    output.waiting.append(record.value);
    output.waiting.push_back('\n');
    if (output.waiting.size() >= kWriteBytes) return write_out(output);
    return {};
}

Result<void> FileSink::write_out(Output& output) {
    std::string_view rest = output.waiting;
    while (!rest.empty()) {
        const ssize_t count = write(output.descriptor, rest.data(), rest.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return io_error("write '" + output.path + "'");
        rest.remove_prefix(static_cast<size_t>(count));
        output.length += count;
    }
    output.waiting.clear();
    return {};
}

void FileSink::start_flush() {
    for (Output& output : outputs_)
        if (auto written = write_out(output); !written.ok() && !failed_) failed_ = written.error();
}

Result<void> FileSink::flush(int64_t) {
    if (failed_) return *failed_;
    for (Output& output : outputs_) {
        WEIR_TRY(write_out(output));
        if (output.descriptor >= 0 && !output.is_stream && fdatasync(output.descriptor) != 0)
            return io_error("sync '" + output.path + "'");
    }
    return {};
}

std::string FileSink::position() const {
    std::string position;
    for (const Output& output : outputs_) {
        if (output.path.empty() || output.is_stream) continue;
        put_bytes(position, output.path);
        put_le(position, output.length);
    }
    return position;
}

Result<void> FileSink::cut(Output& output, int64_t length) {
    struct stat status {};
    if (fstat(output.descriptor, &status) != 0) return io_error("stat '" + output.path + "'");
    if (status.st_size < length)
        return Error{Code::kMismatch, "'" + output.path + "' has " + std::to_string(status.st_size) +
                                          " bytes but " + std::to_string(length) +
                                          " were written: it was cut or replaced by somebody else"};
    if (ftruncate(output.descriptor, length) != 0) return io_error("truncate '" + output.path + "'");
    if (fdatasync(output.descriptor) != 0) return io_error("sync '" + output.path + "'");
    output.length = length;
    return {};
}

Result<void> FileSink::restore(std::string_view position) {
    failed_.reset();
    for (Output& output : outputs_) {
        output.waiting.clear();
        if (position.empty() && !output.path.empty() && !output.is_stream)
            WEIR_TRY(cut(output, output.first_length));
    }
    ByteReader reader(position);
    while (!reader.done()) {
        const std::string_view path = reader.bytes();
        const auto length = reader.le<int64_t>();
        if (reader.failed() || length < 0)
            return Error{Code::kCorrupt, "unreadable position of the output files"};
        // A file that is no longer an output stays as it is.
        for (Output& output : outputs_)
            if (output.path == path && !output.is_stream) WEIR_TRY(cut(output, length));
    }
    return {};
}

}  // namespace weir::connectors
