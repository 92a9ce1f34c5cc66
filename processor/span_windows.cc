#include "processor/span_windows.h"

#include <algorithm>
#include <functional>
#include <queue>

namespace weir::processor {

SpanWindows::SpanWindows(const Stage& stage, Accumulators& accumulators, WindowListener& results,
                         Settler& settler)
    : Windows(stage, accumulators, results, settler),
      kind_(stage.window.kind),
      spans_(accumulators),
      merged_(accumulators.cell_count()) {}

EventTime SpanWindows::late_from(EventTime time) {
    // A sliding record counts in every result up to `size` after it.
    if (kind_ == Kind::kSliding) return time + stage_.window.size_ms + stage_.window.grace_ms;
    return kEndOfTime;
}

EventTime SpanWindows::end_of(const Group& group) const {
    if (kind_ == Kind::kSliding) return group.first + 1;
    if (kind_ != Kind::kSession) return group.last + 1;
    const EventTime end = group.last + stage_.window.size_ms;
    return stage_.window.max_ms == 0 ? end : std::min(end, group.first + stage_.window.max_ms);
}

EventTime SpanWindows::closes_at(const Span& span) const {
    return end_of(span.group) + stage_.window.grace_ms;
}

EventTime SpanWindows::gone_at(const Span& span) const {
    if (kind_ != Kind::kSliding) return closes_at(span);
    // One more than the last result that needs it, which is made first.
    return span.group.first + stage_.window.size_ms + stage_.window.grace_ms + 1;
}

EventTime SpanWindows::due_at(const Span& span) const {
    EventTime at = gone_at(span);
    if (!span.closed) at = std::min(at, closes_at(span));
    if (fires() && !span.fired) at = std::min(at, fires_at(span));
    return at;
}

void SpanWindows::schedule(Span& span) {
    if (!stage_.window.is_timed()) return;
    span.scheduled = due_at(span);
    heap_.push_back({span.scheduled, span.group.sequence, &span});
    ++scheduled_;
    std::push_heap(heap_.begin(), heap_.end());
    spans_.hold(span);
}

// The fire of a span that is due is in the past of the record that makes or changes it.
void SpanWindows::settle_flags(Span& span, EventTime watermark) const {
    if (watermark == kNoTime || !stage_.window.is_timed()) return;
    span.fired = fires() && fires_at(span) <= watermark;
    span.closed = closes_at(span) <= watermark;
}

void SpanWindows::change(Span& span) {
    if (span.group.changed) return;
    span.group.changed = true;
    changed_.push_back(&span);
    spans_.hold(span);
    touch_changed(span);
}

Span& SpanWindows::make(std::string_view key, uint64_t hash, Span* previous, EventTime time) {
    Span& span = spans_.insert(key, hash, previous);
    span.group.first = span.group.last = time;
    return span;
}

Place SpanWindows::place(std::string_view key, uint64_t hash, EventTime time, EventTime watermark) {
    now_ = std::max(now_, watermark);  // Nothing is due in between.
    Span* span = nullptr;
    switch (kind_) {
        case Kind::kSession: span = place_session(key, hash, time, watermark); break;
        case Kind::kSliding: span = &place_sliding(key, hash, time, watermark); break;
        default: span = &place_count(key, hash, time); break;
    }
    if (span == nullptr) return {};
    ++span->group.records;
    ++records_;
    spans_.touch(*span);
    if (kind_ == Kind::kCount && span->group.records == stage_.window.count) {
        complete_.push_back(span);
        spans_.hold(*span);
    }
    // Sliding spans know for themselves whose results changed.
    if (kind_ != Kind::kSliding && tracks_changes_ && (emit_ != EmitKind::kOnWatermark || span->fired))
        change(*span);
    return {&span->group, &spans_.store()};
}

bool SpanWindows::joinable(EventTime first, EventTime first_last, EventTime second,
                           EventTime second_last) const {
    const EventTime last = std::max(first_last, second_last);
    return second < first_last + stage_.window.size_ms &&
           (stage_.window.max_ms == 0 || last < first + stage_.window.max_ms);
}

bool SpanWindows::is_late_alone(EventTime time, EventTime watermark) const {
    Group alone;
    alone.first = alone.last = time;
    return watermark != kNoTime && end_of(alone) + stage_.window.grace_ms <= watermark;
}

Span* SpanWindows::place_session(std::string_view key, uint64_t hash, EventTime time, EventTime watermark) {
    // The session that begins at or before the record, and the one after it.
    Span* before = chain(key, hash).last;
    Span* after = nullptr;
    while (before != nullptr && before->group.first > time) {
        after = before;
        before = before->previous;
    }
    const auto takes_before = [&] {
        return joinable(before->group.first, before->group.last, time, time);
    };
    // With `max` a session ends the earlier the earlier it begins: it may not have ended already.
    const auto takes_after = [&] {
        if (!joinable(time, time, after->group.first, after->group.last)) return false;
        Group joined;
        joined.first = time;
        joined.last = after->group.last;
        return watermark == kNoTime || end_of(joined) + stage_.window.grace_ms > watermark;
    };
    Span* const left = before != nullptr && takes_before() ? before : nullptr;
    Span* right = after != nullptr && takes_after() ? after : nullptr;
    if (left != nullptr && right != nullptr &&
        !joinable(left->group.first, std::max(left->group.last, time), right->group.first,
                  right->group.last)) {
        right = nullptr;
    }
    if (left == nullptr && right == nullptr) {
        if (is_late_alone(time, watermark)) return nullptr;
        Span& span = make(key, hash, before, time);
        settle_flags(span, watermark);
        schedule(span);
        return &span;
    }
    Span& span = left != nullptr ? *left : *right;
    const EventTime end_before = end_of(span.group);
    span.group.first = std::min(span.group.first, time);
    span.group.last = std::max(span.group.last, time);
    if (left != nullptr && right != nullptr) {
        settler_.settle();
        accumulators_.merge(left->group.cells(), spans_.store(), right->group.cells(), spans_.store());
        left->group.records += std::exchange(right->group.records, 0);
        left->group.last = std::max(left->group.last, right->group.last);
        results_.because(Reason::kUpdate, now_);
        results_.withdraw(static_cast<int64_t>(right->group.sequence), right->group.key());
        remove(*right);
    }
    const EventTime end = end_of(span.group);
    if (end != end_before) settle_flags(span, watermark);
    // A later time is found out when the earlier one comes.
    if (due_at(span) < span.scheduled) schedule(span);
    return &span;
}

Span& SpanWindows::place_sliding(std::string_view key, uint64_t hash, EventTime time, EventTime watermark) {
    Span* span = chain(key, hash).last;
    while (span != nullptr && span->group.first > time) span = span->previous;
    if (span == nullptr || span->group.first != time) {
        span = &make(key, hash, span, time);
        settle_flags(*span, watermark);
        schedule(*span);
    }
    if (!tracks_changes_) return *span;
    for (Span* later = span; later != nullptr && later->group.first - time < stage_.window.size_ms;
         later = later->next) {
        if (!later->closed && (emit_ != EmitKind::kOnWatermark || later->fired)) change(*later);
    }
    return *span;
}

Span& SpanWindows::place_count(std::string_view key, uint64_t hash, EventTime time) {
    Span* span = chain(key, hash).last;
    if (span != nullptr && kind_ == Kind::kCount && span->group.records == stage_.window.count) {
        settler_.settle();  // Completes it.
        span = nullptr;
    }
    if (span == nullptr) return make(key, hash, nullptr, time);
    span->group.first = std::min(span->group.first, time);
    span->group.last = std::max(span->group.last, time);
    return *span;
}

void SpanWindows::settled() {
    for (Span* span : complete_) {
        results_.because(Reason::kCount, now_);
        add(*span, spans_.store());
        results_.forget(static_cast<int64_t>(span->group.sequence), span->group.key());
        ++closed_;
        remove(*span);
        spans_.drop(*span);
    }
    complete_.clear();
}

void SpanWindows::prepare() {
    if (!spans_.finish_restoring()) return;
    records_ = count_records();
    spans_.for_each([&](Span& span) {
        settle_flags(span, now_);
        schedule(span);
        if (span.group.changed) {
            changed_.push_back(&span);
            spans_.hold(span);
        }
    });
}

EventTime SpanWindows::next_due() {
    prepare();
    return heap_.empty() ? kEndOfTime : heap_.front().at;
}

EventTime SpanWindows::many_due(size_t few) {
    prepare();
    if (heap_.size() <= few || !fires()) return kEndOfTime;
    const bool passed = heap_.front().at > many_due_;
    if (!passed && scheduled_ <= few) return many_due_;
    // The first `few` and one more, in order of time.
    scheduled_ = 0;
    using At = std::pair<EventTime, size_t>;  // In the heap.
    std::priority_queue<At, std::vector<At>, std::greater<>> next;
    next.emplace(heap_.front().at, 0);
    for (size_t looked_at = 0; looked_at < few; ++looked_at) {
        const size_t at = next.top().second;
        next.pop();
        for (const size_t below : {2 * at + 1, 2 * at + 2})
            if (below < heap_.size()) next.emplace(heap_[below].at, below);
    }
    return many_due_ = next.top().first;
}

bool SpanWindows::has_changed() {
    prepare();
    return !changed_.empty();
}

void SpanWindows::take_up_due(EventTime) { prepare(); }

bool SpanWindows::advance_to(EventTime now, Reason reason) {
    EventTime done = kNoTime;
    for (EventTime at = next_due(); at <= now && at != kEndOfTime; at = next_due()) {
        take_up_due(at);
        if (heap_.empty() || heap_.front().at > at) continue;
        const Due due = heap_.front();
        Span& span = *due.span;
        const bool outdated = span.dead || due.at != span.scheduled;
        const bool is_due = !outdated && due_at(span) <= due.at;
        // What is due at one time is given together, so that the clock says how far it came.
        if (is_due && at > done && results_.full()) {
            now_ = std::max(now_, done);
            return false;
        }
        std::pop_heap(heap_.begin(), heap_.end());
        heap_.pop_back();
        if (outdated) {
            spans_.drop(span);
            continue;
        }
        if (is_due) {
            done = at;
            settler_.settle();
            if (fires() && !span.fired && fires_at(span) <= due.at) {
                span.fired = true;
                results_.because(reason, now);
                add(span, spans_.store());
            }
            if (!span.closed && closes_at(span) <= due.at) close(span);
        }
        if (gone_at(span) <= due.at) {
            remove(span);
        } else {
            schedule(span);
        }
        spans_.drop(span);
    }
    now_ = std::max(now_, now);
    return true;
}

// Its result is final.
void SpanWindows::close(Span& span) {
    span.closed = true;
    if (span.group.changed && emit_ != EmitKind::kEvery) {
        because_changed();
        add(span, spans_.store());
    }
    if (span.group.changed) touch_changed(span);
    span.group.changed = false;
    results_.forget(static_cast<int64_t>(span.group.sequence), span.group.key());
    ++closed_;
}

void SpanWindows::show_changed() {
    if (!has_changed()) return;
    settler_.settle();
    because_changed();
    std::sort(changed_.begin(), changed_.end(),
              [](const Span* a, const Span* b) { return a->group.sequence < b->group.sequence; });
    for (Span* span : changed_) {
        const bool ripe = emit_ != EmitKind::kOnWatermark || span->fired;
        if (!span->dead && span->group.changed && ripe) {
            add(*span, spans_.store());
            touch_changed(*span);
        }
        if (!span->dead) span->group.changed = false;
        spans_.drop(*span);
    }
    changed_.clear();
}

void SpanWindows::add(Span& span, const AccumulatorStore& store) {
    Group& group = span.group;
    WindowResult result;
    result.key = group.key();
    if (kind_ != Kind::kNone) {
        result.start = group.first;
        result.end = end_of(group);
    }
    result.time = kind_ == Kind::kSession ? result.end - 1 : group.last;
    result.meta.records = group.records;
    if (kind_ != Kind::kSliding) {
        results_.add(static_cast<int64_t>(group.sequence), result, group.cells(), store);
        return;
    }
    result.start = group.first + 1 - stage_.window.size_ms;
    result.meta.records = 0;
    Span* from = &span;
    while (from->previous != nullptr && from->previous->group.first >= result.start) from = from->previous;
    for (; from != span.next; from = from->next) {
        accumulators_.merge(merged_.data(), merged_store_, from->group.cells(), store);
        result.meta.records += from->group.records;
    }
    results_.add(static_cast<int64_t>(group.sequence), result, merged_.data(), merged_store_);
    accumulators_.release(merged_.data(), merged_store_);
    std::fill(merged_.begin(), merged_.end(), Accumulator{});
}

OpenWindow SpanWindows::describe(Span& span) const {
    OpenWindow window;
    window.records = span.group.records;
    if (kind_ == Kind::kNone) return window;
    window.start = span.group.first;
    window.end = end_of(span.group);
    if (kind_ == Kind::kCount) return window;
    if (fires() && !span.fired) window.result_at = fires_at(span);
    if (!span.closed) window.closes_at = closes_at(span);
    if (kind_ != Kind::kSliding) return window;
    window.start = span.group.first + 1 - stage_.window.size_ms;
    for (Span* from = span.previous; from != nullptr && from->group.first >= window.start;
         from = from->previous)
        window.records += from->group.records;
    return window;
}

std::optional<OpenWindow> SpanWindows::next_window() {
    for (take_up_due(kEndOfTime); !heap_.empty(); take_up_due(kEndOfTime)) {
        const Due due = heap_.front();
        if (!due.span->dead && due.at == due.span->scheduled && due_at(*due.span) <= due.at)
            return describe(*due.span);
        // It is not due any more: advance() would find that out later.
        std::pop_heap(heap_.begin(), heap_.end());
        heap_.pop_back();
        if (!due.span->dead && due.at == due.span->scheduled) schedule(*due.span);
        spans_.drop(*due.span);
    }
    return std::nullopt;
}

void SpanWindows::append_open(std::string_view key, std::vector<OpenWindow>& out) {
    prepare();
    append_open(spans_.chain(key, hash_group_key(key)), out);
}

void SpanWindows::append_open(const SpanTable::Chain& chain, std::vector<OpenWindow>& out) const {
    for (Span* span = chain.first; span != nullptr && out.size() < kMostOpenWindows; span = span->next)
        if (!span->closed) out.push_back(describe(*span));
}

void SpanWindows::remove(Span& span) {
    release(static_cast<uint64_t>(span.group.records));
    spans_.remove(span);
}

uint64_t SpanWindows::count_records() {
    uint64_t total = 0;
    spans_.for_each([&](const Span& span) { total += static_cast<uint64_t>(span.group.records); });
    return total;
}

}  // namespace weir::processor
