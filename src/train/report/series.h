// Curves: thinning them for drawing without losing what stands out, smoothing them, ranges to draw them in.
#pragma once

#include <span>
#include <vector>

namespace octavo::report {

/// A point of a curve; a y that is not finite is a gap.
struct Point {
  double x = 0, y = 0;
};

/// At most about `limit` points (4 or more): of each stretch the lowest and the highest, in order, and both
/// ends. Gaps are kept where a whole stretch is one.
std::vector<Point> thin(std::span<const Point> points, std::size_t limit);

/// Mean over `window` (odd) neighbours around each point, those that there are at the ends; gaps left out.
std::vector<Point> smooth(std::span<const Point> points, std::size_t window);

/// Smallest value that a share `q` of the finite values does not exceed; NaN without finite values.
double quantile(std::vector<double> values, double q);

struct Range {
  double low = 0, high = 1;
};

/// Of the finite y of all curves. `cut` is set when few values lie so far above the rest that the range ends
/// below them; `highest` is then the largest of them.
struct RobustRange {
  Range range;
  bool any = false, cut = false;
  double highest = 0;
};
RobustRange robust_range(std::span<const std::vector<Point>> curves);

}  // namespace octavo::report
