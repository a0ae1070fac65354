// The frame that all charts share: title, note, legend, drawing, and the numbers that the page's script shows
// when the pointer is on them.
#pragma once

#include <string>
#include <vector>

#include "train/report/axis.h"
#include "train/report/markup.h"

namespace octavo::report {

/// Swatch and name; the class colours the swatch ("c1", "s8") and shapes it ("line", "dots", "area").
struct LegendEntry {
  std::string classes, name;
};

struct Figure {
  std::string title, note;
  std::vector<LegendEntry> legend;
  std::string scale;    ///< markup beside the legend: the colours of a heat map
  std::string drawing;  ///< an <svg>
  std::string data;     ///< JSON for the script
};
std::string figure_markup(const Figure& figure);

/// Classes of a curve's colour; beyond the palette the colours come again, dashed.
std::string colour_class(int colour);

std::string legend_markup(const std::vector<LegendEntry>& entries);  ///< a <ul>

/// A figure without anything to draw: its title, and why.
std::string empty_figure(const std::string& title, const std::string& why);

/// Opens <svg> of this size in its own units; it scales with the page.
void open_svg(Markup& out, double width, double height, const std::string& label);
void svg_text(Markup& out, double x, double y, const std::string& classes, const std::string& text);
void svg_line(Markup& out, double x1, double y1, double x2, double y2, const std::string& classes);

/// Labels below `y` at the ticks of a horizontal axis.
void horizontal_labels(Markup& out, const Axis& axis, const std::vector<Tick>& ticks, double y);
/// Grid lines over the width of `across` with labels to the left of it.
void vertical_grid(Markup& out, const Axis& axis, const std::vector<Tick>& ticks, const Axis& across);

/// "M10 20L11 21...": a line through points given in coordinates, broken where y is not finite.
std::string line_path(const std::vector<Point>& points);

constexpr int step_digits = 12, value_digits = 4, cell_digits = 3;  // in the data for the script
std::string json_list(const std::vector<double>& values, int digits);

}  // namespace octavo::report
