// The scale of a range, one source for CPU and GPU: the same on all machines.
#pragma once

#include <bit>
#include <cstdint>

namespace octavo::kernels {

struct RangeScale {
  float scale, inverse;
};

/// The scale itself if it is a power of two; of normal floats.
constexpr float power_of_two_above(float scale) {
  const auto bits = std::bit_cast<std::uint32_t>(scale);
  return std::bit_cast<float>((bits & 0x7FFFFFu) == 0 ? bits : (bits & 0x7F800000u) + 0x800000u);
}

/// Of |v| <= range, a normal float, in integers up to qmax.
constexpr RangeScale scale_of_range(float range, float qmax, bool power_of_two) {
  if (!power_of_two) return {range / qmax, qmax / range};
  const float scale = power_of_two_above(range / qmax);
  return {scale, 1.0f / scale};
}

}  // namespace octavo::kernels
