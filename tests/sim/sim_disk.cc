#include "tests/sim/sim_disk.h"

#include <algorithm>

namespace weir::sim {
namespace {

struct Change {
    uint64_t offset = 0;
    std::string bytes;
    bool truncate = false;  // To `offset`.
};

void apply_change(const Change& change, std::string& content) {
    if (change.truncate) {
        content.resize(change.offset, '\0');
        return;
    }
    content.resize(std::max<size_t>(content.size(), change.offset + change.bytes.size()), '\0');
    content.replace(change.offset, change.bytes.size(), change.bytes);
}

struct Inode {
    std::string name;  // At creation.
    std::string durable;
    std::string current;
    std::vector<Change> waiting;
};

struct Node;
using Names = std::map<std::string, std::shared_ptr<Node>>;

struct NameChange {
    std::string removed;  // Empty: none.
    std::string added;    // Empty: none.
    std::shared_ptr<Node> node;
};

// A file or a directory.
struct Node {
    bool is_directory = false;
    bool locked = false;
    Inode file;
    Names durable;
    Names current;
    std::vector<NameChange> waiting;
};

}  // namespace

struct SimDisk::World {
    mutable std::recursive_mutex mutex;  // An observer may look at the disk.
    std::shared_ptr<Node> root = std::make_shared<Node>();
    std::unique_ptr<state::MemoryRowStores> row_stores = std::make_unique<state::MemoryRowStores>();
    std::mt19937_64 random{1};  // Draws what a row store has written out when it ends.
    uint64_t generation = 0;  // Handles of an earlier one are dead.
    uint64_t calls = 0;
    uint64_t stop_at = 0;
    uint64_t fail_at = 0;
    Code fail_code = Code::kIo;
    uint64_t capacity = UINT64_MAX;
    std::function<void(const SimDisk::Call&)> observer;

    World() { root->is_directory = true; }

    // Counts a changing call; an Error when it has to fail.
    Result<void> change(uint64_t handle_generation, const SimDisk::Call& call) {
        if (handle_generation != generation)
            return Error{Code::kIo, "simulated: the handle is from before the power cut"};
        if (observer) observer(call);
        ++calls;
        if (stop_at != 0 && calls >= stop_at) return Error{Code::kIo, "simulated: the machine stopped"};
        if (fail_at != 0 && calls == fail_at) return Error{fail_code, "simulated: the call failed"};
        return {};
    }

    static uint64_t used(const Node& node) {
        uint64_t bytes = node.file.current.size();
        for (const auto& [name, child] : node.current) bytes += used(*child);
        return bytes;
    }
};

namespace {

using World = SimDisk::World;

class SimFile final : public state::File {
public:
    SimFile(World& world, std::shared_ptr<Node> node)
        : world_(world), node_(std::move(node)), generation_(world.generation) {}

    Result<size_t> read(uint64_t offset, char* out, size_t size) override {
        const std::lock_guard lock(world_.mutex);
        const std::string& content = node_->file.current;
        if (offset >= content.size()) return size_t{0};
        return content.copy(out, size, offset);
    }

    Result<void> write(uint64_t offset, std::string_view bytes) override {
        const std::lock_guard lock(world_.mutex);
        WEIR_TRY(world_.change(generation_, {"write", node_->file.name, offset, bytes}));
        const uint64_t size = node_->file.current.size();
        const uint64_t end = offset + bytes.size();
        if (world_.capacity != UINT64_MAX && end > size &&
            World::used(*world_.root) + end - size > world_.capacity)
            return Error{Code::kNoSpace, "simulated: the disk is full"};
        node_->file.waiting.push_back({offset, std::string(bytes), false});
        apply_change(node_->file.waiting.back(), node_->file.current);
        return {};
    }

    Result<void> preallocate(uint64_t offset, uint64_t length) override {
        return write(offset, std::string(length, '\0'));
    }

