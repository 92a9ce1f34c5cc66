// Which Kafka properties a pipeline file may set: librdkafka's names, except those that weir decides itself;
// names of the Java clients are answered with librdkafka's.
#pragma once

#include <string>
#include <string_view>

namespace weir::config {

struct PropertyAdvice {
    bool owned = false;  // weir sets it.
    bool java = false;   // A Java client's name.
    std::string help;    // What to write instead.
};

// Neither owned nor java: the client library decides whether the name exists.
[[nodiscard]] PropertyAdvice advise(std::string_view property);
// Does the name say that its value must not be shown?
[[nodiscard]] bool is_secret_property(std::string_view property);

}  // namespace weir::config
