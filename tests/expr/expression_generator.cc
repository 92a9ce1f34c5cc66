#include "expression_generator.h"

namespace weir::processor::expr::test {
namespace {

// The grammar is written with holes: B boolean, I integer, L bigint, N numeric, F float, T text, J jsonb,
// S timestamptz, V interval, # any number, % exact number; a backquote takes the next character as it is.
using Templates = std::vector<std::string>;

const char* sql_type(Kind kind) {
    static constexpr const char* kNames[] = {"boolean", "integer", "bigint",      "numeric", "float8",
                                             "text",    "jsonb",   "timestamptz", "interval"};
    return kNames[static_cast<size_t>(kind)];
}

}  // namespace

std::string ExpressionGenerator::leaf(Kind kind) {
    switch (kind) {
        case Kind::kBoolean: return pick({"b", "b", "c", "c", "true", "false", "NULL::boolean"});
        case Kind::kInteger:
            return pick({"0", "1", "-1", "2", "3", "7", "10", "100", "2147483647", "-2147483648", "i::int",
                         "i::int", "length(t)"});
        case Kind::kBigint:
            return pick({"i::bigint", "2147483648", "9223372036854775807", "5::bigint", "i::bigint"});
        case Kind::kNumeric:
            return pick({"n", "n", "n", "m", "m", "m", "i", "0.5", "1.50", "-2.25", "100.00", "1e3",
                         "12345.6789", "0.0"});
        case Kind::kFloat:
            return pick(
                {"n::float8", "m::float8", "i::float8", "0.1::float8", "1e10::float8", "'-0.5'::float8"});
        case Kind::kText:
            return pick({"t", "t", "t", "u", "u", "u", "'abc'", "''", "'a%b_c'", "'2026-02-03'", "'12.5'",
                         "' x '", "'\xC3\xA4\xC3\xB6\xE2\x82\xAC'"});
        case Kind::kJsonb:
            return pick({"j", "j", "j", "k", "k", "'{\"a\": 1}'::jsonb", "'[1, 2.50, \"x\"]'::jsonb"});
        case Kind::kTime:
            return pick({"s::timestamptz", "s::timestamptz", "s::timestamptz", "to_timestamp(i)",
                         "'2024-02-29 12:34:56.789+00'::timestamptz", "timestamptz '1999-12-31 23:59:59Z'"});
        case Kind::kInterval:
            return pick({"interval '1 day'", "'1 month 2 days 03:04:05.6'::interval", "v::interval",
                         "v::interval", "interval '-1 year 2 mons -3 days'", "'90 minutes'::interval",
                         "'P1Y2M3DT4H5M6.5S'::interval"});
    }
    return "1";
}

std::string ExpressionGenerator::general(Kind kind, int depth) {
    const std::string type = sql_type(kind);
    const auto one = [&] { return expression(kind, depth); };
    switch (below(8)) {
        case 0:
            return "CASE WHEN " + expression(Kind::kBoolean, depth) + " THEN " + one() + " ELSE " + one() +
                   " END";
        case 1:
            return "CASE " + number(depth) + " WHEN " + number(0) + " THEN " + one() + " WHEN " + number(0) +
                   " THEN " + one() + " END";
        case 2: return "coalesce(" + one() + ", " + one() + ")";
        case 3: return "nullif(" + one() + ", " + one() + ")";
        case 4: return "greatest(" + one() + ", " + one() + ", " + one() + ")";
        case 5: return "least(" + one() + ", " + one() + ")";
        case 6: return "(" + one() + ")::text::" + type;
        default: return "coalesce(NULL, " + one() + ")";
    }
}

std::string ExpressionGenerator::boolean(int depth) {
    const auto of = [&](Kind kind) { return expression(kind, depth); };
    static const std::vector<std::string> kCompare = {
        "=", "<>", "<", "<=", ">", ">=", "!=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"};
    static const std::vector<Kind> kKinds = {Kind::kText, Kind::kJsonb, Kind::kTime, Kind::kInterval,
                                             Kind::kBoolean};
    switch (below(16)) {
        case 0:
        case 1: return "(" + number(depth) + " " + pick(kCompare) + " " + number(depth) + ")";
        case 2: {
            const Kind kind = kKinds[below(kKinds.size())];
            return "(" + of(kind) + " " + pick(kCompare) + " " + of(kind) + ")";
        }
        case 3: return "(" + of(Kind::kBoolean) + " AND " + of(Kind::kBoolean) + ")";
        case 4:
            return "(" + of(Kind::kBoolean) + " OR " + of(Kind::kBoolean) + " OR " + of(Kind::kBoolean) + ")";
        case 5: return "(NOT " + of(Kind::kBoolean) + ")";
        case 6: return "(" + of(static_cast<Kind>(below(9))) + pick({" IS NULL", " IS NOT NULL"}) + ")";
        case 7:
            return "(" + of(Kind::kBoolean) +
                   pick({" IS TRUE", " IS NOT TRUE", " IS FALSE", " IS NOT FALSE", " IS UNKNOWN",
                         " IS NOT UNKNOWN"}) +
                   ")";
        case 8:
            return "(" + number(depth) + pick({" IN (", " NOT IN ("}) + number(0) + ", " + number(0) + ", " +
                   number(0) + "))";
        case 9:
            return "(" + of(Kind::kText) + pick({" IN (", " NOT IN ("}) + "'abc', 'x', " + leaf(Kind::kText) +
                   "))";
        case 10:
            return "(" + number(depth) +
                   pick({" BETWEEN ", " NOT BETWEEN ", " BETWEEN SYMMETRIC ", " NOT BETWEEN SYMMETRIC "}) +
                   number(0) + " AND " + number(0) + ")";
        case 11:
            return "(" + of(Kind::kText) + pick({" LIKE ", " NOT LIKE ", " ILIKE ", " NOT ILIKE "}) +
                   pick({"'a%'", "'%b%'", "'_b%'", "'%'", "''", "'A\\%%'", "'%\xC3\xB6_'", "u",
                         "'a!%b' ESCAPE '!'", "'ab\\'"}) +
                   ")";
        case 12:
            return "(" + of(Kind::kText) + pick({" ~ ", " ~* ", " !~ ", " !~* "}) +
                   pick({"'^a'", "'b$'", "'[a-c]+'", "'^$'", "'x|y'", "'(ab){1,2}'", "'.'",
                         "'[0-9]+\\.[0-9]'", "'[[:digit:]]'"}) +
                   ")";
        case 13: return "starts_with(" + of(Kind::kText) + ", " + leaf(Kind::kText) + ")";
        case 14:
            return "(" + of(Kind::kText) + " " + pick({"=", "<", ">="}) + " " + pick({"'abc'", "''", "'b'"}) +
                   ")";
        default:
            return "(" + number(depth) + " " + pick({"=", "<", ">=", "<>"}) + " " +
                   pick({"'1'", "'2.50'", "'-3'", "'0'"}) + ")";
    }
}

std::string ExpressionGenerator::integer(int depth) {
    const auto of = [&](Kind kind) { return expression(kind, depth); };
    switch (below(15)) {
        case 0:
            return "(" + of(Kind::kInteger) + " " + pick({"+", "-", "*", "/", "%"}) + " " +
                   of(Kind::kInteger) + ")";
        case 1: return "(- " + of(Kind::kInteger) + ")";
        case 2: return "(" + number(depth) + ")::int";
        case 3: return "CAST(" + of(Kind::kBoolean) + " AS integer)";
        case 4: return "length(" + of(Kind::kText) + ")";
        case 5: return "strpos(" + of(Kind::kText) + ", " + leaf(Kind::kText) + ")";
        case 6: return "position(" + leaf(Kind::kText) + " in " + of(Kind::kText) + ")";
        case 7: return "abs(" + of(Kind::kInteger) + ")";
        case 8: return "mod(" + of(Kind::kInteger) + ", " + of(Kind::kInteger) + ")";
        case 9: return "jsonb_array_length(" + of(Kind::kJsonb) + ")";
        case 10: return "(" + of(Kind::kJsonb) + ")::int";
        case 11: return "(" + of(Kind::kText) + ")::int";
        case 12:
            return "extract(" + pick({"year", "month", "dow", "week"}) + " from " + of(Kind::kTime) +
                   ")::int";
        default: return leaf(Kind::kInteger);
    }
}

std::string ExpressionGenerator::bigint(int depth) {
    const auto of = [&](Kind kind) { return expression(kind, depth); };
    switch (below(7)) {
        case 0:
            return "(" + of(Kind::kBigint) + " " + pick({"+", "-", "*", "/", "%"}) + " " + of(Kind::kBigint) +
                   ")";
        case 1:
            return "(" + of(Kind::kBigint) + " " + pick({"+", "-", "*", "/", "%"}) + " " +
                   of(Kind::kInteger) + ")";
        case 2:
            return "(" + of(Kind::kInteger) + " " + pick({"+", "-", "*", "/", "%"}) + " " +
                   of(Kind::kBigint) + ")";
        case 3: return "(" + number(depth) + ")::bigint";
        case 4: return "(" + pick({"'12'", "' -5 '", "'9223372036854775807'", "t"}) + ")::bigint";
        case 5: return "(" + of(Kind::kJsonb) + ")::bigint";
        default: return "abs(" + of(Kind::kBigint) + ")";
    }
}

std::string ExpressionGenerator::numeric(int depth) {
    const auto of = [&](Kind kind) { return expression(kind, depth); };
    switch (below(20)) {
        case 0:
        case 1:
            return "(" + of(Kind::kNumeric) + " " + pick({"+", "-", "*", "/", "%"}) + " " +
                   of(Kind::kNumeric) + ")";
        case 2:
            return "(" + of(Kind::kNumeric) + " " + pick({"+", "-", "*", "/", "%"}) + " " +
                   of(Kind::kInteger) + ")";
        case 3:
            return "(" + of(Kind::kBigint) + " " + pick({"+", "-", "*", "/", "%"}) + " " +
                   of(Kind::kNumeric) + ")";
        case 4: return "(" + number(depth) + ")::numeric";
        case 5:
            return "(" + number(depth) + ")::numeric(" + pick({"10,2", "5", "8,3", "20,10", "3,-1", "4,4"}) +
                   ")";
        case 6: return "round(" + exact(depth) + ", " + pick({"0", "1", "2", "-1", "5", "-3"}) + ")";
        case 7:
            return pick({"round", "floor", "ceil", "trunc", "abs", "sign", "ceiling"}) + "(" +
                   of(Kind::kNumeric) + ")";
        case 8: return "trunc(" + of(Kind::kNumeric) + ", " + pick({"0", "1", "3", "-1"}) + ")";
        case 9: return "mod(" + of(Kind::kNumeric) + ", " + exact(depth) + ")";
        case 10:
            return "power(" + leaf(Kind::kNumeric) + ", " + pick({"2", "3", "0.5", "-1", "0", "1.5"}) +
                   "::numeric)";
        case 11: return "(" + leaf(Kind::kNumeric) + " ^ " + pick({"2", "3", "0.5", "-1"}) + "::numeric)";
        case 12: return "sqrt(" + of(Kind::kNumeric) + ")";
        case 13: return pick({"ln", "log"}) + "(" + of(Kind::kNumeric) + ")";
        case 14: return "log(" + pick({"2", "10", "1.5"}) + "::numeric, " + of(Kind::kNumeric) + ")";
        case 15: return "(" + of(Kind::kJsonb) + ")::numeric";
        case 16:
            return "extract(" + pick({"epoch",    "second", "milliseconds", "microseconds", "minute",
                                      "hour",     "day",    "doy",          "isodow",       "isoyear",
                                      "quarter",  "decade", "century",      "millennium",   "julian",
                                      "timezone", "year",   "month",        "week",         "dow"}) +
                   " from " + of(Kind::kTime) + ")";
        case 17:
            return "extract(" +
                   pick({"epoch", "second", "milliseconds", "microseconds", "minute", "hour", "day", "month",
                         "quarter", "year", "decade", "century"}) +
                   " from " + of(Kind::kInterval) + ")";
        case 18: return "(- " + of(Kind::kNumeric) + ")";
        default: return pick({"'1.5'", "' 2 '", "'1e5'", "'-0.00'", "'.5'", "t", "u"}) + "::numeric";
    }
}

std::string ExpressionGenerator::real(int depth) {
    const auto of = [&](Kind kind) { return expression(kind, depth); };
    switch (below(13)) {
        case 0:
        case 1:
            return "(" + of(Kind::kFloat) + " " + pick({"+", "-", "*", "/"}) + " " + of(Kind::kFloat) + ")";
        case 2: return "(" + of(Kind::kFloat) + " " + pick({"+", "-", "*", "/"}) + " " + number(depth) + ")";
        case 3: return "(" + number(depth) + ")::float8";
        case 4:
            return pick({"round", "floor", "ceil", "trunc", "abs", "sign"}) + "(" + of(Kind::kFloat) + ")";
        case 5: return "sqrt(" + of(Kind::kFloat) + ")";
        case 6: return pick({"ln", "log"}) + "(" + of(Kind::kFloat) + ")";
        case 7: return "power(" + of(Kind::kFloat) + ", " + pick({"2", "0.5", "-1"}) + "::float8)";
        case 8: return "(" + of(Kind::kInteger) + " ^ " + pick({"2", "3", "-1", "0"}) + ")";
        case 9:
            return "date_part(" + pick({"'epoch'", "'second'", "'hour'", "'dow'", "'year'"}) + ", " +
                   of(Kind::kTime) + ")";
        case 10: return pick({"round", "floor", "ceil", "sqrt"}) + "(" + of(Kind::kInteger) + ")";
        case 11: return pick({"'1.5'", "'NaN'", "'Infinity'", "'-inf'", "' 1e300 '", "t"}) + "::float8";
        default: return "(" + of(Kind::kJsonb) + ")::float8";
    }
}

std::string ExpressionGenerator::text(int depth) {
    const auto of = [&](Kind kind) { return expression(kind, depth); };
    switch (below(20)) {
        case 0: return "(" + of(Kind::kText) + " || " + of(Kind::kText) + ")";
        case 1: return "(" + of(Kind::kText) + " || " + of(static_cast<Kind>(below(6))) + ")";
        case 2: return "(" + of(static_cast<Kind>(below(9))) + ")::text";
        case 3: return pick({"lower", "upper"}) + "(" + of(Kind::kText) + ")";
        case 4:
            return "substring(" + of(Kind::kText) + ", " + pick({"1", "2", "-1", "0", "3"}) +
                   pick({"", ", 2", ", 0", ", 10", ", -1"}) + ")";
        case 5:
            return "substring(" + of(Kind::kText) + " from " + pick({"1", "2", "-2"}) + " for " +
                   pick({"1", "3", "5"}) + ")";
        case 6:
            return pick({"left", "right"}) + "(" + of(Kind::kText) + ", " +
                   pick({"0", "1", "2", "-1", "-2", "100"}) + ")";
        case 7: return pick({"trim", "btrim", "ltrim", "rtrim"}) + "(" + of(Kind::kText) + ")";
        case 8:
            return "trim(" + pick({"both", "leading", "trailing"}) + " " +
                   pick({"'ab'", "' '", "'\xC3\xA4x'"}) + " from " + of(Kind::kText) + ")";
        case 9:
            return pick({"btrim", "ltrim", "rtrim"}) + "(" + of(Kind::kText) + ", " + leaf(Kind::kText) + ")";
        case 10:
            return "replace(" + of(Kind::kText) + ", " + leaf(Kind::kText) + ", " + leaf(Kind::kText) + ")";
        case 11:
            return "split_part(" + of(Kind::kText) + ", " + pick({"','", "'a'", "' '", "''", "t"}) + ", " +
                   pick({"1", "2", "-1", "0", "3", "-2"}) + ")";
        case 12:
            return "concat(" + of(Kind::kText) + ", " + of(static_cast<Kind>(below(9))) + ", NULL, " +
                   of(static_cast<Kind>(below(9))) + ")";
        case 13: return "md5(" + of(Kind::kText) + ")";
        case 14: return "(" + of(Kind::kJsonb) + " ->> " + pick({"'a'", "'b'", "0", "1", "-1", "t"}) + ")";
        case 15:
            return "(" + of(Kind::kJsonb) + " #>> " +
                   pick({"'{a,0}'", "'{b}'", "'{0,a}'", "'{}'", "'{a,-1}'"}) + ")";
        case 16: return "jsonb_typeof(" + of(Kind::kJsonb) + ")";
        default: return leaf(Kind::kText);
    }
}

std::string ExpressionGenerator::jsonb(int depth) {
    const auto of = [&](Kind kind) { return expression(kind, depth); };
    switch (below(9)) {
        case 0:
            return "(" + of(Kind::kJsonb) + " -> " + pick({"'a'", "'b'", "0", "1", "-1", "t", "'c'"}) + ")";
        case 1: return "(" + of(Kind::kJsonb) + " #> " + pick({"'{a,0}'", "'{b}'", "'{0,a}'", "'{}'"}) + ")";
        case 2: return "(" + of(Kind::kJsonb) + ")[" + pick({"'a'", "'b'", "0", "-1", "2"}) + "]";
        case 3:
            return "jsonb_build_array(" + of(static_cast<Kind>(below(9))) + ", " +
                   of(static_cast<Kind>(below(9))) + ")";
        case 4:
            return "jsonb_build_object('b', " + of(static_cast<Kind>(below(9))) + ", " + leaf(Kind::kText) +
                   ", " + of(static_cast<Kind>(below(9))) + ")";
        case 5:
            return "(" +
                   pick({"'{\"b\":1,\"a\":[1e2,-0.50],\"b\":null}'", "'[]'", "' \"x\\u00e9\\n\" '", "'1.50'",
                         "'nope'", "u"}) +
                   ")::jsonb";
        case 6: return "j['a']['b']";
        default: return leaf(Kind::kJsonb);
    }
}

std::string ExpressionGenerator::time(int depth) {
    const auto of = [&](Kind kind) { return expression(kind, depth); };
    switch (below(7)) {
        case 0: return "(" + of(Kind::kTime) + pick({" + ", " - "}) + of(Kind::kInterval) + ")";
        case 1: return "(" + of(Kind::kInterval) + " + " + of(Kind::kTime) + ")";
        case 2:
            return "date_trunc(" +
                   pick({"'hour'", "'day'", "'week'", "'month'", "'quarter'", "'year'", "'decade'",
                         "'century'", "'millisecond'", "'minute'", "'second'"}) +
                   ", " + of(Kind::kTime) + ")";
        case 3:
            return "date_trunc(" + pick({"'hour'", "'day'", "'week'", "'month'", "'year'"}) + ", " +
                   of(Kind::kTime) + ", " +
                   pick({"'Europe/Berlin'", "'America/New_York'", "'Asia/Kolkata'", "'UTC'"}) + ")";
        case 4: return "to_timestamp(" + leaf(Kind::kNumeric) + ")";
        case 5:
            return "(" +
                   pick({"'2026-01-01'", "'2026-01-01T10:20:30.123456789Z'", "'2026-06-01 00:00:00+02:00'",
                         "'2026-06-01 00:00-0530'", "'x'", "s"}) +
                   ")::timestamptz";
        default: return leaf(Kind::kTime);
    }
}

std::string ExpressionGenerator::interval(int depth) {
    const auto of = [&](Kind kind) { return expression(kind, depth); };
    switch (below(8)) {
        case 0: return "(" + of(Kind::kTime) + " - " + of(Kind::kTime) + ")";
        case 1: return "(" + of(Kind::kInterval) + pick({" + ", " - "}) + of(Kind::kInterval) + ")";
        case 2: return "(" + of(Kind::kInterval) + " * " + number(0) + ")";
        case 3: return "(" + number(0) + " * " + of(Kind::kInterval) + ")";
        case 4: return "(" + of(Kind::kInterval) + " / " + number(0) + ")";
        case 5: return "(- " + of(Kind::kInterval) + ")";
        case 6:
            return "date_trunc(" + pick({"'hour'", "'day'", "'month'", "'year'"}) + ", " +
                   of(Kind::kInterval) + ")";
        default: return leaf(Kind::kInterval);
    }
}

}  // namespace weir::processor::expr::test
