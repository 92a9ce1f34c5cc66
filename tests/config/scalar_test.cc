#include "config/scalar.h"

#include <doctest/doctest.h>

#include <string>

namespace weir::config {
namespace {

TEST_CASE("durations are whole numbers with units, large units first") {
    CHECK(parse_duration("250ms") == 250);
    CHECK(parse_duration("0s") == 0);
    CHECK(parse_duration("1m30s") == 90'000);
    CHECK(parse_duration("7d") == 604'800'000);
    CHECK(parse_duration("1d2h3m4s5ms") == 93'784'005);
    for (const char* bad : {"", "5", "s", "1.5s", "-1s", "5 s", "5S", "5sec", "1s1m", "1s1s", "1m30", " 1s",
                            "1s ", "36526d", "999999999999999999999ms", "9223372036854775807d"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse_duration(bad));
    }
}

TEST_CASE("a duration is shown in the largest unit that divides it") {
    CHECK(format_duration(0) == "0ms");
    CHECK(format_duration(1) == "1ms");
    CHECK(format_duration(90'000) == "90s");
    CHECK(format_duration(60'000) == "1m");
    CHECK(format_duration(86'400'000) == "1d");
}

TEST_CASE("instants are RFC 3339 with a zone") {
    CHECK(parse_instant("1970-01-01T00:00:00Z") == 0);
    CHECK(parse_instant("1969-12-31T23:59:59.999Z") == -1);
    CHECK(parse_instant("2026-01-01T00:00:00Z") == 1'767'225'600'000);
    CHECK(parse_instant("2026-01-01T02:00:00.5+02:00") == 1'767'225'600'500);
    CHECK(parse_instant("2025-12-31T19:30:00-04:30") == 1'767'225'600'000);
    CHECK(parse_instant("2024-02-29t12:00:00.1239z") == 1'709'208'000'123);
    CHECK(parse_instant("0001-01-01T00:00:00Z") == -62'135'596'800'000);
    for (const char* bad :
         {"", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "2026-13-01T00:00:00Z",
          "2026-02-29T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z",
          "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00+0200", "2026-01-01T00:00:00+24:00",
          "2026-01-01T00:00:00Zx", "26-01-01T00:00:00Z", "2026-00-10T00:00:00Z", "2026-01-00T00:00:00Z"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse_instant(bad));
    }
}

TEST_CASE("a start is a word, an instant or a time ago") {
    CHECK(parse_start("earliest")->kind == Start::Kind::kEarliest);
    CHECK(parse_start("latest")->kind == Start::Kind::kLatest);
    CHECK(parse_start("-1h")->kind == Start::Kind::kAgo);
    CHECK(parse_start("-1h")->milliseconds == 3'600'000);
    CHECK(parse_start("2026-01-01T00:00:00Z")->milliseconds == 1'767'225'600'000);
    for (const char* bad : {"", "1h", "-", "-1", "-0s", "now", "2026-01-01"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse_start(bad));
    }
}

TEST_CASE("workers are auto, a number or a CPU list") {
    CHECK(parse_workers("auto")->automatic);
    CHECK(parse_workers("4")->count == 4);
    CHECK(parse_workers("4")->cpus.empty());
    CHECK_FALSE(parse_workers("4")->automatic);
    CHECK(parse_workers("2-5,7")->cpus == std::vector<int32_t>{2, 3, 4, 5, 7});
    CHECK(parse_workers("2-5,7")->count == 5);
    CHECK(parse_cpu_list("0") == std::vector<int32_t>{0});
    CHECK(parse_cpu_list("3-3,1") == std::vector<int32_t>{3, 1});
    for (const char* bad : {"", "0", "1025", "-1", "5-2", "0-3,2", "1,", ",1", "1-", "1-2-3", "a", "1 ,2",
                            "0-1024", "0-99999999999"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse_workers(bad));
    }
}

TEST_CASE("an instance's index may be the name of a StatefulSet's pod") {
    CHECK(parse_ordinal("0") == 0);
    CHECK(parse_ordinal("weir-orders-12") == 12);
    CHECK_FALSE(parse_ordinal("-1"));
    CHECK_FALSE(parse_ordinal("weir"));
    CHECK_FALSE(parse_ordinal("weir-"));
    CHECK(parse_instance("2/3")->index == 2);
    CHECK(parse_instance("weir-2/3")->index == 2);
    CHECK(parse_instance("weir-2/3")->count == 3);
    CHECK_FALSE(parse_instance("2"));
    CHECK_FALSE(parse_instance("/3"));
    CHECK_FALSE(parse_instance("1/"));
    CHECK_FALSE(parse_instance("1/-3"));
}

TEST_CASE("addresses to listen on") {
    for (const char* good : {"none", "127.0.0.1:8480", "localhost:0", "0.0.0.0:65535", "[::1]:8480"})
        CHECK(is_listen_address(good));
    for (const char* bad :
         {"", "8480", ":8480", "localhost", "localhost:", "localhost:65536", "::1:8480", "http://x:1"}) {
        CAPTURE(bad);
        CHECK_FALSE(is_listen_address(bad));
    }
}

TEST_CASE("names") {
    CHECK(is_pipeline_name("revenue-per-minute.v2"));
    CHECK_FALSE(is_pipeline_name("-a"));
    CHECK_FALSE(is_pipeline_name("a."));
    CHECK_FALSE(is_pipeline_name("a_b"));
    CHECK_FALSE(is_pipeline_name(std::string(101, 'a')));
    CHECK(is_part_name("per_minute"));
    CHECK_FALSE(is_part_name("per.minute"));
    CHECK_FALSE(is_part_name("1st"));
    CHECK(is_topic_name(std::string(249, 'a')));
    CHECK_FALSE(is_topic_name(std::string(250, 'a')));
    CHECK_FALSE(is_topic_name(".."));
}

}  // namespace
}  // namespace weir::config
