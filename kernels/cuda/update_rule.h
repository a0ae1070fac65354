// Stochastic gradient descent on the device: one element in the arithmetic of src/optim/sgd.cpp, and what
// changes from step to step, which lies in device memory.
#pragma once

#include <bit>

#include "host_device.h"

namespace octavo::kernels::cuda {

/// Of a step. gradient_norm fills norm and scale; the host writes the rest.
struct StepScalars {
  double learning_rate = 0;
  double clip_norm = 0;  // 0: no clipping
  double gradient_norm = 0;
  double gradient_scale = 1;  // multiplies gradients first
};

/// One parameter. Pointers are of the device; velocity: null without momentum.
struct SgdUpdate {
  float* value = nullptr;
  const float* gradient = nullptr;
  float* velocity = nullptr;
  std::int64_t rows = 1, columns = 1, elements = 0;  // columns: the last dimension
  float momentum = 0, decay = 0;
  bool nesterov = false;
  const double* rate_factor = nullptr;  // multiplies the learning rate: a precision policy's
  // Maxima of the new values as bit patterns, zeroed by the caller, a NaN above all numbers: |w| of each row
  // and |w row_factor[row]| of each column; null: not wanted.
  std::uint32_t* row_max = nullptr;
  const float* row_factor = nullptr;
  std::uint32_t* column_max = nullptr;
};

/// Factors of one update, rounded to float once.
struct SgdFactors {
  float rate, momentum, decay, scale;
  OCTAVO_HD constexpr SgdFactors(const SgdUpdate& u, const StepScalars& step)
      : rate(static_cast<float>(step.learning_rate * *u.rate_factor)),
        momentum(u.momentum),
        decay(u.decay),
        scale(static_cast<float>(step.gradient_scale)) {}
};

/// The new value of element i; its velocity is replaced.
OCTAVO_HD constexpr float updated(const SgdUpdate& u, const SgdFactors& f, std::int64_t i) {
  const float w = u.value[i], g = u.gradient[i] * f.scale + f.decay * w;
  if (u.velocity == nullptr) return w - f.rate * g;
  const float v = f.momentum * u.velocity[i] + g;
  u.velocity[i] = v;
  return w - f.rate * (u.nesterov ? g + f.momentum * v : v);
}

/// Whether a step may be taken: with Inf or NaN in a gradient, or squares beyond all numbers, no weight
/// changes, and the host finds the norm when it reads the scalars.
OCTAVO_HD constexpr bool takes_step(const StepScalars& step) {
  return step.gradient_norm - step.gradient_norm == 0;
}

OCTAVO_HD constexpr std::uint32_t magnitude_of(float v) {
  return std::bit_cast<std::uint32_t>(v) & 0x7FFFFFFFu;
}

/// The gradient's norm: the sums of src/optim/gradient_norm.cpp, lanes inside tiles, tiles inside chunks of
/// one parameter, chunks in order.
constexpr int norm_lanes = 16, norm_tile = 256, norm_chunk = 1 << 14, norm_threads = 256;
struct NormChunk {
  const float* gradient;
  std::int64_t count;
};

/// The FP32 sum of one lane of one tile.
OCTAVO_HD constexpr float norm_lane(const NormChunk& chunk, int tile, int lane) {
  const std::int64_t begin = std::int64_t{tile} * norm_tile,
                     end = begin + norm_tile < chunk.count ? begin + norm_tile : chunk.count;
  float sum = 0;
  for (std::int64_t i = begin + lane; i < end; i += norm_lanes) sum += chunk.gradient[i] * chunk.gradient[i];
  return sum;
}

/// min(1, clip / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_ does.
OCTAVO_HD constexpr double clip_scale(double norm, double clip) {
  const double scale = clip / (norm + 1e-6);
  return clip > 0 && scale < 1 ? scale : 1;
}

}  // namespace octavo::kernels::cuda
