// The kernels of bf16_sums.h: 16 floats a thread, blocks taking turns.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif  // else a test that runs this source on the host brings its own
#include "conv_f32_store.cuh"
#include "quantize_segment.h"

namespace octavo::kernels::cuda {

constexpr int narrow_threads = 256;

/// How many of a thread's 16 elements from i on there are.
OCTAVO_HD constexpr int run_of(std::int64_t i, std::int64_t count) {
  return static_cast<int>(count - i < segment_bytes ? count - i : segment_bytes);
}
__device__ inline std::int64_t first_run() {
  return (blockIdx.x * std::int64_t{narrow_threads} + threadIdx.x) * segment_bytes;
}
__device__ inline std::int64_t run_stride() {
  return std::int64_t{gridDim.x} * narrow_threads * segment_bytes;
}

static __global__ void __launch_bounds__(narrow_threads)
    narrow_floats_kernel(const float* from, Bf16* to, std::int64_t count) {
  for (std::int64_t i = first_run(); i < count; i += run_stride()) {
    float values[segment_bytes];
    load_run(from + i, run_of(i, count), values);
    store_run(to + i, run_of(i, count), values);
  }
}

/// [+ bias] [+ out], in this order.
static __global__ void __launch_bounds__(narrow_threads)
    store_bf16_sums_kernel(const Bf16* sums, ConvF32Run run, std::int64_t count, int channels) {
  for (std::int64_t i = first_run(); i < count; i += run_stride()) {
    float values[segment_bytes];
    load_run(sums + i, run_of(i, count), values);
#pragma unroll
    for (int j = 0; j < segment_bytes; ++j)
      if (i + j < count) store_f32(run, i + j, static_cast<int>((i + j) % channels), values[j]);
  }
}

}  // namespace octavo::kernels::cuda
