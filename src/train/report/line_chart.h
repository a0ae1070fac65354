// Curves over training steps.
#pragma once

#include <string>
#include <vector>

#include "train/report/series.h"
#include "train/report/text.h"

namespace octavo::report {

struct Curve {
  enum class Style { line, faint, dots };  ///< faint: behind the others, without a tooltip
  std::string name;
  std::vector<Point> points;  ///< ascending x; any number: drawing thins them
  int colour = 1;             ///< from 1, as colour_class() takes it
  Style style = Style::line;
};

struct LineChart {
  enum class Size { half, third };  ///< of the page's width
  std::string title, note;
  std::vector<Curve> curves;
  Unit unit = Unit::plain;
  bool logarithmic = false;    ///< values that are not above 0 are left out
  bool from_zero = false;      ///< the axis begins at 0
  double steps_per_epoch = 0;  ///< above 0: epochs along the upper edge
  Range x;                     ///< of the horizontal axis, which covers all points in any case
  std::string x_label = "step";
  bool legend = true;  ///< of two curves or more
  Size size = Size::half;
  std::string empty;  ///< said when there is no point
};

constexpr std::size_t points_of_a_curve = 600;

std::string line_chart(LineChart chart);  ///< a <figure>

}  // namespace octavo::report
