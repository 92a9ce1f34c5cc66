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

}  // namespace weir::processor
