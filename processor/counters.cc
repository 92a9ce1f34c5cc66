#include "processor/counters.h"

#include <algorithm>

#include "processor/graph.h"
#include "processor/plan.h"

namespace weir::processor {

Counters::Counters(const Plan& plan) : sources(plan.source_names.size()), streams(plan.stream_names.size()) {
    for (const Node& node : plan.graph->nodes) {
        if (const auto* exit = std::get_if<ExitNode>(&node.operation)) {
            streams[node.stream].out.assign(exit->routes.size(), 0);
        }
    }
}

namespace {

// Every member of the two structs is a count, `out` aside.
using SourceMember = uint64_t SourceCounters::*;
using StreamMember = uint64_t StreamCounters::*;

constexpr SourceMember kSourceMembers[] = {
    &SourceCounters::records,          &SourceCounters::bytes,   &SourceCounters::delivered,
    &SourceCounters::dead_lettered,    &SourceCounters::skipped, &SourceCounters::markers,
    &SourceCounters::decode_errors,    &SourceCounters::timestamp_errors,
    &SourceCounters::ahead,            &SourceCounters::key_mismatches,
    &SourceCounters::behind,           &SourceCounters::marks_ahead};
static_assert(sizeof(SourceCounters) == std::size(kSourceMembers) * sizeof(uint64_t));

constexpr StreamMember kStreamMembers[] = {&StreamCounters::in,
                                           &StreamCounters::derived,
                                           &StreamCounters::emitted,
                                           &StreamCounters::forwarded,
                                           &StreamCounters::filtered,
                                           &StreamCounters::merged,
                                           &StreamCounters::duplicates,
                                           &StreamCounters::throttled,
                                           &StreamCounters::buffered,
                                           &StreamCounters::repartitioned,
                                           &StreamCounters::late,
                                           &StreamCounters::expanded,
                                           &StreamCounters::dead_lettered,
                                           &StreamCounters::skipped,
                                           &StreamCounters::unrouted,
                                           &StreamCounters::passed,
                                           &StreamCounters::released,
                                           &StreamCounters::expression_errors,
                                           &StreamCounters::produce_errors,
                                           &StreamCounters::windows_closed,
                                           &StreamCounters::matched,
                                           &StreamCounters::unmatched,
                                           &StreamCounters::expired,
                                           &StreamCounters::late_dropped,
                                           &StreamCounters::lookups_missed};
static_assert(sizeof(StreamCounters) ==
              std::size(kStreamMembers) * sizeof(uint64_t) + sizeof(std::vector<uint64_t>));

}  // namespace

void Counters::add(const Counters& other) {
    for (size_t i = 0; i < sources.size() && i < other.sources.size(); ++i)
        for (const SourceMember member : kSourceMembers) sources[i].*member += other.sources[i].*member;
    for (size_t i = 0; i < streams.size() && i < other.streams.size(); ++i) {
        for (const StreamMember member : kStreamMembers) streams[i].*member += other.streams[i].*member;
        std::vector<uint64_t>& out = streams[i].out;
        out.resize(std::max(out.size(), other.streams[i].out.size()));
        for (size_t route = 0; route < other.streams[i].out.size(); ++route)
            out[route] += other.streams[i].out[route];
    }
}

std::array<Bucket, 4> buckets_of(const SourceCounters& source) {
    return {{{"delivered", source.delivered},
             {"dead_letter", source.dead_lettered},
             {"skipped", source.skipped},
             {"marker", source.markers}}};
}

std::array<Bucket, 13> buckets_of(const StreamCounters& stream) {
    return {{{"emitted", stream.emitted},
             {"forwarded", stream.forwarded},
             {"filtered", stream.filtered},
             {"merged", stream.merged},
             {"buffered", stream.buffered},
             {"duplicate", stream.duplicates},
             {"throttled", stream.throttled},
             {"late", stream.late},
             {"expanded", stream.expanded},
             {"skipped", stream.skipped},
             {"dead_letter", stream.dead_lettered},
             {"unrouted", stream.unrouted},
             {"repartitioned", stream.repartitioned}}};
}

}  // namespace weir::processor
