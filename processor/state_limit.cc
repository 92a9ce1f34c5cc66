#include "processor/state_limit.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "base/log.h"
#include "processor/graph.h"
#include "processor/shard.h"

namespace weir::processor {
namespace {

constexpr size_t kNamed = 3;  // In a message.

const char* entries_of(const Stage& stage) {
    if (stage.join) return "records";
    return stage.limit > 0 ? "keys" : "groups";
}

std::string mib(uint64_t bytes) { return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20)); }

}  // namespace

StateLimit::StateLimit(const Plan& plan, uint64_t max_bytes) : max_bytes_(max_bytes) {
    for (const Stage& stage : plan.graph->stages)
        operators_.emplace_back(stage_name(plan, stage), entries_of(stage));
    for (const TablePlan& table : plan.graph->tables) operators_.emplace_back("table " + table.name, "rows");
}

void StateLimit::change(std::span<const OperatorUse> before, std::span<const OperatorUse> now) {
    uint64_t grown = 0;  // Modulo 2^64, as are the sums: a worker takes back only what it added.
    for (size_t i = 0; i < operators_.size(); ++i) {
        const OperatorUse old = before.empty() ? OperatorUse{} : before[i];
        const OperatorUse next = now.empty() ? OperatorUse{} : now[i];
        operators_[i].bytes.fetch_add(next.bytes - old.bytes, std::memory_order_relaxed);
        operators_[i].entries.fetch_add(next.entries - old.entries, std::memory_order_relaxed);
        grown += next.bytes - old.bytes;
    }
    const uint64_t sum = bytes_.fetch_add(grown, std::memory_order_relaxed) + grown;
    if (max_bytes_ == 0) return;
    // 80 % warns, once until it is less than 70 %.
    if (sum >= max_bytes_ / 10 * 8) {
        if (!warned_.exchange(true) && sum <= max_bytes_)
            log_warn("operators keep {} of the {} that state.max_memory_mib allows: {}", mib(sum),
                     mib(max_bytes_), largest());
    } else if (sum < max_bytes_ / 10 * 7) {
        warned_ = false;
    }
}

Result<void> StateLimit::check() const {
    const uint64_t sum = bytes();
    if (max_bytes_ == 0 || sum <= max_bytes_) return {};
    return Error{Code::kStateLimit,
                 fmt::format("operators keep {}, state.max_memory_mib allows {}; all of it is committed. The "
                             "largest: {}. Raise the limit to go on from here; shorter windows, grace or "
                             "within, `state: {{backend: rocksdb}}` where it can be, or more instances need "
                             "less, under a new pipeline name",
                             mib(sum), mib(max_bytes_), largest())};
}

std::string StateLimit::largest() const {
    std::vector<const Operator*> by_size;
    for (const Operator& one : operators_)
        if (one.bytes.load(std::memory_order_relaxed) > 0) by_size.push_back(&one);
    std::stable_sort(by_size.begin(), by_size.end(), [](const Operator* a, const Operator* b) {
        return a->bytes.load(std::memory_order_relaxed) > b->bytes.load(std::memory_order_relaxed);
    });
    std::string text;
    for (size_t i = 0; i < std::min(by_size.size(), kNamed); ++i)
        text += fmt::format("{}{} {} ({} {})", i == 0 ? "" : ", ", by_size[i]->name,
                            mib(by_size[i]->bytes.load(std::memory_order_relaxed)),
                            by_size[i]->entries.load(std::memory_order_relaxed), by_size[i]->entries_are);
    return text;
}

}  // namespace weir::processor
