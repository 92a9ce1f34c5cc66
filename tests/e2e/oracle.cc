// weir_oracle: what a correct pipeline writes for the bids of records.h, computed with maps and whole cents
// and without a line of weir. The pipeline that it stands for:
//
//   expensive:  from bids, filter price >= --price, unchanged
//   totals:     from bids, by auction, tumbling --window-ms, grace --grace-ms, emit on_close,
//               fields bids: count(*), total: sum(price), highest: max(price)
//   late:       from totals.late
//   pairs:      from expensive, left join with itself by auction, the right bid higher and at most
//               --within-ms later: fields auction, price, later
//   houses:     as totals, by house instead, which is auction % --houses: over all partitions
//   dead:       the malformed bids: once when undecodable, once per stream that reads the price otherwise
//
//   weir_oracle OUTPUT=FILE… [--price=DOLLARS] [--window-ms=] [--grace-ms=] [--delay-ms=] [--within-ms=]
//               [--houses=] [bid options]
//     OUTPUT is expensive, totals, late, pairs, dead or houses. --delay-ms: the watermark's distance to the
//     newest event time.
//
// Every line is a record in the form of Kafka's console consumer, so that the suites compare texts:
//   CreateTime:<ms> TAB Partition:<n> TAB <key> TAB <value>
//
// Lateness is a matter of each partition's own order: before a record is looked at, the watermark is the
// newest event time of the records before it less the delay; windows with end + grace <= watermark take it no
// more.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/e2e/records.h"

namespace weir::e2e {
namespace {

struct Query {
    int64_t price_cents = 90'000;
    int64_t window_ms = 10'000;
    int64_t grace_ms = 0;
    int64_t delay_ms = 1'000;
    int64_t within_ms = 10'000;
    int64_t houses = 50;
};

struct Expensive {
    int64_t event_ms;
    int64_t cents;
};

struct Total {
    int64_t bids = 0;
    int64_t cents = 0;
    int64_t highest = 0;
};

using Totals = std::unordered_map<int32_t, Total>;  // By auction.

struct Partition {
    int64_t newest_ms = INT64_MIN;
    std::map<int64_t, Totals> windows;  // By start.
    std::unordered_map<int32_t, std::vector<Expensive>> expensive;  // In time for `pairs`, by auction.
};

class Lines {
public:
    explicit Lines(const std::string& path) : file_(std::fopen(path.c_str(), "wb")) {
        if (file_ != nullptr) return;
        std::perror(path.c_str());
        std::exit(1);
    }
    ~Lines() { std::fclose(file_); }
    Lines(const Lines&) = delete;
    Lines& operator=(const Lines&) = delete;

    void add(int64_t timestamp_ms, int32_t partition, const std::string& key, const std::string& value) {
        std::fprintf(file_, "CreateTime:%lld\tPartition:%d\t%s\t%s\n", static_cast<long long>(timestamp_ms),
                     partition, key.c_str(), value.c_str());
    }

private:
    std::FILE* file_;
};

std::string dollars(int64_t cents) {
    char text[32];
    std::snprintf(text, sizeof text, "%lld.%02lld", static_cast<long long>(cents / 100),
                  static_cast<long long>(cents % 100));
    return text;
}

int64_t window_start(int64_t event_ms, int64_t window_ms) {
    const int64_t into = event_ms % window_ms;
    return event_ms - (into < 0 ? into + window_ms : into);
}

class Oracle {
public:
    Oracle(Query query, const BidOptions& options, std::map<std::string, std::string> files)
        : query_(query), options_(options), partitions_(static_cast<size_t>(options.partitions)) {
        for (const auto& [name, path] : files) outputs_.emplace(name, path);
    }

    void take(const Bid& bid) {
        if (bid.kind == BidKind::kNotJson || bid.kind == BidKind::kNoValue) {
            write("dead", bid.event_ms, bid);
            return;
        }
        Partition& partition = partitions_[static_cast<size_t>(bid.partition)];
        const int64_t watermark =
            partition.newest_ms == INT64_MIN ? INT64_MIN : partition.newest_ms - query_.delay_ms;
        partition.newest_ms = std::max(partition.newest_ms, bid.event_ms);
        if (bid.kind == BidKind::kPriceIsText) {
            write("dead", bid.event_ms, bid);  // From `expensive` …
            write("dead", bid.event_ms, bid);  // … and from `totals`.
            return;
        }
        if (bid.cents >= query_.price_cents) {
            write("expensive", bid.event_ms, bid);
            if (bid.event_ms >= watermark)
                partition.expensive[bid.auction].push_back({bid.event_ms, bid.cents});
        }
        const int64_t start = window_start(bid.event_ms, query_.window_ms);
        if (start + query_.window_ms + query_.grace_ms <= watermark) {
            write("late", bid.event_ms, bid);
            return;
        }
        const auto house = static_cast<int32_t>(bid.auction % query_.houses);
        for (Total* const total : {&partition.windows[start][bid.auction], &houses_[start][house]}) {
            ++total->bids;
            total->cents += bid.cents;
            total->highest = std::max(total->highest, bid.cents);
        }
    }

