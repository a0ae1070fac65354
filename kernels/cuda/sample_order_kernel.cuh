// The order of samples by class, in one block: a batch has few samples.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif  // else a test that runs this source on the host brings its own
#include "../sample_classes.h"
#include "order_samples.h"

namespace octavo::kernels::cuda {

constexpr int order_threads = 256;

/// The largest of all threads' values, for all of them.
__device__ inline unsigned block_max(unsigned value) {
  __shared__ unsigned most[order_threads / 32];
  for (int distance = 16; distance > 0; distance /= 2)
    value = max(value, __shfl_down_sync(~0u, value, distance));
  __syncthreads();  // nobody reads what an earlier call left
  if (threadIdx.x % 32 == 0) most[threadIdx.x / 32] = value;
  __syncthreads();
  for (int warp = 0; warp < order_threads / 32; ++warp) value = max(value, most[warp]);
  return value;
}

/// As round_to_classes() of the executor does it.
__device__ inline void choose_classes(const OrderSamples& pass) {
  const float cap = pass.cap != nullptr ? *pass.cap : 3.40282347e38f;
  const auto range = [&](int i) { return min(cap, std::bit_cast<float>(pass.max_bits[i])); };
  unsigned bits = 0, below = 0;
  for (int i = threadIdx.x; i < pass.samples; i += order_threads)
    if (usable_range(range(i))) bits = max(bits, std::bit_cast<std::uint32_t>(range(i) / pass.qmax));
  const float largest = std::bit_cast<float>(block_max(bits));
  // Where there is no zero, samples without a range take the lowest class that there can be.
  const auto halves = [&](int i) {
    return usable_range(range(i)) ? halves_below(largest, range(i) / pass.qmax)
           : has_zero(pass.grid)  ? 0
                                  : most_halves_below;
  };
  for (int i = threadIdx.x; i < pass.samples; i += order_threads)
    below = max(below, static_cast<unsigned>(halves(i)));
  const int lowest = static_cast<int>(block_max(below));
  const float smallest =
      largest > 0 ? scale_of_class(largest, -lowest) : scale_without_range(pass.grid).scale;
  if (threadIdx.x == 0) *pass.class_scale = smallest;
  for (int i = threadIdx.x; i < pass.samples; i += order_threads) {
    const int of = usable_range(range(i)) ? lowest - halves(i) : 0;
    const float scale = scale_of_class(smallest, of);
    pass.sample_class[i] = static_cast<std::uint8_t>(of);
    pass.scale[i] = scale;
    pass.inverse_scale[i] = largest > 0 ? 1.0f / scale : 1.0f;
  }
  __syncthreads();
}

/// Samples of a class in their order, a class a warp at a time.
__device__ inline void enter_classes(const OrderSamples& pass, const ClassPlaces& places) {
  if (pass.samples == 1) {
    for (int i = threadIdx.x; i < pass.places; i += order_threads)
      enter_sample(places, pass.class_of(0), i, i, pass.entries);
    return;
  }
  const int lane = threadIdx.x % 32;
  for (int c = threadIdx.x / 32; c < most_ranges; c += order_threads / 32) {
    if (places.samples[c] == 0) continue;
    int rank = 0;
    for (int first = 0; first < pass.places; first += 32) {
      const int sample = first + lane;
      const bool mine = sample < pass.places && pass.class_of(sample) == c;
      const unsigned all = __ballot_sync(~0u, mine);
      if (mine) enter_sample(places, c, rank + __popc(all & ((1u << lane) - 1)), sample, pass.entries);
      rank += __popc(all);
    }
  }
}

static __global__ void __launch_bounds__(order_threads)
    order_samples_kernel(const __grid_constant__ OrderSamples pass) {
  __shared__ ClassPlaces places;
  __shared__ SampleOrder order;
  if (pass.max_bits != nullptr) choose_classes(pass);
  for (int c = threadIdx.x; c < most_ranges; c += order_threads) places.samples[c] = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < pass.places; i += order_threads)
    atomicAdd(&places.samples[pass.class_of(i)], 1);
  __syncthreads();
  if (threadIdx.x == 0) place_classes(order, places);
  __syncthreads();
  for (int i = threadIdx.x; i < order.segments * segment_bytes; i += order_threads)
    pass.entries[i] = no_sample;
  for (int i = threadIdx.x; i < order.ranges; i += order_threads) pass.order->range[i] = order.range[i];
  if (threadIdx.x == 0) pass.order->ranges = order.ranges, pass.order->segments = order.segments;
  __syncthreads();
  enter_classes(pass, places);
}

}  // namespace octavo::kernels::cuda
