#include <algorithm>
#include <string>

#include "processor/expr/decimal.h"
#include "processor/expr/json_scanner.h"
#include "processor/expr/jsonb.h"

namespace weir::processor::expr {
namespace {

int rank(JsonKind kind) {
    switch (kind) {
        case JsonKind::kNull: return 0;
        case JsonKind::kString: return 1;
        case JsonKind::kNumber: return 2;
        case JsonKind::kBoolean: return 3;
        case JsonKind::kArray: return 4;
        case JsonKind::kObject: return 5;
    }
    return 0;
}

int three_way(int64_t a, int64_t b) { return a < b ? -1 : a > b; }

int sign(int value) { return value < 0 ? -1 : value > 0; }

// Numbers of any length, by their written-out digits.
int compare_numbers(std::string_view a, std::string_view b) {
    Decimal x;
    Decimal y;
    if (parse_decimal(a, x) && parse_decimal(b, y)) return compare(x, y);
    std::string p;
    std::string q;
    append_json_number(a, p);
    append_json_number(b, q);
    const bool negative = p.starts_with('-');
    if (negative != q.starts_with('-')) return negative ? -1 : 1;
    if (negative) {
        p.erase(0, 1);
        q.erase(0, 1);
        std::swap(p, q);
    }
    const size_t whole_p = std::min(p.find('.'), p.size());
    const size_t whole_q = std::min(q.find('.'), q.size());
    if (whole_p != whole_q) return whole_p < whole_q ? -1 : 1;
    while (p.size() < q.size()) p.push_back(p.size() == whole_p ? '.' : '0');
    while (q.size() < p.size()) q.push_back(q.size() == whole_q ? '.' : '0');
    return sign(p.compare(q));
}

int compare_at(std::string_view a, std::string_view b, int depth);

int compare_arrays(std::string_view a, std::string_view b, int depth) {
    const int64_t count_a = json_array_length(a);
    const int64_t count_b = json_array_length(b);
    // PostgreSQL sorts an empty array below everything else at the top level only.
    if (depth == 0 && (count_a == 0) != (count_b == 0)) return count_a == 0 ? -1 : 1;
    if (count_a != count_b) return three_way(count_a, count_b);
    JsonScanner x(a);
    JsonScanner y(b);
    x.take('[');
    y.take('[');
    std::string_view p;
    std::string_view q;
    while (x.element(p) && y.element(q))
        if (const int order = compare_at(p, q, depth + 1); order != 0) return order;
    return 0;
}

int compare_objects(std::string_view a, std::string_view b, int depth) {
    const auto x = sorted_json_members(a);
    const auto y = sorted_json_members(b);
    if (x.size() != y.size()) return x.size() < y.size() ? -1 : 1;
    for (size_t i = 0; i < x.size(); ++i) {
        if (const int order = sign(x[i].key.compare(y[i].key)); order != 0) return order;
        if (const int order = compare_at(x[i].value, y[i].value, depth + 1); order != 0) return order;
    }
    return 0;
}

int compare_at(std::string_view a, std::string_view b, int depth) {
    if (depth > kMaxJsonDepth) return 0;
    const JsonKind kind_a = json_kind(a);
    const JsonKind kind_b = json_kind(b);
    if (kind_a != kind_b) {
        if (depth == 0) {
            if (kind_a == JsonKind::kArray && json_array_length(a) == 0) return -1;
            if (kind_b == JsonKind::kArray && json_array_length(b) == 0) return 1;
        }
        return rank(kind_a) < rank(kind_b) ? -1 : 1;
    }
    JsonScanner x(a);
    JsonScanner y(b);
    switch (kind_a) {
        case JsonKind::kNull: return 0;
        case JsonKind::kBoolean: return (x.peek() == 't') - (y.peek() == 't');
        case JsonKind::kNumber: return compare_numbers(x.value(), y.value());
        case JsonKind::kString: {
            std::string p;
            std::string q;
            append_unescaped_json(json_string_body(x.value()), p);
            append_unescaped_json(json_string_body(y.value()), q);
            return sign(p.compare(q));
        }
        case JsonKind::kArray: return compare_arrays(a, b, depth);
        case JsonKind::kObject: return compare_objects(a, b, depth);
    }
    return 0;
}

}  // namespace

int compare_json(std::string_view a, std::string_view b) { return compare_at(a, b, 0); }

}  // namespace weir::processor::expr