    Result<void> truncate(uint64_t size) override {
        const std::lock_guard lock(world_.mutex);
        WEIR_TRY(world_.change(generation_, {"truncate", node_->file.name, size, {}}));
        node_->file.waiting.push_back({size, {}, true});
        apply_change(node_->file.waiting.back(), node_->file.current);
        return {};
    }

    Result<void> sync() override {
        const std::lock_guard lock(world_.mutex);
        const auto allowed = world_.change(generation_, {"sync", node_->file.name, 0, {}});
        if (allowed.ok())
            for (const Change& waiting : node_->file.waiting) apply_change(waiting, node_->file.durable);
        // The kernel marks the pages clean also when the write-back failed: a later sync does not bring them
        // back.
        if (allowed.ok() || world_.stop_at == 0 || world_.calls < world_.stop_at) node_->file.waiting.clear();
        return allowed;
    }

    Result<uint64_t> size() override {
        const std::lock_guard lock(world_.mutex);
        return static_cast<uint64_t>(node_->file.current.size());
    }

private:
    World& world_;
    std::shared_ptr<Node> node_;
    uint64_t generation_;
};

class SimLock final : public state::DirectoryLock {
public:
    SimLock(World& world, std::shared_ptr<Node> node) : world_(world), node_(std::move(node)) {}
    ~SimLock() override {
        const std::lock_guard lock(world_.mutex);
        node_->locked = false;
    }

private:
    World& world_;
    std::shared_ptr<Node> node_;
};

class SimDirectory final : public state::Directory {
public:
    SimDirectory(World& world, std::shared_ptr<Node> node, std::string path)
        : world_(world), node_(std::move(node)), path_(std::move(path)), generation_(world.generation) {}

    Result<std::unique_ptr<state::File>> create(const std::string& name) override {
        const std::lock_guard lock(world_.mutex);
        WEIR_TRY(world_.change(generation_, {"create", name, 0, {}}));
        auto file = std::make_shared<Node>();
        file->file.name = name;
        change({name, name, file});
        return std::unique_ptr<state::File>(std::make_unique<SimFile>(world_, std::move(file)));
    }

    Result<std::unique_ptr<state::File>> open(const std::string& name) override {
        const std::lock_guard lock(world_.mutex);
        const auto at = node_->current.find(name);
        if (at == node_->current.end()) return Error{Code::kNotFound, "simulated: no file " + name};
        return std::unique_ptr<state::File>(std::make_unique<SimFile>(world_, at->second));
    }
    Result<std::unique_ptr<state::File>> open_read(const std::string& name) override { return open(name); }

    Result<void> rename(const std::string& from, const std::string& to) override {
        const std::lock_guard lock(world_.mutex);
        WEIR_TRY(world_.change(generation_, {"rename", from, 0, to}));
        const auto at = node_->current.find(from);
        if (at == node_->current.end()) return Error{Code::kNotFound, "simulated: no file " + from};
        change({from, to, at->second});
        return {};
    }

    Result<void> remove(const std::string& name) override {
        const std::lock_guard lock(world_.mutex);
        WEIR_TRY(world_.change(generation_, {"remove", name, 0, {}}));
        const auto at = node_->current.find(name);
        if (at == node_->current.end()) return Error{Code::kNotFound, "simulated: no file " + name};
        change({name, {}, at->second});
        return {};
    }

    Result<std::vector<std::string>> list() override {
        const std::lock_guard lock(world_.mutex);
        std::vector<std::string> names;
        for (const auto& [name, node] : node_->current) names.push_back(name);
        return names;
    }

    Result<void> sync() override {
        const std::lock_guard lock(world_.mutex);
        WEIR_TRY(world_.change(generation_, {"syncdir", path_, 0, {}}));
        node_->durable = node_->current;
        node_->waiting.clear();
        return {};
    }

