#include "precision/clip_search.h"

#include <algorithm>
#include <cmath>

namespace octavo {

Clip search_clip(const std::function<double(double)>& distance, double maximum, int scan) {
  const auto at = [&](double ratio) { return distance(ratio * maximum); };
  const auto ratio_at = [&](double i) { return std::exp2(-6.0 * i / (scan - 1)); };
  int best = 0;
  double best_distance = at(1);
  for (int i = 1; i < scan; ++i)
    if (const double d = at(ratio_at(i)); d < best_distance) {
      best = i;
      best_distance = d;
    }
  double low = std::log(ratio_at(std::min(best + 1, scan - 1))),
         high = std::log(ratio_at(std::max(best - 1, 0)));
  constexpr double golden = 0.6180339887498949;
  for (int i = 0; i < 12; ++i) {
    const double a = high - golden * (high - low), b = low + golden * (high - low);
    if (at(std::exp(a)) < at(std::exp(b)))
      high = b;
    else
      low = a;
  }
  const double ratio = std::exp(0.5 * (low + high)), refined = at(ratio);
  if (refined < best_distance) return {ratio * maximum, refined};
  return {ratio_at(best) * maximum, best_distance};
}

}  // namespace octavo
