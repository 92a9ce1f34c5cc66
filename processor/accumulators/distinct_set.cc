#include "processor/accumulators/distinct_set.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace weir::processor {

size_t DistinctSet::Hash::operator()(std::string_view value) const {
    return XXH3_64bits(value.data(), value.size());
}

bool DistinctSet::add(std::string_view value) {
    if (index_.contains(value)) return false;
    bytes_.append(value);
    ends_.push_back(static_cast<uint32_t>(bytes_.size()));
    index_.insert(static_cast<uint32_t>(ends_.size() - 1));
    return true;
}

void DistinctSet::write(bool whole, const WritePart& out) {
    for (size_t i = whole ? 0 : written_; i < ends_.size(); ++i) out((*this)[i], {});
    written_ = ends_.size();
}

bool DistinctSet::read(std::string_view key, std::string_view value) {
    add(key);
    written_ = ends_.size();
    return value.empty();
}

size_t DistinctSet::bytes() const {
    return sizeof(*this) + bytes_.capacity() + ends_.capacity() * sizeof(uint32_t) +
           index_.capacity() * (sizeof(uint32_t) + 1);
}

}  // namespace weir::processor