    // Every window that the last watermark of its partition has passed.
    void write_totals() {
        const auto lines = outputs_.find("totals");
        if (lines == outputs_.end()) return;
        for (size_t number = 0; number < partitions_.size(); ++number) {
            const Partition& partition = partitions_[number];
            for (const auto& [start, totals] : partition.windows) {
                if (!passed(partition, start)) continue;
                for (const auto& [auction, total] : totals)
                    write(lines->second, "auction", auction, static_cast<int32_t>(number), start, total);
            }
        }
    }

    // Pairs, and bids without a partner that the last watermark of their partition has passed.
    void write_pairs() {
        const auto lines = outputs_.find("pairs");
        if (lines == outputs_.end()) return;
        for (size_t number = 0; number < partitions_.size(); ++number) {
            Partition& partition = partitions_[number];
            for (auto& [auction, bids] : partition.expensive) {
                std::sort(bids.begin(), bids.end(),
                          [](const Expensive& a, const Expensive& b) { return a.event_ms < b.event_ms; });
                const auto add = [&, id = auction](int64_t event_ms, int64_t cents,
                                                   const std::string& later) {
                    lines->second.add(event_ms, static_cast<int32_t>(number), std::to_string(id),
                                      "{\"auction\":" + std::to_string(id) + ",\"price\":" + dollars(cents) +
                                          ",\"later\":" + later + "}");
                };
                for (size_t i = 0; i < bids.size(); ++i) {
                    const Expensive& bid = bids[i];
                    bool alone = true;
                    auto other = std::lower_bound(
                        bids.begin(), bids.end(), bid.event_ms,
                        [](const Expensive& a, int64_t event_ms) { return a.event_ms < event_ms; });
                    for (; other != bids.end() && other->event_ms <= bid.event_ms + query_.within_ms;
                         ++other) {
                        if (other->cents <= bid.cents) continue;
                        alone = false;
                        add(other->event_ms, bid.cents, dollars(other->cents));
                    }
                    if (alone && bid.event_ms + query_.within_ms < partition.newest_ms - query_.delay_ms)
                        add(bid.event_ms, bid.cents, "null");
                }
            }
        }
    }

    // Every window that the last watermarks of all partitions have passed. Which partition of the output a
    // house is in is the partitioner's choice: it is written as 0.
    void write_houses() {
        const auto lines = outputs_.find("houses");
        if (lines == outputs_.end()) return;
        for (const auto& [start, totals] : houses_) {
            bool closed = true;
            for (const Partition& partition : partitions_) closed = closed && passed(partition, start);
            if (!closed) continue;
            for (const auto& [house, total] : totals) write(lines->second, "house", house, 0, start, total);
        }
    }

private:
    [[nodiscard]] bool passed(const Partition& partition, int64_t start) const {
        return start + query_.window_ms + query_.grace_ms <= partition.newest_ms - query_.delay_ms;
    }

    void write(Lines& lines, const char* field, int32_t key, int32_t partition, int64_t start,
               const Total& total) const {
        const int64_t end = start + query_.window_ms;
        const auto number_text = [&](int64_t cents) {
            return options_.whole_numbers ? std::to_string(cents) : dollars(cents);
        };
        lines.add(end - 1, partition, std::to_string(key),
                  "{\"" + std::string(field) + "\":" + std::to_string(key) + ",\"window_start\":" +
                      std::to_string(start) + ",\"window_end\":" + std::to_string(end) +
                      ",\"bids\":" + std::to_string(total.bids) + ",\"total\":" + number_text(total.cents) +
                      ",\"highest\":" + number_text(total.highest) + "}");
    }

    void write(const char* output, int64_t timestamp_ms, const Bid& bid) {
        const auto lines = outputs_.find(output);
        if (lines == outputs_.end()) return;
        lines->second.add(timestamp_ms, bid.partition, bid.key,
                          bid.kind == BidKind::kNoValue ? "<null>" : bid.value);
    }

    Query query_;
    BidOptions options_;
    std::vector<Partition> partitions_;
    std::map<int64_t, Totals> houses_;  // By start and house.
    std::map<std::string, Lines> outputs_;
};

int compute(int argc, char** argv) {
    Query query;
    BidOptions options;
    std::map<std::string, std::string> files;
    int64_t price = -1;
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        if (take_number(argument, "--price", price) ||
            take_number(argument, "--window-ms", query.window_ms) ||
            take_number(argument, "--grace-ms", query.grace_ms) ||
            take_number(argument, "--delay-ms", query.delay_ms) ||
            take_number(argument, "--within-ms", query.within_ms) ||
            take_number(argument, "--houses", query.houses) || take_bid_option(argument, options))
            continue;
        bool known = false;
        for (const char* output : {"expensive", "totals", "late", "pairs", "dead", "houses"})
            known = known || take_text(argument, output, files[output]);
        if (known) continue;
        std::fprintf(stderr, "weir_oracle: unknown argument %s\n", argument.c_str());
        return 64;
    }
    std::erase_if(files, [](const auto& entry) { return entry.second.empty(); });
    if (price >= 0) query.price_cents = price * (options.whole_numbers ? 1 : 100);
    Oracle oracle(query, options, std::move(files));
    for_each_bid(options, [&](const Bid& bid) { oracle.take(bid); });
    oracle.write_totals();
    oracle.write_pairs();
    oracle.write_houses();
    return 0;
}

}  // namespace
}  // namespace weir::e2e

int main(int argc, char** argv) { return weir::e2e::compute(argc, argv); }
