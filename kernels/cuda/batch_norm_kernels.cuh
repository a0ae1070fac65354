// Batch norm's kernels over channels, and the ranges of samples that its sums tell: few threads, no reads of
// images but of one pixel.
#pragma once

#include <bit>

#include "../floats.h"
#include "batch_norm_channels.h"
#include "channel_kernels.cuh"

namespace octavo::kernels::cuda {

/// The first pixel as pivot keeps the squares small.
template <class T>
__global__ void __launch_bounds__(channel_threads)
    take_pivots_kernel(const T* pixel, int channels, float* minus_pivot) {
  const int i = channel_of_thread();
  if (i < channels) minus_pivot[i] = -to_float(pixel[i]);
}

/// a = gamma r, and looked = a factor for the maxima of samples; factor: null for 1, looked: null where not
/// wanted.
static __global__ void __launch_bounds__(channel_threads)
    slopes_kernel(const float* gamma, const float* r, const float* factor, int channels, float* a,
                  float* looked) {
  const int i = channel_of_thread();
  if (i >= channels) return;
  a[i] = gamma[i] * r[i];
  if (looked != nullptr) looked[i] = factor != nullptr ? a[i] * factor[i] : a[i];
}

/// Adds the largest margin (times factor) to each sample's range. One block.
static __global__ void __launch_bounds__(channel_threads)
    widen_samples_kernel(const float* margin, const float* factor, int channels, std::uint32_t* sample_max,
                         int samples) {
  __shared__ unsigned widest;
  if (threadIdx.x == 0) widest = 0;
  __syncthreads();
  float mine = 0;
  for (int i = threadIdx.x; i < channels; i += channel_threads) {
    const float v = factor != nullptr ? margin[i] * factor[i] : margin[i];
    mine = v > mine ? v : mine;
  }
  atomicMax(&widest, std::bit_cast<unsigned>(mine));  // not negative: bits order as values
  __syncthreads();
  for (int n = threadIdx.x; n < samples; n += channel_threads)
    sample_max[n] =
        std::bit_cast<std::uint32_t>(std::bit_cast<float>(sample_max[n]) + std::bit_cast<float>(widest));
}

}  // namespace octavo::kernels::cuda
