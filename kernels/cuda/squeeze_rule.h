// One weight that is squeezed by tanh, and its gradient.
#pragma once

#include <bit>
#include <cmath>

#include "host_device.h"

namespace octavo::kernels::cuda {

struct Squeezed {
  const float* weights = nullptr;
  std::int64_t elements = 0;
  const std::uint32_t* max_bits = nullptr;  // of the largest |w|, a NaN left aside

  /// tanh is monotonic: its largest magnitude is that of the largest weight.
  OCTAVO_HD float largest() const { return tanhf(std::bit_cast<float>(*max_bits)); }
};

OCTAVO_HD inline float squeezed_weight(float w, float largest) {
  const float factor = largest > 0 ? 1 / largest : 0;
  return tanhf(w) * factor;
}

OCTAVO_HD inline float squeezed_gradient(float w, float largest, float gradient) {
  if (!(largest > 0)) return gradient;
  const float t = tanhf(w);
  return gradient * ((1 - t * t) / largest);
}

}  // namespace octavo::kernels::cuda
