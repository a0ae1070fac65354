#include "train/report/line_chart.h"

#include <algorithm>
#include <cmath>

#include "train/report/axis.h"
#include "train/report/figure.h"
#include "train/report/markup.h"

namespace octavo::report {
namespace {

constexpr double left = 56, right_margin = 14, bottom_margin = 36;
constexpr int y_ticks = 5;
constexpr std::size_t most_dots = 80;

struct Frame {
  double width, height, top;
  int x_ticks;
  RobustRange values;
  Axis x, y;
};

Frame make_frame(const LineChart& chart) {
  std::vector<std::vector<Point>> curves;
  Range x = chart.x;
  for (const Curve& curve : chart.curves) {
    curves.push_back(curve.points);
    if (curve.points.empty()) continue;
    x = {std::min(x.low, curve.points.front().x), std::max(x.high, curve.points.back().x)};
  }
  RobustRange values = robust_range(curves);
  Range y = values.range;
  if (chart.from_zero) y.low = std::min(y.low, 0.0);
  if (chart.logarithmic) {
    values.cut = false;
    y = rounded_out_logarithmic({y.low, values.highest});
  } else {
    y = rounded_out(y, y_ticks);
  }
  const bool half = chart.size == LineChart::Size::half;
  const double width = half ? 540 : 352, height = half ? 262 : 214, top = chart.steps_per_epoch > 0 ? 26 : 10;
  return {width,
          height,
          top,
          half ? 6 : 4,
          values,
          Axis(x, left, width - right_margin),
          Axis(y, height - bottom_margin, top, chart.logarithmic)};
}

std::vector<Point> placed(const std::vector<Point>& points, const Frame& frame) {
  std::vector<Point> out;
  out.reserve(points.size());
  for (const Point& p : points) out.push_back({frame.x(p.x), std::isfinite(p.y) ? frame.y(p.y) : p.y});
  return out;
}

void draw_curve(Markup& out, const Curve& curve, const Frame& frame) {
  const std::vector<Point> points = placed(thin(curve.points, points_of_a_curve), frame);
  const std::string colour = colour_class(curve.colour);
  const bool faint = curve.style == Curve::Style::faint;
  out.empty("path", {{"d", line_path(points)}, {"class", colour + (faint ? " curve faint" : " curve")}});
  // A lone point has no line that would show it.
  if ((curve.style != Curve::Style::dots || points.size() > most_dots) && points.size() > 1) return;
  for (const Point& point : points)
    if (std::isfinite(point.y))
      out.empty("circle", {{"cx", coordinate(point.x)},
                           {"cy", coordinate(point.y)},
                           {"r", "2.6"},
                           {"class", colour + " dot"}});
}

void draw_axes(Markup& out, const LineChart& chart, const Frame& frame) {
  const Range y = frame.y.values();
  vertical_grid(
      out, frame.y,
      chart.logarithmic ? logarithmic_ticks(y, y_ticks, chart.unit) : linear_ticks(y, y_ticks, chart.unit),
      frame.x);
  const double bottom = frame.y.from();
  svg_line(out, left, bottom, frame.x.to(), bottom, "axis");
  horizontal_labels(out, frame.x, linear_ticks(frame.x.values(), frame.x_ticks), bottom);
  svg_text(out, frame.x.to(), frame.height - 5, "end label", chart.x_label);
  if (!(chart.steps_per_epoch > 0)) return;
  const Range steps = frame.x.values();
  const Range epochs{steps.low / chart.steps_per_epoch, steps.high / chart.steps_per_epoch};
  svg_text(out, left - 8, 13, "end label", "epoch");
  for (const Tick& tick : linear_ticks(epochs, frame.x_ticks))
    if (tick.value == std::floor(tick.value))
      svg_text(out, frame.x(tick.value * chart.steps_per_epoch), 13, "middle faded",
               count_text(static_cast<std::int64_t>(tick.value)));
}

std::string curve_data(const LineChart& chart, const Frame& frame) {
  std::string json = "{\"kind\":\"lines\",\"left\":" + coordinate(left) +
                     ",\"right\":" + coordinate(frame.x.to()) + ",\"top\":" + coordinate(frame.top) +
                     ",\"bottom\":" + coordinate(frame.y.from()) +
                     ",\"low\":" + json_number(frame.x.values().low, step_digits) +
                     ",\"high\":" + json_number(frame.x.values().high, step_digits) +
                     ",\"xlabel\":" + json_string(chart.x_label) + ",\"unit\":\"" +
                     (chart.unit == Unit::percent ? "%" : "") + "\",\"curves\":[";
  bool first = true;
  for (const Curve& curve : chart.curves) {
    if (curve.style == Curve::Style::faint) continue;
    std::vector<double> xs, ys;
    for (const Point& point : thin(curve.points, points_of_a_curve)) {
      xs.push_back(point.x);
      ys.push_back(point.y);
    }
    json += std::string(first ? "" : ",") + "{\"name\":" + json_string(curve.name) +
            ",\"x\":" + json_list(xs, step_digits) + ",\"y\":" + json_list(ys, value_digits) + "}";
    first = false;
  }
  return json + "]}";
}

void drop_what_has_no_logarithm(LineChart& chart) {
  for (Curve& curve : chart.curves)
    for (Point& point : curve.points)
      if (!(point.y > 0)) point.y = std::nan("");
}

}  // namespace

std::string line_chart(LineChart chart) {
  if (chart.logarithmic) drop_what_has_no_logarithm(chart);
  const Frame frame = make_frame(chart);
  if (!frame.values.any) return empty_figure(chart.title, chart.empty);
  Figure figure{chart.title, chart.note, {}, {}, {}, curve_data(chart, frame)};
  if (frame.values.cut)
    figure.note += (figure.note.empty() ? "" : "; ") + std::string("the highest value, ") +
                   value_text(frame.values.highest, chart.unit) + ", lies above the chart";
  for (const Curve& curve : chart.curves) {
    const char* shape = curve.style == Curve::Style::dots    ? " dots"
                        : curve.style == Curve::Style::faint ? " line faint"
                                                             : " line";
    if (chart.legend && chart.curves.size() > 1)
      figure.legend.push_back({colour_class(curve.colour) + shape, curve.name});
  }
  Markup out;
  open_svg(out, frame.width, frame.height, chart.title);
  draw_axes(out, chart, frame);
  for (const Curve& curve : chart.curves) draw_curve(out, curve, frame);
  figure.drawing = out.take();
  return figure_markup(figure);
}

}  // namespace octavo::report
