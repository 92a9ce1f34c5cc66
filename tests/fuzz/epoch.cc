// An epoch's record behind a valid checksum: what is accepted has one spelling, its deltas too.
#include <cstdint>
#include <string>

#include "state/delta.h"
#include "state/epoch_record.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace weir::state;
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    const auto epoch = decode_epoch(bytes);
    if (!epoch.ok()) return 0;
    std::string again;
    encode_epoch(*epoch, again);
    WEIR_CHECK(again == bytes, "accepted in another spelling");
    for (const ShardEpoch& shard : epoch->shards) {
        std::string delta;
        DeltaWriter writer(delta);
        DeltaReader reader(shard.delta);
        for (StateOp op; reader.next(op);) {
            switch (op.kind) {
                case StateOp::Kind::kPut: writer.put(op.table, op.key, op.value); break;
                case StateOp::Kind::kErase: writer.erase(op.table, op.key); break;
                case StateOp::Kind::kErasePrefix: writer.erase_prefix(op.table, op.key); break;
            }
        }
        WEIR_CHECK(!reader.failed() && delta == shard.delta, "a delta accepted in another spelling");
    }
    return 0;
}
