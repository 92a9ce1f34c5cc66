// State changes of one shard as bytes: the operations of one epoch, in the order in which they happened.
//
//   delta := op*        op := put | erase | erase_prefix
//   put          := 0x01 table(varint) key(length varint, bytes) value(length varint, bytes)
//   erase        := 0x02 table(varint) key
//   erase_prefix := 0x03 table(varint) prefix       every key of the table that starts with it
//
// Keys of a table are ordered as unsigned bytes. Views that a reader hands out point into its input.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace weir::state {

struct StateOp {
    enum class Kind : uint8_t { kPut = 1, kErase = 2, kErasePrefix = 3 } kind = Kind::kPut;
    uint32_t table = 0;
    std::string_view key;    // kErasePrefix: the prefix; empty means the whole table.
    std::string_view value;  // kPut only.
};

class DeltaWriter {
public:
    // Appends to `out`, which the caller owns and may reuse.
    explicit DeltaWriter(std::string& out) : out_(out) {}

    void put(uint32_t table, std::string_view key, std::string_view value) {
        begin(StateOp::Kind::kPut, table, key);
        put_bytes(out_, value);
    }
    void erase(uint32_t table, std::string_view key) { begin(StateOp::Kind::kErase, table, key); }
    void erase_prefix(uint32_t table, std::string_view prefix) {
        begin(StateOp::Kind::kErasePrefix, table, prefix);
    }
    // Operations that another writer wrote.
    void append(std::string_view operations) { out_.append(operations); }

private:
    void begin(StateOp::Kind kind, uint32_t table, std::string_view key) {
        out_.push_back(static_cast<char>(kind));
        put_varint(out_, table);
        put_bytes(out_, key);
    }

    std::string& out_;
};

class DeltaReader {
public:
    explicit DeltaReader(std::string_view delta) : in_(delta) {}

    // False at the end or at the first byte that is not an operation; failed() tells which.
    bool next(StateOp& op) {
        if (failed_ || in_.done()) return false;
        const auto kind = in_.le<uint8_t>();
        const uint64_t table = in_.varint();
        op.key = in_.bytes();
        op.value = {};
        if (kind == static_cast<uint8_t>(StateOp::Kind::kPut)) op.value = in_.bytes();
        failed_ = in_.failed() || kind < 1 || kind > 3 || table > UINT32_MAX;
        op.kind = static_cast<StateOp::Kind>(kind);
        op.table = static_cast<uint32_t>(table);
        return !failed_;
    }
    [[nodiscard]] bool failed() const { return failed_; }

private:
    ByteReader in_;
    bool failed_ = false;
};

}  // namespace weir::state
