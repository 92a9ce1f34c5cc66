#include "state/memory_directory.h"

#include <algorithm>
#include <map>
#include <utility>

namespace weir::state {
namespace {

using Content = std::shared_ptr<std::string>;

struct Node {
    std::map<std::string, Content> files;
    std::map<std::string, std::shared_ptr<Node>> directories;
    bool locked = false;
};

class MemoryFile final : public File {
public:
    explicit MemoryFile(Content content) : content_(std::move(content)) {}

    Result<size_t> read(uint64_t offset, char* out, size_t size) override {
        if (offset >= content_->size()) return size_t{0};
        return content_->copy(out, size, offset);
    }
    Result<void> write(uint64_t offset, std::string_view bytes) override {
        if (content_->size() < offset + bytes.size()) content_->resize(offset + bytes.size());
        std::copy(bytes.begin(), bytes.end(), content_->begin() + static_cast<ptrdiff_t>(offset));
        return {};
    }
    Result<void> preallocate(uint64_t offset, uint64_t length) override {
        if (content_->size() < offset + length) content_->resize(offset + length);
        return {};
    }
    Result<void> truncate(uint64_t size) override {
        content_->resize(size);
        return {};
    }
    Result<void> sync() override { return {}; }
    Result<uint64_t> size() override { return uint64_t{content_->size()}; }

private:
    Content content_;
};

class MemoryLock final : public DirectoryLock {
public:
    explicit MemoryLock(std::shared_ptr<Node> node) : node_(std::move(node)) { node_->locked = true; }
    ~MemoryLock() override { node_->locked = false; }
    MemoryLock(const MemoryLock&) = delete;
    MemoryLock& operator=(const MemoryLock&) = delete;

private:
    std::shared_ptr<Node> node_;
};

class MemoryDirectory final : public Directory {
public:
    MemoryDirectory(std::shared_ptr<Node> node, std::string path)
        : node_(std::move(node)), path_(std::move(path)) {}

    Result<std::unique_ptr<File>> create(const std::string& name) override {
        auto content = std::make_shared<std::string>();
        node_->files.insert_or_assign(name, content);
        return std::unique_ptr<File>(std::make_unique<MemoryFile>(std::move(content)));
    }
    Result<std::unique_ptr<File>> open(const std::string& name) override {
        const auto found = node_->files.find(name);
        if (found == node_->files.end()) return absent(name);
        return std::unique_ptr<File>(std::make_unique<MemoryFile>(found->second));
    }
    Result<std::unique_ptr<File>> open_read(const std::string& name) override { return open(name); }
    Result<void> rename(const std::string& from, const std::string& to) override {
        const auto found = node_->files.find(from);
        if (found == node_->files.end()) return absent(from);
        Content content = std::move(found->second);
        node_->files.erase(found);
        node_->files.insert_or_assign(to, std::move(content));
        return {};
    }
    Result<void> remove(const std::string& name) override {
        return node_->files.erase(name) > 0 ? Result<void>{} : Result<void>(absent(name));
    }
    Result<std::vector<std::string>> list() override {
        std::vector<std::string> names;
        for (const auto& [name, content] : node_->files) names.push_back(name);
        for (const auto& [name, directory] : node_->directories) names.push_back(name);
        std::sort(names.begin(), names.end());
        return names;
    }
    Result<void> sync() override { return {}; }

    Result<std::unique_ptr<Directory>> subdirectory(const std::string& name, bool create) override {
        auto found = node_->directories.find(name);
        if (found == node_->directories.end()) {
            if (!create) return absent(name);
            found = node_->directories.emplace(name, std::make_shared<Node>()).first;
        }
        return std::unique_ptr<Directory>(
            std::make_unique<MemoryDirectory>(found->second, path_ + "/" + name));
    }
    Result<void> remove_subdirectory(const std::string& name) override {
        return node_->directories.erase(name) > 0 ? Result<void>{} : Result<void>(absent(name));
    }
    Result<std::unique_ptr<DirectoryLock>> lock(const std::string&) override {
        if (node_->locked) return Error{Code::kFenced, path_ + " is in use"};
        return std::unique_ptr<DirectoryLock>(std::make_unique<MemoryLock>(node_));
    }
    Result<uint64_t> free_bytes() override { return UINT64_MAX; }
    std::string path() const override { return path_; }

private:
    [[nodiscard]] Error absent(const std::string& name) const {
        return {Code::kNotFound, path_ + "/" + name + " does not exist"};
    }

    std::shared_ptr<Node> node_;
    std::string path_;
};

}  // namespace

std::unique_ptr<Directory> make_memory_directory(std::string path) {
    return std::make_unique<MemoryDirectory>(std::make_shared<Node>(), std::move(path));
}

}  // namespace weir::state
