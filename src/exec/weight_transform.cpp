#include "exec/weight_transform.h"

#include <algorithm>
#include <cmath>

namespace octavo {
namespace {

// tanh is monotonic: its largest magnitude is that of the largest weight.
float largest_tanh(const float* w, std::int64_t count) {
  float largest = 0;
  for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(w[i]));
  return std::tanh(largest);
}

}  // namespace

void squeeze_weights(const float* w, std::int64_t count, float* out) {
  const float largest = largest_tanh(w, count), factor = largest > 0 ? 1 / largest : 0;
  for (std::int64_t i = 0; i < count; ++i) out[i] = std::tanh(w[i]) * factor;
}

void squeeze_gradient(const float* w, std::int64_t count, float* gradient) {
  const float largest = largest_tanh(w, count);
  if (!(largest > 0)) return;
  for (std::int64_t i = 0; i < count; ++i) {
    const float t = std::tanh(w[i]);
    gradient[i] *= (1 - t * t) / largest;
  }
}

}  // namespace octavo
