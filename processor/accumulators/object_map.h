// The members of one jsonb_object_agg: of equal keys the one that came last.
//
// Stored:  a part per member: key the member's name, value version(u8) and its JSON text. A write gives those
//          that changed.
// Memory:  a member's name twice, its JSON text, about 80 bytes. More than kBytes of names and texts make
//          set() false, and the caller gives the call up.
// Thread:  the worker that owns the state.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "processor/accumulator.h"

namespace weir::processor {

class ObjectMap final : public AccumulatorObject {
public:
    explicit ObjectMap(const CallPlan&) {}

    [[nodiscard]] bool set(std::string_view name, std::string_view json);
    [[nodiscard]] bool set(const ObjectMap& from);
    // As jsonb prints it.
    [[nodiscard]] std::string json() const;

    void write(bool whole, const WritePart& out) override;
    [[nodiscard]] bool read(std::string_view key, std::string_view value) override;
    [[nodiscard]] size_t bytes() const override;

    static constexpr size_t kBytes = 1 << 20;

private:
    struct Member {
        std::string name;
        std::string json;
        bool stored = false;
    };

    std::vector<Member> members_;
    absl::flat_hash_map<std::string, uint32_t> index_;
    std::vector<uint32_t> changed_;
    size_t text_bytes_ = 0;
};

}  // namespace weir::processor
