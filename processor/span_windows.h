// Windows that their records make: session, sliding, count, and none (one that never ends). Each is a span of
// one group (span_table.h):
//
//   session   the span holds the session's accumulators; a record extends one, begins one, or joins two.
//   sliding   a span per event time at which the group has records; the result at a time is the merge of the
//             spans of the last `size`, and a span stays as long as a result may need it.
//   count     the span that is being filled; none: the only one.
//
// Order:   by when they are due, then by first record.
// Thread:  the worker that owns the shard.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "processor/span_table.h"
#include "processor/windows.h"

namespace weir::processor {

class SpanWindows : public Windows {
public:
    SpanWindows(const Stage& stage, Accumulators& accumulators, WindowListener& results, Settler& settler);

    [[nodiscard]] EventTime late_from(EventTime time) override;
    [[nodiscard]] Place place(std::string_view key, uint64_t hash, EventTime time,
                              EventTime watermark) override;
    // Of a session: whether a record that joins no other one is late.
    [[nodiscard]] bool is_late_alone(EventTime time, EventTime watermark) const;
    // Of the next span that is made.
    [[nodiscard]] uint64_t next_sequence() const { return spans_.next_sequence(); }
    void settled() override;
    [[nodiscard]] EventTime next_due() override;
    [[nodiscard]] EventTime many_due(size_t few) override;
    [[nodiscard]] bool has_changed() override;
    void show_changed() override;
    [[nodiscard]] std::optional<OpenWindow> next_window() override;
    void append_open(std::string_view key, std::vector<OpenWindow>& out) override;
    [[nodiscard]] uint64_t records() override {
        prepare();
        return records_;
    }
    [[nodiscard]] uint64_t count_records() override;
    [[nodiscard]] uint64_t open_windows() const override { return spans_.size(); }
    [[nodiscard]] uint64_t groups() const override { return spans_.keys(); }
    [[nodiscard]] size_t bytes() const override { return spans_.bytes(); }
    void write_changes(state::DeltaWriter& out) override { spans_.write_changes(stage_.table, out); }
    [[nodiscard]] bool restore_group(std::string_view key, std::string_view row) override {
        return spans_.restore(key, row);
    }
    [[nodiscard]] bool restore_part(std::string_view key, std::string_view value) override {
        return spans_.restore_part(key, value);
    }
    void restore_erased(std::string_view key) override { spans_.restore_erased(key); }

protected:
    using Kind = config::Window::Kind;

    [[nodiscard]] bool advance_to(EventTime now, Reason reason) override;

    struct Due {
        EventTime at;
        uint64_t sequence;
        Span* span;
        // For a heap with the earliest on top.
        bool operator<(const Due& other) const {
            return std::pair(at, sequence) > std::pair(other.at, other.sequence);
        }
    };

    // All spans of a key.
    [[nodiscard]] virtual SpanTable::Chain chain(std::string_view key, uint64_t hash) {
        return spans_.chain(key, hash);
    }
    // Sees to it that what is due first, if it is until then, is in the heap.
    virtual void take_up_due(EventTime until);

    Span& make(std::string_view key, uint64_t hash, Span* previous, EventTime time);
    [[nodiscard]] Span* place_session(std::string_view key, uint64_t hash, EventTime time,
                                      EventTime watermark);
    [[nodiscard]] Span& place_sliding(std::string_view key, uint64_t hash, EventTime time,
                                      EventTime watermark);
    [[nodiscard]] Span& place_count(std::string_view key, uint64_t hash, EventTime time);
    // Whether one window can hold both; the first begins before the second.
    [[nodiscard]] bool joinable(EventTime first, EventTime first_last, EventTime second,
                                EventTime second_last) const;

    // Exclusive, as all ends.
    [[nodiscard]] EventTime end_of(const Group& group) const;
    [[nodiscard]] EventTime fires_at(const Span& span) const { return end_of(span.group) + fire_delay_ms(); }
    [[nodiscard]] EventTime closes_at(const Span& span) const;  // Its result changes no more …
    [[nodiscard]] EventTime gone_at(const Span& span) const;    // … and nothing needs it.
    [[nodiscard]] EventTime due_at(const Span& span) const;
    void schedule(Span& span);
    void settle_flags(Span& span, EventTime watermark) const;
    void close(Span& span);
    void change(Span& span);
    // That a span changed, or was shown, is written where it outlives an epoch: others are shown before each.
    void touch_changed(Span& span) {
        if (emit_ == EmitKind::kEvery) spans_.touch(span);
    }
    // `store`: of the spans of its chain.
    void add(Span& span, const AccumulatorStore& store);
    void remove(Span& span);
    [[nodiscard]] OpenWindow describe(Span& span) const;
    void append_open(const SpanTable::Chain& chain, std::vector<OpenWindow>& out) const;
    // Takes up what was restored.
    void prepare();

    const Kind kind_;
    SpanTable spans_;
    std::vector<Due> heap_;
    EventTime many_due_ = kNoTime;  // As last found …
    size_t scheduled_ = 0;          // … and so many came to the heap since.
    std::vector<Span*> changed_;   // Since they were last shown.
    std::vector<Span*> complete_;  // Count windows that are full.
    std::vector<Accumulator> merged_;
    AccumulatorStore merged_store_;
};

}  // namespace weir::processor
