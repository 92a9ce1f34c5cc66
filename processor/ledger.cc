#include "processor/ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "processor/graph.h"

namespace weir::processor {
namespace {

uint64_t total(std::span<const Bucket> buckets) {
    uint64_t sum = 0;
    for (const Bucket& bucket : buckets) sum += bucket.count;
    return sum;
}

uint64_t entered_state(const StreamCounters& stream) { return stream.merged + stream.buffered; }
uint64_t left_state(const StreamCounters& stream) { return stream.released + stream.expired; }

}  // namespace

Ledger::Ledger(const Plan& plan) : plan_(&plan), arrivals_(plan.stream_names.size()) {
    const Graph& graph = *plan.graph;
    // A stream has a chain of nodes per source, but gets the rows of one that it reads once; a join of an
    // input with itself, once per side.
    const auto arrive = [&](const std::vector<NodeId>& next, std::vector<size_t> Arrivals::*kind,
                            size_t from) {
        std::vector<std::ptrdiff_t> entries(arrivals_.size());
        for (const NodeId id : next) {
            if (!std::holds_alternative<EnterNode>(graph.nodes[id].operation)) continue;
            const size_t stream = graph.nodes[id].stream;
            std::vector<size_t>& known = arrivals_[stream].*kind;
            if (++entries[stream] > std::count(known.begin(), known.end(), from)) known.push_back(from);
        }
    };
    for (size_t source = 0; source < graph.sources.size(); ++source)
        arrive(graph.sources[source].next, &Arrivals::sources, source);
    for (const RepartitionPlan& repartition : graph.repartitions)
        for (const Channel& channel : repartition.channels)
            arrive(channel.next, &Arrivals::sources, repartition.source);
    for (const Node& node : graph.nodes) {
        if (std::holds_alternative<ExitNode>(node.operation))
            arrive(node.next, &Arrivals::results, node.stream);
        if (const auto* input = std::get_if<AccumulateNode>(&node.operation))
            arrive(input->late, &Arrivals::late, node.stream);
        if (const auto* input = std::get_if<LimitNode>(&node.operation))
            arrive(input->late, &Arrivals::late, node.stream);
        if (const auto* input = std::get_if<JoinInputNode>(&node.operation))
            arrive(input->late, &Arrivals::late, node.stream);
    }
}

std::string Ledger::imbalance(const Counters& counters) const {
    for (size_t i = 0; i < counters.sources.size(); ++i) {
        const SourceCounters& source = counters.sources[i];
        if (source.records != total(buckets_of(source)))
            return fmt::format("source {}: {} records were read, {} are in its buckets",
                               plan_->source_names[i], source.records, total(buckets_of(source)));
        const uint64_t reasons = source.decode_errors + source.timestamp_errors + source.ahead;
        if (source.dead_lettered + source.skipped != reasons)
            return fmt::format("source {}: {} records were not delivered, {} of them for a reason",
                               plan_->source_names[i], source.dead_lettered + source.skipped, reasons);
    }
    for (size_t i = 0; i < counters.streams.size(); ++i) {
        const StreamCounters& stream = counters.streams[i];
        const std::string& name = plan_->stream_names[i];
        if (stream.in + stream.derived != total(buckets_of(stream)))
            return fmt::format("stream {}: {} rows came or were made, {} are in its buckets", name,
                               stream.in + stream.derived, total(buckets_of(stream)));
        const uint64_t routed = std::accumulate(stream.out.begin(), stream.out.end(), uint64_t{0});
        if (stream.emitted != routed)
            return fmt::format("stream {}: {} rows were emitted, {} of them by a route", name, stream.emitted,
                               routed);
        uint64_t handed = 0;
        for (const size_t from : arrivals_[i].sources) handed += counters.sources[from].delivered;
        for (const size_t from : arrivals_[i].results) handed += counters.streams[from].passed;
        for (const size_t from : arrivals_[i].late) handed += counters.streams[from].late;
        if (stream.in != handed)
            return fmt::format("stream {}: {} rows were handed to it, {} arrived", name, handed, stream.in);
    }
    return {};
}

std::string Ledger::state_imbalance(const Counters& counters, std::span<const uint64_t> held) {
    std::vector<uint64_t> before;
    for (size_t i = 0; i < counters.streams.size(); ++i)
        before.push_back(held[i] + left_state(counters.streams[i]) - entered_state(counters.streams[i]));
    if (!before_) before_ = before;
    for (size_t i = 0; i < before.size(); ++i)
        if (before[i] != (*before_)[i])
            return fmt::format(
                "stream {}: its state should hold {} records, it holds {}", plan_->stream_names[i],
                (*before_)[i] + entered_state(counters.streams[i]) - left_state(counters.streams[i]),
                held[i]);
    return {};
}

}  // namespace weir::processor
