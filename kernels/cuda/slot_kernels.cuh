// The kernels over scales and ranges of slots: few threads and few bytes.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif  // else a test that runs this source on the host brings its own
#include "loss_rows.h"
#include "slot_scales.h"

namespace octavo::kernels::cuda {

constexpr int slot_threads = 128;

/// One block.
static __global__ void __launch_bounds__(slot_threads)
    slot_scales_kernel(const __grid_constant__ SlotScales pass) {
  __shared__ unsigned smallest, largest;  // bits of scales, which are positive: they order as values
  constexpr unsigned none = ~0u;
  if (threadIdx.x == 0) smallest = none, largest = 0;
  __syncthreads();
  const int thread = static_cast<int>(threadIdx.x);
  unsigned least = none, most = 0;
  for (int i = thread; i < pass.count; i += slot_threads) {
    const RangeScale to = pass.at(i);
    pass.scale[i] = to.scale, pass.inverse[i] = to.inverse;
    const unsigned bits = std::bit_cast<unsigned>(to.scale);
    const bool usable = usable_range(pass.range(i));
    if (usable) least = bits < least ? bits : least;
    if (usable || pass.ranges != nullptr) most = bits > most ? bits : most;
  }
  atomicMin(&smallest, least);
  atomicMax(&largest, most);
  __syncthreads();
  if (pass.ranges == nullptr && smallest != none && has_zero(pass.grid))
    for (int i = thread; i < pass.count; i += slot_threads) {
      if (usable_range(pass.range(i))) continue;
      pass.scale[i] = std::bit_cast<float>(smallest);
      pass.inverse[i] = 1.0f / std::bit_cast<float>(smallest);
    }
  if (pass.largest == nullptr || thread != 0) return;
  // 0: no range at all
  const float most_scale =
      largest == 0 ? scale_without_range(pass.grid).scale : std::bit_cast<float>(largest);
  atomicMax(pass.largest, std::bit_cast<unsigned>(most_scale * pass.qmax));
}

/// One block.
static __global__ void __launch_bounds__(slot_threads)
    class_scales_kernel(const __grid_constant__ ClassScales pass) {
  float most = 0;
  for (int i = static_cast<int>(threadIdx.x); i < pass.samples; i += slot_threads)
    most = pass.scale[i] > most ? pass.scale[i] : most;
  atomicMax(pass.largest, std::bit_cast<unsigned>(most * pass.qmax));
  if (pass.channel_scale == nullptr) return;
  for (int i = static_cast<int>(threadIdx.x); i < pass.channels; i += slot_threads)
    pass.channel_scale[i] = *pass.class_scale * pass.factor[i];
}

static __global__ void __launch_bounds__(slot_threads)
    channel_products_kernel(const __grid_constant__ ChannelProducts pass) {
  const int i = static_cast<int>(blockIdx.x) * slot_threads + static_cast<int>(threadIdx.x);
  if (i >= pass.channels) return;
#pragma unroll
  for (int which = 0; which < 3; ++which) {
    if (pass.to[which] == nullptr) continue;
    pass.to[which][i] = pass.from[which] != nullptr ? pass.from[which][i] * pass.factor[i] : pass.factor[i];
  }
}

/// A filter a block, blocks taking turns.
static __global__ void __launch_bounds__(slot_threads)
    weight_ranges_kernel(const __grid_constant__ WeightRanges pass) {
  const int inputs = pass.layout.inputs();
  const std::int64_t row = std::int64_t{pass.layout.taps} * inputs;
  for (int filter = static_cast<int>(blockIdx.x); filter < pass.layout.k;
       filter += static_cast<int>(gridDim.x)) {
    const float factor = pass.factor != nullptr ? pass.factor[filter] : 1.0f;
    unsigned most = 0;
    for (std::int64_t i = threadIdx.x; i < row; i += slot_threads) {
      const unsigned bits = magnitude_of(pass.weights[filter * row + i] * factor);
      if (pass.axis != WeightAxis::input) {
        most = bits > most ? bits : most;
        continue;
      }
      std::uint32_t* const to = pass.max_bits + pass.range_of(filter, static_cast<int>(i % inputs));
      if (bits > *to) atomicMax(to, bits);
    }
    if (pass.axis == WeightAxis::input) continue;
    std::uint32_t* const to = pass.max_bits + pass.range_of(filter, 0);
    if (most > *to) atomicMax(to, most);
  }
}

/// One block.
static __global__ void __launch_bounds__(slot_threads)
    filter_ranges_kernel(const __grid_constant__ FilterRanges pass) {
  __shared__ unsigned largest;
  if (threadIdx.x == 0) largest = 0;
  __syncthreads();
  unsigned most = 0;
  for (int i = static_cast<int>(threadIdx.x); i < pass.filters; i += slot_threads) {
    const unsigned bits = pass.range(i);
    if (pass.axis == WeightAxis::filter) pass.max_bits[i] = bits;
    most = bits > most ? bits : most;
  }
  if (pass.axis == WeightAxis::filter) return;
  atomicMax(&largest, most);
  __syncthreads();
  if (threadIdx.x == 0) *pass.max_bits = largest;
}

/// One block.
static __global__ void __launch_bounds__(slot_threads)
    guard_step_kernel(const __grid_constant__ StepGuard pass) {
  constexpr unsigned infinity_bits = 0x7F800000u;
  bool bad = false;
  for (int i = static_cast<int>(threadIdx.x); i < pass.slots; i += slot_threads)
    bad = bad || pass.counts[i].max_bits >= infinity_bits;
  for (int i = static_cast<int>(threadIdx.x); i < pass.losses; i += slot_threads)
    bad = bad || pass.bad_samples[i] != no_bad_sample || magnitude_of(pass.results[i]) >= infinity_bits;
  if (bad) pass.step->gradient_norm = std::bit_cast<double>(std::uint64_t{0x7FF8} << 48);
}

}  // namespace octavo::kernels::cuda
