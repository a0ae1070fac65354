#include "train/report/heat_map.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>

#include "train/report/axis.h"
#include "train/report/figure.h"
#include "train/report/markup.h"

namespace octavo::report {
namespace {

constexpr double right_margin = 14, curve_height = 62, gap = 12;
constexpr double letter_width = 5.7;  // of a row's label, on average
constexpr int curve_ticks = 2;
constexpr double label_height = 10.5;  // of a row that is labelled

struct Frame {
  double width;
  Axis x;
  double top;  // of the map
  double row_height;
  double bottom;
};

// Of the finite values above `limit`.
Range range_above(const std::vector<HeatRow>& rows, double limit) {
  Range range{HUGE_VAL, -HUGE_VAL};
  for (const HeatRow& row : rows)
    for (const double value : row.values)
      if (std::isfinite(value) && value > limit)
        range = {std::min(range.low, value), std::max(range.high, value)};
  return range;
}

Frame make_frame(const HeatMap& map) {
  const auto rows = static_cast<double>(map.rows.size());
  const double row_height = rows <= 24 ? 14 : rows <= 60 ? 11 : std::max(2.0, 640 / rows);
  const double top = map.curve ? 8 + curve_height + gap : 4;
  const double width = map.wide ? 1124 : 540, left = map.wide ? 238 : 148;
  const Axis x({map.edges.front(), map.edges.back()}, left, width - right_margin);
  return {width, x, top, row_height, top + rows * row_height};
}

// The end of a name tells more than its beginning.
std::string shortened(const std::string& text, double width) {
  const auto most = static_cast<std::size_t>(width / letter_width);
  return text.size() <= most ? text : "…" + text.substr(text.size() - most + 1);
}

// Cells of one colour share a path; neighbours of one colour in a row are one rectangle.
std::map<std::string, std::string> cell_paths(const HeatMap& map, const Frame& frame) {
  std::map<std::string, std::string> paths;
  const double cell = frame.row_height >= 6 ? frame.row_height - 1 : frame.row_height;
  for (std::size_t r = 0; r < map.rows.size(); ++r) {
    const std::vector<double>& values = map.rows[r].values;
    const std::string y = coordinate(frame.top + static_cast<double>(r) * frame.row_height);
    for (std::size_t begin = 0, end = 0; begin < values.size(); begin = end) {
      end = begin + 1;
      if (!std::isfinite(values[begin])) continue;
      const std::string colour = map.scale.colour(values[begin]);
      while (end < values.size() && std::isfinite(values[end]) && map.scale.colour(values[end]) == colour)
        ++end;
      const double from = frame.x(map.edges[begin]), to = frame.x(map.edges[end]);
      paths[colour] += "M" + coordinate(from) + " " + y + "H" + coordinate(to) + "v" + coordinate(cell) +
                       "H" + coordinate(from) + "z";
    }
  }
  return paths;
}

void draw_rows(Markup& out, const HeatMap& map, const Frame& frame) {
  for (const auto& [colour, path] : cell_paths(map, frame))
    out.empty("path", {{"d", path}, {"class", colour}});
  const auto stride = static_cast<std::size_t>(std::ceil(label_height / frame.row_height));
  const double label_end = frame.x.from() - 8;
  for (std::size_t r = 0; r < map.rows.size(); r += stride)
    svg_text(out, label_end, frame.top + (static_cast<double>(r) + 0.5) * frame.row_height + 3, "end row",
             shortened(map.rows[r].label, label_end));
}

struct Spread {
  std::vector<double> low, median, high;  // per column
};

Spread spread_over_rows(const HeatMap& map) {
  Spread spread;
  for (std::size_t c = 0; c + 1 < map.edges.size(); ++c) {
    std::vector<double> column;
    for (const HeatRow& row : map.rows) column.push_back(row.values[c]);
    spread.low.push_back(quantile(column, 0));
    spread.median.push_back(quantile(column, 0.5));
    spread.high.push_back(quantile(column, 1));
  }
  return spread;
}

// Steps of a staircase: each value holds over its column.
std::vector<Point> staircase(const std::vector<double>& values, const HeatMap& map, const Axis& x,
                             const Axis& y) {
  std::vector<Point> points;
  for (std::size_t c = 0; c < values.size(); ++c)
    for (const double edge : {map.edges[c], map.edges[c + 1]})
      points.push_back({x(edge), std::isfinite(values[c]) ? y(values[c]) : values[c]});
  return points;
}

void draw_curve(Markup& out, const HeatMap& map, const Frame& frame) {
  Spread spread = spread_over_rows(map);
  const bool logarithmic = map.scale.logarithmic;
  const Range seen = logarithmic ? positive_range(map.rows) : value_range(map.rows);
  const Range range = logarithmic ? rounded_out_logarithmic(seen) : rounded_out(seen, curve_ticks);
  const Axis y(range, 8 + curve_height, 8, logarithmic);
  vertical_grid(out, y,
                logarithmic ? logarithmic_ticks(range, curve_ticks, map.unit)
                            : linear_ticks(range, curve_ticks, map.unit),
                frame.x);
  std::vector<Point> band = staircase(spread.high, map, frame.x, y),
                     low = staircase(spread.low, map, frame.x, y);
  band.insert(band.end(), low.rbegin(), low.rend());
  band.erase(std::remove_if(band.begin(), band.end(), [](const Point& p) { return !std::isfinite(p.y); }),
             band.end());
  out.empty("path", {{"d", line_path(band)}, {"class", "band"}});
  out.empty("path", {{"d", line_path(staircase(spread.median, map, frame.x, y))}, {"class", "c1 curve"}});
}

std::string map_data(const HeatMap& map, const Frame& frame) {
  std::string json = "{\"kind\":\"map\",\"left\":" + coordinate(frame.x.from()) +
                     ",\"right\":" + coordinate(frame.x.to()) + ",\"top\":" + coordinate(frame.top) +
                     ",\"bottom\":" + coordinate(frame.bottom) + ",\"unit\":\"" +
                     (map.unit == Unit::percent ? "%"
                      : map.unit == Unit::bits  ? " bits"
                                                : "") +
                     "\",\"edges\":" + json_list(map.edges, step_digits) + ",\"rows\":[";
  for (std::size_t r = 0; r < map.rows.size(); ++r)
    json += std::string(r > 0 ? "," : "") + "{\"name\":" + json_string(map.rows[r].name) +
            ",\"v\":" + json_list(map.rows[r].values, cell_digits) + "}";
  return json + "]}";
}

}  // namespace

Range value_range(const std::vector<HeatRow>& rows) { return range_above(rows, -HUGE_VAL); }
Range positive_range(const std::vector<HeatRow>& rows) { return range_above(rows, 0); }

std::string heat_map(const HeatMap& map) {
  const Frame frame = make_frame(map);
  Markup out;
  open_svg(out, frame.width, frame.bottom + 40, map.title);
  if (map.curve) draw_curve(out, map, frame);
  draw_rows(out, map, frame);
  horizontal_labels(out, frame.x, linear_ticks(frame.x.values(), map.wide ? 10 : 5), frame.bottom + 2);
  svg_text(out, frame.x.to(), frame.bottom + 36, "end label", "step");
  std::set<double> widths;
  if (map.unit == Unit::bits)
    for (const HeatRow& row : map.rows)
      std::copy_if(row.values.begin(), row.values.end(), std::inserter(widths, widths.end()),
                   [](double value) { return std::isfinite(value); });
  const std::string scale = widths.empty() ? map.scale.legend(map.unit) : map.scale.legend(widths, map.unit);
  return figure_markup({map.title, map.note, {}, scale, out.take(), map_data(map, frame)});
}

}  // namespace octavo::report
