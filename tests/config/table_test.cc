// The table of fields against what is made of it: the reference page, the schema, the structs' defaults.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "config/fields.h"
#include "config/load.h"
#include "config/reference.h"
#include "config/schema.h"

namespace weir::config {
namespace {

TEST_CASE("docs/reference.md is the table's text (WEIR_UPDATE=1 writes it)") {
    const auto path = std::filesystem::path(WEIR_SOURCE_DIR) / "docs/reference.md";
    const std::string page = reference_page();
    if (std::getenv("WEIR_UPDATE") != nullptr) std::ofstream(path, std::ios::binary) << page;
    std::ifstream in(path, std::ios::binary);
    CHECK(page == std::string(std::istreambuf_iterator<char>(in), {}));
}

TEST_CASE("every row is complete, has a parent, and stands once") {
    std::set<std::string_view> paths{""};
    for (const Field& field : fields()) {
        CAPTURE(field.path);
        const size_t dot = field.path.rfind('.');
        CHECK(paths.contains(dot == std::string_view::npos ? "" : field.path.substr(0, dot)));
        CHECK(paths.insert(field.path).second);
        CHECK_FALSE(field.doc.empty());
        CHECK_FALSE(field.example.empty());
        CHECK_FALSE(field.since.empty());
        CHECK((field.type != Type::kNone || field.map));
        CHECK((field.type == Type::kEnum) == (!field.values.empty() && field.type != Type::kStart));
        CHECK((field.map || children(field).empty()));
    }
}

TEST_CASE("the defaults that the page tells are the structs' defaults") {
    const auto told = [](std::string_view path) {
        for (const Field& field : fields()) {
            if (field.path == path) return field.default_value;
        }
        return std::string_view();
    };
    const Loaded loaded = load_text("p.yaml",
                                    "name: p\nkafka: {bootstrap.servers: b}\nsources: {s: {topic: s}}\n"
                                    "streams: {t: {from: s, to: t}}\n",
                                    LoadOptions{});
    REQUIRE(loaded.diagnostics.all().empty());
    const Pipeline& p = loaded.pipeline;
    CHECK((p.guarantee == Guarantee::kExactlyOnce && told("guarantee") == "exactly_once"));
    CHECK((p.commit_interval_ms == 100 && told("commit_interval").starts_with("100ms")));
    CHECK((p.workers.automatic && told("workers") == "auto"));
    CHECK((p.instance.index == 0 && p.instance.count == 1 && told("instance") == "0/1"));
    CHECK(p.state_dir == told("state.dir"));
    CHECK((p.snapshot_after_bytes == int64_t{32} << 20 && told("state.snapshot_after_mib") == "32"));
    CHECK((p.max_memory_bytes == 0 && told("state.max_memory_mib") == "no limit"));
    CHECK(p.admin_listen == told("admin.listen"));
    CHECK((p.on_error.decode.action == ErrorAction::kFail && told("on_error") == "fail"));
    const Source& source = p.sources.at(0);
    CHECK((source.format == Format::kJson && told("sources.*.format") == "json"));
    CHECK((source.start.kind == Start::Kind::kEarliest && told("sources.*.start") == "earliest"));
    CHECK((source.watermark.max_delay_ms == 5'000 && told("sources.*.watermark.max_delay") == "5s"));
    CHECK((source.watermark.idle_timeout_ms == 30'000 && told("sources.*.watermark.idle_timeout") == "30s"));
    CHECK((source.watermark.when_all_idle == WhenAllIdle::kTick &&
           told("sources.*.watermark.when_all_idle") == "tick"));
    CHECK((source.watermark.emit_every_ms == 1'000 && told("sources.*.watermark.emit_every") == "1s"));
    CHECK((source.watermark.max_ahead_ms == 600'000 && told("sources.*.watermark.max_ahead") == "10m"));
}

TEST_CASE("the schema names every key and is balanced JSON text") {
    const std::string schema = json_schema();
    for (const Field& field : fields()) {
        const std::string_view name = last_segment(field.path);
        CAPTURE(field.path);
        if (name != "*") CHECK(schema.find('"' + std::string(name) + "\": {") != std::string::npos);
    }
    int depth = 0;
    bool in_text = false;
    for (size_t i = 0; i < schema.size(); ++i) {
        if (schema[i] == '\\') {
            ++i;
        } else if (schema[i] == '"') {
            in_text = !in_text;
        } else if (!in_text) {
            depth += schema[i] == '{' || schema[i] == '[' ? 1 : schema[i] == '}' || schema[i] == ']' ? -1 : 0;
            CHECK(depth >= (i + 2 < schema.size() ? 1 : 0));
        }
    }
    CHECK((depth == 0 && !in_text));
}

}  // namespace
}  // namespace weir::config
