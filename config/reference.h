// docs/reference.md, made from the table of fields; a test keeps the file equal to this text.
#pragma once

#include <string>

namespace weir::config {

[[nodiscard]] std::string reference_page();

}  // namespace weir::config
