#include "base/entropy.h"

#include <sys/random.h>

#include "base/result.h"

namespace weir {

uint64_t random_u64() {
    uint64_t bits = 0;
    const ssize_t drawn = getrandom(&bits, sizeof bits, 0);
    WEIR_CHECK(drawn == static_cast<ssize_t>(sizeof bits), "getrandom");
    return bits;
}

}  // namespace weir
