// The kernels of range batch normalization: a channel of a chunk a thread, since its FP64 sum has the order
// of rows.
#pragma once

#include "channel_kernels.cuh"
#include "range_norm_channels.h"

namespace octavo::kernels::cuda {

constexpr int range_norm_threads = 64;  // few threads work long: on many multiprocessors

template <class Look>
__global__ void __launch_bounds__(range_norm_threads)
    range_norm_look_kernel(const __grid_constant__ Look look) {
  const std::int64_t at = blockIdx.x * std::int64_t{range_norm_threads} + threadIdx.x;
  if (at < look.of.results()) look_at_chunk(look, at);
}

static __global__ void __launch_bounds__(range_norm_threads)
    range_norm_extremes_kernel(const __grid_constant__ RangeNormExtremes pass) {
  const std::int64_t at = blockIdx.x * std::int64_t{range_norm_threads} + threadIdx.x;
  if (at < pass.of.results()) add_slopes(pass, at);
}

}  // namespace octavo::kernels::cuda
