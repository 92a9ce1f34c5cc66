#include "processor/record_shape.h"

#include <simdjson.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <bit>
#include <cstring>

#include "processor/expr/decimal.h"

namespace weir::processor {
namespace {

constexpr size_t kMaxValues = 128;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

template <class Word>
Word load(const char* p) {
    Word word;
    std::memcpy(&word, p, sizeof word);
    return word;
}

constexpr size_t kVector = 16;

#ifdef __SSE2__
__m128i load_vector(const char* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

uint32_t mask_of(__m128i bytes) { return static_cast<uint32_t>(_mm_movemask_epi8(bytes)); }
#endif

// Of these short lengths a call to memcmp costs more than the comparison.
[[gnu::always_inline]] inline bool same_bytes(const char* a, const char* b, size_t length) {
    if (length >= 8) {
        for (size_t i = 0; i + 8 < length; i += 8)
            if (load<uint64_t>(a + i) != load<uint64_t>(b + i)) return false;
        return load<uint64_t>(a + length - 8) == load<uint64_t>(b + length - 8);
    }
    if (length >= 4)
        return load<uint32_t>(a) == load<uint32_t>(b) &&
               load<uint32_t>(a + length - 4) == load<uint32_t>(b + length - 4);
    for (size_t i = 0; i < length; ++i)
        if (a[i] != b[i]) return false;
    return true;
}

// Whether [p, end) has `length` bytes of `text` and at least one more. kVector bytes of `text` are readable;
// `bits`: see RecordShape::Part.
[[gnu::always_inline]] inline bool has_before_value(const char* p, const char* end, const char* text,
                                                    size_t length, [[maybe_unused]] uint32_t bits) {
    const auto left = static_cast<size_t>(end - p);
#ifdef __SSE2__
    if (bits != 0 && left >= kVector) [[likely]] {
        const uint32_t same = mask_of(_mm_cmpeq_epi8(load_vector(p), load_vector(text)));
        return (~same & bits) == 0;
    }
#endif
    return left > length && same_bytes(p, text, length);
}

// The closing quote of a string whose first byte is at `start`; null: it has an escape or a control
// character, is not closed, or is no UTF-8. [record, end) is readable.
[[gnu::always_inline]] inline const char* closing_quote(const char* const record, const char* const start,
                                                        const char* const end) {
    const char* p = start;
    const auto valid = [&](const char* quote) {
        return simdjson::validate_utf8(start, static_cast<size_t>(quote - start)) ? quote : nullptr;
    };
#ifdef __SSE2__
    const __m128i quotes = _mm_set1_epi8('"');
    const __m128i backslashes = _mm_set1_epi8('\\');
    const __m128i last_control = _mm_set1_epi8(0x1f);
    const auto stops = [&](__m128i bytes) {
        return mask_of(
            _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, quotes), _mm_cmpeq_epi8(bytes, backslashes)),
                         _mm_cmpeq_epi8(_mm_min_epu8(bytes, last_control), bytes)));
    };
    uint32_t high = 0;  // Bit by bit, of bytes beyond ASCII.
    const auto stopped_at = [&](const char* from, uint32_t stop) -> const char* {
        const char* const at = from + std::countr_zero(stop);
        return *at != '"' ? nullptr : high == 0 ? at : valid(at);
    };
    for (; static_cast<size_t>(end - p) >= kVector; p += kVector) {
        const __m128i bytes = load_vector(p);
        const uint32_t stop = stops(bytes);
        if (stop == 0) {
            high |= mask_of(bytes);
            continue;
        }
        high |= mask_of(bytes) & (stop ^ (stop - 1));
        return stopped_at(p, stop);
    }
    if (p != end && static_cast<size_t>(end - record) >= kVector) {
        // The last bytes are read together with those before them.
        const auto skipped = static_cast<uint32_t>(p + kVector - end);
        const __m128i bytes = load_vector(end - kVector);
        const uint32_t stop = stops(bytes) >> skipped;
        if (stop == 0) return nullptr;
        high |= (mask_of(bytes) >> skipped) & (stop ^ (stop - 1));
        return stopped_at(p, stop);
    }
#endif
    for (; p != end; ++p) {
        if (*p == '"') return valid(p);
        if (*p == '\\' || static_cast<uint8_t>(*p) < 0x20) return nullptr;
    }
    return nullptr;
}

