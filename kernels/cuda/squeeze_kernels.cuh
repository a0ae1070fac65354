// The kernels of squeezed weights: a weight a thread, blocks taking turns.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif  // else a test that runs this source on the host brings its own
#include "squeeze_rule.h"

namespace octavo::kernels::cuda {

constexpr int squeeze_threads = 256;

static __global__ void __launch_bounds__(squeeze_threads)
    squeeze_weights_kernel(const __grid_constant__ Squeezed of, float* out) {
  const float largest = of.largest();
  for (std::int64_t i = blockIdx.x * std::int64_t{squeeze_threads} + threadIdx.x; i < of.elements;
       i += std::int64_t{gridDim.x} * squeeze_threads)
    out[i] = squeezed_weight(of.weights[i], largest);
}

static __global__ void __launch_bounds__(squeeze_threads)
    squeeze_gradient_kernel(const __grid_constant__ Squeezed of, float* gradient) {
  const float largest = of.largest();
  for (std::int64_t i = blockIdx.x * std::int64_t{squeeze_threads} + threadIdx.x; i < of.elements;
       i += std::int64_t{gridDim.x} * squeeze_threads)
    gradient[i] = squeezed_gradient(of.weights[i], largest, gradient[i]);
}

}  // namespace octavo::kernels::cuda
