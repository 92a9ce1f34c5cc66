// weir_load: writes records into a Kafka topic, in order per partition.
//   weir_load --bootstrap=HOST:PORT --topic=NAME [--rate=RECORDS_PER_SECOND] [bid options, see records.h]
//     SIGUSR1: from now on as fast as possible
//     --listing-ms=N  instead of the bids the auctions that they are for, each listed anew so often
//   weir_load --bootstrap=HOST:PORT --topic=NAME --raw <FRAMES
// --raw reads records of any content from standard input, little-endian: partition i32, timestamp i64, then
// key and value, each as a length i32 (-1: null) and its bytes. Prints how many were written; exits 1 when
// one was not.
#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <optional>

#include "tests/e2e/records.h"

namespace weir::e2e {
namespace {

volatile std::sig_atomic_t in_a_hurry = 0;

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "weir_load: %s\n", what.c_str());
    std::exit(1);
}

class Writer {
public:
    Writer(const std::string& bootstrap, const std::string& topic) {
        rd_kafka_conf_t* conf = rd_kafka_conf_new();
        set(conf, "bootstrap.servers", bootstrap);
        set(conf, "enable.idempotence", "true");  // Keeps each partition's order across retries.
        set(conf, "linger.ms", "5");
        set(conf, "message.max.bytes", "16000000");
        set(conf, "queue.buffering.max.kbytes", "65536");
        rd_kafka_conf_set_opaque(conf, this);
        rd_kafka_conf_set_dr_msg_cb(conf, [](rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
            auto* writer = static_cast<Writer*>(opaque);
            if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
                ++writer->written_;
            else
                writer->error_ = rd_kafka_err2str(message->err);
        });
        char error[512];
        producer_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
        if (producer_ == nullptr) fail(error);
        topic_ = rd_kafka_topic_new(producer_, topic.c_str(), nullptr);
    }
    ~Writer() {
        rd_kafka_topic_destroy(topic_);
        rd_kafka_destroy(producer_);
    }
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    void write(int32_t partition, int64_t timestamp_ms, const std::optional<std::string>& key,
               const std::optional<std::string>& value) {
        rd_kafka_vu_t fields[6]{};
        fields[0].vtype = RD_KAFKA_VTYPE_RKT;
        fields[0].u.rkt = topic_;
        fields[1].vtype = RD_KAFKA_VTYPE_PARTITION;
        fields[1].u.i32 = partition;
        fields[2].vtype = RD_KAFKA_VTYPE_TIMESTAMP;
        fields[2].u.i64 = timestamp_ms;
        fields[3].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
        fields[3].u.i = RD_KAFKA_MSG_F_COPY;
        fields[4] = memory(RD_KAFKA_VTYPE_KEY, key);
        fields[5] = memory(RD_KAFKA_VTYPE_VALUE, value);
        for (;;) {
            rd_kafka_error_t* const error = rd_kafka_produceva(producer_, fields, std::size(fields));
            if (error == nullptr) break;
            const rd_kafka_resp_err_t code = rd_kafka_error_code(error);
            rd_kafka_error_destroy(error);
            if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) fail(rd_kafka_err2str(code));
            rd_kafka_poll(producer_, 10);
        }
        if (++handed_over_ % 1000 == 0) rd_kafka_poll(producer_, 0);
    }

    // Serves deliveries until then.
    void wait_until(std::chrono::steady_clock::time_point due) {
        for (;;) {
            const auto left =
                std::chrono::ceil<std::chrono::milliseconds>(due - std::chrono::steady_clock::now());
            if (left.count() <= 0 || in_a_hurry != 0) return;
            rd_kafka_poll(producer_, static_cast<int>(std::min<int64_t>(left.count(), 100)));
        }
    }

    int64_t finish() {
        while (rd_kafka_outq_len(producer_) > 0) rd_kafka_poll(producer_, 100);
        if (written_ != handed_over_) fail(error_);
        return written_;
    }

private:
    static void set(rd_kafka_conf_t* conf, const char* name, const std::string& value) {
        char error[512];
        if (rd_kafka_conf_set(conf, name, value.c_str(), error, sizeof error) != RD_KAFKA_CONF_OK)
            fail(error);
    }

    // A null text is a null pointer, an empty one is not.
    static rd_kafka_vu_t memory(rd_kafka_vtype_t type, const std::optional<std::string>& text) {
        rd_kafka_vu_t field{};
        field.vtype = type;
        field.u.mem.ptr = text ? const_cast<char*>(text->data()) : nullptr;
        field.u.mem.size = text ? text->size() : 0;
        return field;
    }

    rd_kafka_t* producer_ = nullptr;
    rd_kafka_topic_t* topic_ = nullptr;
    int64_t handed_over_ = 0;
    int64_t written_ = 0;
    std::string error_;
};

template <class Number>
bool read_number(Number& number) {
    char bytes[sizeof(Number)];
    if (!std::cin.read(bytes, sizeof bytes)) return false;
    std::memcpy(&number, bytes, sizeof bytes);
    return true;
}

std::optional<std::string> read_text() {
    int32_t size = 0;
    if (!read_number(size)) fail("the frame ends early");
    if (size < 0) return std::nullopt;
    std::string text(static_cast<size_t>(size), '\0');
    if (!std::cin.read(text.data(), size)) fail("the frame ends early");
    return text;
}

void write_raw(Writer& writer) {
    int32_t partition = 0;
    while (read_number(partition)) {
        int64_t timestamp_ms = 0;
        if (!read_number(timestamp_ms)) fail("the frame ends early");
        const auto key = read_text();
        const auto value = read_text();
        writer.write(partition, timestamp_ms, key, value);
    }
}

void write_bids(Writer& writer, const BidOptions& options, int64_t rate) {
    const auto start = std::chrono::steady_clock::now();
    int64_t count = 0;
    for_each_bid(options, [&](const Bid& bid) {
        // Record number n is due n / rate seconds after the start.
        if (rate > 0 && ++count % 100 == 0)
            writer.wait_until(start + std::chrono::microseconds(count * 1'000'000 / rate));
        std::optional<std::string> value;
        if (bid.kind != BidKind::kNoValue) value = bid.value;
        writer.write(bid.partition, bid.event_ms, bid.key, value);
    });
}

void write_auctions(Writer& writer, const BidOptions& options, int64_t listing_ms) {
    for_each_auction(options, listing_ms, [&](const Bid& auction) {
        writer.write(auction.partition, auction.event_ms, auction.key, auction.value);
    });
}

int load(int argc, char** argv) {
    BidOptions options;
    std::string bootstrap;
    std::string topic;
    int64_t rate = 0;
    int64_t listing_ms = 0;
    bool raw = false;
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        if (argument == "--raw")
            raw = true;
        else if (!take_text(argument, "--bootstrap", bootstrap) && !take_text(argument, "--topic", topic) &&
                 !take_number(argument, "--rate", rate) &&
                 !take_number(argument, "--listing-ms", listing_ms) && !take_bid_option(argument, options))
            fail("unknown argument " + argument);
    }
    if (bootstrap.empty() || topic.empty()) fail("--bootstrap=… and --topic=… are needed");
    std::signal(SIGUSR1, [](int) { in_a_hurry = 1; });
    Writer writer(bootstrap, topic);
    if (raw)
        write_raw(writer);
    else if (listing_ms > 0)
        write_auctions(writer, options, listing_ms);
    else
        write_bids(writer, options, rate);
    std::printf("%lld\n", static_cast<long long>(writer.finish()));
    return 0;
}

}  // namespace
}  // namespace weir::e2e

int main(int argc, char** argv) { return weir::e2e::load(argc, argv); }
