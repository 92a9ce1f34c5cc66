// Row stores: what both kinds promise, and what only a real disk can show.
#include <doctest/doctest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "state/memory_row_stores.h"
#include "state/rocksdb_stores.h"
#include "state/stored_rows.h"
#include "tests/state/rocksdb_folder.h"

using namespace weir;
using namespace weir::state;

namespace {

const StoredTables kTables{40, 3, "users"};

CommitId commit(uint64_t sequence) { return {{7, 9}, sequence}; }

using Rows = std::map<std::string, std::string>;

// Two thirds of the changes put, one third erases.
Rows change_some(StoredRows& rows, Rows model, std::mt19937_64& random, int count, int keys) {
    for (int i = 0; i < count; ++i) {
        std::string key = "key " + std::to_string(random() % static_cast<uint64_t>(keys));
        if (random() % 3 == 0) {
            rows.erase(0, key);
            model.erase(key);
        } else {
            model[key] = "value " + std::to_string(random() % 1'000'000) + std::string(random() % 100, '\0');
            rows.put(0, key, model[key]);
        }
    }
    return model;
}

void check_equal(StoredRows& rows, const Rows& model, int keys) {
    for (int i = 0; i < keys; ++i) {
        const std::string key = "key " + std::to_string(i);
        const auto found = rows.find(0, key).value();
        const auto expected = model.find(key);
        REQUIRE(found.has_value() == (expected != model.end()));
        if (found) REQUIRE(*found == expected->second);
    }
}

constexpr int kKeys = 300;

void check_contract(RowStores& stores) {
    std::mt19937_64 random(3);
    Rows model;
    Rows flushed;
    for (uint64_t life = 0; life < 4; ++life) {
        auto store = stores.open("users", 2).value();
        CHECK(store->applied() == (life == 0 ? CommitId{} : commit(life * 100 + 4)));
        StoredRows rows(std::move(store), kTables, life == 0 ? CommitId{} : commit(life * 100 + 4));
        rows.end_replay().value();
        check_equal(rows, model, kKeys);
        for (uint64_t epoch = 0; epoch < 5; ++epoch) {
            model = change_some(rows, model, random, 200, kKeys);
            check_equal(rows, model, kKeys);  // From the open epoch and from the store.
            rows.apply(commit((life + 1) * 100 + epoch)).value();
            CHECK(rows.store().applied() == commit((life + 1) * 100 + epoch));
            check_equal(rows, model, kKeys);
        }
        rows.store().flush().value();
        CHECK(rows.rows() <= kKeys + 200 * 5);
    }
    // Another table, and another shard, are other rows.
    CHECK(stores.open("users", 3).value()->applied() == CommitId{});
    CHECK(stores.open("Users", 2).value()->applied() == CommitId{});
    CHECK(stores.open("user/s", 2).value()->applied() == CommitId{});
}

}  // namespace

TEST_CASE("row store: puts, erases and finds as a map does, over applies and restarts") {
    MemoryRowStores memory;
    check_contract(memory);
#if WEIR_ROCKSDB
    RocksDbFolder disk;
    const auto stores = disk.stores();
    check_contract(*stores);
#endif
}

// Goal: what an operator reads in order is what a map of its rows has, while some of it is in the open
// epoch, some erased as a whole, some only in the store.
TEST_CASE("row store: scans see the open epoch over the store, prefixes erased included") {
    const auto check = [](RowStores& stores) {
        std::mt19937_64 random(5);
        std::array<Rows, 2> model;
        StoredRows rows(stores.open("scanned", 0).value(), kTables, CommitId{});
        rows.end_replay().value();
        const auto some_key = [&](size_t longest) {
            std::string key;
            for (size_t length = random() % (longest + 1); length > 0; --length)
                key.push_back("ab\xff"[random() % 3]);
            return key;
        };
        for (uint64_t step = 1; step < 4'000; ++step) {
            const auto table = static_cast<uint32_t>(random() % 2);
            Rows& expected = model[table];
            if (const uint64_t what = random() % 20; what < 12) {
                const std::string key = some_key(5);
                expected[key] = std::to_string(step);
                rows.put(table, key, expected[key]);
            } else if (what < 15) {
                const std::string key = some_key(5);
                expected.erase(key);
                rows.erase(table, key);
            } else if (what < 16) {
                const std::string prefix = some_key(4);
                std::erase_if(expected, [&](const auto& row) { return row.first.starts_with(prefix); });
                rows.erase_prefix(table, prefix);
            } else if (what < 17) {
                rows.apply(commit(step)).value();
            }
            const std::string prefix = some_key(2);
            const std::string from = random() % 2 == 0 ? "" : prefix + some_key(3);
            auto cursor = rows.scan(table, prefix, from);
            for (auto row = expected.lower_bound(std::max(prefix, from));
                 row != expected.end() && row->first.starts_with(prefix); ++row) {
                REQUIRE(cursor.next().value());
                REQUIRE(cursor.key() == row->first);
                REQUIRE(cursor.value() == row->second);
                REQUIRE(rows.find(table, row->first).value() == row->second);
            }
            REQUIRE_FALSE(cursor.next().value());
            const std::string key = some_key(5);
            REQUIRE(rows.find(table, key).value().has_value() == expected.contains(key));
        }
    };
    MemoryRowStores memory;
    check(memory);
#if WEIR_ROCKSDB
    RocksDbFolder disk;
    const auto stores = disk.stores();
    check(*stores);
#endif
}

