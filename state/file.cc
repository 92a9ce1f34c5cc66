#include "state/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <fmt/format.h>

namespace weir::state {
namespace {

class Descriptor {
public:
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&&) = delete;
    [[nodiscard]] int get() const { return fd_; }
    [[nodiscard]] int release() { return std::exchange(fd_, -1); }

private:
    int fd_;
};

Error system_error(const char* action, const std::string& path, int number) {
    const auto code = number == ENOSPC || number == EDQUOT ? Code::kNoSpace
                      : number == ENOENT                   ? Code::kNotFound
                                                           : Code::kIo;
    return {code, fmt::format("{} {}: {}", action, path, std::generic_category().message(number))};
}

class PosixFile final : public File {
public:
    PosixFile(Descriptor fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

    Result<size_t> read(uint64_t offset, char* out, size_t size) override {
        size_t done = 0;
        while (done < size) {
            const ssize_t n = ::pread(fd_.get(), out + done, size - done, static_cast<off_t>(offset + done));
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) return system_error("cannot read", path_, errno);
            if (n == 0) break;
            done += static_cast<size_t>(n);
        }
        return done;
    }

    Result<void> write(uint64_t offset, std::string_view bytes) override {
        while (!bytes.empty()) {
            const ssize_t n = ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) return system_error("cannot write", path_, errno);
            if (n == 0) return system_error("cannot write", path_, EIO);
            bytes.remove_prefix(static_cast<size_t>(n));
            offset += static_cast<uint64_t>(n);
        }
        return {};
    }

    Result<void> preallocate(uint64_t offset, uint64_t length) override {
        // The blocks first, so that a full disk is told before anything is written; then real zeros, so that
        // a later write changes no metadata which fdatasync would have to wait for.
        if (::fallocate(fd_.get(), 0, static_cast<off_t>(offset), static_cast<off_t>(length)) != 0 &&
            errno != EOPNOTSUPP && errno != EINTR)
            return system_error("cannot reserve space in", path_, errno);
        static const std::string zeros(256u << 10, '\0');
        while (length > 0) {
            const uint64_t step = std::min<uint64_t>(length, zeros.size());
            WEIR_TRY(write(offset, std::string_view(zeros).substr(0, step)));
            offset += step;
            length -= step;
        }
        return {};
    }

    Result<void> truncate(uint64_t size) override {
        if (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0)
            return system_error("cannot cut", path_, errno);
        return {};
    }

    Result<void> sync() override {
        if (::fdatasync(fd_.get()) != 0) return system_error("cannot sync", path_, errno);
        return {};
    }

    Result<uint64_t> size() override {
        struct stat status {};
        if (::fstat(fd_.get(), &status) != 0) return system_error("cannot stat", path_, errno);
        return static_cast<uint64_t>(status.st_size);
    }

private:
    Descriptor fd_;
    std::string path_;
};

class PosixLock final : public DirectoryLock {
public:
    explicit PosixLock(Descriptor fd) : fd_(std::move(fd)) {}

private:
    Descriptor fd_;  // Closing it releases the lock.
};

