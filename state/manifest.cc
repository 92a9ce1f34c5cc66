#include "state/manifest.h"

#include <fmt/format.h>

#include "base/bytes.h"
#include "state/crc32c.h"

namespace weir::state {
namespace {

constexpr std::string_view kMagic = "weirmani";

Error mismatch(const std::string& what, const char* remedy) {
    return {Code::kMismatch, fmt::format("the state on disk does not fit this start: {}; {}", what, remedy)};
}

constexpr char kNewState[] =
    "give the pipeline a new name, or remove the state directory, to start with empty state";

}  // namespace

std::string encode_manifest(const Manifest& manifest) {
    std::string fields;
    put_bytes(fields, manifest.cluster_id);
    put_bytes(fields, manifest.pipeline);
    put_bytes(fields, manifest.state_hash);
    put_varint(fields, manifest.inputs.size());
    for (const ManifestInput& input : manifest.inputs) {
        put_bytes(fields, input.name);
        put_le(fields, input.partition_count);
    }
    put_le(fields, manifest.instance);
    put_le(fields, manifest.instances);
    put_le(fields, manifest.slots);
    put_le(fields, manifest.layout);
    std::string out(kMagic);
    put_le(out, kManifestVersion);
    put_le(out, crc32c(crc32c(0, out), fields));
    return out + fields;
}

Result<Manifest> decode_manifest(std::string_view bytes) {
    constexpr size_t kCovered = kMagic.size() + 4;
    ByteReader in(bytes);
    const bool magic = in.take(kMagic.size()) == kMagic;
    const auto version = in.le<uint32_t>();
    const auto crc = in.le<uint32_t>();
    const Error damaged{
        Code::kCorrupt,
        "MANIFEST is damaged; restore the state directory from a copy, or remove it to start anew"};
    if (!magic || in.failed() ||
        crc32c(crc32c(0, bytes.substr(0, kCovered)), bytes.substr(kCovered + 4)) != crc)
        return damaged;
    if (version != kManifestVersion)
        return mismatch(
            fmt::format("it has format version {}, this weir reads {}", version, kManifestVersion),
            "use a newer weir");
    Manifest manifest;
    manifest.cluster_id = in.bytes();
    manifest.pipeline = in.bytes();
    manifest.state_hash = in.bytes();
    const uint64_t inputs = in.varint();
    for (uint64_t i = 0; i < inputs && !in.failed(); ++i) {
        ManifestInput input;
        input.name = in.bytes();
        input.partition_count = in.le<int32_t>();
        manifest.inputs.push_back(std::move(input));
    }
    manifest.instance = in.le<int32_t>();
    manifest.instances = in.le<int32_t>();
    manifest.slots = in.le<int32_t>();
    manifest.layout = in.le<uint64_t>();
    if (in.failed() || in.remaining() != 0 || manifest.slots < 1) return damaged;
    return manifest;
}

Result<void> compare_manifest(const Manifest& on_disk, const Manifest& now) {
    if (on_disk.pipeline != now.pipeline)
        return mismatch(
            fmt::format("it belongs to the pipeline \"{}\", this is \"{}\"", on_disk.pipeline, now.pipeline),
            "give every pipeline its own state.dir");
    if (on_disk.cluster_id != now.cluster_id)
        return mismatch(fmt::format("it belongs to the cluster \"{}\", the brokers are of \"{}\"",
                                    on_disk.cluster_id, now.cluster_id),
                        "correct bootstrap.servers, or give the pipeline a new name and its own state.dir");
    if (on_disk.inputs.size() != now.inputs.size())
        return mismatch(fmt::format("it was built from {} input topics, now there are {}",
                                    on_disk.inputs.size(), now.inputs.size()),
                        kNewState);
    for (size_t i = 0; i < now.inputs.size(); ++i) {
        const ManifestInput& before = on_disk.inputs[i];
        const ManifestInput& after = now.inputs[i];
        if (before.name != after.name)
            return mismatch(
                fmt::format("input {} was \"{}\", now it is \"{}\"", i + 1, before.name, after.name),
                kNewState);
        if (before.partition_count != after.partition_count)
            return mismatch(
                fmt::format("\"{}\" had {} partitions, now it has {}: keys moved to other partitions, away "
                            "from their state",
                            after.name, before.partition_count, after.partition_count),
                kNewState);
    }
    if (on_disk.state_hash != now.state_hash)
        return mismatch("the pipeline's stateful steps changed", kNewState);
    if (on_disk.instance != now.instance || on_disk.instances != now.instances)
        return mismatch(
            fmt::format("it belongs to instance {} of {}, this is {} of {}: other partitions' state is on "
                        "other disks",
                        on_disk.instance, on_disk.instances, now.instance, now.instances),
            "go back to the old number of instances, or start all of them with empty state under a new name");
    return {};
}

}  // namespace weir::state
