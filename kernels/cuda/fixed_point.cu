// The integer update.
#include "fixed_point.h"

#include "fixed_point_kernels.cuh"
#include "launch.h"
#include "update_checks.h"

namespace octavo::kernels::cuda {
std::vector<ListBlock> update_blocks(std::span<const FixedPointUpdate> updates) {
  for (const FixedPointUpdate& u : updates) check_pass(u);
  return cut_passes(updates, "update_fixed_point", update_parts<FixedPointUpdate>);
}

void update_fixed_point(const PassList<FixedPointUpdate>& list, const StepScalars* step,
                        cudaStream_t stream) {
  const std::string what = check_list("update_fixed_point", list);
  check_pointer(step, "step", what, alignof(StepScalars));
  const Launch how{static_cast<unsigned>(list.block_count), update_threads, stream};
  launch(fixed_point_range_kernel, how, what, list.passes, list.blocks, step);
  launch(fixed_point_kernel, how, what, list.passes, list.blocks, step);
}

}  // namespace octavo::kernels::cuda
