// The rule of sample classes, one source for CPU and GPU: samples whose scales lie in the same half octave
// below the largest share a scale.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "kernels.h"

namespace octavo::kernels {

/// The rule's lowest class: gradients 11.5 octaves below the largest are nothing beside it.
constexpr int most_halves_below = 23;
static_assert(most_halves_below <= most_sample_class);

/// A smaller range is none: zeros and denormals.
constexpr bool usable_range(float range) { return range >= 1e-30f; }

/// floor(2 log2(largest / scale)) of normal floats, exact, from 0 to most_halves_below.
constexpr int halves_below(float largest, float scale) {
  const auto a = std::bit_cast<std::uint32_t>(largest), b = std::bit_cast<std::uint32_t>(scale);
  const int octaves = static_cast<int>(a >> 23) - static_cast<int>(b >> 23);
  const std::uint64_t p = (a & 0x7FFFFFu) | 0x800000u, q = (b & 0x7FFFFFu) | 0x800000u;
  const std::uint64_t left = p * p, right = q * q;  // their ratio is between 1 / 4 and 4
  const int rest = left >= 2 * right ? 1 : left >= right ? 0 : 2 * left >= right ? -1 : -2;
  return std::clamp(2 * octaves + rest, 0, most_halves_below);
}

/// smallest * 2^(halves / 2), the same on all machines; |halves| below 64.
constexpr float scale_of_class(float smallest, int halves) {
  const bool odd = halves % 2 != 0;
  const int octaves = (halves - (odd ? 1 : 0)) / 2;
  const float power = std::bit_cast<float>(static_cast<std::uint32_t>(127 + octaves) << 23);
  return (odd ? smallest * sqrt2 : smallest) * power;
}

}  // namespace octavo::kernels
