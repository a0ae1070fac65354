// The clip with the least cosine distance.
#pragma once

#include <functional>

namespace octavo {

struct Clip {
  double value, distance;
};

/// Least distance(clip) for clips in [maximum / 64, maximum]. It is unimodal in practice but not provably so:
/// the best of `scan` log-spaced clips, then golden section around it.
Clip search_clip(const std::function<double(double)>& distance, double maximum, int scan);

}  // namespace octavo
