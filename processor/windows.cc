#include "processor/windows.h"

#include "processor/paned_windows.h"
#include "processor/span_windows.h"
#include "processor/stored_spans.h"
#include "processor/stored_windows.h"

namespace weir::processor {

std::unique_ptr<Windows> Windows::make(const Stage& stage, Accumulators& accumulators,
                                       WindowListener& results, Settler& settler, StoredGroups* stored) {
    const bool in_panes = stage.window.is_grid() || stage.window.kind == config::Window::Kind::kNone;
    if (stored != nullptr && in_panes)
        return std::make_unique<StoredWindows>(stage, accumulators, results, settler, *stored);
    if (stored != nullptr)
        return std::make_unique<StoredSpans>(stage, accumulators, results, settler, *stored);
    if (stage.window.is_grid())
        return std::make_unique<PanedWindows>(stage, accumulators, results, settler);
    return std::make_unique<SpanWindows>(stage, accumulators, results, settler);
}

bool Windows::advance(EventTime now, Reason reason) {
    if (rest_) {
        if (!advance_to(rest_->to, rest_->reason)) return false;
        rest_.reset();
    }
    if (advance_to(now, reason)) return true;
    rest_ = {now, reason};
    return false;
}

void Windows::append_rest(std::string& out) const {
    put_le<int64_t>(out, now_);
    put_le<int64_t>(out, rest_->to);
    put_le<uint8_t>(out, static_cast<uint8_t>(rest_->reason));
    out.append(from_);
}

bool Windows::restore_rest(ByteReader& in) {
    restore_now(in.le<int64_t>());
    const auto to = in.le<int64_t>();
    const auto reason = in.le<uint8_t>();
    rest_ = {to, static_cast<Reason>(reason)};
    from_ = in.take(in.remaining());
    return !in.failed() && reason <= static_cast<uint8_t>(Reason::kTimer);
}

}  // namespace weir::processor
