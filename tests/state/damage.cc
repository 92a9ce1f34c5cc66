// Damage, exhaustively: a log cut at every byte, and every single bit of logs, snapshots, CURRENT and
// MANIFEST flipped.
//
//   damage cut [KIB]     a log of KIB KiB (default 16) and each file of a small state directory
//   damage flip [KIB]    the same, with a log of 8 KiB by default
//
// Of a log its longest valid prefix must be read; a directory must be refused, or give the state as it was.
// In the middle of a log damage is corruption, in its last entry a torn tail. The last line is
// "ROW R11|R12 pass|fail FIGURES".
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include "base/time.h"
#include "state/state_directory.h"
#include "tests/state/fixture.h"

using namespace weir;
using namespace weir::state;

namespace {

std::optional<std::string> failure;

void fail(const std::string& what, uint64_t place) {
    if (!failure) failure = what + " at " + std::to_string(place);
}

int row(const char* id, const std::string& figures) {
    if (failure) std::printf("not ok damage: %s\n", failure->c_str());
    if (!failure) std::printf("ok damage\n");
    std::printf("ROW %s %s %s\n", id, failure ? "fail" : "pass", figures.c_str());
    return failure ? 1 : 0;
}

struct Log {
    std::string bytes;
    std::vector<std::string> entries;
    std::vector<uint64_t> ends;
};

Log log_of(uint64_t bytes) {
    sim::SimDisk disk;
    const auto directory = disk.root();
    SegmentHeader header;
    header.uuid = {1, 2};
    header.number = 1;
    header.salt = 0x1234'5678'9abc'def0;
    WalWriter writer = WalWriter::create(*directory, header).value();
    std::mt19937_64 random(7);
    Log log;
    while (writer.bytes() < bytes) {
        std::string& entry = log.entries.emplace_back(100 + random() % 900, '\0');
        for (char& byte : entry) byte = static_cast<char>(random());
        writer.append(entry).value();
        writer.sync().value();
        log.ends.push_back(writer.bytes());
    }
    log.bytes = disk.bytes(segment_name(1)).substr(0, writer.bytes());
    return log;
}

struct Read {
    Result<SegmentScan> scan;
    size_t entries = 0;
    bool same = true;  // Each entry is the one that was written.
};

Read read(std::string_view bytes, const Log& log) {
    size_t seen = 0;
    bool same = true;
    auto scan = scan_segment(bytes, true, [&](uint64_t, uint64_t, std::string_view payload) -> Result<void> {
        same = same && seen < log.entries.size() && payload == log.entries[seen];
        ++seen;
        return {};
    });
    return {std::move(scan), seen, same};
}

uint64_t cut_log(uint64_t kib) {
    const Log log = log_of(kib << 10);
    size_t whole = 0;
    for (uint64_t length = 0; length <= log.bytes.size() && !failure; ++length) {
        while (whole < log.ends.size() && log.ends[whole] <= length) ++whole;
        const Read result = read(std::string_view(log.bytes).substr(0, length), log);
        if (length < 72) {
            if (result.scan.ok()) fail("a header that is cut off passes", length);
            continue;
        }
        if (!result.scan.ok() || result.entries != whole || !result.same)
            fail("not the longest valid prefix", length);
        if (result.scan.ok() && result.scan->end == WalEnd::kCorrupt) fail("a cut is called corrupt", length);
    }
    return log.bytes.size() + 1;
}

void flip(std::string& bytes, uint64_t bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
}

uint64_t flip_log(uint64_t kib) {
    Log log = log_of(kib << 10);
    const uint64_t last_start = log.ends[log.ends.size() - 2];
    const uint64_t bits = log.bytes.size() * 8;
    for (uint64_t bit = 0; bit < bits && !failure; ++bit) {
        flip(log.bytes, bit);
        const Read result = read(log.bytes, log);
        if (bit / 8 < 72) {
            if (result.scan.ok()) fail("a damaged header passes, bit", bit);
        } else if (!result.scan.ok() || !result.same || result.entries >= log.entries.size()) {
            fail("a flipped bit was not noticed, bit", bit);
        } else if (result.scan->end != (bit / 8 < last_start ? WalEnd::kCorrupt : WalEnd::kTorn)) {
            fail("corrupt and torn are mixed up, bit", bit);
        }
        flip(log.bytes, bit);
    }
    return bits;
}

// What a start makes of a directory: the state, or a reason to refuse.
Result<Contents> start(sim::SimDisk& disk, const CommitId& kafka) {
    WEIR_ASSIGN(const auto state, StateDirectory::open(disk.root()));
    if (!state->manifest()) return Error{Code::kNotFound, "no MANIFEST"};
    WEIR_TRY(compare_manifest(*state->manifest(), {"cluster", "p", "hash", {{"orders", 2}}, 0, 1, 1, 1}));
    WEIR_ASSIGN(const SlotImage image, load_slot(state->slot(0)));
    if (image.end == WalEnd::kCorrupt) return Error{Code::kCorrupt, image.damage};
    return read_back(state->slot(0), image, kafka);
}

// A small directory with segments, snapshots, CURRENT and MANIFEST, to be damaged and started from.
class Victim {
public:
    Victim() {
        ManualClock clock;
        SlotOptions options;
        options.segment_bytes = 1'500;
        options.grow_bytes = 256;
        std::mt19937_64 random(5);
        const auto state = StateDirectory::open(disk_.root()).value();
        state->create({"cluster", "p", "hash", {{"orders", 2}}, 0, 1, 1, 1}).value();
        auto store =
            SlotStore::start(state->slot(0), load_slot(state->slot(0)).value(), {}, options, clock).value();
        for (uint64_t i = 1; i <= 18; ++i) {
            TestEpoch epoch = make_epoch({{7, 7}, i}, kafka_, {0, 1}, random);
            commit(*store, epoch).value();
            apply_epoch(epoch, committed_);
            kafka_ = epoch.record.id;
            if (i == 12) store->snapshot().value();
        }
    }

