// Random well-typed PostgreSQL expressions over the columns of the differential test. A seed determines
// everything.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace weir::processor::expr::test {

enum class Kind : uint8_t { kBoolean, kInteger, kBigint, kNumeric, kFloat, kText, kJsonb, kTime, kInterval };

class ExpressionGenerator {
public:
    explicit ExpressionGenerator(uint64_t seed) : random_(seed) {}

    std::string next() { return expression(static_cast<Kind>(below(9)), 1 + static_cast<int>(below(4))); }

private:
    size_t below(size_t end) { return random_() % end; }
    bool chance(size_t one_in) { return below(one_in) == 0; }
    std::string pick(const std::vector<std::string>& choices) { return choices[below(choices.size())]; }

    std::string number(int depth) {
        return expression(static_cast<Kind>(static_cast<size_t>(Kind::kInteger) + below(4)), depth);
    }
    std::string exact(int depth) {
        return expression(static_cast<Kind>(static_cast<size_t>(Kind::kInteger) + below(3)), depth);
    }
    std::string expression(Kind kind, int depth) {
        if (depth <= 0) return leaf(kind);
        if (chance(9)) return general(kind, depth - 1);
        switch (kind) {
            case Kind::kBoolean: return boolean(depth - 1);
            case Kind::kInteger: return integer(depth - 1);
            case Kind::kBigint: return bigint(depth - 1);
            case Kind::kNumeric: return numeric(depth - 1);
            case Kind::kFloat: return real(depth - 1);
            case Kind::kText: return text(depth - 1);
            case Kind::kJsonb: return jsonb(depth - 1);
            case Kind::kTime: return time(depth - 1);
            case Kind::kInterval: return interval(depth - 1);
        }
        return "1";
    }

    std::string leaf(Kind kind);
    std::string general(Kind kind, int depth);  // CASE, coalesce and the like, of any kind.
    std::string boolean(int depth);
    std::string integer(int depth);
    std::string bigint(int depth);
    std::string numeric(int depth);
    std::string real(int depth);
    std::string text(int depth);
    std::string jsonb(int depth);
    std::string time(int depth);
    std::string interval(int depth);

    std::mt19937_64 random_;
};

}  // namespace weir::processor::expr::test
