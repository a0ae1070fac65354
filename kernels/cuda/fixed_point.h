// The update of optimizer `fixed_point` on the device. Pointers are of the device. Errors of CUDA are thrown
// as std::runtime_error, arguments that make no sense as std::invalid_argument.
#pragma once

#include <cuda_runtime_api.h>

#include "fixed_point_rule.h"
#include "pass_list.h"

namespace octavo::kernels::cuda {

/// As update_blocks() and update_sgd() of update.h.
std::vector<ListBlock> update_blocks(std::span<const FixedPointUpdate> updates);
void update_fixed_point(const PassList<FixedPointUpdate>& list, const StepScalars* step, cudaStream_t stream);

}  // namespace octavo::kernels::cuda
