// What scenarios do not reach: a join that has run for very long.
#include "processor/join_buffer.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "processor/group_table.h"
#include "processor/join_index.h"

namespace weir::processor {
namespace {

constexpr EventTime kBegin = 1'767'225'600'000;
constexpr int64_t kKeepMs = 10'000;
constexpr int64_t kStepMs = 2'000;  // Every record begins a slice of event time of its own.

TEST_CASE("join: after more blocks of memory than there are numbers for, records are found, freed ones not") {
    JoinIndex index;
    JoinBuffer buffer(index, 0, kKeepMs, false, nullptr, 0, false);
    const auto insert = [&](std::string_view key, EventTime time) {
        std::string row;
        put_bytes(row, key);
        buffer.insert(row + std::to_string(time), hash_group_key(key), JoinIndex::kNowhere, time, false, {});
    };
    const auto found = [&](std::string_view key, EventTime from, EventTime to) {
        std::vector<JoinBuffer::Found> rows;
        buffer.find(index.find(key, hash_group_key(key), 0), from, to, rows);
        std::string values;
        for (const auto& row : rows) values.append(row.row->values()).append(" ");
        return values;
    };
    // Whose place in the index nothing clears away.
    insert("rare", kBegin);
    constexpr int64_t kBlocks = 3 * (int64_t{1} << 18);
    size_t wrong = 0;
    for (int64_t i = 1; i <= kBlocks; ++i) {
        const EventTime time = kBegin + i * kStepMs;
        buffer.free(time - kKeepMs);
        insert("often", time);
        if (found("often", time - kStepMs, time) !=
            (i > 1 ? std::to_string(time - kStepMs) + " " : "") + std::to_string(time) + " ")
            ++wrong;
        if (i > kKeepMs / kStepMs + 1 && !found("rare", 0, time).empty()) ++wrong;
    }
    CHECK(wrong == 0);
    CHECK(buffer.rows() == buffer.count_rows());
    CHECK(buffer.rows() <= kKeepMs / kStepMs + 2);
    CHECK(buffer.bytes() + index.bytes() < 16u << 20);
}

TEST_CASE("join: on a side that was read ahead a search never gives another key's rows, however many come") {
    JoinIndex index;
    JoinBuffer buffer(index, 0, kKeepMs, false, nullptr, 0, false);
    JoinBuffer other(index, 1, kKeepMs, false, nullptr, 2, false);
    const auto insert = [](JoinBuffer& into, const std::string& key, EventTime time) {
        std::string row;
        put_bytes(row, key);
        into.insert(row, hash_group_key(key), JoinIndex::kNowhere, time, false, {});
    };
    const auto key_of = [](int64_t number) { return "key " + std::to_string(number); };
    constexpr int64_t kKeys = 700;
    size_t wrong = 0;
    for (int64_t known = 0; known < kKeys; ++known) {
        // Its key has a row now and one far ahead; those of the other side only take places.
        for (const int64_t ahead : {int64_t{0}, 2 * kStepMs}) insert(buffer, key_of(known), kBegin + ahead);
        insert(other, key_of(kKeys + known), kBegin);
        for (int64_t i = 0; i <= known; ++i) {
            std::vector<JoinBuffer::Found> rows;
            const std::string key = key_of(i);
            buffer.find(index.find(key, hash_group_key(key), 0), kBegin, kBegin, rows);
            if (rows.size() != 1 || rows.front().row->key() != key) ++wrong;
        }
    }
    CHECK(wrong == 0);
}

}  // namespace
}  // namespace weir::processor
