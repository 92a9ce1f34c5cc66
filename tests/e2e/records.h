// The input of the end-to-end suites: bids of an auction house, made from a seed. The loader writes the
// sequence into Kafka, the oracle makes the same sequence again; nothing else connects the two.
//
// Units:   event time in milliseconds since the epoch, prices in cents.
// Order:   the sequence's order is the order of each partition.
// Sources: SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014);
//          32-bit MurmurHash2 as in Kafka's Java client.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace weir::e2e {

struct BidOptions {
    uint64_t seed = 1;
    int64_t count = 1000;
    int32_t partitions = 4;
    int32_t auctions = 1000;  // Distinct keys.
    int64_t start_ms = 1'700'000'000'000;
    int64_t step_us = 100;        // Event time between two records.
    int64_t disorder_ms = 50;     // Every event time is up to so much too early.
    int64_t late_ppm = 0;         // So many records per million are …
    int64_t late_by_ms = 30'000;  // … up to so much too early.
    int64_t malformed_ppm = 0;    // Not JSON, a price that is no number, or no value; a third each.
    int64_t closing_ms = 0;       // > 0: a last bid in every partition, so far ahead of the end.
    int64_t bytes = 200;          // Size of a well-formed value.
    bool whole_numbers = false;   // Bidders and prices are integers (cents), for readers without decimals.
};

enum class BidKind : uint8_t { kGood, kNotJson, kPriceIsText, kNoValue };

// Filled anew for each record; `value` is empty for kNoValue.
struct Bid {
    BidKind kind = BidKind::kGood;
    int32_t auction = 0;
    int32_t partition = 0;
    int64_t event_ms = 0;
    int64_t cents = 0;
    std::string key;
    std::string value;
};

// The auctions that the bids are for: each is listed anew every `listing_ms`, at other times than the others.
// Prices to reach are from 800 to 1000 dollars. Event time ends where that of the bids ends.
void for_each_auction(const BidOptions& options, int64_t listing_ms,
                      const std::function<void(const Bid&)>& visit);

void for_each_bid(const BidOptions& options, const std::function<void(const Bid&)>& visit);

// Takes `--name=value` when it is one of the options above (names with dashes); false: it is not.
// Ends the process with a message when the value is not a number.
[[nodiscard]] bool take_bid_option(const std::string& argument, BidOptions& options);

// Takes `--name=…` as a text; false: it is another argument.
[[nodiscard]] bool take_text(const std::string& argument, const std::string& name, std::string& value);
[[nodiscard]] bool take_number(const std::string& argument, const std::string& name, int64_t& value);

}  // namespace weir::e2e
