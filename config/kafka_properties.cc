#include "config/kafka_properties.h"

#include <algorithm>
#include <array>

#include "config/redact.h"

namespace weir::config {
namespace {

struct Entry {
    std::string_view name;
    std::string_view help;
};

constexpr std::array kOwned{
    Entry{"group.id", "use the top-level key `name`: it is the consumer group"},
    Entry{"transactional.id", "use the top-level keys `name` and `instance`: they make the transactional id"},
    Entry{"client.id", "use the top-level keys `name` and `instance`: they make the client id"},
    Entry{"group.instance.id", "use the top-level key `instance`"},
    Entry{"enable.auto.commit", "remove it: offsets are committed with the results; see `commit_interval`"},
    Entry{"auto.commit.interval.ms", "use the top-level key `commit_interval`"},
    Entry{"enable.auto.offset.store", "remove it: offsets are committed with the results"},
    Entry{"enable.idempotence", "use the top-level key `guarantee`"},
    Entry{"isolation.level", "remove it: weir reads committed records only"},
    Entry{"auto.offset.reset", "use the key `start` of a source"},
    Entry{"partitioner",
          "remove it: keys are partitioned as the Java clients do; see `partition` in a `to` entry"},
    Entry{"metadata.broker.list", "use `bootstrap.servers`"},
};

constexpr std::array kJava{
    Entry{"ssl.truststore.location", "use `ssl.ca.location` with a PEM file"},
    Entry{"ssl.truststore.password", "not needed: `ssl.ca.location` names a PEM file"},
    Entry{"ssl.truststore.type", "not needed: `ssl.ca.location` names a PEM file"},
    Entry{"ssl.truststore.certificates", "use `ssl.ca.pem`"},
    Entry{"ssl.keystore.type",
          "not needed: `ssl.keystore.location` is PKCS#12; for PEM use `ssl.certificate.location`"},
    Entry{"ssl.keystore.key", "use `ssl.key.pem`"},
    Entry{"ssl.keystore.certificate.chain", "use `ssl.certificate.pem`"},
    Entry{"sasl.jaas.config", "use `sasl.username` and `sasl.password`"},
    Entry{"sasl.login.callback.handler.class",
          "use `sasl.oauthbearer.method` and `sasl.oauthbearer.token.endpoint.url`"},
    Entry{"sasl.client.callback.handler.class", "not needed"},
    Entry{"max.poll.records", "not needed: batches are bounded in bytes"},
    Entry{"key.deserializer", "not needed: see `format` of a source"},
    Entry{"value.deserializer", "not needed: see `format` of a source"},
    Entry{"key.serializer", "not needed: results are JSON"},
    Entry{"value.serializer", "not needed: results are JSON"},
    Entry{"buffer.memory", "use `queue.buffering.max.kbytes` under `producer`"},
    Entry{"max.block.ms", "not needed: back-pressure never blocks a send"},
    Entry{"max.request.size", "use `message.max.bytes` under `producer`"},
    Entry{"default.api.timeout.ms", "use `socket.timeout.ms`"},
    Entry{"partition.assignment.strategy", "not needed: see the top-level key `instance`"},
    Entry{"fetch.max.wait.ms", "use `fetch.wait.max.ms` under `consumer`"},
    Entry{"receive.buffer.bytes", "use `socket.receive.buffer.bytes`"},
    Entry{"send.buffer.bytes", "use `socket.send.buffer.bytes`"},
    Entry{"partitioner.class", "not needed: keys are partitioned as the Java clients do"},
    Entry{"interceptor.classes", "not needed: Java classes cannot be loaded"},
    Entry{"metric.reporters", "not needed: see `admin.listen`"},
    Entry{"processing.guarantee", "use the top-level key `guarantee`"},
    Entry{"application.id", "use the top-level key `name`"},
    Entry{"num.stream.threads", "use the top-level key `workers`"},
    Entry{"state.dir", "use the top-level key `state`, with `dir`"},
};

template <class Table>
const Entry* find(const Table& table, std::string_view name) {
    const auto* const found =
        std::find_if(table.begin(), table.end(), [&](const Entry& entry) { return entry.name == name; });
    return found == table.end() ? nullptr : &*found;
}

}  // namespace

PropertyAdvice advise(std::string_view property) {
    if (const Entry* entry = find(kOwned, property)) return {true, false, std::string(entry->help)};
    if (const Entry* entry = find(kJava, property)) return {false, true, std::string(entry->help)};
    return {};
}

bool is_secret_property(std::string_view property) {
    constexpr std::array<std::string_view, 3> kWords{"key", "username", "oauthbearer.config"};
    if (names_secret(property)) return true;
    if (property.ends_with("serializer")) return false;  // key.deserializer, of the Java clients.
    return std::any_of(kWords.begin(), kWords.end(),
                       [&](std::string_view word) { return property.find(word) != std::string_view::npos; });
}

}  // namespace weir::config
