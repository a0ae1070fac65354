// What normalizations do between their passes: a channel a thread.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif  // else a test that runs this source on the host brings its own
#include "host_device.h"

namespace octavo::kernels::cuda {

constexpr int channel_threads = 128;

__device__ inline int channel_of_thread() {
  return static_cast<int>(blockIdx.x * channel_threads + threadIdx.x);
}
inline unsigned channel_blocks(int channels) {
  return static_cast<unsigned>(ceil_div(channels, channel_threads));
}

template <class Pass>
__global__ void __launch_bounds__(channel_threads) finish_channels_kernel(const __grid_constant__ Pass pass) {
  const int i = channel_of_thread();
  if (i < pass.channels) finish_channel(pass, i);
}

}  // namespace octavo::kernels::cuda
