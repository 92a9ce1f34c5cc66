#include "tests/e2e/records.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace weir::e2e {
namespace {

class SplitMix64 {
public:
    explicit SplitMix64(uint64_t seed) : state_(seed) {}

    uint64_t next() {
        state_ += 0x9e3779b97f4a7c15;
        uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }

    // 0 … bound - 1. The bias of the remainder does not matter here.
    int64_t below(int64_t bound) { return static_cast<int64_t>(next() % static_cast<uint64_t>(bound)); }

private:
    uint64_t state_;
};

int32_t partition_of(const std::string& key, int32_t partitions) {
    constexpr uint32_t m = 0x5bd1e995;
    const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(key[i])); };
    uint32_t h = 0x9747b28c ^ static_cast<uint32_t>(key.size());
    const size_t whole = key.size() / 4 * 4;
    for (size_t i = 0; i < whole; i += 4) {
        uint32_t k = byte(i) | byte(i + 1) << 8 | byte(i + 2) << 16 | byte(i + 3) << 24;
        k *= m;
        k ^= k >> 24;
        h = h * m ^ k * m;
    }
    for (size_t i = key.size(); i > whole; --i) h ^= byte(i - 1) << 8 * (i - 1 - whole);
    if (key.size() > whole) h *= m;
    h = (h ^ h >> 13) * m;
    h ^= h >> 15;
    return static_cast<int32_t>((h & 0x7fffffff) % static_cast<uint32_t>(partitions));
}

std::string price_text(const BidOptions& options, int64_t cents) {
    std::string text = std::to_string(cents);
    if (options.whole_numbers) return text;
    if (text.size() < 3) text.insert(0, 3 - text.size(), '0');
    text.insert(text.size() - 2, ".");
    return text;
}

void fill_up(const BidOptions& options, int64_t sequence, std::string& v) {
    const size_t wanted = static_cast<size_t>(options.bytes) - 2;
    while (v.size() < wanted)
        v.push_back(static_cast<char>('a' + (v.size() * 7 + static_cast<size_t>(sequence)) % 26));
    v.append("\"}");
}

void write_value(const BidOptions& options, int64_t sequence, int64_t bidder, Bid& bid) {
    static constexpr std::array<const char*, 4> kChannels{"apple", "google", "facebook", "baidu"};
    std::string& v = bid.value;
    v.assign("{\"auction\":").append(bid.key);
    v.append(options.whole_numbers ? ",\"bidder\":" : ",\"bidder\":\"b-").append(std::to_string(bidder));
    v.append(options.whole_numbers ? ",\"price\":" : "\",\"price\":");
    v.append(bid.kind == BidKind::kPriceIsText ? "\"n/a\"" : price_text(options, bid.cents));
    v.append(",\"channel\":\"").append(kChannels[static_cast<size_t>(bidder % 4)]);
    v.append("\",\"url\":\"https://www.example.com/item.htm?query=1&seq=").append(std::to_string(sequence));
    v.append("\",\"dateTime\":").append(std::to_string(bid.event_ms)).append(",\"extra\":\"");
    fill_up(options, sequence, v);
    if (bid.kind == BidKind::kNotJson) v.resize(v.size() / 2);
    if (bid.kind == BidKind::kNoValue) v.clear();
}

bool has_prefix(const std::string& argument, const std::string& name) {
    return argument.rfind(name + "=", 0) == 0;
}

}  // namespace

