// The integer update.
#include "fixed_point.h"

#include "fixed_point_kernels.cuh"
#include "launch.h"
#include "update_checks.h"

namespace octavo::kernels::cuda {

void update_fixed_point(const FixedPointUpdate& u, const StepScalars* step, cudaStream_t stream) {
  const std::string what = check_update("update_fixed_point", u, step);
  check_pointer(u.accumulator, "accumulator", what, alignof(std::int32_t));
  check_pointer(u.random.counter, "counter", what, alignof(StepCounter));
  const Launch how{blocks_for(u.elements, update_threads), update_threads, stream};
  if (!u.is_norm_or_bias) {
    check_pointer(u.range, "range", what, alignof(std::uint32_t));
    launch(fixed_point_range_kernel, how, what, u, step);
  }
  launch(fixed_point_kernel, how, what, u, step);
}

}  // namespace octavo::kernels::cuda
