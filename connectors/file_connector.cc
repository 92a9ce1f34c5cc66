#include "connectors/file_connector.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "connectors/file_sink.h"
#include "connectors/file_source.h"

namespace weir::connectors {

FileConnector::FileConnector(std::vector<std::string> inputs, std::vector<std::string> outputs)
    : inputs_(std::move(inputs)), outputs_(std::move(outputs)) {}

Result<std::string> FileConnector::cluster_id(int64_t) { return std::string(); }

Result<processor::TopicInfo> FileConnector::describe(TopicId topic, int64_t timeout_ms) {
    WEIR_TRY(offset_range({topic, 0}, timeout_ms));
    return processor::TopicInfo{1, -1, false};
}

Result<processor::OffsetRange> FileConnector::offset_range(TopicPartition partition, int64_t) {
    const std::string& path = inputs_.at(static_cast<size_t>(partition.topic));
    if (path == "-") return processor::OffsetRange{0, 0};
    struct stat status {};
    if (stat(path.c_str(), &status) != 0)
        return Error{errno == ENOENT ? Code::kNotFound : Code::kIo,
                     "'" + path + "': " + std::strerror(errno)};
    if (S_ISDIR(status.st_mode))
        return Error{Code::kNotFound, "'" + path + "' is a directory: name a file that is in it"};
    if (!S_ISREG(status.st_mode))
        return Error{Code::kNotFound, "'" + path + "' is not a regular file, which alone can be read again"};
    return processor::OffsetRange{0, status.st_size};
}

Result<int64_t> FileConnector::resolve_start(TopicPartition partition, const processor::StartPolicy& policy,
                                             int64_t timeout_ms) {
    if (policy.kind == processor::StartPolicy::Kind::kTimestamp)
        return Error{Code::kInvalid, "a file can be read from its start or its end, not from an instant"};
    WEIR_ASSIGN(const processor::OffsetRange range, offset_range(partition, timeout_ms));
    return policy.kind == processor::StartPolicy::Kind::kEarliest ? range.begin : range.end;
}

Result<std::unique_ptr<processor::Source>> FileConnector::make_source(const processor::WorkerIdentity&) {
    return std::unique_ptr<processor::Source>(std::make_unique<FileSource>(inputs_));
}

Result<std::unique_ptr<processor::Sink>> FileConnector::make_sink(const processor::WorkerIdentity&, bool) {
    return std::unique_ptr<processor::Sink>(std::make_unique<FileSink>(outputs_));
}

}  // namespace weir::connectors
