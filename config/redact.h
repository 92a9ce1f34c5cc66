// What must not be shown when a source line or a value is: by the key's name. A mistyped name counts too.
//
// Thread:  pure functions.
#pragma once

#include <string>
#include <string_view>

namespace weir::config {

// The name of a key or property says password, secret, token or the like, give or take two letters.
[[nodiscard]] bool names_secret(std::string_view name);
// "user:password" of "scheme://user:password@host"; empty where there is none.
[[nodiscard]] std::string_view userinfo(std::string_view address);

// Stars out, in place, what stands behind such names and before the @ of such addresses. By looks only, line
// by line, so that it also holds where the text is no YAML, a key is given twice, or nobody knows the key.
// References stay readable, their defaults do not.
void hide_secrets(std::string& source);

}  // namespace weir::config
