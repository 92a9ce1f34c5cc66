// What a source text shows once secrets are hidden in it.
#include <doctest/doctest.h>

#include <string>

#include "config/redact.h"

namespace weir::config {
namespace {

std::string hidden(std::string source) {
    hide_secrets(source);
    return source;
}

TEST_CASE("what stands behind a secret's name is starred out, whatever the text around it is") {
    CHECK(hidden("sasl.password: hunter2") == "sasl.password: *******");
    CHECK(hidden("sasl.password: 'hunter 2'  # mine") == "sasl.password: '****** *'  # mine");
    CHECK(hidden("{a: 1, \"passwrod\" : \"hunter2, b: 2}") == "{a: 1, \"passwrod\" : \"******** ** **");
    CHECK(hidden("- token:\n    hunter2\n\n   x\n  b: c\nd: e") ==
          "- token:\n    *******\n\n   *\n  b: c\nd: e");
    CHECK(hidden("ssl.keystore.password: |\n  a\n  b: c\nname: p") ==
          "ssl.keystore.password: *\n  *\n  ** *\nname: p");
    CHECK(hidden("CLIENT_SECRET: hunter2") == "CLIENT_SECRET: *******");
}

TEST_CASE("references stay readable, their defaults do not") {
    CHECK(hidden("sasl.password: ${file:/run/password}") == "sasl.password: ${file:/run/password}");
    CHECK(hidden("secret: a${env:S}b") == "secret: *${env:S}*");
    CHECK(hidden("secret: ${env:S:-hunter2}") == "secret: ${env:S:-*******}");
    CHECK(hidden("topic: ${env:PASSWORD_TOPIC:-orders}") == "topic: ${env:PASSWORD_TOPIC:-orders}");
}

TEST_CASE("a password in an address is starred out") {
    CHECK(hidden("url: \"https://me:hunter2@host/\"") == "url: \"https://**********@host/\"");
    CHECK(hidden("bootstrap.servers: a:1,sasl://b@c,plain://d:9") ==
          "bootstrap.servers: a:1,sasl://*@c,plain://d:9");
    CHECK(userinfo("https://me:hunter2@host/") == "me:hunter2");
    CHECK(userinfo("https://host/").empty());
}

TEST_CASE("ordinary names hide nothing") {
    for (const std::string name : {"topic", "keyed_by", "partition", "timestamp", "streams", "steps", "posts",
                                   "workers", "passengers"})
        CHECK_MESSAGE(!names_secret(name), name);
    for (const std::string name : {"sasl.pasword", "passwort", "api_tokens", "secert", "ssl.private.pem"})
        CHECK_MESSAGE(names_secret(name), name);
}

}  // namespace
}  // namespace weir::config
