#include "train/report/histogram_chart.h"

#include <algorithm>
#include <cmath>

#include "train/report/axis.h"
#include "train/report/figure.h"
#include "train/report/markup.h"

namespace octavo::report {
namespace {

constexpr double width = 260, left = 34, right = 252, top = 8, bottom = 104, height = 126;

double largest_share(const OctaveHistogram* histogram) {
  if (histogram == nullptr || !(histogram->total() > 0) || histogram->counts.empty()) return 0;
  return *std::max_element(histogram->counts.begin(), histogram->counts.end()) / histogram->total();
}

// The outline of the bars; closed at the bottom it is an area.
std::vector<Point> outline(const OctaveHistogram& histogram, const Axis& x, const Axis& y) {
  std::vector<Point> points;
  const double total = std::max(histogram.total(), 1.0);
  const auto [low, high] = x.values();
  for (std::size_t i = 0; i < histogram.counts.size(); ++i) {
    const double octave = histogram.first_exponent + static_cast<double>(i);
    if (octave + 1 <= low || octave >= high) continue;
    if (points.empty()) points.push_back({x(octave), bottom});
    for (const double edge : {octave, octave + 1})
      points.push_back({x(edge), y(histogram.counts[i] / total)});
  }
  if (!points.empty()) points.push_back({points.back().x, bottom});
  return points;
}

void draw_clip(Markup& out, const OctaveHistogram& histogram, const Axis& x, const std::string& classes) {
  if (!(histogram.clip > 0)) return;
  const double at = x(std::log2(histogram.clip));
  svg_line(out, at, top, at, bottom, classes);
}

void draw_axes(Markup& out, const Axis& x, const Axis& y) {
  vertical_grid(out, y, linear_ticks(y.values(), 3, Unit::percent), x);
  svg_line(out, left, bottom, right, bottom, "axis");
  std::vector<Tick> ticks = linear_ticks(x.values(), 4);
  for (Tick& tick : ticks) tick.label = power_text(2, static_cast<int>(std::lround(tick.value)));
  horizontal_labels(out, x, ticks, bottom);
}

std::string zeros_note(const HistogramChart& chart) {
  const auto share = [](const OctaveHistogram& h) {
    return percent_text(h.zeros / std::max(h.total(), 1.0), 1);
  };
  if (chart.late == nullptr) return "zeros " + share(*chart.early);
  return "zeros " + share(*chart.early) + " → " + share(*chart.late);
}

}  // namespace

std::string histogram_chart(const HistogramChart& chart) {
  const double most = std::max(largest_share(chart.early), largest_share(chart.late));
  const Axis x(chart.exponents, left, right), y(rounded_out({0, most > 0 ? most : 1}, 3), bottom, top);
  Markup out;
  open_svg(out, width, height, chart.title);
  draw_axes(out, x, y);
  const OctaveHistogram& filled = chart.late != nullptr ? *chart.late : *chart.early;
  out.empty("path", {{"d", line_path(outline(filled, x, y))}, {"class", "c1 area"}});
  draw_clip(out, filled, x, "c1 clip");
  if (chart.late != nullptr) {
    out.empty("path", {{"d", line_path(outline(*chart.early, x, y))}, {"class", "c2 curve"}});
    draw_clip(out, *chart.early, x, "c2 clip");
  }
  return figure_markup({chart.title, zeros_note(chart), {}, {}, out.take(), {}});
}

}  // namespace octavo::report
