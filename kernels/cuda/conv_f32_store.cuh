// What a launch of an FP32 convolution reads and writes, and the way of a sum to memory.
#pragma once

#include <cmath>

#include "conv_f32_tiles.h"

namespace octavo::kernels::cuda {

/// Pointers of the device.
struct ConvF32Run {
  const float* gathered = nullptr;
  const float* plain = nullptr;
  const float* bias = nullptr;
  float* out = nullptr;
  bool accumulate = false;
  float* parts = nullptr;  // null: there is one part, which is stored as results
};

/// [+ bias] [+ out], in this order.
__device__ inline void store_f32(const ConvF32Run& run, std::int64_t element, int channel, float value) {
  if (run.bias != nullptr) value = value + __ldg(run.bias + channel);
  run.out[element] = run.accumulate ? value + run.out[element] : value;
}

/// The sum of a part.
__device__ inline void store_f32_sum(const ConvF32Gemm& g, const ConvF32Run& run, int part,
                                     std::int64_t element, int channel, float sum) {
  if (run.parts != nullptr)
    run.parts[part * g.results + element] = sum;
  else
    store_f32(run, element, channel, sum);
}

}  // namespace octavo::kernels::cuda