class PosixDirectory final : public Directory {
public:
    PosixDirectory(Descriptor fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

    Result<std::unique_ptr<File>> create(const std::string& name) override {
        return open_file(name, O_RDWR | O_CREAT | O_TRUNC);
    }
    Result<std::unique_ptr<File>> open(const std::string& name) override { return open_file(name, O_RDWR); }
    Result<std::unique_ptr<File>> open_read(const std::string& name) override {
        return open_file(name, O_RDONLY);
    }

    Result<void> rename(const std::string& from, const std::string& to) override {
        if (::renameat(fd_.get(), from.c_str(), fd_.get(), to.c_str()) != 0)
            return system_error("cannot rename", join(from), errno);
        return {};
    }

    Result<void> remove(const std::string& name) override {
        if (::unlinkat(fd_.get(), name.c_str(), 0) != 0)
            return system_error("cannot remove", join(name), errno);
        return {};
    }

    Result<std::vector<std::string>> list() override {
        Descriptor copy(::openat(fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (copy.get() < 0) return system_error("cannot open", path_, errno);
        DIR* const stream = ::fdopendir(copy.get());
        if (stream == nullptr) return system_error("cannot list", path_, errno);
        (void)copy.release();  // closedir closes it.
        std::vector<std::string> names;
        errno = 0;
        while (const dirent* const entry = ::readdir(stream)) {
            const std::string_view name(entry->d_name);
            if (name != "." && name != "..") names.emplace_back(name);
        }
        const int number = errno;
        ::closedir(stream);
        if (number != 0) return system_error("cannot list", path_, number);
        std::sort(names.begin(), names.end());
        return names;
    }

    Result<void> sync() override {
        if (::fsync(fd_.get()) != 0) return system_error("cannot sync", path_, errno);
        return {};
    }

    Result<std::unique_ptr<Directory>> subdirectory(const std::string& name, bool create) override {
        if (create && ::mkdirat(fd_.get(), name.c_str(), 0700) != 0 && errno != EEXIST)
            return system_error("cannot create", join(name), errno);
        return open_at(fd_.get(), name, join(name));
    }

    Result<void> remove_subdirectory(const std::string& name) override {
        WEIR_ASSIGN(const auto directory, subdirectory(name, false));
        WEIR_ASSIGN(const auto names, directory->list());
        for (const std::string& file : names) WEIR_TRY(directory->remove(file));
        if (::unlinkat(fd_.get(), name.c_str(), AT_REMOVEDIR) != 0)
            return system_error("cannot remove", join(name), errno);
        return {};
    }

    Result<std::unique_ptr<DirectoryLock>> lock(const std::string& name) override {
        Descriptor fd(::openat(fd_.get(), name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        if (fd.get() < 0) return system_error("cannot open", join(name), errno);
        if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
            if (errno == EWOULDBLOCK)
                return Error{Code::kFenced,
                             fmt::format("another process uses the state directory {}; stop it, or give this "
                                         "one its own state.dir",
                                         path_)};
            return system_error("cannot lock", join(name), errno);
        }
        return std::unique_ptr<DirectoryLock>(std::make_unique<PosixLock>(std::move(fd)));
    }

    Result<uint64_t> free_bytes() override {
        struct statvfs status {};
        if (::fstatvfs(fd_.get(), &status) != 0) return system_error("cannot stat", path_, errno);
        return static_cast<uint64_t>(status.f_bavail) * status.f_frsize;
    }

    std::string path() const override { return path_; }

    static Result<std::unique_ptr<Directory>> open_at(int parent, const std::string& name, std::string path) {
        Descriptor fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (fd.get() < 0) return system_error("cannot open", path, errno);
        return std::unique_ptr<Directory>(std::make_unique<PosixDirectory>(std::move(fd), std::move(path)));
    }

private:
    [[nodiscard]] std::string join(const std::string& name) const { return path_ + "/" + name; }

    Result<std::unique_ptr<File>> open_file(const std::string& name, int flags) {
        Descriptor fd(::openat(fd_.get(), name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600));
        if (fd.get() < 0) return system_error("cannot open", join(name), errno);
        return std::unique_ptr<File>(std::make_unique<PosixFile>(std::move(fd), join(name)));
    }

    Descriptor fd_;
    std::string path_;
};

}  // namespace

Result<std::unique_ptr<Directory>> open_posix_directory(const std::string& path, bool create) {
    if (create && ::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
        return system_error("cannot create the directory", path, errno);
    return PosixDirectory::open_at(AT_FDCWD, path, path);
}

Result<std::string> read_file(Directory& directory, const std::string& name, uint64_t limit) {
    WEIR_ASSIGN(const auto file, directory.open_read(name));
    WEIR_ASSIGN(const uint64_t size, file->size());
    if (size > limit)
        return Error{Code::kCorrupt, fmt::format("{}/{} has {} bytes; at most {} are possible",
                                                 directory.path(), name, size, limit)};
    std::string bytes(size, '\0');
    WEIR_ASSIGN(const size_t read, file->read(0, bytes.data(), bytes.size()));
    bytes.resize(read);
    return bytes;
}

Result<void> write_synced(Directory& directory, const std::string& name, std::string_view bytes) {
    WEIR_ASSIGN(const auto file, directory.create(name));
    WEIR_TRY(file->write(0, bytes));
    return file->sync();
}

Result<void> replace_file(Directory& directory, const std::string& name, std::string_view bytes) {
    const std::string temporary = name + ".tmp";
    WEIR_TRY(write_synced(directory, temporary, bytes));
    WEIR_TRY(directory.rename(temporary, name));
    return directory.sync();
}

}  // namespace weir::state