// Goal: a store that lost its latest epochs is completed from the log, whatever it still had; a store that
// the log cannot complete is refused.
TEST_CASE("row store: replay begins after what the store holds") {
    std::vector<std::vector<std::pair<std::string, std::string>>> log;  // Per epoch: puts; "" erases.
    for (int epoch = 0; epoch < 8; ++epoch)
        log.push_back({{"a", "a" + std::to_string(epoch)}, {"b", epoch % 2 == 0 ? "" : "b"},
                       {"c" + std::to_string(epoch), "c"}});
    const auto feed = [&](StoredRows& rows, size_t first, size_t end) {
        for (size_t epoch = first; epoch < end; ++epoch) {
            rows.begin_epoch(commit(epoch + 1));
            for (const auto& [key, value] : log[epoch]) {
                if (value.empty())
                    rows.erase(0, key);
                else
                    rows.put(0, key, value);
            }
        }
    };
    for (size_t snapshot = 0; snapshot <= log.size(); ++snapshot)
        for (size_t held = 0; held <= log.size(); ++held) {
            CAPTURE(snapshot);
            CAPTURE(held);
            MemoryRowStores stores;
            if (held > 0) {
                StoredRows rows(stores.open("t", 0).value(), kTables, CommitId{});
                feed(rows, 0, held);
                rows.end_replay().value();
                rows.apply(commit(held)).value();
            }
            const CommitId base = snapshot == 0 ? CommitId{} : commit(snapshot);
            StoredRows rows(stores.open("t", 0).value(), kTables, base);
            feed(rows, snapshot, log.size());
            const auto complete = rows.end_replay();
            if (held < snapshot) {
                CHECK(complete.error().code == Code::kMismatch);
                CHECK(complete.error().message.find(held == 0 ? "is empty" : "holds commit") !=
                      std::string::npos);
                continue;
            }
            complete.value();
            rows.apply(commit(log.size())).value();
            CHECK(rows.find(0, "a").value() == "a7");
            CHECK(rows.find(0, "b").value() == "b");
            for (size_t epoch = 0; epoch < log.size(); ++epoch)
                CHECK(rows.find(0, "c" + std::to_string(epoch)).value() == "c");
        }
}

#if WEIR_ROCKSDB

// Goal: what every start reads anew leaves nothing behind, not even where a process was killed.
TEST_CASE("rocksdb: a scratch store begins empty and is gone with its end") {
    RocksDbFolder disk;
    const auto folders = [&] {
        return disk.root->subdirectory("scratch", false).value()->list().value();
    };
    auto stores = disk.stores();
    {
        StoredRows rows(stores->make_scratch("users", 3).value(), kTables, CommitId{});
        std::mt19937_64 random(3);
        Rows model = change_some(rows, {}, random, 500, kKeys);
        rows.apply({}).value();
        check_equal(rows, change_some(rows, model, random, 10, kKeys), kKeys);
        CHECK(folders() == std::vector<std::string>{"3-users"});
    }
    CHECK(folders().empty());
    {
        StoredRows rows(stores->make_scratch("users", 3).value(), kTables, CommitId{});
        check_equal(rows, {}, kKeys);
    }
    // Another worker's, of a process that was killed.
    const auto all = disk.root->subdirectory("scratch", false).value();
    const auto left = all->subdirectory("5-users", true).value();
    REQUIRE(left->create("000001.sst").ok());
    stores = disk.stores("another version of the pipeline");
    CHECK(folders().empty());
}

