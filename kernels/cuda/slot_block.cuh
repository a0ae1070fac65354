// The scales of a slot by the threads of one block.
#pragma once

#ifdef __CUDACC__
#include <cuda_runtime.h>
#endif  // else a test that runs this source on the host brings its own
#include "slot_scales.h"

namespace octavo::kernels::cuda {

constexpr int slot_threads = 128;

/// All threads take part.
__device__ inline void write_scales(const SlotScales& pass) {
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

}  // namespace octavo::kernels::cuda
