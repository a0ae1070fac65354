// The kernels of the integer update.
#pragma once

#include "fixed_point_rule.h"
#include "update_elements.cuh"

namespace octavo::kernels::cuda {

/// The largest gradient, whose power of two is the range of all. A NaN is left aside: with one no step is
/// taken.
static __global__ void __launch_bounds__(update_threads)
    fixed_point_range_kernel(const __grid_constant__ FixedPointUpdate u, const StepScalars* step) {
  if (!takes_step(*step)) return;
  const auto scale = static_cast<float>(step->gradient_scale);
  unsigned most = 0;
  for (std::int64_t i = blockIdx.x * std::int64_t{update_threads} + threadIdx.x; i < u.elements;
       i += std::int64_t{gridDim.x} * update_threads)
    most = max(most, magnitude_of(u.gradient_at(i, scale)));
  for (int distance = 16; distance > 0; distance /= 2)
    most = max(most, __shfl_down_sync(~0u, most, distance));
  if (threadIdx.x % 32 == 0) atomicMax(u.range, most);
}

static __global__ void __launch_bounds__(update_threads)
    fixed_point_kernel(const __grid_constant__ FixedPointUpdate u, const StepScalars* step) {
  if (!takes_step(*step)) return;
  const FixedPointFactors factors(u, *step);
  update_elements(u, [&](std::int64_t i) { return updated(u, factors, i); });
}

}  // namespace octavo::kernels::cuda
