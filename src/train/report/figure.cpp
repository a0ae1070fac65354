#include "train/report/figure.h"

#include <cmath>

namespace octavo::report {

std::string colour_class(int colour) {
  constexpr int palette = 8;
  return "c" + std::to_string((colour - 1) % palette + 1) + (colour > palette ? " dash" : "");
}

std::string legend_markup(const std::vector<LegendEntry>& entries) {
  Markup out;
  out.open("ul", {{"class", "legend"}});
  for (const LegendEntry& entry : entries)
    out.open("li").element("i", {{"class", entry.classes}}, "").text(entry.name).close();
  return out.take();
}

std::string figure_markup(const Figure& figure) {
  Markup out;
  out.open("figure").open("figcaption").element("h3", {}, figure.title);
  if (!figure.legend.empty()) out.raw(legend_markup(figure.legend));
  out.raw(figure.scale);
  if (!figure.note.empty()) out.element("p", {{"class", "note"}}, figure.note);
  out.close().raw(figure.drawing);
  if (!figure.data.empty()) out.open("script", {{"type", "application/json"}}).raw(figure.data).close();
  return out.take();
}

std::string empty_figure(const std::string& title, const std::string& why) {
  Markup out;
  out.open("figure", {{"class", "empty"}}).open("figcaption").element("h3", {}, title).close();
  return out.element("p", {}, why).take();
}

void open_svg(Markup& out, double width, double height, const std::string& label) {
  out.open("svg", {{"viewBox", "0 0 " + coordinate(width) + " " + coordinate(height)},
                   {"role", "img"},
                   {"aria-label", label}});
}

void svg_text(Markup& out, double x, double y, const std::string& classes, const std::string& text) {
  out.element("text", {{"x", coordinate(x)}, {"y", coordinate(y)}, {"class", classes}}, text);
}

void svg_line(Markup& out, double x1, double y1, double x2, double y2, const std::string& classes) {
  out.empty("line", {{"x1", coordinate(x1)},
                     {"y1", coordinate(y1)},
                     {"x2", coordinate(x2)},
                     {"y2", coordinate(y2)},
                     {"class", classes}});
}

void horizontal_labels(Markup& out, const Axis& axis, const std::vector<Tick>& ticks, double y) {
  for (const Tick& tick : ticks) {
    svg_line(out, axis(tick.value), y, axis(tick.value), y + 4, "tick");
    svg_text(out, axis(tick.value), y + 16, "middle", tick.label);
  }
}

void vertical_grid(Markup& out, const Axis& axis, const std::vector<Tick>& ticks, const Axis& across) {
  for (const Tick& tick : ticks) {
    svg_line(out, across.from(), axis(tick.value), across.to(), axis(tick.value), "grid");
    svg_text(out, across.from() - 8, axis(tick.value) + 3.8, "end", tick.label);
  }
}

std::string line_path(const std::vector<Point>& points) {
  std::string path;
  bool drawing = false;
  for (const Point& point : points) {
    if (std::isfinite(point.y))
      path += (drawing ? "L" : "M") + coordinate(point.x) + " " + coordinate(point.y);
    drawing = std::isfinite(point.y);
  }
  return path;
}

std::string json_list(const std::vector<double>& values, int digits) {
  std::string list = "[";
  for (const double value : values) list += (list.size() > 1 ? "," : "") + json_number(value, digits);
  return list + "]";
}

}  // namespace octavo::report
