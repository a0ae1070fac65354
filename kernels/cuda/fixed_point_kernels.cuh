// The kernels of the integer update.
#pragma once

#include "fixed_point_rule.h"
#include "update_elements.cuh"

namespace octavo::kernels::cuda {

/// The largest gradient, whose power of two is the range of all. A NaN is left aside: with one no step is
/// taken.
static __global__ void __launch_bounds__(update_threads)
    fixed_point_range_kernel(const FixedPointUpdate* updates, const ListBlock* blocks,
                             const StepScalars* step) {
  if (!takes_step(*step)) return;
  const ListBlock at = blocks[blockIdx.x];
  const FixedPointUpdate u = updates[at.pass];
  if (u.is_norm_or_bias) return;
  const auto scale = static_cast<float>(step->gradient_scale);
  const std::int64_t first = std::int64_t{at.part} * update_part,
                     end = first + update_part < u.elements ? first + update_part : u.elements;
  unsigned most = 0;
  for (std::int64_t i = first + threadIdx.x; i < end; i += update_threads)
    most = max(most, magnitude_of(u.gradient_at(i, scale)));
  for (int distance = 16; distance > 0; distance /= 2)
    most = max(most, __shfl_down_sync(~0u, most, distance));
  if (threadIdx.x % 32 == 0) atomicMax(u.range, most);
}

static __global__ void __launch_bounds__(update_threads, update_blocks_each)
    fixed_point_kernel(const FixedPointUpdate* updates, const ListBlock* blocks, const StepScalars* step) {
  if (!takes_step(*step)) return;
  const ListBlock at = blocks[blockIdx.x];
  const FixedPointUpdate u = updates[at.pass];
  const FixedPointFactors factors(u, *step);
  update_elements(u, at.part, [&](std::int64_t i) { return updated(u, factors, i); });
}

}  // namespace octavo::kernels::cuda
