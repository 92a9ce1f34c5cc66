#include "processor/window_grid.h"

#include <algorithm>
#include <numeric>

#include <absl/time/civil_time.h>

namespace weir::processor {
namespace {

constexpr int64_t kDayMs = 86'400'000;
constexpr int64_t kLongestDayMs = kDayMs + kDayMs / 8;  // Clocks move by at most three hours.

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }
int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b > 0 ? 1 : 0); }

}  // namespace

WindowGrid::WindowGrid(const config::Window& window)
    : endless_(window.kind == config::Window::Kind::kNone), offset_ms_(window.offset_ms) {
    if (endless_) return;
    const bool tumbling = window.kind == config::Window::Kind::kTumbling;
    const int64_t step_ms = tumbling ? window.size_ms : window.step_ms;
    cumulate_ = window.kind == config::Window::Kind::kCumulate;
    cell_ms_ = cumulate_ ? step_ms : std::gcd(window.size_ms, step_ms);
    cells_ = window.size_ms / cell_ms_;
    hop_ = cumulate_ ? cells_ : step_ms / cell_ms_;
    if (window.timezone.empty()) return;
    zoned_ = true;
    absl::LoadTimeZone(window.timezone, &zone_);
    if (cell_ms_ % kDayMs == 0) {
        cell_days_ = cell_ms_ / kDayMs;
        return;
    }
    cells_of_day_ = ceil_div(kLongestDayMs, cell_ms_);
    cells_ = window.size_ms / kDayMs * cells_of_day_;
    hop_ = cells_;
}

bool WindowGrid::zone_exists(const std::string& name) {
    absl::TimeZone zone;
    return absl::LoadTimeZone(name, &zone);
}

int64_t WindowGrid::midnight_ms(int64_t day) const {
    const absl::CivilDay civil = absl::CivilDay(1970, 1, 1) + day;
    const absl::TimeZone::TimeInfo info = zone_.At(absl::CivilSecond(civil));
    const bool skipped = info.kind == absl::TimeZone::TimeInfo::SKIPPED;
    return absl::ToUnixMillis(skipped ? info.trans : info.pre) + offset_ms_;
}

WindowGrid::Cell WindowGrid::cell_of(EventTime time) const {
    if (endless_) return 0;
    if (!zoned_) return floor_div(time - offset_ms_, cell_ms_);
    const absl::CivilDay civil = absl::ToCivilDay(absl::FromUnixMillis(time - offset_ms_), zone_);
    int64_t day = civil - absl::CivilDay(1970, 1, 1);
    // `offset` is elapsed time from midnight, so around a change of clocks the guess may be a day off.
    while (time < midnight_ms(day)) --day;
    while (time >= midnight_ms(day + 1)) ++day;
    if (cells_of_day_ == 1) return floor_div(day, cell_days_);
    return day * cells_of_day_ + (time - midnight_ms(day)) / cell_ms_;
}

EventTime WindowGrid::start_of(Cell cell) const {
    if (endless_) return cell <= 0 ? kNoTime : kEndOfTime;
    if (!zoned_) return cell * cell_ms_ + offset_ms_;
    if (cells_of_day_ == 1) return midnight_ms(cell * cell_days_);
    const int64_t day = floor_div(cell, cells_of_day_);
    const int64_t start = midnight_ms(day) + (cell - day * cells_of_day_) * cell_ms_;
    return std::min(start, midnight_ms(day + 1));
}

bool WindowGrid::is_window(Cell last) const {
    return cells_of_day_ == 1 || start_of(last) < start_of(last + 1);
}

WindowGrid::Cell WindowGrid::first_window(Cell cell) const {
    if (!cumulate_) return ceil_div(cell - (cells_ - 1), hop_) * hop_ + cells_ - 1;
    while (!is_window(cell)) ++cell;
    return cell;
}

WindowGrid::Cell WindowGrid::last_window(Cell cell) const {
    Cell last = floor_div(cell, hop_) * hop_ + cells_ - 1;
    while (!is_window(last)) --last;
    return last;
}

WindowGrid::Cell WindowGrid::first_cell(Cell last) const {
    return cumulate_ ? floor_div(last, cells_) * cells_ : last - (cells_ - 1);
}

}  // namespace weir::processor