// Goal: a table many times as large as what may be in memory is read and written, and its memory stays small.
TEST_CASE("rocksdb: a table larger than memory") {
    RocksDbFolder disk;
    const auto stores = disk.stores();
    StoredRows rows(stores->open("big", 0).value(), kTables, CommitId{});
    rows.end_replay().value();
    constexpr int kRows = 60'000;
    uint64_t most = 0;
    std::mt19937_64 random(1);
    std::string noise(2'000, ' ');
    for (char& c : noise) c = static_cast<char>(random());
    for (int i = 0; i < kRows; ++i) {
        rows.put(0, "row " + std::to_string(i), noise.substr(static_cast<size_t>(i) % 500, 1'500));
        if (i % 500 == 499) rows.apply(commit(static_cast<uint64_t>(i))).value();
        most = std::max(most, rows.bytes());
    }
    CHECK(most < (16u << 20));  // Of 90 MB.
    for (int i = 0; i < kRows; i += 371)
        CHECK(rows.find(0, "row " + std::to_string(i)).value() ==
              std::string_view(noise).substr(static_cast<size_t>(i) % 500, 1'500));
    CHECK_FALSE(rows.find(0, "row " + std::to_string(kRows)).value().has_value());
}

// Bytes that this process read, wherever from.
uint64_t bytes_read() {
    std::ifstream in("/proc/self/io");
    std::string name;
    uint64_t value = 0;
    while (in >> name >> value)
        if (name == "rchar:") return value;
    return 0;
}

TEST_CASE("rocksdb: a row that is not there costs little reading, however many short ones are") {
    RocksDbFolder disk;
    const auto stores = disk.stores();
    const auto store = stores->open("ids", 0).value();
    const auto key_of = [](int i) { return "id " + std::to_string(i * 7'919LL % 1'000'003); };
    constexpr int kBatch = 50'000;
    for (int batch = 0; batch < 12; ++batch) {
        std::vector<std::string> keys;
        std::vector<StateOp> puts;
        for (int i = 0; i < kBatch; ++i) keys.push_back(key_of(batch * kBatch + i));
        for (const std::string& key : keys) puts.push_back({StateOp::Kind::kPut, 0, key, "1"});
        REQUIRE(store->apply(puts, commit(static_cast<uint64_t>(batch) + 1)).ok());
    }
    REQUIRE(store->flush().ok());
    constexpr int kLookups = 2'000;
    const uint64_t before = bytes_read();
    std::string value;
    for (int i = 0; i < kLookups; ++i)
        REQUIRE_FALSE(store->find("id " + std::to_string(i * 499LL) + "x", value).value());
    CHECK((bytes_read() - before) / kLookups < 64 << 10);
}

TEST_CASE("rocksdb: a folder of another pipeline is refused, its files are nobody else's to read") {
    RocksDbFolder disk;
    {
        const auto stores = disk.stores();
        auto store = stores->open("users", 0).value();
        store->apply({}, commit(1)).value();
    }
    const auto other = disk.stores("another")->open("users", 0);
    REQUIRE_FALSE(other.ok());
    CHECK(other.error().code == Code::kMismatch);
    CHECK(other.error().message.find("another pipeline") != std::string::npos);
    CHECK(disk.stores()->open("users", 0).value()->applied() == commit(1));
    const auto mode = std::filesystem::status(disk.path + "/rocksdb").permissions();
    CHECK(mode == std::filesystem::perms::owner_all);
}

// Goal: rot in what was written is an error that says where and what to do, never another row.
TEST_CASE("rocksdb: damage is told") {
    RocksDbFolder disk;
    {
        const auto stores = disk.stores();
        auto store = stores->open("users", 0).value();
        std::vector<StateOp> puts;
        std::vector<std::string> keys;
        for (int i = 0; i < 2'000; ++i) keys.push_back("key " + std::to_string(10'000 + i));
        for (const std::string& key : keys) puts.push_back({StateOp::Kind::kPut, 0, key, key});
        store->apply(puts, commit(1)).value();
        store->flush().value();
    }
    bool damaged = false;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(disk.path)) {
        if (entry.path().extension() != ".sst") continue;
        std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(static_cast<std::streamoff>(entry.file_size() / 4));
        file.write("\x55\xaa\x55\xaa\x55\xaa\x55\xaa", 8);
        damaged = true;
    }
    REQUIRE(damaged);
    size_t told = 0;
    size_t right = 0;
    const auto stores = disk.stores();
    auto store = stores->open("users", 0);
    REQUIRE(store.ok());
    for (int i = 0; i < 2'000; ++i) {
        std::string value;
        const std::string key = "key " + std::to_string(10'000 + i);
        const auto found = (*store)->find(key, value);
        if (found.ok()) {
            CHECK((*found && value == key));
            ++right;
        } else {
            CHECK(found.error().code == Code::kCorrupt);
            const std::string& message = found.error().message;
            CHECK(message.find("'users' of shard 0 in " + disk.path) != std::string::npos);
            CHECK(message.find("new pipeline name") != std::string::npos);
            ++told;
        }
    }
    CHECK(told > 0);
    CHECK(right + told == 2'000);
}

#endif
