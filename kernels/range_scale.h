// The scale of a range, one source for CPU and GPU: the same on all machines.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels.h"

namespace octavo::kernels {

struct RangeScale {
  float scale, inverse;
};

/// The scale itself if it is a power of two; of normal floats.
constexpr float power_of_two_above(float scale) {
  const auto bits = std::bit_cast<std::uint32_t>(scale);
  return std::bit_cast<float>((bits & 0x7FFFFFu) == 0 ? bits : (bits & 0x7F800000u) + 0x800000u);
}

/// 2^round(log2 scale), of normal floats.
constexpr float nearest_power_of_two(float scale) {
  constexpr std::uint32_t below_root_two = 0x3504F3u;  // mantissa of the largest float below sqrt(2)
  const auto bits = std::bit_cast<std::uint32_t>(scale);
  return std::bit_cast<float>((bits & 0x7F800000u) + ((bits & 0x7FFFFFu) > below_root_two ? 0x800000u : 0u));
}

/// Of |v| <= range, a normal float, in integers up to qmax.
constexpr RangeScale scale_of_range(float range, float qmax, bool power_of_two, Grid grid) {
  if (!power_of_two && grid != Grid::flagged) return {range / qmax, qmax / range};
  const float scale =
      grid == Grid::flagged ? nearest_power_of_two(range) * 0x1p-14f : power_of_two_above(range / qmax);
  return {scale, 1.0f / scale};
}

/// Without a range all values are as good as 0 and any scale does, but for integers without a zero: a scale
/// of 0 makes the values 0.
constexpr bool has_zero(Grid grid) { return grid != Grid::odd; }
constexpr RangeScale scale_without_range(Grid grid) { return {has_zero(grid) ? 1.0f : 0.0f, 1.0f}; }

}  // namespace octavo::kernels
