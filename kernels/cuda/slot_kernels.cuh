// The kernels over scales and ranges of slots: few threads and few bytes.
#pragma once

#include "loss_rows.h"
#include "slot_block.cuh"

namespace octavo::kernels::cuda {

/// One block.
static __global__ void __launch_bounds__(slot_threads)
    slot_scales_kernel(const __grid_constant__ SlotScales pass) {
  write_scales(pass);
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
