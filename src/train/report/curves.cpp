#include "train/report/curves.h"

#include <algorithm>
#include <cmath>

namespace octavo::report {

std::vector<Point> train_points(const RunRecord& run, double TrainPoint::*member, double factor) {
  std::vector<Point> points;
  for (const TrainPoint& at : run.train)
    points.push_back({static_cast<double>(at.step), factor * at.*member});
  return points;
}

std::vector<Point> evaluation_points(const RunRecord& run, double EvalPoint::*member) {
  std::vector<Point> points;
  for (const EvalPoint& at : run.evaluations) points.push_back({static_cast<double>(at.step), at.*member});
  return points;
}

std::vector<Point> evaluation_points_by_time(const RunRecord& run, double EvalPoint::*member) {
  std::vector<Point> points;
  double seconds = 0;
  auto next = run.train.begin();
  for (const EvalPoint& at : run.evaluations) {
    for (; next != run.train.end() && next->step <= at.step; ++next)
      if (next->seconds > 0) seconds += next->seconds;
    points.push_back({seconds, at.*member});
  }
  return points;
}

std::size_t smoothing_window(std::size_t steps) { return std::clamp<std::size_t>(steps / 50, 1, 501) | 1; }

std::string title_case(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

}  // namespace octavo::report