    Result<std::unique_ptr<state::Directory>> subdirectory(const std::string& name, bool create) override {
        const std::lock_guard lock(world_.mutex);
        auto at = node_->current.find(name);
        if (at == node_->current.end()) {
            if (!create) return Error{Code::kNotFound, "simulated: no directory " + name};
            WEIR_TRY(world_.change(generation_, {"mkdir", name, 0, {}}));
            auto directory = std::make_shared<Node>();
            directory->is_directory = true;
            change({name, name, directory});
            at = node_->current.find(name);
        }
        return std::unique_ptr<state::Directory>(
            std::make_unique<SimDirectory>(world_, at->second, path_ + "/" + name));
    }

    Result<void> remove_subdirectory(const std::string& name) override { return remove(name); }

    Result<std::unique_ptr<state::DirectoryLock>> lock(const std::string&) override {
        const std::lock_guard lock(world_.mutex);
        if (node_->locked) return Error{Code::kFenced, "simulated: another process uses the directory"};
        node_->locked = true;
        return std::unique_ptr<state::DirectoryLock>(std::make_unique<SimLock>(world_, node_));
    }

    Result<uint64_t> free_bytes() override {
        const std::lock_guard lock(world_.mutex);
        if (world_.capacity == UINT64_MAX) return UINT64_MAX;
        const uint64_t used = World::used(*world_.root);
        return used < world_.capacity ? world_.capacity - used : 0;
    }

    std::string path() const override { return path_; }

private:
    void change(NameChange change) {
        if (!change.removed.empty()) node_->current.erase(change.removed);
        if (!change.added.empty()) node_->current[change.added] = change.node;
        node_->waiting.push_back(std::move(change));
    }

