// Attributes and sizes of range batch normalization, for every device that has it.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include "octavo/op.h"

namespace octavo {

struct RangeNorm : Attributes {
  double momentum, eps;
  std::int64_t chunks;
  bool zero_gamma;
};

/// Sizes of one node: rows of c channels, cut into chunks of at least two rows where there are as many.
struct RangeNormSizes {
  std::int64_t c, rows, chunks;
  explicit RangeNormSizes(const Signature& signature)
      : c(signature.inputs[0].shape.back()),
        rows(signature.inputs[0].shape.elements() / c),
        chunks(std::clamp<std::int64_t>(rows / 2, 1, signature.as<RangeNorm>().chunks)) {}
  std::int64_t begin(std::int64_t chunk) const { return rows * chunk / chunks; }
  double per_chunk() const { return std::max(2.0, static_cast<double>(rows) / static_cast<double>(chunks)); }
  double factor() const {
    return 0.175 * (1 + std::sqrt(std::numbers::pi * std::log(4.0))) / std::sqrt(2 * std::log(per_chunk()));
  }
};

}  // namespace octavo
