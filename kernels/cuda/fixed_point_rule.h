// The integer update of src/optim/fixed_point.cpp on the device: one element, in its units and its order.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>

#include "draws.h"
#include "update_rule.h"

namespace octavo::kernels::cuda {

/// One parameter. Pointers are of the device.
struct FixedPointUpdate {
  float* value = nullptr;
  const float* gradient = nullptr;
  std::int32_t* accumulator = nullptr;
  std::int64_t rows = 1, columns = 1, elements = 0;  // columns: the last dimension
  std::int64_t momentum = 0;                         // quarters
  float decay = 0;
  bool is_norm_or_bias = false;
  RandomStream random;
  const double* rate_factor = nullptr;
  std::uint32_t* range = nullptr;  // weights: bits of the largest |gradient|, zeroed by the caller
  // Of the new values, as SgdUpdate has them.
  std::uint32_t* row_max = nullptr;
  const float* row_factor = nullptr;
  std::uint32_t* column_max = nullptr;

  /// With weight decay and the step's scale.
  OCTAVO_HD constexpr float gradient_at(std::int64_t i, float scale) const {
    return gradient[i] * scale + decay * value[i];
  }
};

/// 1 / 2^round(log2 range) of a positive float in double, exact.
OCTAVO_HD constexpr double inverse_power_near(float range) {
  constexpr std::uint64_t fraction = (std::uint64_t{1} << 52) - 1, root_two = 0x6A09E667F3BCDu;
  const auto bits = std::bit_cast<std::uint64_t>(static_cast<double>(range));
  const std::uint64_t exponent = (bits >> 52) + ((bits & fraction) > root_two ? 1 : 0);
  return std::bit_cast<double>((2046 - exponent) << 52);
}

/// What is the same for all elements of a parameter.
struct FixedPointFactors {
  double inverse_range = 0;  // 0: all gradients are
  float scale = 1;
  std::int64_t rate = 0;
  RandomKey key;

  OCTAVO_HD FixedPointFactors(const FixedPointUpdate& u, const StepScalars& step)
      : scale(static_cast<float>(step.gradient_scale)),
        rate(llrint(step.learning_rate * *u.rate_factor * 512)),
        key(u.random.key()) {
    if (u.range != nullptr && *u.range != 0)
      inverse_range = inverse_power_near(std::bit_cast<float>(*u.range));
  }
};

/// The new value of element i; its accumulator is replaced.
OCTAVO_HD inline float updated(const FixedPointUpdate& u, const FixedPointFactors& f, std::int64_t i) {
  constexpr std::int64_t weight_unit = 1 << 23, gradient_unit = 1 << 14, most_accumulator = (1 << 12) - 1;
  const float g = u.gradient_at(i, f.scale);
  std::int64_t integer = 0;
  if (u.is_norm_or_bias) {
    const double limit = gradient_unit - 1;
    integer = llrint(std::clamp(static_cast<double>(g) * gradient_unit, -limit, limit));
  } else {
    const double draw = random_uniform(f.key, static_cast<std::uint32_t>(i));
    integer = std::clamp<std::int64_t>(llrint(floor(128 * f.inverse_range * g + draw)), -127, 127);
  }
  const std::int64_t sum = u.momentum * u.accumulator[i] + integer;
  const std::int64_t limit = u.is_norm_or_bias ? 2 * weight_unit - 1 : weight_unit - 1;
  const std::int64_t weight = llrint(static_cast<double>(u.value[i]) * weight_unit) - f.rate * sum;
  u.accumulator[i] = static_cast<std::int32_t>(
      std::clamp<std::int64_t>(llrint(static_cast<double>(sum) / 4), -most_accumulator, most_accumulator));
  return static_cast<float>(static_cast<double>(std::clamp(weight, -limit, limit)) / weight_unit);
}

}  // namespace octavo::kernels::cuda
