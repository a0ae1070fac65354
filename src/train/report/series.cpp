#include "train/report/series.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace octavo::report {

std::vector<Point> thin(std::span<const Point> points, std::size_t limit) {
  if (points.size() <= limit) return {points.begin(), points.end()};
  const std::size_t stretches = std::max<std::size_t>(1, (limit - 2) / 2), inner = points.size() - 2;
  std::vector<Point> kept{points.front()};
  for (std::size_t s = 0; s < stretches; ++s) {
    const std::size_t begin = 1 + inner * s / stretches, end = 1 + inner * (s + 1) / stretches;
    std::size_t lowest = end, highest = end;
    for (std::size_t i = begin; i < end; ++i) {
      if (!std::isfinite(points[i].y)) continue;
      if (lowest == end || points[i].y < points[lowest].y) lowest = i;
      if (highest == end || points[i].y > points[highest].y) highest = i;
    }
    if (lowest == end) {
      if (begin < end) kept.push_back({points[begin].x, std::numeric_limits<double>::quiet_NaN()});
      continue;
    }
    kept.push_back(points[std::min(lowest, highest)]);
    if (lowest != highest) kept.push_back(points[std::max(lowest, highest)]);
  }
  kept.push_back(points.back());
  return kept;
}

std::vector<Point> smooth(std::span<const Point> points, std::size_t window) {
  const std::size_t half = window / 2, size = points.size();
  std::vector<double> sums(size + 1), counts(size + 1);
  for (std::size_t i = 0; i < size; ++i) {
    const bool finite = std::isfinite(points[i].y);
    sums[i + 1] = sums[i] + (finite ? points[i].y : 0);
    counts[i + 1] = counts[i] + (finite ? 1 : 0);
  }
  std::vector<Point> out;
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t begin = i - std::min(half, i), end = std::min(i + half + 1, size);
    const double count = counts[end] - counts[begin];
    const double mean =
        count > 0 ? (sums[end] - sums[begin]) / count : std::numeric_limits<double>::quiet_NaN();
    out.push_back({points[i].x, mean});
  }
  return out;
}

double quantile(std::vector<double> values, double q) {
  values.erase(std::remove_if(values.begin(), values.end(), [](double v) { return !std::isfinite(v); }),
               values.end());
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(values.size())));
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(std::max<std::size_t>(rank, 1) - 1);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

RobustRange robust_range(std::span<const std::vector<Point>> curves) {
  std::vector<double> values;
  for (const auto& curve : curves)
    for (const Point& point : curve)
      if (std::isfinite(point.y)) values.push_back(point.y);
  RobustRange result;
  if (values.empty()) return result;
  result.any = true;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  result.range = {*low, *high};
  result.highest = *high;
  const double most = quantile(values, 0.98);
  if (*high - *low > 8 * (most - *low) && most > *low) {
    result.cut = true;
    result.range.high = *low + 1.5 * (most - *low);
  }
  return result;
}

}  // namespace octavo::report