// Past the digits from `p` on, which are appended to `number` modulo 2^64. Eight at a time: how long numbers
// are varies from record to record, and a loop over digits would mostly wait for mispredicted branches.
[[gnu::always_inline]] inline const char* read_digits(const char* p, const char* const end,
                                                      uint64_t& number) {
    static constexpr uint64_t kPowersOfTen[] = {1,       10,        100,        1000,       10'000,
                                                100'000, 1'000'000, 10'000'000, 100'000'000};
    constexpr uint64_t kHighBits = 0x8080808080808080;
    while (end - p >= 8) {
        uint64_t eight = load<uint64_t>(p) ^ 0x3030303030303030;
        const uint64_t others = ((eight + 0x7676767676767676) | eight) & kHighBits;
        const int count = others == 0 ? 8 : std::countr_zero(others) / 8;
        if (count == 0) return p;
        eight <<= 64 - 8 * count;  // As if zeros stood before them.
        eight = eight * 10 + (eight >> 8);
        eight = ((eight & 0x000000ff000000ff) * 0x000f424000000064 +
                 (eight >> 16 & 0x000000ff000000ff) * 0x0000271000000001) >>
                32;
        number = number * kPowersOfTen[count] + eight;
        p += count;
        if (count < 8) return p;
    }
    for (; p != end && is_digit(*p); ++p) number = number * 10 + static_cast<uint64_t>(*p - '0');
    return p;
}

[[gnu::always_inline]] inline bool is_word(const char* p, const char* end, std::string_view word) {
    return static_cast<size_t>(end - p) >= word.size() && same_bytes(p, word.data(), word.size());
}

// Up to 18 digits without exponent are read here.
[[gnu::always_inline]] inline const char* read_number(const char* p, const char* const end, bool wanted,
                                                      Value& out) {
    const char* const start = p;
    const bool negative = *p == '-';
    if (negative) ++p;
    uint64_t mantissa = 0;
    const char* const digits = p;
    p = read_digits(p, end, mantissa);
    if (p == digits || (*digits == '0' && p != digits + 1)) return nullptr;
    ptrdiff_t digit_count = p - digits;
    ptrdiff_t scale = 0;
    if (p < end && *p == '.') {
        const char* const fraction = ++p;
        p = read_digits(p, end, mantissa);
        scale = p - fraction;
        if (scale == 0) return nullptr;
        digit_count += scale;
    }
    bool plain = digit_count <= 18;
    if (p < end && (*p | 0x20) == 'e') [[unlikely]] {
        ++p;
        if (p < end && (*p == '+' || *p == '-')) ++p;
        const char* const exponent = p;
        uint64_t ignored = 0;
        p = read_digits(p, end, ignored);
        if (p == exponent) return nullptr;
        plain = false;
    }
    if (!wanted) return p;
    if (plain) [[likely]] {
        const auto value = static_cast<int64_t>(mantissa);
        out.set_numeric(negative ? -value : value, static_cast<uint16_t>(scale));
        return p;
    }
    expr::Decimal decimal;
    if (expr::parse_decimal({start, static_cast<size_t>(p - start)}, decimal)) {
        out = decimal.value();
    } else {
        out = Value::of_bytes(Type::kError, "number has more than 38 digits");
    }
    return p;
}

}  // namespace

const char* read_json_number(const char* p, const char* end, bool wanted, Value& out) {
    return read_number(p, end, wanted, out);
}

bool RecordShape::learn(std::string_view record, std::span<const expr::Slot> slots) {
    if (refused_ || record.size() > kMaxBytes || values_.size() > kMaxValues ||
        record.find('\\') != std::string_view::npos)
        return false;
    for (size_t i = 0; i < values_.size(); ++i)
        for (size_t j = 0; j < i; ++j)
            if (values_[i].slot != kNoSlot && values_[i].slot == values_[j].slot) return false;
    text_ = record;
    text_.append(kVector, '\0');
    size_t from = 0;
    for (const Learned& value : values_) {
        const auto length = static_cast<uint32_t>(value.begin - from);
        const uint32_t bits = length < kVector ? (1u << length) - 1 : 0;
        parts_.push_back({static_cast<uint32_t>(from), length, bits, value.slot});
        from = value.end;
    }
    rest_ = from;
    rest_length_ = record.size() - from;
    for (const expr::Slot slot : slots) {
        const auto is_it = [&](const Learned& value) { return value.slot == slot; };
        if (std::none_of(values_.begin(), values_.end(), is_it)) absent_.push_back(slot);
    }
    values_.clear();
    return true;
}

bool RecordShape::read(std::string_view record, std::vector<Column>& columns, size_t row) const {
    const char* p = record.data();
    const char* const end = p + record.size();
    const char* const text = text_.data();
    Value unwanted;
    for (const Part& part : parts_) {
        if (!has_before_value(p, end, text + part.begin, part.length, part.bits)) return false;
        p += part.length;
        const bool wanted = part.slot != kNoSlot;
        Value& value = wanted ? columns[static_cast<size_t>(part.slot)][row] : unwanted;
        if (*p == '"') {
            const char* const quote = closing_quote(record.data(), p + 1, end);
            if (quote == nullptr) return false;
            value.set_text({p + 1, static_cast<size_t>(quote - p - 1)});
            p = quote + 1;
        } else if (*p == '-' || is_digit(*p)) {
            p = read_number(p, end, wanted, value);
            if (p == nullptr) return false;
        } else if (is_word(p, end, "true")) {
            value = Value::of_bool(true);
            p += 4;
        } else if (is_word(p, end, "false")) {
            value = Value::of_bool(false);
            p += 5;
        } else if (is_word(p, end, "null")) {
            value = Value::null();
            p += 4;
        } else {
            return false;
        }
    }
    for (const expr::Slot slot : absent_) columns[static_cast<size_t>(slot)][row] = Value::null();
    return static_cast<size_t>(end - p) == rest_length_ && same_bytes(p, text + rest_, rest_length_);
}

}  // namespace weir::processor
