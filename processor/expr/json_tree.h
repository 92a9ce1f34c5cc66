// Reading the parser's JSON tree.
#pragma once

#include <rapidjson/document.h>

#include <string_view>

namespace weir::processor::expr {

[[nodiscard]] inline const rapidjson::Value* child(const rapidjson::Value& value, const char* name) {
    if (!value.IsObject()) return nullptr;
    const auto member = value.FindMember(name);
    return member == value.MemberEnd() ? nullptr : &member->value;
}

[[nodiscard]] inline std::string_view text_of(const rapidjson::Value& value) {
    return value.IsString() ? std::string_view(value.GetString(), value.GetStringLength())
                            : std::string_view();
}

}  // namespace weir::processor::expr
