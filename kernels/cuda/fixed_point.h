// The update of optimizer `fixed_point` on the device. Pointers are of the device. Errors of CUDA are thrown
// as std::runtime_error, arguments that make no sense as std::invalid_argument.
#pragma once

#include <cuda_runtime_api.h>

#include "fixed_point_rule.h"

namespace octavo::kernels::cuda {

/// One parameter's step; nothing changes where step->gradient_norm is Inf or NaN.
void update_fixed_point(const FixedPointUpdate& update, const StepScalars* step, cudaStream_t stream);

}  // namespace octavo::kernels::cuda
