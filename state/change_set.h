// What a stretch of the log changed in one shard: the last operation per key and the prefixes that were
// erased. What is put and then erased or replaced within the stretch takes no room. Private to this folder.
//
// Memory:  one and a half times what the changes that remain need, plus kUnmergedBytes; while merging, the
//          bytes that remain once more.
// Thread:  one owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "state/delta.h"

namespace weir::state {

class ChangeSet {
public:
    static constexpr size_t kUnmergedBytes = 4u << 20;

    // In the order of the log.
    void apply(const StateOp& op);

    // After the last apply(): what remains, ascending by (table, key), a prefix before the keys that start
    // with it, none of which is a put or erase before it. No prefix starts with another one.
    void merge();
    [[nodiscard]] size_t size() const { return changes_.size(); }
    [[nodiscard]] StateOp at(size_t index) const;  // Views die at the next apply() or merge().

private:
    struct Change {
        uint64_t sequence;  // Later changes have greater ones.
        size_t begin;       // Of its key, which the value follows, in bytes_.
        uint32_t key_bytes;
        uint32_t value_bytes;
        uint32_t table;
        StateOp::Kind kind;
    };

    [[nodiscard]] std::string_view key(const Change& change) const {
        return {bytes_.data() + change.begin, change.key_bytes};
    }
    [[nodiscard]] bool before(const Change& a, const Change& b) const;
    [[nodiscard]] bool covers(const Change& prefix, const Change& change) const;
    [[nodiscard]] size_t used() const { return bytes_.size() + changes_.size() * sizeof(Change); }
    void sort();

    std::string bytes_;
    std::vector<Change> changes_;
    std::vector<size_t> runs_;  // Where ascending runs of changes_ begin.
    uint64_t sequence_ = 0;
    size_t merge_at_ = kUnmergedBytes;  // Merges when so much is used.
};

}  // namespace weir::state