    uint64_t cut() {
        uint64_t cuts = 0;
        for (const std::string& name : disk_.files()) {
            std::string& bytes = disk_.bytes(name);
            const std::string whole = bytes;
            for (uint64_t length = 0; length < whole.size() && !failure; ++length, ++cuts) {
                bytes.resize(length);
                // What a log has lost at its end may be no more than the space it had reserved.
                if (judge(name, "a cut", length) && !name.ends_with(".seg"))
                    fail(name + ": a cut was not noticed", length);
                bytes = whole;
            }
        }
        check_whole();
        return cuts;
    }

    uint64_t flip_all() {
        uint64_t bits = 0;
        for (const std::string& name : disk_.files()) {
            std::string& bytes = disk_.bytes(name);
            for (uint64_t bit = 0; bit < bytes.size() * 8 && !failure; ++bit, ++bits) {
                flip(bytes, bit);
                judge(name, "a flipped bit", bit);
                flip(bytes, bit);
            }
        }
        check_whole();
        return bits;
    }

private:
    // Whether it started; with another state than the one that was committed it must not.
    bool judge(const std::string& name, const char* what, uint64_t place) {
        const auto copy = disk_.clone();
        const auto found = start(*copy, kafka_);
        if (found.ok() && *found != committed_) fail(name + ": " + what + " changes the state", place);
        return found.ok();
    }

    void check_whole() {
        if (!start(disk_, kafka_).ok()) fail("the whole directory is refused", 0);
    }

    sim::SimDisk disk_;
    Contents committed_;
    CommitId kafka_;
};

}  // namespace

int main(int argc, char** argv) {
    const std::string what = argc > 1 ? argv[1] : "";
    const uint64_t kib = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
    Victim victim;
    if (what == "cut") {
        const uint64_t log = cut_log(kib == 0 ? 16 : kib);
        const uint64_t directory = victim.cut();
        return row("R11", std::to_string(log) + " cuts of a log, the longest valid prefix after each; " +
                              std::to_string(directory) +
                              " of segments, snapshots, CURRENT and MANIFEST: none changed the state");
    }
    if (what == "flip") {
        const uint64_t log = flip_log(kib == 0 ? 8 : kib);
        const uint64_t directory = victim.flip_all();
        return row("R12", std::to_string(log) + " bits of a log, " + std::to_string(directory) +
                              " of segments, snapshots, CURRENT and MANIFEST: none changed the state");
    }
    std::fprintf(stderr, "usage: damage cut|flip [KIB]\n");
    return 2;
}
