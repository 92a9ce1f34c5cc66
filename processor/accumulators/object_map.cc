#include "processor/accumulators/object_map.h"

#include <absl/strings/string_view.h>

#include "processor/expr/jsonb.h"

namespace weir::processor {
namespace {

constexpr uint8_t kVersion = 1;

}  // namespace

bool ObjectMap::set(std::string_view name, std::string_view json) {
    const auto [at, is_new] = index_.try_emplace(absl::string_view(name.data(), name.size()),
                                                 static_cast<uint32_t>(members_.size()));
    if (is_new) {
        members_.push_back({std::string(name), {}, true});
        text_bytes_ += name.size();
    }
    Member& member = members_[at->second];
    text_bytes_ += json.size();
    text_bytes_ -= member.json.size();
    member.json = json;
    if (member.stored) changed_.push_back(at->second);
    member.stored = false;
    return text_bytes_ <= kBytes;
}

bool ObjectMap::set(const ObjectMap& from) {
    for (const Member& member : from.members_) {
        if (!set(member.name, member.json)) return false;
    }
    return true;
}

std::string ObjectMap::json() const {
    std::string text = "{";
    for (const Member& member : members_) {
        if (text.size() > 1) text.push_back(',');
        expr::append_json_string(member.name, text);
        text.push_back(':');
        text.append(member.json);
    }
    text.push_back('}');
    std::string canonical;
    expr::append_canonical_json(text, canonical);
    return canonical;
}

void ObjectMap::write(bool whole, const WritePart& out) {
    std::string part;
    const auto write_member = [&](Member& member) {
        part.clear();
        put_le<uint8_t>(part, kVersion);
        part.append(member.json);
        out(member.name, part);
        member.stored = true;
    };
    if (whole) {
        for (Member& member : members_) write_member(member);
    } else {
        for (const uint32_t i : changed_) write_member(members_[i]);
    }
    changed_.clear();
}

bool ObjectMap::read(std::string_view key, std::string_view value) {
    if (value.empty() || static_cast<uint8_t>(value.front()) != kVersion) return false;
    static_cast<void>(set(key, value.substr(1)));
    for (const uint32_t i : changed_) members_[i].stored = true;
    changed_.clear();
    return true;
}

size_t ObjectMap::bytes() const {
    size_t total = sizeof(*this) + members_.capacity() * sizeof(Member) +
                   index_.capacity() * (sizeof(std::string) + sizeof(uint32_t) + 5) + text_bytes_;
    for (const Member& member : members_) total += member.name.size();
    return total;
}

}  // namespace weir::processor
