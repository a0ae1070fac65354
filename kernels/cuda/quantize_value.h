// One element of a quantize pass: the arithmetic of kernels/ref/chain.cpp in a form that host and device
// share, with the same random bits.
#pragma once

#include "../kernels.h"
#include "host_device.h"

namespace octavo::kernels::cuda {

/// Largest integer not above x, for |x| < 2^31.
OCTAVO_HD constexpr float floor_of(float x) {
  const auto whole = static_cast<float>(static_cast<std::int32_t>(x));
  return whole > x ? whole - 1.0f : whole;
}

/// To nearest, ties to even, for |x| < 2^24.
OCTAVO_HD constexpr float nearest_of(float x) {
  const float whole = floor_of(x), rest = x - whole;
  const bool odd = static_cast<std::int32_t>(whole) % 2 != 0;
  return rest > 0.5f || (rest == 0.5f && odd) ? whole + 1.0f : whole;
}

/// What holds for all elements of a pass.
struct QuantizeRule {
  float lowest = -127, qmax = 127;  // lowest: -qmax, or 0 where integers are unsigned
  int planes = 1;
  bool stochastic = false;
  RandomKey key;
  std::uint64_t first_index = 0;  // of element 0 in the global batch
  Grid grid = Grid::every;
};

struct QuantizedValue {
  std::int32_t integer;
  bool saturated;  // |v * inverse_scale| > qmax + 0.5
};

/// t within +-qmax to an integer, by the rule's rounding alone.
OCTAVO_HD constexpr std::int32_t round_value(const QuantizeRule& rule, float t, std::uint64_t element) {
  if (!rule.stochastic) return static_cast<std::int32_t>(nearest_of(t));
  const float u = static_cast<float>(random_bits16(rule.key, rule.first_index + element)) * 0x1p-16f;
  const float whole = floor_of(t);
  const float q = rule.planes == 1 ? floor_of(t + u) : whole + floor_of((t - whole) + u);
  return static_cast<std::int32_t>(q);
}

/// round(clamp(v * inverse_scale)) to the rule's grid, of 0 for a NaN. Never below -qmax.
OCTAVO_HD constexpr QuantizedValue quantize_value(const QuantizeRule& rule, float v, float inverse_scale,
                                                  std::uint64_t element) {
  float t = v * inverse_scale;
  if (t != t) t = 0.0f;
  const bool saturated = (t < 0 ? -t : t) > rule.qmax + 0.5f;
  t = t < rule.lowest ? rule.lowest : t > rule.qmax ? rule.qmax : t;
  const bool odd = rule.grid == Grid::odd,
             coarse = rule.grid == Grid::flagged && (t >= 128.0f || t <= -128.0f);
  if (odd) t = (t - 1.0f) * 0.5f;
  if (coarse) t = t * 0x1p-7f;
  const std::int32_t q = round_value(rule, t, element);
  return {odd ? 2 * q + 1 : coarse ? 128 * q : q, saturated};
}

/// Signed digit to the base 256 of plane `plane`.
OCTAVO_HD constexpr std::int8_t digit_of(std::int32_t integer, int plane) {
  for (int i = 0; i < plane; ++i) integer = (integer - static_cast<std::int8_t>(integer & 0xFF)) / 256;
  return static_cast<std::int8_t>(integer & 0xFF);
}

}  // namespace octavo::kernels::cuda
