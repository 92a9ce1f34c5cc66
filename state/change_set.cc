#include "state/change_set.h"

#include <algorithm>
#include <utility>

namespace weir::state {

bool ChangeSet::before(const Change& a, const Change& b) const {
    if (a.table != b.table) return a.table < b.table;
    if (const int order = key(a).compare(key(b)); order != 0) return order < 0;
    const bool a_is_prefix = a.kind == StateOp::Kind::kErasePrefix;
    const bool b_is_prefix = b.kind == StateOp::Kind::kErasePrefix;
    return a_is_prefix != b_is_prefix ? a_is_prefix : a.sequence < b.sequence;
}

bool ChangeSet::covers(const Change& prefix, const Change& change) const {
    return prefix.table == change.table && key(change).starts_with(key(prefix));
}

void ChangeSet::apply(const StateOp& op) {
    if (used() >= merge_at_) {
        merge();
        merge_at_ = used() + used() / 2 + kUnmergedBytes;
    }
    changes_.push_back({sequence_++, bytes_.size(), static_cast<uint32_t>(op.key.size()),
                        static_cast<uint32_t>(op.value.size()), op.table, op.kind});
    bytes_.append(op.key);
    bytes_.append(op.value);
    const size_t count = changes_.size();
    if (count == 1 || before(changes_[count - 1], changes_[count - 2])) runs_.push_back(count - 1);
}

// An epoch writes its changes in a few ascending runs: merging those is much less than sorting.
void ChangeSet::sort() {
    const auto place = [&](size_t run) {
        return changes_.begin() + static_cast<ptrdiff_t>(run < runs_.size() ? runs_[run] : changes_.size());
    };
    while (runs_.size() > 1) {
        std::vector<size_t> merged;
        for (size_t run = 0; run < runs_.size(); run += 2) {
            std::inplace_merge(place(run), place(run + 1), place(run + 2),
                               [&](const Change& a, const Change& b) { return before(a, b); });
            merged.push_back(runs_[run]);
        }
        runs_ = std::move(merged);
    }
}

void ChangeSet::merge() {
    sort();
    std::string bytes;
    size_t kept = 0;
    std::vector<Change> prefixes;  // Those that the current key starts with, each longer than the one before.
    for (size_t i = 0; i < changes_.size(); ++i) {
        Change change = changes_[i];
        while (!prefixes.empty() && !covers(prefixes.back(), change)) prefixes.pop_back();
        const bool is_prefix = change.kind == StateOp::Kind::kErasePrefix;
        // A prefix erases what is older; a longer one is needed for that only, and only here.
        const bool erased = std::any_of(prefixes.begin(), prefixes.end(), [&](const Change& prefix) {
            return is_prefix || prefix.sequence > change.sequence;
        });
        if (is_prefix) prefixes.push_back(change);
        const bool replaced = !is_prefix && i + 1 < changes_.size() &&
                              changes_[i + 1].table == change.table && key(changes_[i + 1]) == key(change);
        if (erased || replaced) continue;
        const size_t begin = bytes.size();
        bytes.append(bytes_, change.begin, size_t{change.key_bytes} + change.value_bytes);
        change.begin = begin;
        changes_[kept++] = change;
    }
    bytes_ = std::move(bytes);
    changes_.resize(kept);
    runs_.assign(changes_.empty() ? 0 : 1, 0);
}

StateOp ChangeSet::at(size_t index) const {
    const Change& change = changes_[index];
    return {change.kind, change.table, key(change),
            std::string_view(bytes_).substr(change.begin + change.key_bytes, change.value_bytes)};
}

}  // namespace weir::state