void for_each_bid(const BidOptions& options, const std::function<void(const Bid&)>& visit) {
    SplitMix64 random(options.seed);
    std::vector<std::string> keys;
    std::vector<int32_t> partitions;
    for (int32_t auction = 0; auction < options.auctions; ++auction) {
        keys.push_back(std::to_string(auction));
        partitions.push_back(partition_of(keys.back(), options.partitions));
    }
    Bid bid;
    int64_t latest_ms = options.start_ms;
    for (int64_t sequence = 0; sequence < options.count; ++sequence) {
        bid.auction = static_cast<int32_t>(random.below(options.auctions));
        bid.key = keys[static_cast<size_t>(bid.auction)];
        bid.partition = partitions[static_cast<size_t>(bid.auction)];
        bid.cents = 1 + random.below(100'000);
        bid.kind = BidKind::kGood;
        if (random.below(1'000'000) < options.malformed_ppm)
            bid.kind = static_cast<BidKind>(1 + random.below(3));
        // Only well-formed bids come late: what a malformed late record is would be two questions in one.
        const bool late = random.below(1'000'000) < options.late_ppm && bid.kind == BidKind::kGood;
        latest_ms = options.start_ms + sequence * options.step_us / 1000;
        bid.event_ms = latest_ms - random.below((late ? options.late_by_ms : options.disorder_ms) + 1);
        write_value(options, sequence, random.below(100'000), bid);
        visit(bid);
    }
    if (options.closing_ms == 0) return;
    for (int32_t partition = 0; partition < options.partitions; ++partition) {
        int32_t auction = 0;
        while (auction < options.auctions && partitions[static_cast<size_t>(auction)] != partition) ++auction;
        if (auction == options.auctions) continue;
        bid.kind = BidKind::kGood;
        bid.auction = auction;
        bid.key = keys[static_cast<size_t>(auction)];
        bid.partition = partition;
        bid.cents = 1;
        bid.event_ms = latest_ms + options.closing_ms;
        write_value(options, options.count + partition, 0, bid);
        visit(bid);
    }
}

void for_each_auction(const BidOptions& options, int64_t listing_ms,
                      const std::function<void(const Bid&)>& visit) {
    SplitMix64 random(options.seed + 1);
    Bid auction;
    const int64_t length_us = options.count * options.step_us;
    for (int64_t sequence = 0;; ++sequence) {
        const int64_t at_us = sequence * listing_ms * 1000 / options.auctions;
        if (at_us >= length_us) return;
        auction.auction = static_cast<int32_t>(sequence % options.auctions);
        auction.key = std::to_string(auction.auction);
        auction.partition = partition_of(auction.key, options.partitions);
        auction.event_ms = options.start_ms + at_us / 1000;
        auction.cents = 80'000 + random.below(20'000);
        std::string& v = auction.value;
        v.assign("{\"id\":").append(auction.key).append(",\"category\":");
        v.append(std::to_string(random.below(20))).append(",\"reserve\":");
        v.append(price_text(options, auction.cents));
        v.append(",\"dateTime\":").append(std::to_string(auction.event_ms)).append(",\"extra\":\"");
        fill_up(options, sequence, v);
        visit(auction);
    }
}

bool take_text(const std::string& argument, const std::string& name, std::string& value) {
    if (!has_prefix(argument, name)) return false;
    value = argument.substr(name.size() + 1);
    return true;
}

bool take_number(const std::string& argument, const std::string& name, int64_t& value) {
    std::string text;
    if (!take_text(argument, name, text)) return false;
    char* end = nullptr;
    value = std::strtoll(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0') {
        std::fprintf(stderr, "%s wants a number, not '%s'\n", name.c_str(), text.c_str());
        std::exit(64);
    }
    return true;
}

bool take_bid_option(const std::string& argument, BidOptions& options) {
    int64_t number = 0;
    if (take_number(argument, "--seed", number))
        options.seed = static_cast<uint64_t>(number);
    else if (take_number(argument, "--partitions", number))
        options.partitions = static_cast<int32_t>(number);
    else if (take_number(argument, "--auctions", number))
        options.auctions = static_cast<int32_t>(number);
    else if (argument == "--whole-numbers")
        options.whole_numbers = true;
    else
        return take_number(argument, "--count", options.count) ||
               take_number(argument, "--start-ms", options.start_ms) ||
               take_number(argument, "--step-us", options.step_us) ||
               take_number(argument, "--disorder-ms", options.disorder_ms) ||
               take_number(argument, "--late-ppm", options.late_ppm) ||
               take_number(argument, "--late-by-ms", options.late_by_ms) ||
               take_number(argument, "--malformed-ppm", options.malformed_ppm) ||
               take_number(argument, "--closing-ms", options.closing_ms) ||
               take_number(argument, "--bytes", options.bytes);
    return true;
}

}  // namespace weir::e2e