    World& world_;
    std::shared_ptr<Node> node_;
    std::string path_;
    uint64_t generation_;
};

bool coin(std::mt19937_64& random) { return (random() & 1) != 0; }

void cut_file(Inode& file, std::mt19937_64& random) {
    for (const Change& change : file.waiting) {
        const uint64_t fate = random() % 4;
        if (fate == 0) continue;
        if (fate == 1 || change.truncate) {
            apply_change(change, file.durable);
            continue;
        }
        // Torn: sectors arrive or not, each for itself, or only those before a point.
        const uint64_t sector = coin(random) ? 512 : 4096;
        const bool prefix_only = coin(random);
        bool arrives = true;
        uint64_t at = change.offset;
        const uint64_t end = change.offset + change.bytes.size();
        while (at < end) {
            const uint64_t next = std::min(end, (at / sector + 1) * sector);
            arrives = prefix_only ? arrives && random() % 4 != 0 : coin(random);
            if (arrives)
                apply_change({at, change.bytes.substr(at - change.offset, next - at), false}, file.durable);
            at = next;
        }
    }
    file.waiting.clear();
    file.current = file.durable;
}

void cut_node(Node& node, std::mt19937_64& random) {
    if (!node.is_directory) return cut_file(node.file, random);
    for (const NameChange& change : node.waiting) {
        if (coin(random)) continue;
        const auto removed = node.durable.find(change.removed);
        if (removed != node.durable.end() && removed->second == change.node) node.durable.erase(removed);
        if (!change.added.empty()) node.durable[change.added] = change.node;
    }
    node.waiting.clear();
    node.current = node.durable;
    node.locked = false;
    for (auto& [name, child] : node.current) cut_node(*child, random);
}

void unlock(Node& node) {
    node.locked = false;
    for (auto& [name, child] : node.current) unlock(*child);
}

// Nodes that several names or waiting changes share stay shared.
class Cloner {
public:
    std::shared_ptr<Node> clone(const std::shared_ptr<Node>& node) {
        if (!node) return nullptr;
        auto& copy = copies_[node.get()];
        if (copy) return copy;
        copy = std::make_shared<Node>();
        const std::shared_ptr<Node> result = copy;
        result->is_directory = node->is_directory;
        result->file = node->file;
        for (const auto& [name, child] : node->durable) result->durable[name] = clone(child);
        for (const auto& [name, child] : node->current) result->current[name] = clone(child);
        for (const NameChange& change : node->waiting)
            result->waiting.push_back({change.removed, change.added, clone(change.node)});
        return result;
    }

private:
    std::map<const Node*, std::shared_ptr<Node>> copies_;
};

void list_files(const Node& node, const std::string& prefix, std::vector<std::string>& out) {
    for (const auto& [name, child] : node.current) {
        if (child->is_directory)
            list_files(*child, prefix + name + "/", out);
        else
            out.push_back(prefix + name);
    }
}

Node& find(Node& root, const std::string& path) {
    Node* node = &root;
    size_t from = 0;
    for (;;) {
        const size_t slash = path.find('/', from);
        node = node->current.at(path.substr(from, slash - from)).get();
        if (slash == std::string::npos) return *node;
        from = slash + 1;
    }
}

}  // namespace

SimDisk::SimDisk() : world_(std::make_unique<World>()) {}
SimDisk::~SimDisk() = default;

std::unique_ptr<state::Directory> SimDisk::root() {
    const std::lock_guard lock(world_->mutex);
    return std::make_unique<SimDirectory>(*world_, world_->root, "sim");
}

state::MemoryRowStores& SimDisk::row_stores() { return *world_->row_stores; }

void SimDisk::cut_power(std::mt19937_64& random) {
    const std::lock_guard lock(world_->mutex);
    world_->row_stores->crash(world_->random);
    cut_node(*world_->root, random);
    ++world_->generation;
    world_->stop_at = world_->fail_at = 0;
}

void SimDisk::kill() {
    const std::lock_guard lock(world_->mutex);
    world_->row_stores->crash(world_->random);
    unlock(*world_->root);
    ++world_->generation;
    world_->stop_at = world_->fail_at = 0;
}

void SimDisk::observe(std::function<void(const Call&)> observer) {
    const std::lock_guard lock(world_->mutex);
    world_->observer = std::move(observer);
}

std::unique_ptr<SimDisk> SimDisk::clone() const {
    const std::lock_guard lock(world_->mutex);
    auto copy = std::make_unique<SimDisk>();
    copy->world_->root = Cloner().clone(world_->root);
    copy->world_->row_stores = world_->row_stores->clone();
    return copy;
}

void SimDisk::flip_bit(const std::string& path, uint64_t bit) {
    const std::lock_guard lock(world_->mutex);
    Inode& file = find(*world_->root, path).file;
    for (std::string* const content : {&file.durable, &file.current})
        if (bit / 8 < content->size())
            (*content)[bit / 8] = static_cast<char>((*content)[bit / 8] ^ (1 << (bit % 8)));
}

void SimDisk::stop_at(uint64_t n) {
    const std::lock_guard lock(world_->mutex);
    world_->stop_at = world_->calls + n;
}

void SimDisk::fail_at(uint64_t n, Code code) {
    const std::lock_guard lock(world_->mutex);
    world_->fail_at = world_->calls + n;
    world_->fail_code = code;
}

void SimDisk::fail_nothing() {
    const std::lock_guard lock(world_->mutex);
    world_->stop_at = world_->fail_at = 0;
}

uint64_t SimDisk::changing_calls() const {
    const std::lock_guard lock(world_->mutex);
    return world_->calls;
}

void SimDisk::set_capacity(uint64_t bytes) {
    const std::lock_guard lock(world_->mutex);
    world_->capacity = bytes;
}

std::string& SimDisk::bytes(const std::string& path) {
    const std::lock_guard lock(world_->mutex);
    return find(*world_->root, path).file.current;
}

std::vector<std::string> SimDisk::files() const {
    const std::lock_guard lock(world_->mutex);
    std::vector<std::string> paths;
    list_files(*world_->root, "", paths);
    return paths;
}

}  // namespace weir::sim
